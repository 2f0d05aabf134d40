"""TLS everywhere, Valkey in Redis' place, and Secrets that change while the shop runs: certificates and passwords."""

from collections.abc import Callable

import pytest
import runbooks
from certificates import Authority
from conftest import eventually

from techshop import images
from techshop.errors import Failure
from techshop.ledger import RedisLedger
from techshop.release import Release
from techshop.shop import Ledger

SERVICES = {"mongodb": ("techshop-mongodb",), "redis": ("techshop-redis", "techshop-redis-nodes")}
PORTS = {"mongodb": 27017, "redis": 6379}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def release(make_release: Callable[..., Release], authority: Authority) -> Release:
    def issue(namespace: str) -> None:
        for part, services in SERVICES.items():
            authority.issue(f"{part}-certificate", namespace, *services)

    existing = {part: f"{part}-certificate" for part in SERVICES}
    tls = {"global__tls__enabled": True, "global__tls__existing": existing}
    return make_release("prod", "ci", before=issue, **tls, redis__image=images.alternative("valkey"))


@pytest.mark.parametrize(
    ("part", "container", "command"),
    [
        ("mongodb", "mongod", "TLS=false timeout 4 bash /scripts/hello.sh 127.0.0.1 alive"),
        ("redis", "redis", "timeout 4 redis-cli ping"),  # which any answer satisfies
    ],
)
def test_a_client_without_tls_is_refused(release: Release, part: str, container: str, command: str) -> None:
    with pytest.raises(Failure):
        release.kubectl("exec", f"techshop-{part}-0", "-c", container, "--", "sh", "-c", command)


@pytest.mark.parametrize("part", ["mongodb", "redis"])
def test_all_pods_gone_at_once_find_each_other_over_tls(release: Release, orders: Ledger, part: str) -> None:
    release.kubectl("delete", "pod", *release.pods(part), "--wait")
    release.ready(part)


@pytest.mark.parametrize("part", ["mongodb", "redis"])
def test_a_renewed_certificate_is_taken_without_a_restart(
    release: Release, authority: Authority, orders: Ledger, part: str
) -> None:
    restarts = uids(release, part)
    authority.issue(f"{part}-certificate", release.namespace, *SERVICES[part])
    release.notice()
    for pod in release.pods(part):
        eventually(lambda pod=pod: authority.shown(release, pod, PORTS[part]) == authority.issued(), seconds=180)
    assert uids(release, part) == restarts
    assert orders.retried == []


@pytest.mark.parametrize(("part", "port"), [("mongodb", 9216), ("redis", 9121)])
def test_exporters_reach_their_store_over_tls(release: Release, part: str, port: int) -> None:
    assert release.metrics(f"techshop-{part}-0", port)[f"{part}_up"] == 1


def odd_passwords(release: Release) -> None:
    """Give every account a password with all that needs care somewhere."""
    odd = 'né/w:p@ss%20"\\#{}word'
    for part in SERVICES:
        keys = [key for key in release.secret(part) if key.endswith("-password")]
        release.set_secret(part, **{key: f"{key} {odd}" for key in keys})
    release.kubectl("rollout", "restart", "deployment/techshop-app")


def as_the_runbook_says(release: Release) -> None:
    """Run the commands of the runbook."""
    for command in runbooks.commands("runbooks/rotate-passwords", release.namespace):
        runbooks.run(command)


@pytest.mark.parametrize("rotate", [odd_passwords, as_the_runbook_says])
def test_new_passwords_are_taken_without_a_restart_of_the_stores(
    release: Release, orders: Ledger, rotate: Callable[[Release], None]
) -> None:
    restarts = {part: uids(release, part) for part in SERVICES}
    rotate(release)
    release.notice()
    release.ready("app")
    eventually(lambda: all(taken(release, pod) for pod in release.pods("redis")), seconds=180)
    eventually(release.primary)
    with RedisLedger(release.namespace, tls="redis-certificate") as sessions:
        placed = len(orders.placed)
        eventually(lambda: len(orders.placed) > placed + 10)
    assert sessions.result is not None
    assert sessions.result["lost"] == 0
    assert {part: uids(release, part) for part in SERVICES} == restarts


def test_tls_can_not_be_switched_off_while_the_stores_run(release: Release) -> None:
    with pytest.raises(Failure) as refused:
        Release(release.namespace, release.files).upgrade(global__tls__enabled=False)
    assert "uninstall the release, which keeps volumes and passwords, and install it anew" in refused.value.tail


def uids(release: Release, part: str) -> dict[str, tuple[str, int]]:
    """Return of each pod who it is, and how often its containers were started again."""
    return {pod: (release.get("pod", pod)["metadata"]["uid"], release.restarts(pod)) for pod in release.pods(part)}


def taken(release: Release, pod: str) -> bool:
    """Say whether a node of Redis knows the password that the Secret has now."""
    script = "REDISCLI_AUTH=$(cat /secrets/app-password) redis-cli --tls --cacert /tls/ca.crt --user app ping 2>&1"
    mounted = release.kubectl("exec", pod, "-c", "redis", "--", "cat", "/secrets/app-password")
    answer = release.kubectl("exec", pod, "-c", "redis", "--", "sh", "-c", script)
    return mounted == release.secret("redis")["app-password"] and answer.strip() == "PONG"
