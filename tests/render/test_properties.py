"""What holds for everything that is rendered, in every setup."""

import base64
import copy
import re
from pathlib import Path

import pytest
import yaml
from conftest import (
    CHART,
    CLUSTER_WIDE,
    KUBERNETES,
    OFF,
    Object,
    Setup,
    by_name,
    containers,
    in_process,
    objects,
    pods,
    template,
)

MAJORS = ("helm", "helm3")


@pytest.mark.parametrize("helm", MAJORS)
def test_each_helm_renders_every_setup_the_same(setup: Setup, helm: str) -> None:
    assert by_name(setup.objects(helm=helm)) == by_name(setup.objects())


@pytest.mark.parametrize("kube", KUBERNETES)
@pytest.mark.parametrize("helm", MAJORS)
def test_each_kubernetes_gets_the_same(environment: str, kube: str, helm: str) -> None:
    assert by_name(objects(environment, kube=kube, helm=helm)) == by_name(objects(environment))


@pytest.mark.parametrize("kube", ["1.33", "1.38"])
def test_unsupported_kubernetes_is_refused(refused, kube: str) -> None:
    assert "kubeVersion" in refused(kube=kube)


def test_same_values_give_same_bytes(environment: str) -> None:
    first = template(environment)
    in_process.cache_clear()
    assert template(environment) == first


def test_nothing_enabled_renders_nothing() -> None:
    assert objects(values=OFF | {"networkPolicy.enabled": False}) == []


def test_names_are_unique(rendered: list[Object]) -> None:
    names = [(item["kind"], item["metadata"]["name"]) for item in rendered]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("release", ["a", "techshop", "my.shop-2", "r" * 53, "techshop-" + "9" * 44])
def test_names_fit_their_limits(release: str) -> None:
    for item in objects("prod", release=release):
        name, kind = item["metadata"]["name"], item["kind"]
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name), name
        # A StatefulSet's pods get a label NAME-HASH of ten more characters and an ordinal.
        assert len(name) <= (52 if kind == "StatefulSet" else 63), f"{kind} {name}"


def test_long_release_names_that_differ_at_their_end_give_different_names() -> None:
    first, second = ({i["metadata"]["name"] for i in objects(release="r" * 52 + end)} for end in "ab")
    assert not first & second


def test_every_object_says_its_namespace_and_part(rendered: list[Object]) -> None:
    for item in rendered:
        if item["kind"] in CLUSTER_WIDE:
            assert item["metadata"]["name"].startswith("shop-")
        else:
            assert item["metadata"]["namespace"] == "shop"
        labels = item["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "techshop"
        assert labels["app.kubernetes.io/component"]
        assert all(isinstance(value, str) for value in labels.values())


def test_a_new_chart_version_changes_labels_only_and_rolls_no_pod(tmp_path: Path, environment: str) -> None:
    for source in CHART.rglob("*"):
        if source.is_file():
            target = tmp_path / source.relative_to(CHART)
            target.parent.mkdir(parents=True, exist_ok=True)
            text = source.read_text()
            if source.name == "Chart.yaml":
                text = text.replace("version: 0.1.0", "version: 0.2.0").replace(
                    'appVersion: "0.1.0"', 'appVersion: "9"'
                )
            target.write_text(text)
    now = copy.deepcopy(objects(environment))
    new = copy.deepcopy(objects(environment, chart=tmp_path))
    assert now != new
    for item in now + new:
        for label in ("helm.sh/chart", "app.kubernetes.io/version"):
            item["metadata"]["labels"].pop(label)
    assert now == new


def test_every_port_name_exists(rendered: list[Object]) -> None:
    for service in (item for item in rendered if item["kind"] == "Service"):
        selector = service["spec"]["selector"]
        pod = next(pod for _, pod in pods(rendered) if selector.items() <= pod["metadata"]["labels"].items())
        names = {port["name"] for container in containers(pod) for port in container.get("ports", [])}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= names


def test_secret_values_stand_nowhere_but_in_secrets(environment: str) -> None:
    rendered = objects(environment)
    passwords = [value for item in rendered if item["kind"] == "Secret" for value in item["data"].values()]
    assert passwords
    rest = yaml.safe_dump([item for item in rendered if item["kind"] != "Secret"])
    for value in passwords:
        assert value not in rest
        assert base64.b64decode(value).decode() not in rest


def test_no_hook_is_needed_to_work(rendered: list[Object]) -> None:
    hooks = [item["metadata"].get("annotations", {}).get("helm.sh/hook") for item in rendered]
    assert set(hooks) <= {None, "test"}


def test_a_store_has_a_headless_service_and_an_autoscaler_its_target(rendered: list[Object]) -> None:
    have = by_name(rendered)
    for item in rendered:
        if item["kind"] == "StatefulSet":
            assert have["Service", item["spec"]["serviceName"]]["spec"]["clusterIP"] == "None"
        if item["kind"] in {"HorizontalPodAutoscaler", "VerticalPodAutoscaler"}:
            target = item["spec"].get("scaleTargetRef") or item["spec"]["targetRef"]
            assert (target["kind"], target["name"]) in have


def test_a_service_selects_the_pods_of_one_workload(rendered: list[Object]) -> None:
    labels = [pod["metadata"]["labels"] for _, pod in pods(rendered)]
    for item in (item for item in rendered if item["kind"] == "Service"):
        selected = [has for has in labels if item["spec"]["selector"].items() <= has.items()]
        assert len(selected) == 1, item["metadata"]["name"]
