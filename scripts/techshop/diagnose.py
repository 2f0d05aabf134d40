"""What a failed installation left: events, logs and manifests, collected in a folder, the telling ones shown."""

import json
import re
import time
from pathlib import Path
from typing import Any

from techshop import paths, shell
from techshop.errors import Failure

_SHOWN = 8
#: An error in a line of the app's log, or of MongoDB's.
_ERROR = re.compile(r'"level":"(error|fatal)"|"s":"[EF]"')


def explain(failure: Failure, namespace: str) -> Failure:
    """Return the failure with what the cluster says about it, and the folder that holds the rest."""
    folder = collect(namespace)
    sick = _sick_pods(namespace)
    events = shell.lines(_kubectl(namespace, "events", "--types=Warning"))[-_SHOWN:]
    tail = "\n".join([failure.tail, *(["Last warnings:", *events] if events else []), *sick])
    advice = (
        f"Events, logs and manifests of everything in {namespace} are in {folder}. Mend the cause and run it again."
    )
    return Failure(failure.what, advice, tail)


def collect(namespace: str) -> Path:
    """Write events, manifests, descriptions and logs of a namespace into a new folder and return it."""
    folder = paths.STATE / "diagnostics" / time.strftime(f"%Y%m%d-%H%M%S-{namespace}")
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {
        "events.txt": ("events",),
        "pods.txt": ("get", "pods", "--output=wide"),
        "objects.yaml": (
            "get",
            "all,configmaps,networkpolicies,persistentvolumeclaims,poddisruptionbudgets",
            "-o",
            "yaml",
        ),
        "describe.txt": ("describe", "pods"),
    }
    for name, command in wanted.items():
        (folder / name).write_text(_kubectl(namespace, *command))
    for pod in _pods(namespace):
        name = pod["metadata"]["name"]
        (folder / f"{name}.log").write_text(
            _kubectl(namespace, "logs", name, "--all-containers", "--prefix", "--tail=2000")
        )
        if any(status.get("restartCount") for status in _statuses(pod)):
            before = _kubectl(namespace, "logs", name, "--all-containers", "--prefix", "--previous", "--tail=2000")
            (folder / f"{name}.previous.log").write_text(before)
    return folder


def errors(folder: Path) -> list[str]:
    """Return the last lines that the containers whose logs are in the folder logged as errors."""
    logs = (line for log in sorted(folder.glob("*.log")) for line in log.read_text().splitlines())
    return [line[:1000] for line in logs if _ERROR.search(line)][-_SHOWN:]


def _sick_pods(namespace: str) -> list[str]:
    """Say of each pod that isn't ready or doesn't stop why, with the last lines of those that know."""
    said = []
    for pod in _pods(namespace):
        name = pod["metadata"]["name"]
        for condition in pod["status"].get("conditions", []):
            if condition["type"] == "PodScheduled" and condition["status"] != "True":
                said.append(f"{name} can't be scheduled: {condition.get('message', '')}")
        if since := pod["metadata"].get("deletionTimestamp"):
            said.append(f"{name} was told to stop by {since}")
        for status in _statuses(pod):
            waiting = status["state"].get("waiting", {})
            container = status["name"]
            if container == "reconciler":
                log = shell.lines(_kubectl(namespace, "logs", name, "-c", container, "--tail=3"))
                said += [f"{name}: {line[:300]}" for line in log]
            if waiting.get("reason") in {"ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull"}:
                said.append(f"{name}: the image {status['image']} can't be had; `techshop images load` brings ours")
            elif waiting.get("reason") == "CrashLoopBackOff" or status.get("restartCount", 0) > 1:
                log = shell.lines(_kubectl(namespace, "logs", name, "-c", container, "--previous", "--tail=5"))
                said += [f"{name}: {container} crashes; its last words:", *(f"    {line}" for line in log)]
            elif waiting.get("message"):
                said.append(f"{name}: {container} waits: {waiting['message']}")
            elif not status["ready"]:
                log = shell.lines(_kubectl(namespace, "logs", name, "-c", container, "--tail=2"))
                said += [f"{name}: {container} isn't ready; it last said:", *(f"    {line[:300]}" for line in log)]
    return said


def _pods(namespace: str) -> list[dict[str, Any]]:
    found = _kubectl(namespace, "get", "pods", "--output=json")
    items: list[dict[str, Any]] = json.loads(found)["items"] if found.startswith("{") else []
    return items


def _statuses(pod: dict[str, Any]) -> list[dict[str, Any]]:
    status = pod["status"]
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


def _kubectl(namespace: str, *arguments: str) -> str:
    """Run kubectl; a cluster that doesn't answer must not hide the failure that is being explained."""
    try:
        return shell.run(
            paths.BIN / "kubectl", "--kubeconfig", paths.KUBECONFIG, "-n", namespace, *arguments, timeout=60
        )
    except Failure as failure:
        return f"({failure})"
