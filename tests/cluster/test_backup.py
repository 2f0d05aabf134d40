"""Backups on a real cluster: what was acknowledged comes back, and what failed never looks like a backup.

The bucket is in a release of its own, as an S3 outside the shop's would be, and outlives the shop.
"""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import runbooks
from conftest import bucket, eventually

from techshop import helm, restore
from techshop.errors import Failure
from techshop.release import Release
from techshop.restore import Jobs
from techshop.shop import Ledger, Shop

KEYS = "s3-keys"
OFF = {f"{part}__enabled": False for part in ("app", "mongodb", "redis", "backup")}
#: What makes a dump last long enough to be interrupted: 100 MB that don't shrink.
BALLAST = """(() => {
  const noise = () => ({noise: require('crypto').randomBytes(100000).toString('base64')});
  for (let i = 0; i < 20; i++) db.getSiblingDB('ballast').blocks.insertMany(Array.from({length: 40}, noise));
  return 1;
})()"""
#: For each product what is in stock and what was ordered of it: no order changes the sum.
SUMS = """(() => {
  const shop = db.getSiblingDB('techshop'), sums = {};
  shop.products.find().forEach((product) => { sums[product._id] = product.stock; });
  shop.orders.find().forEach((order) => order.items.forEach((item) => { sums[item.productId] += item.quantity; }));
  return sums;
})()"""


def install(store: Release, namespace: str) -> Release:
    """Install a shop whose backups go to the store's bucket."""
    helm.ensure_namespace(namespace)
    found = store.get("secret", "techshop-objectstorage")
    keys = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": KEYS}, "data": found["data"]}
    helm.kubectl("apply", "--namespace", namespace, "-f", "-", stdin=json.dumps(keys))
    shop = Release(namespace, ("dev",))
    shop.upgrade(
        backup__enabled=True,
        mongodb__replicaSet__replicas=3,
        objectstorage__external__enabled=True,
        objectstorage__external__endpoint=f"http://techshop-objectstorage.{store.namespace}.svc.cluster.local:8333",
        global__secrets__existing__objectstorage=KEYS,
    )
    return shop


@pytest.fixture(scope="module")
def store(make_release: Callable[..., Release]) -> Release:
    return make_release("dev", **OFF, networkPolicy__uploaders=[{"namespaceSelector": {}}])


@pytest.fixture(scope="module")
def release(store: Release) -> Iterator[Release]:
    shop = install(store, f"test-backup-shop-{int(time.time())}")
    evaluate(shop, BALLAST)
    yield shop
    helm.delete_pods(shop.namespace)


@pytest.fixture
def jobs(release: Release, store: Release) -> Jobs:
    store.ready("objectstorage")
    release.ready("mongodb")
    return Jobs(release.namespace)


def evaluate(shop: Release, script: str) -> object:
    return shop.mongodb(script, int(str(eventually(shop.primary)).rpartition("-")[2]))


def stored(store: Release, ending: str) -> list[str]:
    with bucket(store, "backups") as found:
        return sorted(path for path in found.list() if path.endswith(ending))


def test_each_order_acknowledged_before_a_backup_comes_back_with_the_documented_commands(
    release: Release, store: Release
) -> None:
    sums = evaluate(release, SUMS)
    commands = runbooks.commands("disaster-recovery", release.namespace)
    with Ledger(release.url) as orders:
        time.sleep(5)
        before = list(orders.placed)
        while "scale" not in commands[0]:
            runbooks.run(commands.pop(0))
    assert len(orders.placed) > len(before) > 10
    assert len(stored(store, ".verified.json")) == 1
    evaluate(release, "db.getSiblingDB('techshop').dropDatabase().ok")
    for command in commands:
        runbooks.run(command)
    release.ready("app")
    orders.placed = before
    eventually(orders.check)
    assert evaluate(release, SUMS) == sums, "an order is there without its stock movement, or the other way"


def told(release: Release) -> dict[str, float]:
    """Return what Prometheus is told of the backups, without the beginning that all names share."""
    (pod,) = release.pods("backup-metrics")
    return {name.removeprefix("techshop_backup_"): value for name, value in release.metrics(pod, 9090).items()}


def test_prometheus_is_told_of_a_backup_whose_job_is_gone(release: Release, store: Release, jobs: Jobs) -> None:
    began = time.time() - 1
    jobs.run("backup")
    jobs.run("backup-verify")
    release.kubectl("delete", "jobs", "--all", "--wait")
    assert not pods(release)

    def check() -> bool:
        found = told(release)
        newest = stored(store, ".archive.gz")[-1]
        with bucket(store, "backups") as there:
            assert found["last_size_bytes"] == len(there.get(newest))
        assert found["count"] == len(stored(store, ".manifest.json"))
        times = [found[f"last_{what}_timestamp_seconds"] for what in ("success", "verified")]
        return found["store_up"] == 1 and began < times[0] < times[1] < time.time()

    eventually(check, seconds=150)
    assert 0 <= told(release)["last_duration_seconds"] < 600


def test_prometheus_is_told_that_the_bucket_is_away_and_what_was_known_of_it(release: Release, store: Release) -> None:
    before = eventually(lambda: (found := told(release))["store_up"] and found, seconds=150)
    store.kubectl("scale", "statefulset/techshop-objectstorage", "--replicas=0")
    try:
        after = eventually(lambda: not (found := told(release))["store_up"] and found, seconds=300)
    finally:
        store.kubectl("scale", "statefulset/techshop-objectstorage", "--replicas=1")
        store.ready("objectstorage")
    same = {"count", "last_success_timestamp_seconds", "last_size_bytes", "last_verified_timestamp_seconds"}
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert after["checked_timestamp_seconds"] > before["checked_timestamp_seconds"]
    eventually(lambda: told(release)["store_up"] == 1, seconds=150)


