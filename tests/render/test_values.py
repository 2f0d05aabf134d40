"""Values that are wrong are refused in a sentence; odd ones are taken as they are meant."""

import json

import pytest
from conftest import ALL, CHART, SERVERS, defaults, objects, one, template


@pytest.mark.parametrize("helm", ["helm", "helm3"])
@pytest.mark.parametrize(
    "typo",
    [
        "ap",
        "app.replicacount",
        "mongodb.persistance",
        "redis.cluster.shard",
        "app.image.tags",
        "app.resources.requests.gpu",
        "networkpolicy",
        "global.secrets.existing.mongo",
    ],
)
def test_an_unknown_key_is_an_error_that_names_it_and_its_place(refused, typo: str, helm: str) -> None:
    *above, key = typo.split(".")
    place = "/" + "/".join(above) if above else ""
    assert f"at '{place}': additional properties '{key}' not allowed" in refused(values={typo: {}}, helm=helm)


@pytest.mark.parametrize("part", SERVERS)
@pytest.mark.parametrize("image", [{"tag": 1.1}, {"tag": "latest"}, {"digest": "sha256:12"}, {"repository": "A B"}])
def test_an_image_that_can_not_be_is_refused(refused, part: str, image: dict) -> None:
    place, _ = SERVERS[part]
    assert f"/{place.replace('.', '/')}/image/" in refused(values={f"{place}.image": image})


@pytest.mark.parametrize("part", SERVERS)
def test_a_digest_wins_over_the_tag(part: str) -> None:
    digest = "sha256:" + "a" * 64
    place, kind = SERVERS[part]
    item = one(objects(values=ALL | {f"{place}.image.digest": digest}), kind, f"-{part}")
    assert item["spec"]["template"]["spec"]["containers"][0]["image"].endswith(f"@{digest}")


@pytest.mark.parametrize("registry", ["mirror.example.com/docker", "mirror.example.com/docker/"])
def test_one_registry_serves_all_images(registry: str) -> None:
    text = template(values={"global.imageRegistry": registry})
    images = [line.split('"')[1] for line in text.splitlines() if line.strip().startswith("image:")]
    assert images and all(image.startswith("mirror.example.com/docker/") and "//" not in image for image in images)


def test_pull_secrets_are_names_or_maps() -> None:
    rendered = objects(values={"global.imagePullSecrets": ["one", {"name": "two"}]})
    assert one(rendered, "Deployment", "-app")["spec"]["template"]["spec"]["imagePullSecrets"] == [
        {"name": "one"},
        {"name": "two"},
    ]


def test_global_stays_open_to_charts_around_this_one() -> None:
    template(values={"global.somebodyElse": {"key": 1}})


def test_labels_reach_every_object_as_strings() -> None:
    for item in objects(values={"global.labels": {"costCentre": 1234567, "managed": True}}):
        assert item["metadata"]["labels"]["costCentre"] == "1234567"
        assert item["metadata"]["labels"]["managed"] == "true"


def test_the_schema_describes_every_value_and_only_values_that_exist() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def resolve(node: dict) -> dict:
        return {**schema["$defs"][node["$ref"].rsplit("/", 1)[1]], **node} if "$ref" in node else node

    def compare(node: dict, values: dict, path: str) -> None:
        node = resolve(node)
        known = node.get("properties", {})
        for key, value in values.items():
            assert key in known, f"{path}{key} has a default but no schema"
            assert resolve(known[key]).get("description"), f"{path}{key} has no description"
            if isinstance(value, dict) and value:
                compare(known[key], value, f"{path}{key}.")
        for key in set(known) - set(values) - {"global", "common", "ephemeral-storage"}:
            pytest.fail(f"{path}{key} is in the schema but has no default")

    compare(schema, defaults(), "")


@pytest.mark.parametrize("part", SERVERS)
@pytest.mark.parametrize("missing", [{"requests": None}, {"limits": None}, {"limits": {"memory": None}}])
def test_a_container_without_requests_or_a_memory_limit_is_refused(refused, part: str, missing: dict | None) -> None:
    place, _ = SERVERS[part]
    message = refused(values=ALL | {f"{place}.resources": missing, "resourceQuota.enabled": True})
    assert f"{place}.resources: a container needs requests.cpu, requests.memory and limits.memory" in message


CONTAINERS = [*(f"{place}.resources" for place, _ in SERVERS.values()), "mongodb.reconciler.resources"]


@pytest.mark.parametrize("key", CONTAINERS)
@pytest.mark.parametrize(
    ("resource", "wanted", "limit"),
    [("memory", "2Gi", "2047Mi"), ("cpu", 1.5, "1499m"), ("memory", 1e9, "0.9G"), ("ephemeral-storage", "1Ki", "1k")],
)
def test_a_request_larger_than_its_limit_is_refused(refused, key, resource, wanted, limit) -> None:
    amounts = {f"{key}.requests.{resource}": wanted, f"{key}.limits.{resource}": limit}
    message = refused(values=ALL | amounts)
    assert f"{key}.requests.{resource}: " in message
    assert f"is more than the limit of {limit}" in message


@pytest.mark.parametrize("key", CONTAINERS)
@pytest.mark.parametrize(("wanted", "limit"), [("1Gi", "1024Mi"), ("1000m", 1), ("0.5", "500m"), (2, "2")])
def test_a_request_equal_to_its_limit_is_taken(key: str, wanted: str | float, limit: str | float) -> None:
    resource = "memory" if "i" in str(wanted) else "cpu"
    template(values=ALL | {f"{key}.requests.{resource}": wanted, f"{key}.limits.{resource}": limit})
