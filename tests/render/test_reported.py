"""What users report against charts like this one: each kind of fault, over everything it could be in."""

from typing import Any

import pytest
import yaml
from conftest import CHART, CLUSTER_WIDE, Object, by_name, containers, load, objects, one, pod_template, pods, run_helm

PARTS = ["app", "mongodb", "redis", "objectstorage", "tracing"]
#: Texts that YAML 1.1 reads as something else unless they are quoted.
LOOKALIKES = ["", "1.10", "0123", "1e6", "yes", "on", "null", "~", "0x1F", "1_000", "12:30", "2026-01-01", "true"]


def workload(part: str, **options: Any) -> Object:
    return one(objects(**options), "Deployment" if part == "app" else "StatefulSet", f"-{part}")


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("text", LOOKALIKES)
def test_a_text_that_looks_like_something_else_stays_a_text(part: str, text: str) -> None:
    values = {f"{part}.extraEnv": [{"name": "X", "value": text}], f"{part}.podAnnotations": {"x": text}}
    pod = workload(part, values=values)["spec"]["template"]
    assert pod["metadata"]["annotations"]["x"] == text
    assert pod["spec"]["containers"][0]["env"][-1] == {"name": "X", "value": text}


@pytest.mark.parametrize("name", ["0123", "1e6", "yes", "null", "1.10", "0x1f"])
def test_a_name_that_looks_like_something_else_stays_a_text(name: str) -> None:
    values = {
        "global.storageClass": name,
        "global.imagePullSecrets": [name],
        **{f"global.secrets.existing.{part}": name for part in PARTS},
        **{f"{part}.priorityClassName": name for part in PARTS},
        "global.tls": {"enabled": True, "existing": {"mongodb": name, "redis": name}},
    }
    rendered = objects(values=values, namespace=name.replace(".", "-"))
    for found, pod in pods(rendered):
        assert pod["spec"]["imagePullSecrets"] == [{"name": name}], found
    for item in rendered:
        assert item["kind"] in CLUSTER_WIDE or item["metadata"]["namespace"] == name.replace(".", "-")
        for claim in item.get("spec", {}).get("volumeClaimTemplates", []):
            assert claim["spec"]["storageClassName"] == name
    assert all(workload(part, values=values)["spec"]["template"]["spec"]["priorityClassName"] == name for part in PARTS)


