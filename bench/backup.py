"""Backup, verification and restore of a large database, beside a plain dump piped through gzip into a file.

Run with ``.venv/bin/python bench/backup.py [--megabytes N]`` on the project's cluster.
Rates are of the data before it is packed.
"""

import argparse
import json
import re
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from techshop import faults, helm, shell, ui
from techshop.release import Release
from techshop.restore import Jobs
from techshop.shop import Ledger

NAMESPACE = "bench-backup"
#: Containers of the jobs.
JOBS = ("dump", "verify", "restore")
#: Orders of some 700 bytes in which little repeats, 35 MB of them.
SEED = """(() => {
  const hex = (length) => require('crypto').randomBytes(length / 2).toString('hex');
  const number = (below) => Math.floor(Math.random() * below);
  const item = () => ({product: hex(24), name: 'product ' + hex(16), quantity: 1, price: number(1e5)});
  const order = () => ({_id: hex(32), user: hex(32), items: [item(), item(), item()], total: number(1e6),
    address: {name: 'customer ' + hex(16), street: hex(40), city: hex(16)}, status: 'placed', createdAt: new Date()});
  for (let i = 0; i < 50; i++) db.getSiblingDB('bench').seed.insertMany(Array.from({length: 1000}, order));
  return Math.round(db.getSiblingDB('bench').seed.stats().size / 1e6);
})()"""
MORE = """db.getSiblingDB('bench').seed.aggregate([
  {$set: {_id: {$concat: ['$_id', '-%d']}}}, {$merge: {into: 'orders'}}]).toArray().length"""
PLAIN = """. /scripts/lib.sh
found=$(evaluate choose.js "mongodb://$MONGODB/?directConnection=true&$OPTIONS") || fail "MongoDB can't be reached"
login /secrets/backup-password
set -o pipefail
mongodump --config=/tmp/login.yaml --host="${found%% *}" --username=backup --authenticationDatabase=admin \
  --readPreference=secondaryPreferred --oplog --archive 2> /tmp/dump.log |
  gzip > /plain/archive.gz || fail "$(words /tmp/dump.log)"
finish "stored $(wc -c < /plain/archive.gz) bytes"
"""


def main() -> None:
    """Fill a database, run each job on it, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000, help="how much data there is")
    wanted = parser.parse_args().megabytes
    release = Release(NAMESPACE, ("prod", "ci"))
    with ui.step("install"):
        release.upgrade(backup__enabled=True)
        release.ready("mongodb")
        release.ready("app")
    megabytes = _fill(release, wanted)
    jobs = Jobs(NAMESPACE)
    with ui.step("order without a backup, for a minute"), Ledger(release.url) as orders:
        time.sleep(60)
    quiet = _p95(orders)
    rows = [("mongodump | gzip into a file", *_plain(release, jobs))]
    with Ledger(release.url) as orders:
        rows.append(("backup, into the bucket", *_run(jobs, "backup")))
    busy = _p95(orders)
    rows.append(("verification", *_run(jobs, "backup-verify")))
    with jobs.closed():
        rows.append(("restore", *_run(jobs, "restore", DROP="yes")))
    helm.delete_namespaces(NAMESPACE)
    print(f"\n{megabytes:.0f} MB of orders, one run")
    print(f"{'':32}{'seconds':>9}{'MB/s':>8}{'ratio':>8}{'peak MiB':>10}")
    plain = rows[0][1]
    for name, seconds, peak in rows:
        print(f"{name:32}{seconds:9.0f}{megabytes / seconds:8.1f}{plain / seconds:8.2f}{peak:10.0f}")
    print(f"\np95 of an order: {quiet:.3f} s, while a backup runs {busy:.3f} s, ratio {busy / quiet:.2f}")


def _fill(release: Release, wanted: int) -> float:
    with ui.step(f"write {wanted} MB of orders"):
        seeded = float(release.mongodb(SEED, _primary(release)))
        for number in range(round(wanted / seeded) - 1):
            release.mongodb(MORE % number, _primary(release))
        size = "db.getSiblingDB('bench').orders.stats().size"
        return seeded + float(release.mongodb(size, _primary(release))) / 1e6


def _primary(release: Release) -> int:
    return int(release.writer("mongodb").rpartition("-")[2])


def _p95(orders: Ledger) -> float:
    return statistics.quantiles(orders.seconds, n=20)[-1]


def _run(jobs: Jobs, name: str, **env: str) -> tuple[float, float]:
    """Run a job and return its seconds and the most memory it held, in MiB."""
    with ui.step(name), _peak() as peak:
        jobs.run(name, **env)
    return _seconds(rf"{jobs.base}-{name}-\d+"), max(peak)


def _plain(release: Release, jobs: Jobs) -> tuple[float, float]:
    """Run the baseline in a pod that is the backup's but for its command and a volume."""
    made = ("create", "job", "plain", f"--from=cronjob/{jobs.base}-backup", "--dry-run=client", "-o", "json")
    job: dict[str, Any] = json.loads(release.kubectl(*made))
    spec = job["spec"]["template"]["spec"]
    spec["containers"][0]["command"] = ["bash", "-c", PLAIN, "plain"]
    spec["containers"][0]["volumeMounts"].append({"name": "plain", "mountPath": "/plain"})
    spec["volumes"].append({"name": "plain", "emptyDir": {}})
    job["spec"]["template"]["metadata"]["labels"]["bench"] = "plain"
    with ui.step("mongodump | gzip into a file"), _peak() as peak:
        helm.kubectl("create", "--namespace", NAMESPACE, "-f", "-", stdin=json.dumps(job))
        release.kubectl("wait", "job/plain", "--for=condition=Complete", "--timeout=1800s", timeout=1830)
    return _seconds("plain"), max(peak)


def _seconds(job: str) -> float:
    """Return for how long the container of the newest job whose name matches ran."""
    pods = json.loads(helm.kubectl("get", "pods", "--namespace", NAMESPACE, "-o", "json"))["items"]
    found = [
        pod["status"]["containerStatuses"][0]["state"]["terminated"]
        for pod in pods
        if re.fullmatch(job, pod["metadata"]["labels"].get("batch.kubernetes.io/job-name", ""))
    ]
    ended = max(found, key=lambda state: str(state["finishedAt"]))
    times = [datetime.fromisoformat(ended[key].replace("Z", "+00:00")) for key in ("startedAt", "finishedAt")]
    return max(1.0, (times[1] - times[0]).total_seconds())


@contextmanager
def _peak() -> Iterator[list[float]]:
    """Ask the nodes each second for the memory of the jobs' containers; the list grows meanwhile."""
    seen, stop = [0.0], threading.Event()

    def look() -> None:
        while not stop.wait(1):
            for node in faults.workers():
                stats = json.loads(shell.run("docker", "exec", node, "crictl", "stats", "-o", "json"))["stats"]
                for found in stats:
                    about = found["attributes"]["labels"]
                    container = about["io.kubernetes.container.name"]
                    ours = about["io.kubernetes.pod.namespace"] == NAMESPACE and container in JOBS
                    if ours and "memory" in found:  # a container that just starts has none yet
                        seen.append(int(found["memory"]["workingSetBytes"]["value"]) / 2**20)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


if __name__ == "__main__":
    main()
