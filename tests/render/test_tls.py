"""Encryption to and between the stores."""

from typing import Any

import pytest
from conftest import Object, containers, objects, one, pods

STORES = ["mongodb", "redis"]
ISSUED = {"global.tls.enabled": True, "global.tls.issuerRef.name": "ours"}
OWN = {"global.tls.enabled": True, "global.tls.existing": {part: f"my-{part}" for part in STORES}}


def tls_secret(pod: Object, volume: str) -> str:
    return str(next(item["secret"]["secretName"] for item in pod["volumes"] if item["name"] == volume))


def test_without_tls_nothing_speaks_of_it(environment: str) -> None:
    rendered = objects(environment)
    assert not [item for item in rendered if item["kind"] == "Certificate"]
    for name, pod in pods(rendered):
        assert not [volume for volume in pod["spec"].get("volumes", []) if "tls" in volume["name"]], name


@pytest.mark.parametrize("missing", [{}, {"global.tls.existing.mongodb": "m"}, {"global.tls.existing.redis": "r"}])
def test_tls_that_nobody_issues_a_certificate_for_is_refused(refused, missing: dict[str, Any]) -> None:
    message = refused(values={"global.tls.enabled": True, **missing})
    assert "global.tls.issuerRef.name: global.tls.enabled is true, but nobody issues a certificate for" in message


@pytest.mark.parametrize("part", STORES)
def test_a_certificate_names_every_host_that_is_connected_to(part: str) -> None:
    rendered = objects("prod", values={**ISSUED, "global.clusterDomain": "example.org"})
    spec = one(rendered, "Certificate", f"-{part}")["spec"]
    assert spec["issuerRef"] == {"name": "ours", "kind": "Issuer", "group": "cert-manager.io"}
    assert {"server auth", "client auth"} <= set(spec["usages"])
    services = [item["metadata"]["name"] for item in rendered if item["kind"] == "Service"]
    for service in (name for name in services if part in name):
        assert f"{service}.shop.svc.example.org" in spec["dnsNames"]
    for member in one(rendered, "ConfigMap", f"-{part}")["data"]["members"].split():
        host, _, domain = member.removesuffix(":27017").partition(".")
        assert host.startswith(f"techshop-{part}-")
        assert f"*.{domain}" in spec["dnsNames"]


@pytest.mark.parametrize("part", STORES)
@pytest.mark.parametrize(("values", "secret"), [(ISSUED, "techshop-{}-tls"), (OWN, "my-{}")])
def test_a_store_gets_its_certificate_and_the_storefront_only_its_authority(
    part: str, values: dict[str, Any], secret: str
) -> None:
    rendered = objects("prod", values=values)
    assert len([item for item in rendered if item["kind"] == "Certificate"]) == (2 if values is ISSUED else 0)
    store = one(rendered, "StatefulSet", f"-{part}")["spec"]["template"]
    assert tls_secret(store["spec"], "tls") == secret.format(part)
    for container in containers(store):
        assert {"name": "tls", "mountPath": "/tls"} in container["volumeMounts"]
        uses = [item["name"] for item in container["env"] if "tls" in str(item).lower()]
        assert uses, container["name"]
    app = one(rendered, "Deployment", "-app")["spec"]["template"]["spec"]
    assert tls_secret(app, f"tls-{part}") == secret.format(part)
    volume = next(item for item in app["volumes"] if item["name"] == f"tls-{part}")
    assert [item["key"] for item in volume["secret"]["items"]] == ["ca.crt"]


def test_the_storefront_is_told_to_use_tls_and_whom_to_trust() -> None:
    (app,) = one(objects("prod", values=ISSUED), "Deployment", "-app")["spec"]["template"]["spec"]["containers"]
    env = {item["name"]: item.get("value") for item in app["env"]}
    assert env["MONGODB_URI"].endswith("&tls=true&tlsCAFile=/tls/mongodb/ca.crt")
    assert env["REDIS_URL"] == "rediss://techshop-redis.shop.svc.cluster.local:6379"
    assert env["REDIS_CA_FILE"] == "/tls/redis/ca.crt"


def test_a_store_outside_the_release_keeps_its_own_way() -> None:
    outside = {
        **ISSUED,
        "mongodb.enabled": False,
        "backup.enabled": False,
        "app.mongodb.uri": "mongodb+srv://db.example.com/techshop",
        "global.secrets.existing.mongodb": "theirs",
    }
    app = one(objects("prod", values=outside), "Deployment", "-app")["spec"]["template"]["spec"]
    assert [item["name"] for item in app["volumes"] if "tls" in item["name"]] == ["tls-redis"]
    env = {item["name"]: item.get("value") for item in app["containers"][0]["env"]}
    assert env["MONGODB_URI"] == "mongodb+srv://db.example.com/techshop"


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe"])
def test_redis_probes_speak_tls_when_redis_does(probe: str) -> None:
    redis = one(objects(values=ISSUED), "StatefulSet", "-redis")["spec"]["template"]["spec"]["containers"][0]
    assert "--tls" in redis[probe]["exec"]["command"]
