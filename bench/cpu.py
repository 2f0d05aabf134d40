"""Failovers that nobody asked for, while every processor of the cluster is busy with something else.

Run with ``.venv/bin/python bench/cpu.py [--minutes N]`` on the project's cluster, which holds no other release then.
"""

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from techshop import faults, helm, shell, ui
from techshop.ledger import RedisLedger
from techshop.release import Release
from techshop.shop import Ledger

NAMESPACE = "bench-cpu"


def main() -> None:
    """Install, load the processors while customers order, and print what changed hands."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long the processors are busy")
    minutes = parser.parse_args().minutes
    release = Release(NAMESPACE, ("prod", "ci"))
    with ui.step("install"):
        release.upgrade()
        for part in ("mongodb", "redis", "app"):
            release.ready(part)
        time.sleep(30)
    print(f"{'':24}{'term':>8}{'epoch':>8}{'orders/s':>10}{'longest gap':>13}{'sent again':>12}")
    for name, seconds, load in (
        ("idle, one minute", 60, nullcontext()),
        (f"busy, {minutes:g} minutes", 60 * minutes, _burning()),
    ):
        before = _epochs(release)
        with RedisLedger(NAMESPACE) as sessions, Ledger(release.url) as orders, load:
            time.sleep(seconds)
        orders.check()
        term, epoch = (now - then for now, then in zip(_epochs(release), before, strict=True))
        rate = len(orders.placed) / seconds
        print(f"{name:24}{term:8}{epoch:8}{rate:10.1f}{orders.longest_gap:12.1f}s{len(orders.retried):12}", flush=True)
        print(f"{'':24}Redis: {sessions.result}")
    helm.delete_namespaces(NAMESPACE)


def _epochs(release: Release) -> tuple[int, int]:
    """Return MongoDB's term and the epoch of Redis: each failover adds one."""
    info = dict(line.split(":") for line in release.redis("CLUSTER", "INFO").split())
    return int(release.mongodb("Number(rs.status().term)")), int(info["cluster_current_epoch"])


@contextmanager
def _burning() -> Iterator[None]:
    """Keep twice as many loops going on each worker as this machine has processors."""
    loop = (
        f"for i in $(seq {2 * (os.cpu_count() or 1)}); do (exec -a techshop-burn bash -c 'while :; do :; done') & done"
    )
    for node in faults.workers():
        shell.run("docker", "exec", "--detach", node, "bash", "-c", f"{loop}; wait")
    try:
        yield
    finally:
        for node in faults.workers():
            shell.run("docker", "exec", node, "pkill", "-f", "^techshop-burn")


if __name__ == "__main__":
    main()
