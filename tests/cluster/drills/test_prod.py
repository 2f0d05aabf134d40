"""The production environment: a replica set of three and a Redis Cluster of six, under customers who keep ordering."""

import base64
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import runbooks
from conftest import bucket, eventually

from techshop import crds, helm, paths, publish, shell
from techshop.errors import Failure
from techshop.release import Release
from techshop.restore import Jobs
from techshop.shop import Ledger, Shop


@pytest.fixture(scope="module")
def release(prod: Release) -> Release:
    return prod


def test_the_replica_set_has_three_members_and_least_privilege_users(release: Release) -> None:
    states = release.mongodb("rs.status().members.map((member) => member.stateStr)")
    assert sorted(states) == ["PRIMARY", "SECONDARY", "SECONDARY"]
    users = release.mongodb(
        "db.getSiblingDB('admin').getUsers().users.map((u) => [u.user, u.roles.map((r) => r.role).sort()])"
    )
    assert dict(users) == {
        "root": ["root"],
        "app": ["readWrite"],
        "backup": ["backup", "restore"],
        "exporter": ["clusterMonitor", "read"],
    }


def test_the_redis_cluster_has_three_masters_each_with_a_replica(release: Release) -> None:
    info = dict(line.split(":") for line in release.redis("CLUSTER", "INFO").split())
    assert (info["cluster_state"], info["cluster_slots_ok"], info["cluster_size"]) == ("ok", "16384", "3")
    nodes = release.nodes()
    masters = {node.id for node in nodes if "master" in node.flags}
    assert len(nodes) == 6
    assert sorted(masters) == sorted(node.master for node in nodes if "slave" in node.flags)


def test_redis_accounts_can_do_what_they_must_and_no_more(release: Release) -> None:
    def as_user(user: str, *command: str) -> str:
        script = f'REDISCLI_AUTH=$(cat /secrets/{user}-password) redis-cli -c --no-auth-warning --user {user} "$@" 2>&1'
        pod = ("exec", "techshop-redis-0", "-c", "redis", "--")
        return release.kubectl(*pod, "sh", "-c", script, "sh", *command).strip()

    assert as_user("app", "SET", "shop:probe", "1", "EX", "60") == "OK"
    for command in (("FLUSHALL",), ("CONFIG", "GET", "*"), ("KEYS", "*"), ("GET", "other"), ("SHUTDOWN",)):
        assert "NOPERM" in as_user("app", *command), command
    assert "redis_version" in as_user("exporter", "INFO", "server")
    assert "NOPERM" in as_user("exporter", "GET", "shop:probe")
    assert "NOAUTH" in release.kubectl(
        "exec", "techshop-redis-0", "-c", "redis", "--", "redis-cli", "GET", "shop:probe"
    )


def test_a_snapshot_of_each_shard_is_in_the_bucket_and_redis_loads_it(release: Release) -> None:
    keys = {f"shop:snapshot-{number}" for number in range(20)}
    set_all = "REDISCLI_AUTH=$(cat /secrets/app-password) redis-cli -c --no-auth-warning --user app"
    sent = "".join(f"SET {key} there EX 600\n" for key in keys)
    # Beside what it says of each node that it goes to.
    assert _in_redis(release, set_all, sent).splitlines().count("OK") == 20
    Jobs(release.namespace).run("backup-redis")
    with bucket(release, "backups") as found:
        snapshots = {
            path: found.get(path) for path in found.list() if path.startswith("redis/") and path.endswith(".rdb")
        }
    assert len(snapshots) == 3
    # In a Redis of its own, beside one that serves.
    load = """mkdir /data/look && cd /data/look && base64 -d > dump.rdb && trap 'kill $!; wait; rm -r /data/look' EXIT
redis-server --port 0 --unixsocket /data/look/socket --dir /data/look --appendonly no --save '' > log 2>&1 &
until redis-cli -s socket ping 2> /dev/null | grep -q PONG; do sleep 0.1; done
redis-cli -s socket --scan"""
    loaded = []
    for content in snapshots.values():
        loaded += _in_redis(release, load, base64.b64encode(content).decode()).split()
    assert keys <= set(loaded)
    assert len(set(loaded)) == len(loaded)


def test_snapshots_of_volumes_are_waited_for_and_too_many_deleted(release: Release) -> None:
    (crd,) = crds.files("external-snapshotter")
    helm.kubectl("apply", "-f", str(crd))
    # A job that nothing is said to ends soon.
    release.upgrade(backup__volumeSnapshots={"enabled": True, "keepLast": 1}, backup__deadlineSeconds=300)
    # Also those that a smaller set left.
    stores = "app.kubernetes.io/component in (mongodb, redis)"
    claims = release.kubectl("get", "pvc", "-l", stores, "-o", "name").split()
    assert len(claims) >= 9

    def all_waiting() -> list[str]:
        found = json.loads(release.kubectl("get", "volumesnapshots", "-o", "json"))["items"]
        names = [item["metadata"]["name"] for item in found if "status" not in item]
        assert len(names) == len(claims)
        return names

    # No storage here makes any: this test says that one has.
    for _ in range(2):
        with ThreadPoolExecutor() as pool:
            running = pool.submit(Jobs(release.namespace).run, "backup-snapshots")
            taken = eventually(all_waiting, every=1)
            assert not running.done()
            for name in taken:
                patch = ("--subresource=status", "--type=merge", "--patch", '{"status": {"readyToUse": true}}')
                release.kubectl("patch", "volumesnapshot", name, *patch)
            assert f"{len(claims)} snapshots are ready" in running.result()
    left = release.kubectl("get", "volumesnapshots", "-o", "name").split()
    assert sorted(name.partition("/")[2] for name in left) == sorted(taken)
    helm.kubectl("delete", "-f", str(crd))


