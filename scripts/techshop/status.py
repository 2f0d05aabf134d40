"""Describe the cluster: its nodes, their state, and whether it can be used."""

import json
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from techshop import cluster, engine, paths, tools, ui
from techshop.errors import Failure

_CREATE = "`techshop cluster create` makes one."
_MEND = "`techshop cluster create` brings it back."


def show() -> None:
    """Print the cluster's nodes.

    Raises:
        Failure: there is no cluster, or it isn't well; says in which way.
    """
    if not engine.answers():
        raise Failure("no Docker engine answers, so no cluster runs", "`techshop cluster create` sees to both.")
    containers = cluster.nodes()
    if not containers:
        raise Failure("there is no cluster", _CREATE)
    if stopped := [node.name for node in containers if not node.running]:
        raise Failure(f"{len(stopped)} of {len(containers)} nodes don't run: {', '.join(stopped)}", _MEND)
    if not tools.installed(tools.pinned()["kubectl"]) or not paths.KUBECONFIG.exists():
        raise Failure("this checkout has no kubectl or no kubeconfig for the cluster", _MEND)
    try:
        items = json.loads(cluster.kubectl("get", "nodes", "-o", "json", timeout=20))["items"]
        pods = json.loads(cluster.kubectl("get", "pods", "-A", "-o", "json", timeout=20))["items"]
    except Failure as failure:
        raise Failure("the cluster's API doesn't answer", _MEND, failure.tail) from failure
    rows = [_row(item) for item in items]
    _print(rows)
    running = sum(pod["status"].get("phase") == "Running" for pod in pods)
    ui.say(f"{running} of {len(pods)} pods run. The storefront, once installed: {cluster.url()}")
    ui.say(f"export KUBECONFIG={paths.KUBECONFIG}")
    if sick := [row["name"] for row in rows if row["state"] != "Ready"]:
        raise Failure(
            f"{', '.join(sick)} {'is' if len(sick) == 1 else 'are'} not ready",
            "Wait, or look inside: kubectl describe node.",
        )


def _row(item: dict[str, Any]) -> dict[str, str]:
    status, metadata = item["status"], item["metadata"]
    made = datetime.fromisoformat(metadata["creationTimestamp"])
    ready = next((c["status"] for c in status["conditions"] if c["type"] == "Ready"), "Unknown")
    return {
        "name": metadata["name"],
        "state": "Ready" if ready == "True" else "NotReady",
        "zone": metadata["labels"].get("topology.kubernetes.io/zone", ""),
        "address": next((a["address"] for a in status["addresses"] if a["type"] == "InternalIP"), ""),
        "version": status["nodeInfo"]["kubeletVersion"],
        "age": _age((datetime.now(UTC) - made).total_seconds()),
    }


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _print(rows: list[dict[str, str]]) -> None:
    table = Table(box=None, pad_edge=False)
    for title in rows[0]:
        table.add_column(title)
    for row in rows:
        table.add_row(*row.values())
    ui.results.print(table)