@pytest.mark.parametrize("part", PARTS)
def test_a_tag_that_looks_like_a_number_is_kept_as_it_is_written(part: str) -> None:
    image = workload(part, values={f"{part}.image.tag": "1.10"})["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image.endswith(":1.10")


@pytest.mark.parametrize("amount", [1_000_000, 10_000_000, 2_147_483_647])
def test_a_large_integer_is_not_written_as_a_float(amount: int) -> None:
    values = {
        "app.replicaCount": amount,
        "redis.podDisruptionBudget.maxUnavailable": amount,
        "redis.tolerations": [{"operator": "Exists", "tolerationSeconds": amount}],
        "app.podAnnotations": {"n": amount},
        "global.labels": {"n": amount},
    }
    rendered = objects(values=values)
    assert repr(one(rendered, "Deployment", "-app")["spec"]["replicas"]) == str(amount)
    assert repr(one(rendered, "PodDisruptionBudget", "-redis")["spec"]["maxUnavailable"]) == str(amount)
    redis = one(rendered, "StatefulSet", "-redis")["spec"]["template"]["spec"]
    assert repr(redis["tolerations"][0]["tolerationSeconds"]) == str(amount)
    assert one(rendered, "Deployment", "-app")["spec"]["template"]["metadata"]["annotations"]["n"] == str(amount)
    assert {item["metadata"]["labels"]["n"] for item in rendered} == {str(amount)}
    scaled = objects(values={"app.autoscaling": {"enabled": True, "minReplicas": amount, "maxReplicas": amount}})
    assert repr(one(scaled, "HorizontalPodAutoscaler")["spec"]["maxReplicas"]) == str(amount)


@pytest.mark.parametrize("key", ["yes", "1.10", "0123", "null"])
def test_a_label_named_like_something_else_keeps_its_name(key: str) -> None:
    values = {"global.labels": {key: "x"}, "app.podLabels": {key: "x"}, "app.podAnnotations": {key: "x"}}
    rendered = objects(values=values)
    assert all(item["metadata"]["labels"][key] == "x" for item in rendered)
    pod = one(rendered, "Deployment", "-app")["spec"]["template"]["metadata"]
    assert pod["labels"][key] == pod["annotations"][key] == "x"


@pytest.mark.parametrize("key", ["app.kubernetes.io/name", "app.kubernetes.io/version", "helm.sh/chart"])
def test_a_label_of_ours_can_not_be_set_twice_or_otherwise(key: str) -> None:
    values = {"global.labels": {key: "hijacked"}, **{f"{part}.podLabels": {key: "hijacked"} for part in PARTS}}
    for item in objects(values=values):
        assert item["metadata"]["labels"][key] != "hijacked"
        if (pod := pod_template(item)) and key == "app.kubernetes.io/name":
            assert pod["metadata"]["labels"][key] == "techshop"


@pytest.mark.parametrize("value", [{"a b": "x"}, {"-a": "x"}, {"a": "x y"}, {"a": "x" * 64}, {"a": "-x"}, {"a": -1}])
@pytest.mark.parametrize("where", ["global.labels", "app.podLabels", "redis.nodeSelector"])
def test_a_label_that_kubernetes_does_not_take_is_refused(refused, where: str, value: dict) -> None:
    assert f"at '/{where.replace('.', '/')}" in refused(values={where: value})


def cli(*arguments: str) -> list[Object]:
    return load(run_helm(("template", "techshop", str(CHART), "--namespace", "shop", *arguments), "helm"))


@pytest.mark.parametrize("text", ["a,b", "a=b", "{a,b}", "a.b", '"a"', "a\\b", "$HOME"])
def test_a_text_that_the_command_line_gives_a_meaning_arrives(text: str) -> None:
    escaped = text.replace("\\", "\\\\").replace(",", "\\,")
    escaped = f"\\{escaped}" if escaped.startswith("{") else escaped
    for given in (
        ("--set-string", f"app.podAnnotations.x={escaped}"),
        ("--set-literal", f"app.podAnnotations.x={text}"),
    ):
        pod = one(cli(*given), "Deployment", "-app")["spec"]["template"]
        assert pod["metadata"]["annotations"]["x"] == text


def test_lists_can_be_set_item_by_item() -> None:
    set_ = ("--set", "global.imagePullSecrets[0].name=a", "--set", "global.imagePullSecrets[1]=b")
    assert one(cli(*set_), "Deployment", "-app")["spec"]["template"]["spec"]["imagePullSecrets"] == [
        {"name": "a"},
        {"name": "b"},
    ]


@pytest.mark.parametrize("other", ["techshop-2", "shop", "my.shop", "a" * 53])
def test_two_releases_in_one_namespace_do_not_touch_each_other(other: str) -> None:
    first, second = objects("prod"), objects("prod", release=other)

    assert not by_name(first).keys() & by_name(second).keys()
    for ours, theirs in ((first, second), (second, first)):
        for selector in selectors(ours):
            for name, pod in pods(theirs):
                assert not selector.items() <= pod["metadata"]["labels"].items(), name


def selectors(tree: object) -> list[dict[str, str]]:
    """Every selector of pods in these objects."""
    if isinstance(tree, list):
        return [found for item in tree for found in selectors(item)]
    if not isinstance(tree, dict):
        return []
    here = (
        [tree["selector"]] if isinstance(tree.get("selector"), dict) and "matchLabels" not in tree["selector"] else []
    )
    if "matchLabels" in tree and "kubernetes.io/metadata.name" not in tree["matchLabels"]:
        here.append(tree["matchLabels"])
    return here + [found for value in tree.values() for found in selectors(value)]


@pytest.mark.parametrize("namespace", ["other", "123", "a" * 63])
def test_a_release_in_another_namespace_stays_in_it(namespace: str) -> None:
    rendered = objects("prod", namespace=namespace)
    assert {item["metadata"]["namespace"] for item in rendered if item["kind"] not in CLUSTER_WIDE} == {namespace}
    hosts = [word for word in yaml.safe_dump(rendered, width=10_000).split() if ".svc." in word]
    assert hosts and all(f".{namespace}.svc.cluster.local" in host for host in hosts)


def test_users_and_groups_are_left_to_a_cluster_that_wants_to_choose_them(rendered: list[Object]) -> None:
    chosen = {"runAsUser", "runAsGroup", "fsGroup"}
    assert all(chosen <= set(pod["spec"]["securityContext"]) for _, pod in pods(rendered))
    for name, pod in pods(objects("prod", values={"global.arbitraryUsers": True})):
        assert not chosen & set(pod["spec"]["securityContext"]), name
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True, name
        assert not any(chosen & set(container["securityContext"]) for container in containers(pod)), name


@pytest.mark.parametrize("policy", ["SingleStack", "PreferDualStack", "RequireDualStack"])
def test_customers_may_come_over_both_ip_families(policy: str) -> None:
    assert "ipFamilyPolicy" not in one(objects(), "Service", "-app")["spec"]
    assert (
        one(objects(values={"app.service.ipFamilyPolicy": policy}), "Service", "-app")["spec"]["ipFamilyPolicy"]
        == policy
    )


def test_an_empty_storage_class_leaves_it_to_the_cluster() -> None:
    for part in PARTS[1:]:
        (claim,) = workload(part, values={"global.storageClass": ""})["spec"]["volumeClaimTemplates"]
        assert "storageClassName" not in claim["spec"]


@pytest.mark.parametrize("key", ["imagePullSecrets", "labels"])
def test_what_is_empty_leaves_no_key_behind(key: str) -> None:
    values = {f"{part}.{name}": empty for part in PARTS for name, empty in EMPTY.items()}
    assert objects(values=values | {f"global.{key}": [] if key == "imagePullSecrets" else {}}) == objects()


EMPTY: dict[str, Any] = {
    "nodeSelector": {},
    "affinity": {},
    "tolerations": [],
    "topologySpreadConstraints": [],
    "priorityClassName": "",
    "podAnnotations": {},
    "podLabels": {},
    "extraEnv": [],
    "extraVolumes": [],
    "extraVolumeMounts": [],
}


@pytest.mark.parametrize("registry", ["[fd00::1]:5000", "mirror.example.com:5000/a/b", "localhost:5000", "10.0.0.1"])
def test_every_image_comes_from_the_mirror(registry: str) -> None:
    values = {"global.imageRegistry": registry, "mongodb.exporter.enabled": True, "redis.exporter.enabled": True}
    for name, pod in pods(objects(values=values)):
        for container in containers(pod):
            assert container["image"].startswith(f"{registry}/"), f"{name}/{container['name']}"


@pytest.mark.parametrize("registry", ["https://mirror.example.com", "a b", "mirror.example.com/A", "-", "x//y"])
def test_a_registry_that_is_none_is_refused(refused, registry: str) -> None:
    assert "at '/global/imageRegistry'" in refused(values={"global.imageRegistry": registry})
