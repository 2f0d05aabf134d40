"""Seconds without a confirmed write at each fault, beside the same fault with the stores' own timeouts.

Run with ``.venv/bin/python bench/faults.py [--runs N]`` on the project's cluster; it needs some ten minutes a run.
"""

import argparse
import statistics
import time
from collections.abc import Callable

from techshop import faults, helm, ui
from techshop.ledger import RedisLedger
from techshop.release import Release
from techshop.shop import Ledger

NAMESPACE = "bench-faults"
#: What the stores do when nobody says otherwise.
DEFAULTS = {"mongodb.replicaSet.electionTimeoutMillis": 10_000, "redis.cluster.nodeTimeoutMillis": 15_000}


def main() -> None:
    """Measure each fault with the stores' defaults and with the chart's, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="how often each fault is injected")
    runs = parser.parse_args().runs
    figures: dict[str, dict[str, list[float]]] = {}
    failed: dict[str, int] = {}
    for name, values in (("stores' defaults", DEFAULTS), ("chart", {})):
        release = Release(NAMESPACE, ("prod", "ci"))
        with ui.step(f"install with the {name}"):
            release.upgrade(**{key.replace(".", "__"): value for key, value in values.items()})
            _settle(release)
        for fault, inject in FAULTS.items():
            for _ in range(runs):
                with ui.step(f"{fault}, {name}"):
                    gap, retried = _measure(release, fault, inject)
                figures.setdefault(fault, {}).setdefault(name, []).append(gap)
                failed[fault] = failed.get(fault, 0) + (retried if name == "chart" else 0)
    helm.delete_namespaces(NAMESPACE)
    print(f"\nseconds without a confirmed write, median of {runs}; requests the chart's clients had to send again")
    print(f"{'fault':44}{'defaults':>10}{'chart':>8}{'ratio':>8}{'again':>8}")
    for fault, found in figures.items():
        base, ours = (statistics.median(found[name]) for name in ("stores' defaults", "chart"))
        print(f"{fault:44}{base:10.2f}{ours:8.2f}{ours / base:8.2f}{failed[fault]:8}")


def _measure(release: Release, fault: str, inject: Callable[[Release], None]) -> tuple[float, int]:
    """Inject the fault under load; return the longest gap of the store concerned, and requests that were repeated."""
    if fault.startswith("Redis"):
        with RedisLedger(release.namespace) as sessions:
            time.sleep(5)
            inject(release)
            time.sleep(25)
        assert sessions.result is not None
        gap, again = float(sessions.result["longest_gap"]), int(sessions.result["failed"])
    else:
        # The stores' defaults may take minutes on a busy machine: a figure as well.
        with Ledger(release.url, patience=300) as orders:
            time.sleep(5)
            orders.longest_gap = 0.0
            inject(release)
            time.sleep(25)
        orders.check()
        gap, again = orders.longest_gap, len(orders.retried)
    _settle(release)
    return gap, again


def _settle(release: Release) -> None:
    for part in ("mongodb", "redis", "app"):
        release.ready(part)
    time.sleep(15)


def _kill(part: str, container: str) -> Callable[[Release], None]:
    def inject(release: Release) -> None:
        faults.signal(release.namespace, release.writer(part), container, "KILL")

    return inject


def _delete(part: str) -> Callable[[Release], None]:
    def inject(release: Release) -> None:
        release.kubectl("delete", "pod", release.writer(part), "--wait")

    return inject


def _delete_all(part: str) -> Callable[[Release], None]:
    def inject(release: Release) -> None:
        release.kubectl("delete", "pod", *release.pods(part), "--wait")
        release.ready(part)

    return inject


def _step_down(release: Release) -> None:
    primary = release.writer("mongodb")
    release.mongodb("db.adminCommand({replSetStepDown: 60})", int(primary.rpartition("-")[2]))


def _roll(part: str) -> Callable[[Release], None]:
    def inject(release: Release) -> None:
        release.upgrade(**{f"{part}__podAnnotations": {"restarted": str(time.time())}})
        release.ready(part, timeout=600)

    return inject


FAULTS: dict[str, Callable[[Release], None]] = {
    "MongoDB: the primary steps down": _step_down,
    "MongoDB: the primary's process is killed": _kill("mongodb", "mongod"),
    "MongoDB: the primary's pod is deleted": _delete("mongodb"),
    "MongoDB: all pods are deleted": _delete_all("mongodb"),
    "MongoDB: an upgrade restarts pod by pod": _roll("mongodb"),
    "Redis: a master's process is killed": _kill("redis", "redis"),
    "Redis: a master's pod is deleted": _delete("redis"),
    "Redis: all pods are deleted": _delete_all("redis"),
    "Redis: an upgrade restarts pod by pod": _roll("redis"),
}

if __name__ == "__main__":
    main()
