"""Rules about what runs already, which the chart sees through ``lookup``."""

import base64
from pathlib import Path

import fakeapi
import pytest
from conftest import Object, objects, one

SIZES = {"mongodb": "8Gi", "redis": "2Gi"}


@pytest.fixture
def cluster(tmp_path: Path):
    """Return a function that starts an API server with these objects and returns its kubeconfig."""
    import contextlib

    with contextlib.ExitStack() as stack:

        def start(*running: Object) -> Path:
            stack.enter_context(fakeapi.serving(list(running), tmp_path / "kubeconfig"))
            return tmp_path / "kubeconfig"

        yield start


def stateful_set(part: str, size: str, storage_class: str | None = None) -> Object:
    spec: Object = {"resources": {"requests": {"storage": size}}}
    if storage_class:
        spec["storageClassName"] = storage_class
    name = {"name": f"techshop-{part}", "namespace": "shop"}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": name,
        "spec": {"volumeClaimTemplates": [{"spec": spec}]},
    }


def secret(name: str, **data: str) -> Object:
    encoded = {key.replace("_", "-"): base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "shop"}, "data": encoded}


@pytest.mark.parametrize("part", SIZES)
@pytest.mark.parametrize("helm", ["helm", "helm3"])
def test_growing_the_volumes_of_a_running_store_is_refused_with_the_way_to_do_it(cluster, refused, part, helm) -> None:
    message = refused(cluster=cluster(stateful_set(part, "1Gi")), helm=helm)
    assert f"{part}.persistence.size: the volumes of this release have 1Gi" in message
    assert f"kubectl -n shop patch pvc data-techshop-{part}-N -p" in message
    assert f'"storage":"{SIZES[part]}"' in message
    assert f"kubectl -n shop delete statefulset techshop-{part} --cascade=orphan" in message


@pytest.mark.parametrize("part", SIZES)
def test_shrinking_the_volumes_of_a_running_store_is_refused(cluster, refused, part: str) -> None:
    message = refused(cluster=cluster(stateful_set(part, "9Gi")), helm="helm3")
    assert f"{part}.persistence.size: the volumes of this release have 9Gi, and none can shrink to" in message


@pytest.mark.parametrize("part", SIZES)
@pytest.mark.parametrize(
    ("has", "values"),
    [(None, {"global.storageClass": "fast"}), ("fast", {}), ("fast", {"global.storageClass": "slow"})],
)
def test_another_storage_class_for_a_running_store_is_refused(cluster, refused, part, has, values) -> None:
    message = refused(cluster=cluster(stateful_set(part, SIZES[part], has)), values=values, helm="helm3")
    wanted = values.get("global.storageClass", "")
    assert f'{part}.persistence.storageClass: the volumes of this release have the class "{has or ""}"' in message
    assert f'change to "{wanted}"' in message


@pytest.mark.parametrize("part", SIZES)
@pytest.mark.parametrize("has", [None, "fast"])
@pytest.mark.parametrize("form", ["{}", "{}000m", "{:.12e}", "{}e0"])
def test_the_same_volumes_written_differently_are_taken(cluster, part: str, has: str | None, form: str) -> None:
    running = cluster(stateful_set(part, form.format(int(SIZES[part][0]) * 2**30), has))
    rendered = objects(cluster=running, helm="helm3", values={f"{part}.persistence.storageClass": has or ""})
    claim = one(rendered, "StatefulSet", f"-{part}")["spec"]["volumeClaimTemplates"][0]
    assert claim["spec"]["resources"]["requests"]["storage"] == SIZES[part]


@pytest.mark.parametrize(
    ("part", "missing"), [("app", "jwt-secret"), ("mongodb", "app-password"), ("redis", "admin-password")]
)
@pytest.mark.parametrize("helm", ["helm", "helm3"])
def test_a_secret_of_the_users_own_without_a_key_is_refused(cluster, refused, part, missing, helm) -> None:
    message = refused(
        cluster=cluster(secret("mine", other="x")), values={f"global.secrets.existing.{part}": "mine"}, helm=helm
    )
    assert f"global.secrets.existing.{part}: the Secret mine has no {missing}" in message


def test_the_secret_of_a_store_outside_needs_the_storefronts_password_only(cluster, refused) -> None:
    outside = {
        "mongodb.enabled": False,
        "app.mongodb.uri": "mongodb://db.example.com",
        "global.secrets.existing.mongodb": "login",
    }
    running = cluster(secret("login", password="x"))
    assert "the Secret login has no app-password" in refused(cluster=running, values=outside, helm="helm3")
    running = cluster(secret("login", app_password="x"))
    assert objects(cluster=running, values=outside, helm="helm3")


def test_a_secret_that_is_not_there_yet_is_left_to_who_makes_it(cluster) -> None:
    assert objects(cluster=cluster(), values={"global.secrets.existing.mongodb": "later"}, helm="helm3")


def test_a_password_in_the_cluster_wins_over_the_seed(cluster) -> None:
    running = cluster(secret("techshop-redis", app_password="kept"))
    data = one(objects(cluster=running, helm="helm3"), "Secret", "-redis")["data"]
    assert base64.b64decode(data["app-password"]) == b"kept"
    assert data["admin-password"] == one(objects(), "Secret", "-redis")["data"]["admin-password"]
