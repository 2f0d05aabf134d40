"""Rules about what runs already, which the chart sees through ``lookup``."""

import base64
from pathlib import Path

import fakeapi
import pytest
from conftest import SERVERS, Object, objects, one

SIZES = {
    "mongodb": "8Gi",
    "redis": "2Gi",
    "objectstorage": "10Gi",
    "tracing": "5Gi",
    "prometheus": "10Gi",
    "alertmanager": "1Gi",
}
PLACES = {part: SERVERS[part][0] for part in SIZES}


@pytest.fixture
def cluster(tmp_path: Path):
    """Return a function that starts an API server with these objects and returns its kubeconfig."""
    import contextlib

    with contextlib.ExitStack() as stack:

        def start(*running: Object) -> Path:
            # Each its own: what Helm said of one is kept by its path.
            kubeconfig = tmp_path / f"kubeconfig-{len(list(tmp_path.iterdir()))}"
            stack.enter_context(fakeapi.serving(list(running), kubeconfig))
            return kubeconfig

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
    message = refused(cluster=cluster(stateful_set(part, "512Mi")), helm=helm)
    assert f"{PLACES[part]}.persistence.size: the volumes of this release have 512Mi" in message
    assert f"kubectl -n shop patch pvc data-techshop-{part}-N -p" in message
    assert f'"storage":"{SIZES[part]}"' in message
    assert f"kubectl -n shop delete statefulset techshop-{part} --cascade=orphan" in message


@pytest.mark.parametrize("part", SIZES)
def test_shrinking_the_volumes_of_a_running_store_is_refused(cluster, refused, part: str) -> None:
    message = refused(cluster=cluster(stateful_set(part, "99Gi")), helm="helm3")
    assert f"{PLACES[part]}.persistence.size: the volumes of this release have 99Gi, and none can shrink to" in message


@pytest.mark.parametrize("part", SIZES)
@pytest.mark.parametrize(
    ("has", "values"),
    [(None, {"global.storageClass": "fast"}), ("fast", {}), ("fast", {"global.storageClass": "slow"})],
)
def test_another_storage_class_for_a_running_store_is_refused(cluster, refused, part, has, values) -> None:
    message = refused(cluster=cluster(stateful_set(part, SIZES[part], has)), values=values, helm="helm3")
    wanted = values.get("global.storageClass", "")
    assert f"{PLACES[part]}.persistence.storageClass: the volumes of this release have the class" in message
    assert f'have the class "{has or ""}", which' in message
    assert f'change to "{wanted}"' in message
    assert "docs/runbooks/change-storage-class.md" in message


@pytest.mark.parametrize("part", SIZES)
@pytest.mark.parametrize("has", [None, "fast"])
@pytest.mark.parametrize("form", ["{}", "{}000m", "{:.12e}", "{}e0"])
def test_the_same_volumes_written_differently_are_taken(cluster, part: str, has: str | None, form: str) -> None:
    running = cluster(stateful_set(part, form.format(int(SIZES[part][:-2]) * 2**30), has))
    rendered = objects(cluster=running, helm="helm3", values={f"{PLACES[part]}.persistence.storageClass": has or ""})
    claim = one(rendered, "StatefulSet", f"-{part}")["spec"]["volumeClaimTemplates"][0]
    assert claim["spec"]["resources"]["requests"]["storage"] == SIZES[part]


@pytest.mark.parametrize(
    ("part", "missing"),
    [
        ("app", "jwt-secret"),
        ("mongodb", "app-password"),
        ("redis", "admin-password"),
        ("objectstorage", "assets-access-key"),
    ],
)
@pytest.mark.parametrize("helm", ["helm", "helm3"])
def test_a_secret_of_the_users_own_without_a_key_is_refused(cluster, refused, part, missing, helm) -> None:
    message = refused(
        cluster=cluster(secret("mine", other="x")), values={f"global.secrets.existing.{part}": "mine"}, helm=helm
    )
    assert f"global.secrets.existing.{part}: the Secret mine has no {missing}" in message


def test_a_secret_of_the_users_own_without_the_token_lets_nobody_upload(cluster) -> None:
    running = cluster(secret("mine", jwt_secret="x"))
    rendered = objects(cluster=running, values={"global.secrets.existing.app": "mine"}, helm="helm3")
    env = one(rendered, "Deployment", "-app")["spec"]["template"]["spec"]["containers"][0]["env"]
    (token,) = (v["valueFrom"]["secretKeyRef"] for v in env if v["name"] == "UPLOAD_TOKEN")
    assert token == {"name": "mine", "key": "upload-token", "optional": True}


def test_the_secret_of_a_store_outside_needs_the_storefronts_password_only(cluster, refused) -> None:
    outside = {
        "mongodb.enabled": False,
        "backup.enabled": False,
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


def running_mongodb(image: str, *, tls: bool = False, held: str = "") -> list[Object]:
    name = {"name": "techshop-mongodb", "namespace": "shop"}
    pod = {"containers": [{"name": "mongod", "image": image}], "volumes": [{"name": "tls"}] if tls else []}
    claim = {"spec": {"resources": {"requests": {"storage": SIZES["mongodb"]}}}}
    spec = {"template": {"spec": pod}, "volumeClaimTemplates": [claim]}
    return [
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": name, "spec": spec},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": name, "data": {"compatibility": held}},
    ]


@pytest.mark.parametrize("running", ["docker.io/library/mongo:6.0.5", "mirror:5000/mongo:v6.0@sha256:" + "a" * 64])
def test_a_jump_over_a_version_of_mongodb_is_refused(cluster, refused, running: str) -> None:
    message = refused(cluster=cluster(*running_mongodb(running)), helm="helm3")
    assert "mongodb.image.tag: MongoDB 8.0 can't read the files of the 6.0 that runs" in message


@pytest.mark.parametrize("running", ["mongo:7.0.1", "mongo:9.0.0-rc1"])
@pytest.mark.parametrize(("before", "now"), [("", ""), ("", "held"), ("held", "")])
def test_another_version_of_mongodb_is_refused_until_the_files_are_held_at_the_older(
    cluster, refused, running: str, before: str, now: str
) -> None:
    older = "7.0" if "7.0" in running else "8.0"
    objects_ = running_mongodb(running, held=older if before else "")
    values = {"mongodb.featureCompatibilityVersion": older if now else ""}
    message = refused(cluster=cluster(*objects_), values=values, helm="helm3")
    assert f'set mongodb.featureCompatibilityVersion to "{older}" in an upgrade of its own' in message


@pytest.mark.parametrize(("running", "held"), [("mongo:7.0.1", "7.0"), ("mongo:8.0.1", ""), ("mongo@sha256:1", "")])
def test_the_next_version_of_mongodb_and_another_patch_are_taken(cluster, running: str, held: str) -> None:
    objects_ = running_mongodb(running, held=held)
    values = {"mongodb.featureCompatibilityVersion": held}
    assert objects(cluster=cluster(*objects_), values=values, helm="helm3")


@pytest.mark.parametrize("before", [True, False])
def test_tls_is_not_switched_while_a_store_runs(cluster, refused, before: bool) -> None:
    values = {"global.tls.enabled": not before, "global.tls.issuerRef.name": "ours"}
    running = running_mongodb("mongo:8.0.15", tls=before)
    message = refused(cluster=cluster(*running), values=values, helm="helm3")
    assert f"global.tls.enabled: techshop-mongodb runs with it {str(before).lower()}" in message
    objects(cluster=cluster(*running), values=values | {"global.tls.enabled": before}, helm="helm3")
