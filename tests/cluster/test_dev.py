"""The development environment: one pod of each, installed by Helm 3 as some still do."""

from collections.abc import Callable

import pytest
import requests
import strangers
from conftest import eventually

from techshop import helm, install
from techshop.errors import Failure
from techshop.release import Release
from techshop.shop import Ledger, Shop


@pytest.fixture(scope="module")
def release(make_release: Callable[..., Release]) -> Release:
    return make_release("dev", helm=3)


@pytest.fixture(scope="module")
def shop(release: Release) -> Shop:
    return Shop(release.url)


def test_an_order_goes_through(shop: Shop) -> None:
    product = shop.products()[0]["id"]
    order = shop.order(product, 2)
    assert shop.read_order(order["id"])["total"] == order["total"] > 0


def test_helm_test_places_an_order(release: Release) -> None:
    helm.helm("test", release.name, "--namespace", release.namespace, version=release.helm)


@pytest.mark.parametrize("environment", ["dev", "staging", "prod"])
def test_every_object_of_an_environment_is_accepted_by_the_api_server(release: Release, environment: str) -> None:
    files = [f"--values={file}" for file in install.values_files(environment)]
    seed = f"--set=global.secrets.seed={'s' * 32}"
    rendered = helm.helm(
        "template", "dry", str(helm.CHART), "--namespace", release.namespace, "--no-hooks", seed, *files
    )
    helm.kubectl("apply", "--dry-run=server", "--namespace", release.namespace, "-f", "-", stdin=rendered)


def test_an_upgrade_by_the_other_major_version_keeps_passwords_volumes_and_orders(release: Release, shop: Shop) -> None:
    order = shop.order(shop.products()[0]["id"])
    before = {part: release.secret(part) for part in ("app", "mongodb", "redis", "objectstorage")}
    pods = {part: release.pods(part) for part in ("mongodb", "redis", "objectstorage")}
    uids = {pod: release.get("pod", pod)["metadata"]["uid"] for part in pods for pod in pods[part]}
    release.helm = 4
    release.upgrade(app__logLevel="debug")
    assert {part: release.secret(part) for part in before} == before
    assert {pod: release.get("pod", pod)["metadata"]["uid"] for pod in uids} == uids, "an upgrade restarted a database"
    assert shop.read_order(order["id"])["id"] == order["id"]


@pytest.mark.parametrize(
    ("tag", "sentence"),
    [
        ("8.0.15", "MongoDB 8.0 can't read the files of the 6.0 that runs; go one major version at a time"),
        ("7.0.1", 'set mongodb.featureCompatibilityVersion to "6.0" in an upgrade of its own'),
        ("5.0.1", 'set mongodb.featureCompatibilityVersion to "5.0" in an upgrade of its own'),
    ],
)
def test_a_mongodb_that_could_not_read_the_files_is_refused(release: Release, tag: str, sentence: str) -> None:
    with pytest.raises(Failure) as refused:
        release.upgrade(mongodb__image__tag=tag)
    del release.values["mongodb.image.tag"]
    assert sentence in refused.value.tail


def test_the_version_of_the_files_is_lowered_and_raised_without_a_restart(release: Release, shop: Shop) -> None:
    pod = release.get("pod", "techshop-mongodb-0")["metadata"]["uid"]
    parameter = "db.adminCommand({getParameter: 1, featureCompatibilityVersion: 1}).featureCompatibilityVersion"
    for version in ("5.0", "6.0"):
        release.upgrade(mongodb__featureCompatibilityVersion=version)
        eventually(lambda version=version: release.mongodb(parameter) == {"version": version}, seconds=150)
    assert release.get("pod", "techshop-mongodb-0")["metadata"]["uid"] == pod
    shop.order(shop.products()[0]["id"])


def test_a_stranger_reaches_the_storefront_but_no_store(release: Release) -> None:
    ports = {"app": 80, "mongodb": 27017, "redis": 6379, "objectstorage": 8333}
    places = [(f"techshop-{part}", port) for part, port in ports.items()]
    assert strangers.reached(release, "stranger", places) == [("techshop-app", 80)]


def test_pictures_are_kept_by_who_has_them_and_drawn_again_when_the_object_storage_lost_them(
    release: Release, shop: Shop
) -> None:
    address = release.url + eventually(lambda: shop.products()[0]["picture"])

    def get(**headers: str) -> requests.Response:
        return requests.get(address, headers=headers, timeout=20)

    served = get()
    assert (served.status_code, served.headers["Content-Type"]) == (200, "image/svg+xml")
    assert served.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert served.headers["Access-Control-Allow-Origin"] == "*"
    assert "sandbox" in served.headers["Content-Security-Policy"]
    assert get(**{"If-None-Match": served.headers["ETag"]}).status_code == 304

    release.kubectl("delete", "pvc", "data-techshop-objectstorage-0", "--wait=false")
    release.kubectl("delete", "pod", "techshop-objectstorage-0", "--wait")
    assert get().status_code == 503
    shop.order(shop.products()[0]["id"])
    eventually(lambda: get().status_code == 404, seconds=180)

    release.kubectl("rollout", "restart", "deployment/techshop-app")
    release.ready("app")
    eventually(lambda: get().content == served.content)


def test_one_member_becomes_a_set_of_three(release: Release, orders: Ledger) -> None:
    release.upgrade(mongodb__replicaSet__replicas=3)
    eventually(lambda: sorted(release.states().values()) == ["PRIMARY", "SECONDARY", "SECONDARY"], seconds=300)
