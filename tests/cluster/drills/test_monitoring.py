"""Monitoring on a real cluster: all is scraped, every query has data, and what breaks is told to people."""

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
import requests
import runbooks
import strangers
from conftest import eventually

from techshop import faults, helm, observability
from techshop.errors import Failure
from techshop.release import Release
from techshop.restore import Jobs
from techshop.shop import Ledger, Shop

#: Whom alerts are sent to: a web server that writes down what it is told.
RECEIVER = """
require('node:http').createServer((request, response) => {
  let body = '';
  request.on('data', (part) => { body += part; });
  request.on('end', () => { console.log(JSON.stringify(JSON.parse(body))); response.end(); });
}).listen(8080);
"""
#: Where there is one target for each pod, and where for each node.
PER_POD = (
    "app",
    "mongodb",
    "redis",
    "objectstorage",
    "prometheus",
    "alertmanager",
    "kube-state-metrics",
    "backup-metrics",
)


@pytest.fixture(scope="module")
def release(prod: Release) -> Release:
    receive(prod)
    prod.upgrade(
        monitoring__alertmanager__receivers=[
            {"name": "test", "webhook_configs": [{"url": f"http://receiver.{prod.namespace}.svc:8080/"}]}
        ],
        monitoring__alertmanager__routes=[{"group_wait": "1s", "group_interval": "5s"}],
        # No less than at most, which a busy machine makes it want, and which is an alert of its own.
        app__autoscaling__minReplicas=4,
    )
    jobs = Jobs(prod.namespace)
    for name in ("backup", "backup-verify"):
        jobs.run(name)
    return prod


def receive(release: Release) -> None:
    """Start the receiver, as somebody's own pod in the release's namespace."""
    labels = {"app": "receiver"}
    strangers.start(release, "receiver", "node", "-e", RECEIVER, labels=labels)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "receiver"},
        "spec": {"selector": labels, "ports": [{"port": 8080}]},
    }
    helm.kubectl("apply", "--namespace", release.namespace, "-f", "-", stdin=json.dumps(service))
    release.kubectl("wait", "pod/receiver", "--for=condition=Ready", "--timeout=60s")


@pytest.fixture
def prometheus(release: Release) -> Iterator[str]:
    """The address of Prometheus."""
    with release.forwarded("techshop-prometheus-0", 9090) as address:
        yield f"http://{address}"


def ask(address: str, expr: str, **when: float) -> list[dict[str, Any]]:
    answer = requests.get(f"{address}/api/v1/query", params={"query": expr, **when}, timeout=20)
    return list(answer.json()["data"]["result"])


def told(release: Release, status: str) -> dict[str, str]:
    """Return the severity of each alert that the receiver was told of, by name."""
    messages = [json.loads(line) for line in release.kubectl("logs", "receiver").splitlines()]
    labels = [alert["labels"] for message in messages for alert in message["alerts"] if alert["status"] == status]
    return {found["alertname"]: found["severity"] for found in labels}


def test_every_pod_is_scraped_once(release: Release, prometheus: str) -> None:
    def targets() -> list[dict[str, Any]]:
        found = requests.get(f"{prometheus}/api/v1/targets?state=active", timeout=20).json()["data"]["activeTargets"]
        down = [target["lastError"] for target in found if target["health"] != "up"]
        assert not down
        return list(found)

    found = eventually(targets)
    assert max(Counter(target["scrapeUrl"] for target in found).values()) == 1
    jobs = Counter(target["labels"]["job"] for target in found)
    for component in PER_POD:
        job = {"backup-metrics": "backup"}.get(component, component)
        assert jobs[job] == len(release.pods(component)) > 0, component
    for series in ask(prometheus, 'count by (job) ({__name__=~".+"})'):
        print(series["metric"], series["value"][1])


def test_every_panel_and_every_alert_has_data(release: Release, orders: Ledger) -> None:
    names = observability.Names(namespace=release.namespace, release=release.name, base=release.name)

    def nothing_missing() -> bool:
        with release.forwarded("techshop-prometheus-0", 9090) as address:
            missing = observability.without_data(f"http://{address}", names)
        assert not missing, [f"{query.where}: {query.expr}" for query in missing]
        return True

    eventually(nothing_missing, seconds=300, every=10)


