"""The object storage on a real cluster: whom its keys and the network let in, and what outlives its pod."""

import time
from collections.abc import Callable

import pytest
import requests
import strangers
from conftest import bucket, eventually

from techshop import faults
from techshop.errors import Failure
from techshop.release import Release
from techshop.s3 import Denied

POD = "techshop-objectstorage-0"
BUCKETS = {"assets": "techshop-assets", "backups": "techshop-backups"}
UPLOADER = {"job": "upload"}


@pytest.fixture(scope="module")
def release(make_release: Callable[..., Release]) -> Release:
    off = {f"{part}__enabled": False for part in ("app", "mongodb", "redis")}
    return make_release("dev", **off, networkPolicy__uploaders=[{"podSelector": {"matchLabels": UPLOADER}}])


@pytest.fixture(autouse=True)
def healthy(release: Release) -> None:
    release.ready("objectstorage")


def holds(release: Release, name: str, key: str, body: bytes | None) -> bool:
    """Whether the bucket can be read and has the object, or, for None, no objects at all."""
    try:
        with bucket(release, name) as found:
            return found.list() == [] if body is None else found.get(key) == body
    except requests.RequestException as error:
        raise Failure(f"{name} can't be read: {error}") from error


@pytest.mark.parametrize(("name", "other"), [("assets", "backups"), ("backups", "assets")])
def test_keys_open_their_bucket_and_no_other(release: Release, name: str, other: str) -> None:
    with bucket(release, name) as own:
        own.put("own", b"1")
        assert own.get("own") == b"1"
    with bucket(release, other, keys=name) as foreign:
        for method, path in (("GET", "?list-type=2"), ("PUT", "x"), ("GET", "own"), ("DELETE", "own")):
            with pytest.raises(Denied):
                foreign.call(method, path)


@pytest.mark.parametrize(("labels", "open_ports"), [(UPLOADER, [8333]), ({}, [])])
def test_the_network_leads_to_s3_only_and_only_who_is_named(
    release: Release, labels: dict[str, str], open_ports: list[int]
) -> None:
    ports = (8333, 18333, 8888, 18888, 9333, 19333, 8080, 18080, 9327)
    places = [("techshop-objectstorage-nodes", port) for port in ports]
    found = strangers.reached(release, "uploader" if labels else "stranger", places, labels)
    assert [port for _, port in found] == open_ports


def test_an_upgrade_keeps_keys_and_restarts_nothing(release: Release) -> None:
    before, pod = release.secret("objectstorage"), release.get("pod", POD)["metadata"]["uid"]
    release.upgrade(app__logLevel="debug")
    assert release.secret("objectstorage") == before
    assert release.get("pod", POD)["metadata"]["uid"] == pod


def test_data_outlive_a_kill(release: Release) -> None:
    with bucket(release, "backups") as backups:
        backups.put("killed", b"1" * 5_000_000)
    before = release.restarts(POD)
    faults.signal(release.namespace, POD, "seaweedfs", "KILL")
    eventually(lambda: release.restarts(POD) > before)
    eventually(lambda: holds(release, "backups", "killed", b"1" * 5_000_000))


def test_data_outlive_the_pod_which_stops_within_30_seconds(release: Release) -> None:
    with bucket(release, "assets") as assets:
        assets.put("moved", b"1")
    start = time.monotonic()
    release.kubectl("delete", "pod", POD, "--wait")
    assert time.monotonic() - start < 30
    eventually(lambda: holds(release, "assets", "moved", b"1"))


def test_changed_keys_are_taken_without_a_restart(release: Release) -> None:
    pod, restarts = release.get("pod", POD)["metadata"]["uid"], release.restarts(POD)
    with bucket(release, "assets") as old:
        release.set_secret("objectstorage", assets_access_key="new-access", assets_secret_key="new-secret")

        def refused() -> bool:
            try:
                old.list()
            except Denied:
                return True
            return False

        eventually(refused)
    with bucket(release, "assets") as new:
        new.put("after", b"1")
    assert (release.get("pod", POD)["metadata"]["uid"], release.restarts(POD)) == (pod, restarts)


def test_a_lost_volume_gets_its_buckets_back(release: Release) -> None:
    release.kubectl("delete", "pvc", f"data-{POD}", "--wait=false")
    release.kubectl("delete", "pod", POD, "--wait")
    for name in BUCKETS:
        eventually(lambda name=name: holds(release, name, "", None), seconds=180)
