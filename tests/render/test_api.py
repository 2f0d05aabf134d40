"""Every object is one that the API servers of all supported Kubernetes take, whole and without a warning."""

import copy

import pytest
from api import problems
from conftest import KUBERNETES, Object, objects


@pytest.mark.parametrize("kube", KUBERNETES)
def test_every_object_meets_the_schema_of_each_kubernetes(rendered: list[Object], kube: str) -> None:
    found = {f"{item['kind']}/{item['metadata']['name']}": problems(item, kube) for item in rendered}
    assert {name: said for name, said in found.items() if said} == {}


def test_no_field_is_null(rendered: list[Object]) -> None:
    def nulls(tree: object, path: str) -> list[str]:
        if isinstance(tree, dict):
            return [found for key, value in tree.items() for found in nulls(value, f"{path}.{key}")]
        if isinstance(tree, list):
            return [found for index, value in enumerate(tree) for found in nulls(value, f"{path}[{index}]")]
        return [path] if tree is None else []

    assert [found for item in rendered for found in nulls(item, item["kind"])] == []


TLS = {"global.tls.enabled": True, "global.tls.issuerRef.name": "ours"}
OPERATOR = {"monitoring.operator.enabled": True}
VPA = {"app.verticalPodAutoscaler.enabled": True}


@pytest.mark.parametrize(
    ("kind", "values", "path", "wrong"),
    [
        ("StatefulSet", {}, "spec.replicas", "3"),
        ("StatefulSet", {}, "spec.template.spec.dnsPolcy", "None"),
        ("Deployment", {}, "metadata.annotations", {"a": 1.10}),
        ("NetworkPolicy", {}, "spec.podSelector.matchLabel", {}),
        ("Certificate", TLS, "spec.usages", ["no such usage"]),
        ("Certificate", TLS, "spec.dnsName", []),
        ("PodMonitor", OPERATOR, "spec.sampleLimit", "many"),
        ("PodMonitor", OPERATOR, "spec.podMetricEndpoints", []),
        ("PrometheusRule", OPERATOR, "spec.groups", [{"name": "a", "rules": [{"alert": "A"}]}]),
        ("VerticalPodAutoscaler", VPA, "spec.updatePolicy.updateMode", "Sometimes"),
    ],
)
def test_a_planted_mistake_is_seen(kind: str, values: dict, path: str, wrong: object) -> None:
    item = copy.deepcopy(next(item for item in objects(values=values) if item["kind"] == kind))
    assert problems(item, "1.37") == []
    *above, key = path.split(".")
    place = item
    for name in above:
        place = place[name]
    place[key] = wrong
    assert problems(item, "1.37")
