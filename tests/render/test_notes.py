"""What Helm prints after an install: true for these values, and with every risk that they take."""

import pytest
from conftest import OFF, notes

#: A storage of objects that is no risk of its own.
SAFE = {
    "objectstorage.external": {"enabled": True, "endpoint": "https://s3.example.com"},
    "global.secrets.existing.objectstorage": "s3-login",
    "monitoring.alertmanager.receivers": [{"name": "operators"}],
}
PLAIN = {"enabled": True, "hosts": ["shop.example.com"], "tls": {"enabled": False}}
RISKS = [
    ({"ingress": PLAIN}, "Ingress answers in plain HTTP", "ingress.tls.enabled: true"),
    ({"gateway": PLAIN | {"className": "envoy"}}, "Gateway answers in plain HTTP", "gateway.tls.enabled: true"),
    ({"app.replicaCount": 1}, "storefront may have one pod", "app.replicaCount: 2"),
    ({"app.autoscaling": {"enabled": True, "minReplicas": 1}}, "one pod", "app.autoscaling.minReplicas: 2"),
    ({"app.service.type": "LoadBalancer"}, "plain HTTP", "put TLS in front"),
    ({"app.service.type": "NodePort"}, "plain HTTP", "put TLS in front"),
    ({"mongodb.replicaSet.replicas": 1}, "MongoDB has one member", "mongodb.replicaSet.replicas: 3"),
    ({"redis.cluster.enabled": False}, "Redis is one node", "redis.cluster.enabled: true"),
    ({"networkPolicy.enabled": False}, "Any pod of the cluster", "networkPolicy.enabled: true"),
    (
        {"app.mongodb.uri": "mongodb://db/shop?tls=false", "global.secrets.existing.mongodb": "login"},
        "MongoDB outside is reached without TLS",
        "add tls=true",
    ),
    (
        {"app.redis.url": "redis://cache", "global.secrets.existing.redis": "login"},
        "Redis outside is reached without TLS",
        "rediss://",
    ),
    ({"backup.enabled": False}, "MongoDB is not backed up", "backup.enabled: true"),
    ({"monitoring.enabled": False}, "Nobody watches", "monitoring.enabled: true"),
    ({"monitoring.alertmanager.receivers": []}, "Alerts reach nobody", "monitoring.alertmanager.receivers"),
    ({"monitoring.alertmanager.enabled": False}, "Alerts go nowhere", "monitoring.alertmanager.enabled: true"),
    ({"monitoring.operator.enabled": True}, "operator's Prometheus reaches none", "networkPolicy.scrapers"),
    ({"objectstorage.external.enabled": False}, "keeps one copy of each file", "external.enabled: true"),
    ({"objectstorage.external.endpoint": "http://minio:9000"}, "S3 outside is reached without TLS", "https://"),
]
FINE = [
    {},
    {"app.autoscaling.enabled": True, "app.replicaCount": 1},
    {"app.mongodb.uri": "mongodb://db/shop?w=1&tls=true", "global.secrets.existing.mongodb": "login"},
    {"app.mongodb.uri": "mongodb+srv://db/shop", "global.secrets.existing.mongodb": "login"},
    {"app.redis.url": "rediss://cache", "global.secrets.existing.redis": "login"},
    {"app.enabled": False, "app.replicaCount": 1},
    {"redis.cluster.enabled": False, "redis.enabled": False, "app.enabled": False},
    {f"{part}.enabled": False for part in ("app", "mongodb", "objectstorage", "backup", "tracing")},
    {"monitoring.operator.enabled": True, "networkPolicy.scrapers": [{"namespaceSelector": {}}]},
]


@pytest.mark.parametrize(("values", "risk", "remedy"), RISKS)
def test_each_risk_is_named_with_what_ends_it(values: dict, risk: str, remedy: str) -> None:
    (listed,) = [line for line in notes(values=SAFE | values).split("Not fit for production:")[1].splitlines() if line]
    assert listed.startswith("  - ")
    assert risk in listed and remedy in listed


@pytest.mark.parametrize("values", FINE)
def test_no_risk_is_named_that_is_none(values: dict) -> None:
    assert "Not fit for production" not in notes(values=SAFE | values)


@pytest.mark.parametrize(
    ("values", "address"),
    [
        ({"app.service.port": 8000}, "port-forward service/techshop-app 8080:8000 "),
        ({"app.service": {"type": "NodePort", "nodePort": 30080}}, "http://ADDRESS-OF-A-NODE:30080\n"),
        ({"app.service.type": "NodePort"}, "-o jsonpath='{.spec.ports[0].nodePort}')"),
        ({"app.service.type": "LoadBalancer"}, "http://ADDRESS:80, with the address from: kubectl -n shop get service"),
    ],
)
def test_the_address_follows_the_service(values: dict, address: str) -> None:
    assert address in notes(values=values)


def test_passwords_are_looked_for_in_the_secrets_that_are_used() -> None:
    text = notes(values={"global.secrets.existing.mongodb": "mine", "redis.enabled": False, "app.enabled": False})
    assert "get secret mine -o jsonpath='{.data.root-password}'" in text
    assert "redis" not in text.lower()
    assert "get secret techshop-objectstorage -o jsonpath='{.data.assets-secret-key}'" in text


@pytest.mark.parametrize(
    ("values", "address"),
    [
        ({}, "S3           http://techshop-objectstorage.shop:8333, SeaweedFS with 10Gi"),
        (SAFE, "https://s3.example.com"),
    ],
)
def test_it_says_where_s3_answers(values: dict, address: str) -> None:
    text = notes(values=values)
    assert address in text
    assert ("assets-secret-key" in text) == (not values)


def test_parts_that_are_off_are_not_spoken_of() -> None:
    text = notes(values=OFF)
    for word in ("storefront", "MongoDB", "Redis", "S3", "Prometheus", "Traces", "Passwords", "helm test", "pvc"):
        assert word not in text