@contextmanager
def dumping(release: Release, jobs: Jobs) -> Iterator[Future[str]]:
    """Run a backup, and give way while its dump stands still in the middle; afterwards it goes on."""
    before = pods(release)

    def signal(name: str) -> str:
        pod = sorted(pods(release) - before)[0]
        script = (
            "for process in /proc/[0-9]*; do case $(tr '\\0' ' ' < $process/cmdline) in"
            ' mongodump*) kill "-$0" "${process#/proc/}"; echo done ;; esac; done'
        )
        return release.kubectl("exec", pod, "-c", "dump", "--", "bash", "-c", script, name)

    with ThreadPoolExecutor() as pool:
        running = pool.submit(jobs.run, "backup")
        eventually(lambda: "done" in signal("STOP"), every=0.2)
        try:
            yield running
        finally:
            if not running.done():
                signal("CONT")


def pods(release: Release) -> set[str]:
    return set(release.pods("backup"))


@pytest.mark.parametrize("how", ["--force", "--grace-period=30"])
def test_a_backup_whose_pod_is_deleted_is_none_and_the_next_is_good(
    release: Release, store: Release, jobs: Jobs, how: str
) -> None:
    before, there = stored(store, ".manifest.json"), pods(release)
    with dumping(release, jobs) as running:
        release.kubectl("delete", "pod", *(pods(release) - there), how)
        assert isinstance(running.exception(), Failure)
    assert stored(store, ".manifest.json") == before
    jobs.run("backup")
    assert len(stored(store, ".manifest.json")) == len(before) + 1


def test_a_backup_fails_with_the_reason_while_s3_is_away(release: Release, store: Release, jobs: Jobs) -> None:
    before = stored(store, ".manifest.json")
    with dumping(release, jobs) as running:
        store.kubectl("scale", "statefulset/techshop-objectstorage", "--replicas=0")
        store.kubectl("wait", "pod/techshop-objectstorage-0", "--for=delete", "--timeout=90s")
    error = running.exception()
    store.kubectl("scale", "statefulset/techshop-objectstorage", "--replicas=1")
    store.ready("objectstorage")
    assert isinstance(error, Failure)
    assert "can't store the archive" in error.what
    assert "BackoffLimitExceeded" in release.kubectl("get", "events", "--field-selector=involvedObject.kind=Job")
    eventually(lambda: stored(store, ".manifest.json") == before)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("RCLONE_CONFIG_S3_SECRET_ACCESS_KEY", "wrong"), ("RCLONE_CONFIG_BACKUP_REMOTE", "s3:not-there")],
)
@pytest.mark.parametrize("job", ["backup", "backup-verify", "restore"])
def test_a_bucket_that_can_not_be_used_fails_every_job_with_the_reason(
    jobs: Jobs, job: str, setting: str, value: str
) -> None:
    with pytest.raises(Failure, match="can't list the bucket"):
        jobs.run(job, **{setting: value})


def test_a_full_volume_fails_the_verification_with_the_reason(release: Release, jobs: Jobs) -> None:
    def give(**room: str | None) -> None:
        volumes = {"volumes": [{"name": "data", "emptyDir": room}]}
        patch = {"spec": {"jobTemplate": {"spec": {"template": {"spec": volumes}}}}}
        release.kubectl("patch", "cronjob/techshop-backup-verify", "--patch", json.dumps(patch))

    jobs.run("backup")
    give(medium="Memory", sizeLimit="128Mi")
    try:
        with pytest.raises(Failure, match=r"mongod .*No space left on device"):
            jobs.run("backup-verify")
    finally:
        give(medium=None, sizeLimit="20Gi")


def test_one_wrong_byte_is_found_and_says_so(store: Release, jobs: Jobs) -> None:
    (path,) = [path for path in stored(store, ".archive.gz") if path.rpartition(".archive")[0] in marked(store)][-1:]
    with bucket(store, "backups") as found:
        body = found.get(path)
        found.put(path, body[:1000] + bytes([body[1000] ^ 1]) + body[1001:])
    id_ = path.rpartition("techshop-")[2].removesuffix(".archive.gz")
    with pytest.raises(Failure, match="isn't what was stored"):
        jobs.run("backup-verify", BACKUP=id_)
    with bucket(store, "backups") as found:
        found.put(path, body)
    assert "can be restored" in jobs.run("backup-verify", BACKUP=id_)


def marked(store: Release) -> set[str]:
    return {path.removesuffix(".manifest.json") for path in stored(store, ".manifest.json")}


def test_a_restore_refuses_to_take_data_away_unless_told(release: Release, jobs: Jobs) -> None:
    with pytest.raises(Failure, match="MongoDB holds data"):
        restore.restore(release.namespace, "latest", drop=False)


def test_a_shop_that_is_gone_comes_back_in_another_namespace(
    release: Release, store: Release, jobs: Jobs, record_property: Callable[[str, object], None]
) -> None:
    evaluate(release, "db.getSiblingDB('ballast').dropDatabase().ok")
    shop = Shop(release.url)
    order = shop.order(shop.products()[0]["id"])
    jobs.run("backup")
    helm.helm("uninstall", release.name, "--namespace", release.namespace, "--wait", "--timeout", "5m")
    helm.delete_namespaces(release.namespace)
    start = time.monotonic()
    anew = install(store, f"test-backup-anew-{int(time.time())}")
    restore.restore(anew.namespace, "latest", drop=True)
    shop.url = anew.url
    shop.login()
    assert shop.read_order(order["id"])["total"] == order["total"]
    record_property("seconds_to_recover", round(time.monotonic() - start))
    helm.delete_namespaces(anew.namespace)
