"""The ResourceQuota holds whatever the values can ask for, and one that is too small is refused."""

import re

import pytest
from conftest import OFF, Object, containers, objects, one, pod_template

ON = {"resourceQuota.enabled": True}
UNITS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def amount(quantity: str | float) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(\D*)", str(quantity)).groups()
    return float(number) * UNITS[unit]


def most(rendered: list[Object]) -> dict[str, float]:
    """Add up what the objects can ask for at once: autoscalers at their maximum, and a rollout's surge."""
    maximum = {
        item["spec"]["scaleTargetRef"]["name"]: item["spec"]["maxReplicas"]
        for item in rendered
        if item["kind"] == "HorizontalPodAutoscaler"
    }
    total = {"pods": 0.0, "persistentvolumeclaims": 0.0, "requests.storage": 0.0}
    for item in rendered:
        if not (pod := pod_template(item)):
            continue
        spec = item["spec"]
        count = maximum.get(item["metadata"]["name"], spec.get("replicas", 1))
        if item["kind"] == "Deployment":
            count += spec["strategy"]["rollingUpdate"]["maxSurge"]
        total["pods"] += count
        for claim in spec.get("volumeClaimTemplates", []):
            total["persistentvolumeclaims"] += count
            total["requests.storage"] += count * amount(claim["spec"]["resources"]["requests"]["storage"])
        # What only prepares a pod is over when the rest begins, and asks for no more than that.
        before = [c for c in pod["spec"].get("initContainers", []) if "restartPolicy" not in c]
        for container in containers(pod)[len(before) :]:
            for kind, amounts in container["resources"].items():
                for resource, quantity in amounts.items():
                    key = f"{kind}.{resource}"
                    total[key] = total.get(key, 0.0) + count * amount(quantity)
    return total


def hard(*files: str, **options) -> dict[str, str]:
    return one(objects(*files, **options), "ResourceQuota")["spec"]["hard"]


VARIANTS = [
    {},
    {"app.autoscaling": {"enabled": True, "maxReplicas": 40}},
    {"app.replicaCount": 0},
    {"mongodb.replicaSet.replicas": 7, "mongodb.persistence.size": "1536.5Gi"},
    {"redis.cluster.shards": 9, "redis.cluster.replicasPerShard": 2, "redis.resources.requests.cpu": 0.15},
    {"redis.enabled": False, "app.redis.url": "redis://r", "global.secrets.existing.redis": "login"},
    {"app.enabled": False},
    {"objectstorage.enabled": False, "backup.enabled": False},
    {
        "objectstorage.external": {"enabled": True, "endpoint": "https://s3.example.com"},
        "objectstorage.resources.limits.cpu": None,
        "global.secrets.existing.objectstorage": "login",
    },
    {"tracing.external": {"enabled": True, "endpoint": "http://otel:4318"}},
    {"tracing.store": "elasticsearch", "tracing.elasticsearch.url": "http://es:9200"},
    {"app.resources.requests.memory": 134217728, "app.resources.limits.memory": "1G"},
    {"monitoring.grafana.enabled": False, "monitoring.prometheus.persistence.size": "300Gi"},
    {"monitoring.nodeExporter": {"enabled": True, "nodes": 1}},
    {"monitoring.operator.enabled": True},
]


@pytest.mark.parametrize("values", VARIANTS, ids=lambda values: ",".join(values) or "defaults")
def test_it_holds_exactly_what_the_values_can_ask_for(environment: str, values: dict) -> None:
    rendered = objects(environment, values=ON | values)
    needed = most(rendered)
    found = one(rendered, "ResourceQuota")["spec"]["hard"]
    assert found.keys() == needed.keys()
    for resource, quantity in found.items():
        rounding = 2**20 if "memory" in resource or "storage" in resource else 0.001
        assert needed[resource] <= amount(quantity) + 1e-6
        assert amount(quantity) < needed[resource] + rounding, resource


def test_there_is_none_unless_asked_for(environment: str) -> None:
    assert not [item for item in objects(environment) if item["kind"] == "ResourceQuota"]


def test_nothing_enabled_needs_nothing() -> None:
    assert not [item for item in objects(values=ON | OFF) if item["kind"] == "ResourceQuota"]


@pytest.mark.parametrize(
    ("resource", "small", "least"),
    [
        ("pods", 31, "32"),
        ("requests.cpu", "7209m", "7210m"),
        ("cpu", 7, "7210m"),
        ("requests.memory", "10591Mi", "10592Mi"),
        ("memory", "9G", "10592Mi"),
        ("limits.cpu", 23, "24600m"),
        ("limits.memory", "22Gi", "23232Mi"),
        ("persistentvolumeclaims", 12, "13"),
        ("requests.storage", "170Gi", "175104Mi"),
    ],
)
def test_less_than_that_is_refused_with_both_amounts(refused, resource, small, least) -> None:
    message = refused("prod", values=ON | {"resourceQuota.hard": {resource: small}})
    assert f"resourceQuota.hard.{resource}: {small} is less than the {least}" in message
    assert f"write {least} or more" in message
    enough = hard("prod", values=ON | {"resourceQuota.hard": {resource: least}})
    assert enough[resource if "." in resource or resource[0] == "p" else f"requests.{resource}"] == least


def test_other_amounts_of_the_users_are_kept() -> None:
    wanted = {"count/secrets": 1000000, "requests.cpu": 64}
    assert {"count/secrets": "1000000", "requests.cpu": "64"}.items() <= hard(
        values=ON | {"resourceQuota.hard": wanted}
    ).items()


def test_a_container_without_a_cpu_limit_leaves_it_out_of_the_quota(refused) -> None:
    unlimited = ON | {"mongodb.resources.limits.cpu": None}
    assert "limits.cpu" not in hard(values=unlimited)
    message = refused(values=unlimited | {"resourceQuota.hard": {"limits.cpu": 100}})
    assert "resourceQuota.hard.limits.cpu: it keeps out every container without" in message
