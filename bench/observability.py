"""What watching the shop costs: memory and CPU of each part, series, and the time that each dashboard takes.

Run with ``.venv/bin/python bench/observability.py [--minutes N]`` on the project's cluster, which holds nothing else
then. Memory and CPU are means of what the cluster's metrics server tells; ratios are to the stores and the storefront.
"""

import argparse
import json
import re
import time
from collections import defaultdict
from typing import Any

import requests

from techshop import helm, observability, ui
from techshop.release import Release
from techshop.shop import Ledger

NAMESPACE = "bench-observability"
#: The containers that are there to watch; those of exporters stand beside the stores.
WATCHING = {"prometheus", "alertmanager", "kube-state-metrics", "metrics", "exporter", "jaeger"}
#: Of millicores and MiB.
Usage = tuple[float, float]


def main() -> None:
    """Install, look at it idle and under load, ask what its dashboards ask, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3, help="how long it is idle, and how long busy")
    minutes = parser.parse_args().minutes
    release = Release(NAMESPACE, ("prod", "ci"))
    with ui.step("install"):
        release.upgrade()
        for part in ("mongodb", "redis", "app"):
            release.ready(part)
        time.sleep(60)
    with ui.step("idle"):
        idle = _usage(minutes)
    with ui.step("under load"), Ledger(release.url, customers=6, pause=0.0) as orders:
        busy = _usage(minutes)
    orders.check()
    _print_usage(idle, busy, len(orders.placed) / (60 * minutes))
    with release.forwarded("techshop-prometheus-0", 9090) as address:
        _print_series(f"http://{address}")
        _print_dashboards(f"http://{address}", release)
    helm.delete_namespaces(NAMESPACE)


def _usage(minutes: float) -> dict[str, Usage]:
    """Return what the containers of each name use together, on the average of some minutes."""
    total: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    end = time.monotonic() + 60 * minutes
    samples = 0
    while time.monotonic() < end:
        # The metrics server itself looks every 15 seconds.
        time.sleep(15)
        told = json.loads(helm.kubectl("get", "--raw", f"/apis/metrics.k8s.io/v1beta1/namespaces/{NAMESPACE}/pods"))
        for pod in told["items"]:
            for container in pod["containers"]:
                usage = total[container["name"]]
                usage[0] += _number(container["usage"]["cpu"]) * 1000
                usage[1] += _number(container["usage"]["memory"]) / 2**20
        samples += 1
    return {name: (cpu / samples, memory / samples) for name, (cpu, memory) in total.items()}


def _number(quantity: str) -> float:
    """Read a quantity as the metrics server writes it."""
    found = re.fullmatch(r"(\d+)(n|u|m|Ki|Mi)?", quantity)
    assert found, quantity
    scale = {None: 1.0, "n": 1e-9, "u": 1e-6, "m": 1e-3, "Ki": 2.0**10, "Mi": 2.0**20}
    return int(found[1]) * scale[found[2]]


def _print_usage(idle: dict[str, Usage], busy: dict[str, Usage], rate: float) -> None:
    print(f"\nidle, and at {rate:.0f} orders a second")
    print(f"{'container':24}{'idle: m':>9}{'MiB':>7}{'busy: m':>9}{'MiB':>7}")
    for name in sorted(busy, key=lambda name: (name not in WATCHING, -busy[name][1])):
        figures = (*idle.get(name, (0.0, 0.0)), *busy[name])
        print(f"{name:24}{figures[0]:9.0f}{figures[1]:7.0f}{figures[2]:9.0f}{figures[3]:7.0f}")
    sums: dict[str, list[float]] = {}
    for title, watching in (("watching", True), ("the shop", False)):
        of = [[usage for name, usage in state.items() if (name in WATCHING) is watching] for state in (idle, busy)]
        sums[title] = [sum(usage[which] for usage in state) for state in of for which in (0, 1)]
    sums["ratio"] = [ours / base for ours, base in zip(sums["watching"], sums["the shop"], strict=True)]
    for title, (cpu, memory, busy_cpu, busy_memory) in sums.items():
        digits = 2 if title == "ratio" else 0
        print(f"{title:24}{cpu:9.{digits}f}{memory:7.{digits}f}{busy_cpu:9.{digits}f}{busy_memory:7.{digits}f}")


def _ask(address: str, path: str, **data: object) -> list[dict[str, Any]]:
    answer = requests.post(f"{address}/api/v1/{path}", data=data, timeout=60).json()
    return list(answer["data"]["result"])


def _print_series(address: str) -> None:
    print(f"\n{'job':24}{'series':>9}")
    found = _ask(address, "query", query='sort_desc(count by (job) ({__name__=~".+"}))')
    for series in found:
        print(f"{series['metric'].get('job', 'recorded'):24}{int(series['value'][1]):9}")
    print(f"{'all':24}{sum(int(series['value'][1]) for series in found):9}")


def _print_dashboards(address: str, release: Release) -> None:
    """Ask every panel's query for the last hour, as a browser of some 1,000 points does, three times."""
    names = observability.Names(NAMESPACE, release.name, release.name)
    print(f"\n{'dashboard':24}{'queries':>9}{'ms':>9}{'slowest':>9}")
    took: dict[str, list[float]] = defaultdict(list)
    for query in observability.panel_queries(names):
        best = float("inf")
        for _ in range(3):
            end = time.time()
            began = time.perf_counter()
            _ask(address, "query_range", query=query.expr, start=end - 3600, end=end, step=15)
            best = min(best, time.perf_counter() - began)
        took[query.where.partition(":")[0]].append(1000 * best)
    for name, times in took.items():
        print(f"{name:24}{len(times):9}{sum(times):9.0f}{max(times):9.0f}")


if __name__ == "__main__":
    main()