def test_the_commands_that_look_run_as_the_runbooks_have_them(release: Release) -> None:
    pages = {page.stem for page in observability.RUNBOOKS.glob("*.md")}
    looks = {command for page in pages for command in runbooks.commands(f"runbooks/{page}", release.namespace, "Look")}
    # Neither cert-manager nor a controller of volume snapshots is in this cluster.
    looks = {look for look in looks if not re.search("cert-manager|certificates|volumesnapshots", look)}
    assert len(looks) > 60
    failed = {}

    def run(command: str) -> None:
        try:
            runbooks.run(command)
        except Failure as failure:
            failed[command] = failure.tail

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, looks))
    assert failed == {}


def test_what_breaks_is_told_and_nothing_else_and_it_is_told_when_it_is_over(release: Release, orders: Ledger) -> None:
    expected = {
        "MongoDBMemberDown": "warning",
        "RedisNodeDown": "warning",
        "BackupFailing": "warning",
        "ShopAvailabilityBudgetBurn": "critical",
        "VolumeAlmostFull": "critical",
    }
    assert told(release, "firing") == {}, "something was told before anything broke"
    secondary = next(pod for pod in release.pods("mongodb") if pod != release.primary())
    gone = [secondary, release.writer("redis")]
    jobs = Jobs(release.namespace)
    picture = release.url + str(eventually(lambda: Shop(release.url).products()[0]["picture"]))
    with ExitStack() as broken:
        volume = broken.enter_context(faults.small_volume(release.namespace, "techshop-alertmanager-0"))
        release.kubectl("rollout", "status", "statefulset/techshop-alertmanager", "--timeout=120s")
        faults.fill(release.namespace, "techshop-alertmanager-0", volume)
        broken.callback(faults.empty, release.namespace, "techshop-alertmanager-0", volume)
        for pod in gone:
            broken.enter_context(faults.cordoned(faults.node_of(release.namespace, pod)))
        release.kubectl("delete", "pod", *gone, "--wait=false")
        release.kubectl("scale", "statefulset/techshop-objectstorage", "--replicas=0")
        broken.callback(release.kubectl, "scale", "statefulset/techshop-objectstorage", "--replicas=1")
        eventually(lambda: not release.pods("objectstorage"))
        with pytest.raises(Failure):
            jobs.run("backup")

        def all_told() -> bool:
            for _ in range(20):
                assert requests.get(picture, timeout=20).status_code == 503
            return expected.items() <= told(release, "firing").items()

        eventually(all_told, seconds=420)
    # After five minutes without the object storage its own alert is right as well.
    late = {"ShopPicturesDown": "warning"}
    assert late | told(release, "firing") == late | expected

    for part in ("mongodb", "redis", "objectstorage"):
        release.ready(part)
    jobs.run("backup")
    # The one about the budget ends only when the storm is out of its window of five minutes.
    over = expected.keys() - {"ShopAvailabilityBudgetBurn"}
    eventually(lambda: over <= told(release, "resolved").keys(), seconds=300)


def test_a_silenced_alert_is_not_told(release: Release) -> None:
    with release.forwarded("techshop-alertmanager-0", 9093) as address:
        silence = {
            "matchers": [{"name": "alertname", "value": "Watchdog", "isRegex": False, "isEqual": True}],
            "startsAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "endsAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 300)),
            "createdBy": "a test",
            "comment": "to see that it is silent",
        }
        requests.post(f"http://{address}/api/v2/silences", json=silence, timeout=20).raise_for_status()

        def state() -> str:
            found = requests.get(f"http://{address}/api/v2/alerts", params={"filter": "alertname=Watchdog"}, timeout=20)
            return str(found.json()[0]["status"]["state"])

        eventually(lambda: state() == "suppressed")


def test_prometheus_restarts_and_has_all_that_it_had(release: Release) -> None:
    expr = "sum(http_requests_total)"
    with release.forwarded("techshop-prometheus-0", 9090) as address:
        then = float(ask(f"http://{address}", "time()")[0] or 0)
        before = ask(f"http://{address}", expr, time=then)
    release.kubectl("delete", "pod", "techshop-prometheus-0", "--wait")
    release.kubectl("rollout", "status", "statefulset/techshop-prometheus", "--timeout=180s")
    with release.forwarded("techshop-prometheus-0", 9090) as address:
        assert before == ask(f"http://{address}", expr, time=then) != []
        # It goes on where it was.
        eventually(lambda: ask(f"http://{address}", f"{expr} - sum(http_requests_total offset 1m)"), seconds=180)