@pytest.mark.parametrize(
    ("part", "port", "names"),
    [
        (
            "mongodb",
            9216,
            "mongodb_rs_members_state mongodb_rs_members_optimeDate mongodb_ss_connections"
            " mongodb_ss_wt_cache_maximum_bytes_configured mongodb_ss_extra_info_page_faults"
            " mongodb_mongod_replset_oplog_head_timestamp mongodb_mongod_replset_oplog_tail_timestamp",
        ),
        (
            "redis",
            9121,
            "redis_cluster_state redis_cluster_slots_ok redis_memory_used_bytes redis_memory_max_bytes"
            " redis_evicted_keys_total redis_connected_slaves redis_connected_clients",
        ),
    ],
)
def test_exporters_tell_what_dashboards_and_alerts_ask(release: Release, part: str, port: int, names: str) -> None:
    for pod in release.pods(part):
        told = release.metrics(pod, port)
        assert told[f"{part}_up"] == 1
        assert set(names.split()) <= set(told)


def test_all_pods_of_both_stores_gone_at_once_come_back_with_all_orders(release: Release, orders: Ledger) -> None:
    release.kubectl("delete", "pod", *release.pods("mongodb"), *release.pods("redis"), "--wait")
    for part in ("mongodb", "redis"):
        release.ready(part)


def test_an_upgrade_fails_no_request_and_changes_no_password(release: Release, orders: Ledger) -> None:
    before = {part: release.secret(part) for part in ("app", "mongodb", "redis", "objectstorage")}
    release.upgrade(app__logLevel="warn")
    release.ready("app")
    assert {part: release.secret(part) for part in before} == before
    assert orders.retried == []


@pytest.mark.parametrize("by_hand", [False, True], ids=["by-itself", "as-the-runbook-says"])
def test_an_upgrade_goes_on_from_one_whose_helm_was_killed(release: Release, orders: Ledger, by_hand: bool) -> None:
    def status() -> str:
        shown = helm.helm("status", release.name, "--namespace", release.namespace, "--output", "json")
        return str(json.loads(shown)["info"]["status"])

    with ThreadPoolExecutor() as pool:
        killed = pool.submit(release.upgrade, app__podAnnotations={"killed": str(by_hand)})
        eventually(lambda: status() == "pending-upgrade", every=0.2)
        shell.run("pkill", "-KILL", "-f", f"helm.* upgrade .*{release.namespace}")
        with pytest.raises(Failure, match="exit code -9"):
            killed.result()
    assert status() == "pending-upgrade"
    if by_hand:
        for command in runbooks.commands("runbooks/interrupted-upgrade", release.namespace):
            runbooks.run(command)
        assert status() == "deployed"
    release.upgrade(app__podAnnotations={"after": str(by_hand)})
    assert status() == "deployed"
    assert orders.retried == []


def test_both_helms_upgrade_from_the_last_release_and_roll_back_to_it_while_customers_order(
    release: Release, orders: Ledger, tmp_path: Path
) -> None:
    before = {part: release.secret(part) for part in ("app", "mongodb", "redis")}
    pods = _pods(release)
    last = publish.previous()
    chart = publish.unpack(last, tmp_path)
    if same := not shell.run("git", "diff", "--stat", last, "--", "charts", "values", cwd=paths.ROOT):
        about = chart / "Chart.yaml"
        about.write_text(re.sub(r"(?m)^version: .*", "version: 0.0.1", about.read_text()))
    for version in (3, 4):
        replace(release, chart=chart, helm=version).upgrade()
        replace(release, helm=version).upgrade()
    helm.helm("rollback", release.name, "--namespace", release.namespace, "--wait", "--timeout=10m", timeout=660)
    release.upgrade()
    assert {part: release.secret(part) for part in before} == before
    # No pod names the chart's version.
    assert not same or _pods(release) == pods
    assert orders.retried == []


def _in_redis(release: Release, script: str, stdin: str) -> str:
    """Run a script in the container of a Redis node."""
    pod = ("--namespace", release.namespace, "exec", "-i", "techshop-redis-0", "-c", "redis", "--")
    return helm.kubectl(*pod, "sh", "-c", script, stdin=stdin)


def _pods(release: Release) -> dict[str, str]:
    """Return the stores' pods, and the template of the storefront's, whose number is the autoscaler's to say."""
    found = json.loads(release.kubectl("get", "pods", "-l", "app.kubernetes.io/name=techshop", "-o", "json"))["items"]
    pods = {}
    # Those that an upgrade before has told to stop may still be there.
    for about in (pod["metadata"] for pod in found if "deletionTimestamp" not in pod["metadata"]):
        template = about["labels"].get("pod-template-hash")
        pods["app" if template else about["name"]] = template or about["uid"]
    return pods


def test_orders_outlive_uninstall_and_install_over_the_kept_volumes(release: Release) -> None:
    shop = Shop(release.url)
    order = shop.order(shop.products()[0]["id"])
    before = {part: release.secret(part) for part in ("app", "mongodb", "redis", "objectstorage")}
    helm.helm("uninstall", release.name, "--namespace", release.namespace, "--wait", "--timeout", "5m")
    eventually(lambda: not release.pods("mongodb") + release.pods("redis"))
    release.upgrade()
    assert {part: release.secret(part) for part in before} == before
    shop.url = release.url
    assert shop.read_order(order["id"])["total"] == order["total"]
