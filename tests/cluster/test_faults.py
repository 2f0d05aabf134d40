"""Faults under load: something breaks while customers order; every acknowledged write must be there afterwards."""

import json
import time
from collections.abc import Iterator

import pytest
import runbooks
from conftest import eventually

from techshop import faults, helm, shell
from techshop.ledger import RedisLedger
from techshop.release import Release
from techshop.shop import Ledger


@pytest.fixture(scope="module")
def release(prod: Release) -> Release:
    return prod


@pytest.fixture(autouse=True)
def healthy(release: Release) -> None:
    """Let the fault before be over."""
    for part in ("mongodb", "redis", "app"):
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


@pytest.mark.parametrize(("part", "container"), [("mongodb", "mongod"), ("redis", "redis")])
def test_the_process_that_takes_the_writes_is_killed(
    release: Release, orders: Ledger, sessions: RedisLedger, part: str, container: str
) -> None:
    pod = release.writer(part)
    before = release.restarts(pod)
    faults.signal(release.namespace, pod, container, "KILL")
    eventually(lambda: release.restarts(pod) > before)
    # Whoever it is: the process is often back before the others would replace it.
    eventually(lambda: release.writer(part))


@pytest.mark.parametrize(("part", "container"), [("mongodb", "mongod"), ("redis", "redis")])
def test_a_process_stands_still_for_20_seconds(
    release: Release, orders: Ledger, sessions: RedisLedger, part: str, container: str
) -> None:
    pod = release.writer(part)
    faults.signal(release.namespace, pod, container, "STOP")
    time.sleep(20)
    faults.signal(release.namespace, pod, container, "CONT")


@pytest.mark.parametrize("part", ["mongodb", "redis"])
def test_a_pods_network_is_gone_for_30_seconds(
    release: Release, orders: Ledger, sessions: RedisLedger, part: str
) -> None:
    pod = release.writer(part)
    with faults.isolated(release.namespace, pod):
        time.sleep(30)


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
        for part in ("mongodb", "redis", "app"):
            release.ready(part)


@pytest.mark.parametrize("part", ["mongodb", "redis"])
def test_a_member_loses_its_volume(release: Release, orders: Ledger, sessions: RedisLedger, part: str) -> None:
    pod = release.writer(part)
    claim = f"data-{pod}"
    release.kubectl("delete", "pvc", claim, "--wait=false")
    release.kubectl("delete", "pod", pod, "--wait")
    eventually(lambda: release.get("pvc", claim)["status"]["phase"] == "Bound")
    release.ready(part)
    if part == "mongodb":
        eventually(lambda: set(release.states().values()) == {"PRIMARY", "SECONDARY"} and len(release.states()) == 3)
    else:
        eventually(lambda: release.shape() == {"masters": 3, "replicas": 3, "others": 0})


def test_an_upgrade_that_changes_resources_rolls_both_stores(
    release: Release, orders: Ledger, sessions: RedisLedger
) -> None:
    release.upgrade(mongodb__podAnnotations={"round": "2"}, redis__podAnnotations={"round": "2"})
    for part in ("mongodb", "redis"):
        release.ready(part, timeout=600)
    helm.helm("rollback", release.name, "--namespace", release.namespace, "--wait", "--timeout=10m", timeout=660)
    for part in ("mongodb", "redis"):
        release.ready(part, timeout=600)
    assert orders.retried == []


def test_redis_shards_are_added_and_taken_away(release: Release, orders: Ledger, sessions: RedisLedger) -> None:
    release.upgrade(redis__cluster__shards=4)
    eventually(lambda: release.shape() == {"masters": 4, "replicas": 4, "others": 0}, seconds=300)
    release.upgrade(redis__cluster__shards=3)
    eventually(lambda: release.shape() == {"masters": 3, "replicas": 3, "others": 0}, seconds=600)


def test_mongodb_members_are_added_and_taken_away(release: Release, orders: Ledger) -> None:
    for members in (5, 3):
        release.upgrade(mongodb__replicaSet__replicas=members)
        eventually(lambda members=members: len(release.states()) == members, seconds=300)
        eventually(lambda: sorted(set(release.states().values())) == ["PRIMARY", "SECONDARY"])


def test_volumes_grow_as_the_runbook_says_and_nothing_restarts(release: Release, orders: Ledger) -> None:
    allow = {"allowVolumeExpansion": True}
    helm.kubectl("patch", "storageclass", "standard", "--patch", json.dumps(allow))
    pods = {pod: release.get("pod", pod)["metadata"]["uid"] for pod in release.pods("mongodb")}
    for command in runbooks.commands("grow-volumes", release.namespace):
        shell.run("bash", "-euo", "pipefail", "-c", command, env=runbooks.environment(), timeout=300)
    release.upgrade(mongodb__persistence__size="40Gi")
    assert {pod: release.get("pod", pod)["metadata"]["uid"] for pod in release.pods("mongodb")} == pods
    sizes = {release.get("pvc", f"data-{pod}")["spec"]["resources"]["requests"]["storage"] for pod in pods}
    assert sizes == {"40Gi"}
    assert orders.retried == []
