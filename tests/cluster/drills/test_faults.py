"""Faults under load: something breaks while customers order; every acknowledged write must be there afterwards."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import runbooks
from conftest import eventually

from techshop import faults, helm
from techshop.ledger import RedisLedger
from techshop.release import Release
from techshop.shop import Ledger

#: The container of each store that takes the writes.
SERVERS = {"mongodb": "mongod", "redis": "redis"}


@pytest.fixture(scope="module")
def release(prod: Release) -> Release:
    return prod


@pytest.fixture(autouse=True)
def healthy(release: Release) -> None:
    """Let the fault before be over."""
    for part in (*SERVERS, "app"):
        release.ready(part)
    eventually(lambda: "cluster_state:ok" in release.redis("CLUSTER", "INFO"))
    eventually(release.primary)


@pytest.fixture
def sessions(release: Release) -> Iterator[RedisLedger]:
    """A client of Redis that writes while the test runs; afterwards every confirmed write must be there."""
    with RedisLedger(release.namespace) as ledger:
        yield ledger
    assert ledger.result is not None
    assert ledger.result["lost"] == 0, ledger.result
    assert ledger.result["written"] > 100, ledger.result


def test_the_processes_that_take_the_writes_are_killed(release: Release, orders: Ledger, sessions: RedisLedger) -> None:
    writers = {part: release.writer(part) for part in SERVERS}
    before = {part: release.restarts(pod) for part, pod in writers.items()}
    for part, pod in writers.items():
        faults.signal(release.namespace, pod, SERVERS[part], "KILL")
    for part, pod in writers.items():
        eventually(lambda pod=pod, count=before[part]: release.restarts(pod) > count)
        # Whoever it is: the process is often back before the others would replace it.
        eventually(lambda part=part: release.writer(part))
    said = release.kubectl("logs", writers["mongodb"], "-c", "reconciler", "--tail=20")
    assert "mongod is gone" in said, "nobody was asked to take over before the election timeout"


def test_the_processes_that_take_the_writes_stand_still_for_20_seconds(
    release: Release, orders: Ledger, sessions: RedisLedger
) -> None:
    writers = {part: release.writer(part) for part in SERVERS}
    for part, pod in writers.items():
        faults.signal(release.namespace, pod, SERVERS[part], "STOP")
    time.sleep(20)
    for part, pod in writers.items():
        faults.signal(release.namespace, pod, SERVERS[part], "CONT")


def test_the_network_of_those_that_take_the_writes_is_gone_for_30_seconds(
    release: Release, orders: Ledger, sessions: RedisLedger
) -> None:
    primary, master = (release.writer(part) for part in SERVERS)
    with faults.isolated(release.namespace, primary), faults.isolated(release.namespace, master):
        time.sleep(30)


def test_a_full_volume_is_named_and_the_others_take_over(
    release: Release, orders: Ledger, sessions: RedisLedger
) -> None:
    pods = {part: release.writer(part) for part in SERVERS}
    said = {
        "mongodb": lambda: release.kubectl("logs", pods["mongodb"], "-c", "mongod", "--tail=5"),
        "redis": lambda: release.kubectl("logs", pods["redis"], "-c", "reconciler", "--tail=5"),
    }
    with ExitStack() as volumes:
        folders = {
            part: volumes.enter_context(faults.small_volume(release.namespace, pod)) for part, pod in pods.items()
        }
        for part, pod in pods.items():
            release.ready(part)
            eventually(lambda part=part, pod=pod: release.promote(part, pod) or pod in release.writers(part))
        for part, pod in pods.items():
            faults.fill(release.namespace, pod, folders[part])
        for part, pod in pods.items():
            eventually(lambda part=part: "docs/runbooks/grow-volumes.md" in said[part](), seconds=240)
            eventually(lambda part=part, pod=pod: pod not in release.writers(part))
        placed = len(orders.placed)
        eventually(lambda: len(orders.placed) > placed + 10)
        for part, pod in pods.items():
            faults.empty(release.namespace, pod, folders[part])
        for part in SERVERS:
            release.ready(part, timeout=600)
    for part in SERVERS:
        release.ready(part)


def test_the_node_that_holds_the_primary_is_switched_off(release: Release, orders: Ledger) -> None:
    primary = release.primary()
    with faults.node_down(faults.node_of(release.namespace, primary)):
        eventually(lambda: release.primary() not in (None, primary), seconds=60)
        placed = len(orders.placed)
        eventually(lambda: len(orders.placed) > placed + 10, seconds=90)


def test_each_node_in_turn_is_drained(release: Release, orders: Ledger, sessions: RedisLedger) -> None:
    for node in faults.workers():
        with faults.drained(node):
            pass
        for part in (*SERVERS, "app"):
            release.ready(part)


def test_those_that_take_the_writes_lose_their_volumes(release: Release, orders: Ledger, sessions: RedisLedger) -> None:
    writers = [release.writer(part) for part in SERVERS]
    claims = [f"data-{pod}" for pod in writers]
    release.kubectl("delete", "pvc", *claims, "--wait=false")
    release.kubectl("delete", "pod", *writers, "--wait")
    for claim in claims:
        eventually(lambda claim=claim: release.get("pvc", claim)["status"]["phase"] == "Bound")
    for part in SERVERS:
        release.ready(part)
    eventually(lambda: sorted(release.states().values()) == ["PRIMARY", "SECONDARY", "SECONDARY"])
    eventually(lambda: release.shape() == {"masters": 3, "replicas": 3, "others": 0})


def test_an_upgrade_and_a_rollback_restart_both_stores_pod_by_pod(
    release: Release, orders: Ledger, sessions: RedisLedger
) -> None:
    release.upgrade(mongodb__podAnnotations={"round": "2"}, redis__podAnnotations={"round": "2"})
    for part in SERVERS:
        release.ready(part, timeout=600)
    helm.helm("rollback", release.name, "--namespace", release.namespace, "--wait", "--timeout=10m", timeout=660)
    for part in SERVERS:
        release.ready(part, timeout=600)
    assert orders.retried == []


@pytest.mark.parametrize(("members", "shards"), [(5, 4), (3, 3)], ids=["larger", "smaller"])
def test_both_stores_change_their_size_though_the_pod_that_moves_slots_is_deleted(
    release: Release, orders: Ledger, sessions: RedisLedger, members: int, shards: int
) -> None:
    def delete_mover() -> None:
        eventually(lambda: not release.even(), seconds=300, every=0.2)
        release.kubectl("delete", "pod", f"{release.name}-redis-0", "--wait=false")

    with ThreadPoolExecutor() as pool:
        deleted = pool.submit(delete_mover)
        release.upgrade(mongodb__replicaSet__replicas=members, redis__cluster__shards=shards)
        deleted.result()
    states = ["PRIMARY"] + ["SECONDARY"] * (members - 1)
    eventually(lambda: sorted(release.states().values()) == states, seconds=300)
    eventually(lambda: release.shape() == {"masters": shards, "replicas": shards, "others": 0}, seconds=600)
    eventually(release.even, seconds=300)


def test_volumes_grow_as_the_runbook_says_and_nothing_restarts(release: Release, orders: Ledger) -> None:
    allow = {"allowVolumeExpansion": True}
    helm.kubectl("patch", "storageclass", "standard", "--patch", json.dumps(allow))
    pods = {pod: release.get("pod", pod)["metadata"]["uid"] for pod in release.pods("mongodb")}
    for command in runbooks.commands("runbooks/grow-volumes", release.namespace):
        runbooks.run(command)
    release.upgrade(mongodb__persistence__size="40Gi")
    assert {pod: release.get("pod", pod)["metadata"]["uid"] for pod in release.pods("mongodb")} == pods
    sizes = {release.get("pvc", f"data-{pod}")["spec"]["resources"]["requests"]["storage"] for pod in pods}
    assert sizes == {"40Gi"}
    assert orders.retried == []


def test_both_stores_move_to_another_storage_class_as_the_runbook_says(
    release: Release, orders: Ledger, sessions: RedisLedger
) -> None:
    standard = json.loads(helm.kubectl("get", "storageclass", "standard", "-o", "json"))
    other = {key: standard[key] for key in ("apiVersion", "kind", "provisioner", "reclaimPolicy", "volumeBindingMode")}
    helm.kubectl("apply", "-f", "-", stdin=json.dumps({**other, "metadata": {"name": "test-other"}}))
    take_away, give_volumes = runbooks.commands("runbooks/change-storage-class", release.namespace)
    for part in SERVERS:
        runbooks.run(take_away.replace("mongodb", part))
    release.upgrade(mongodb__persistence__storageClass="test-other", redis__persistence__storageClass="test-other")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda part: runbooks.run(give_volumes.replace("mongodb", part)), SERVERS))
    for part in SERVERS:
        claims = [release.get("pvc", f"data-{pod}")["spec"] for pod in release.pods(part)]
        assert {claim["storageClassName"] for claim in claims} == {"test-other"}
    eventually(lambda: sorted(release.states().values()) == ["PRIMARY", "SECONDARY", "SECONDARY"])
    eventually(lambda: release.shape() == {"masters": 3, "replicas": 3, "others": 0})
