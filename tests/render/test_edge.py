"""The ways in from outside: an Ingress, or the Gateway API, for whichever controller the cluster has."""

import re
from typing import Any

import pytest
from conftest import Object, by_name, notes, objects

from techshop import paths

HOSTS = ["shop.example.com", "*.example.org"]
INGRESS = {"ingress": {"enabled": True, "hosts": HOSTS}, "certificates.issuerRef.name": "letsencrypt"}
OWN = {"gateway": {"enabled": True, "className": "envoy", "hosts": HOSTS}, "certificates.issuerRef.name": "letsencrypt"}
THEIRS = {"gateway": {"enabled": True, "parentRefs": [{"name": "public", "namespace": "edge"}]}}
WAYS = {"ingress": INGRESS, "own-gateway": OWN, "gateway": THEIRS}


def edge(kind: str, suffix: str = "", **values: Any) -> Object:
    return by_name(objects(values=values))[kind, f"techshop-edge{suffix}"]["spec"]


def public(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what a way in lets through, as (way to compare, path)."""
    found = [item for item in objects(values=values) if item["kind"] in {"Ingress", "HTTPRoute"}]
    ways: list[tuple[str, str]] = []
    for item in found:
        for rule in item["spec"]["rules"]:
            ways += [(way["pathType"], way["path"]) for way in rule.get("http", {}).get("paths", [])]
            ways += [
                (match["path"]["type"].removeprefix("Path"), match["path"]["value"])
                for match in rule.get("matches", [])
            ]
    return ways


def routes() -> set[str]:
    """Return every path that the storefront answers."""
    text = "".join(path.read_text() for path in (paths.ROOT / "images/app/src").glob("*.ts"))
    found = set(re.findall(r"app\.(?:get|put|post|delete)\(\s*'(/[^']*)'", text))
    return found | set(re.findall(r"url: '(/[^']*)'", text))


@pytest.mark.parametrize("way", WAYS)
def test_all_that_the_shop_answers_is_let_in_but_what_is_for_machines(way: str) -> None:
    ways = set(public(WAYS[way]))
    inside = {"/health", "/metrics", "/ready"}
    assert inside < routes()
    for route in routes():
        let_in = any(route == path if kind == "Exact" else route.startswith(f"{path}/") for kind, path in ways)
        assert let_in is (route not in inside), route


def test_without_a_way_in_there_is_none() -> None:
    assert not {item["kind"] for item in objects()} & {"Ingress", "Gateway", "HTTPRoute"}


def test_the_ingress_leads_to_the_service_by_each_name() -> None:
    rules = edge("Ingress", **INGRESS)["rules"]
    assert [rule["host"] for rule in rules] == HOSTS
    for rule in rules:
        for path in rule["http"]["paths"]:
            assert path["backend"] == {"service": {"name": "techshop-app", "port": {"name": "http"}}}


@pytest.mark.parametrize("name", ["", "traefik", "1e6"])
def test_the_class_is_named_or_left_to_the_cluster(name: str) -> None:
    assert edge("Ingress", **INGRESS | {"ingress.className": name}).get("ingressClassName", "") == name


def test_a_route_names_the_gateways_that_take_it_and_the_services_port() -> None:
    spec = edge("HTTPRoute", **THEIRS, **{"app.service.port": 8080})
    assert spec["parentRefs"] == [{"name": "public", "namespace": "edge"}]
    assert "hostnames" not in spec
    assert [rule["backendRefs"] for rule in spec["rules"]] == [[{"name": "techshop-app", "port": 8080}]]
    assert ("Gateway", "techshop-edge") not in by_name(objects(values=THEIRS))


def test_an_own_gateway_answers_at_https_and_sends_clients_there() -> None:
    listeners = edge("Gateway", **OWN)["listeners"]
    assert [(listener["protocol"], listener["port"]) for listener in listeners] == [("HTTP", 80), ("HTTPS", 443)]
    assert listeners[1]["tls"] == {"certificateRefs": [{"name": "techshop-edge-tls"}]}
    assert edge("HTTPRoute", **OWN)["parentRefs"] == [{"name": "techshop-edge", "sectionName": "https"}]
    redirect = edge("HTTPRoute", "-redirect", **OWN)
    assert redirect["parentRefs"] == [{"name": "techshop-edge", "sectionName": "http"}]
    assert redirect["rules"] == [
        {"filters": [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}]}
    ]


def test_an_own_gateway_without_tls_takes_the_shop_at_http() -> None:
    values = OWN | {"gateway.tls.enabled": False}
    assert [listener["name"] for listener in edge("Gateway", **values)["listeners"]] == ["http"]
    assert edge("HTTPRoute", **values)["parentRefs"] == [{"name": "techshop-edge", "sectionName": "http"}]
    assert ("HTTPRoute", "techshop-edge-redirect") not in by_name(objects(values=values))
    assert ("Certificate", "techshop-edge") not in by_name(objects(values=values))


@pytest.mark.parametrize("values", [INGRESS, OWN, INGRESS | OWN])
def test_one_certificate_is_issued_for_all_names(values: dict[str, Any]) -> None:
    spec = edge("Certificate", **values)
    assert spec["dnsNames"] == HOSTS
    assert spec["issuerRef"] == {"name": "letsencrypt", "kind": "ClusterIssuer", "group": "cert-manager.io"}
    assert spec["secretName"] == "techshop-edge-tls"


@pytest.mark.parametrize("values", [INGRESS, OWN])
def test_with_a_secret_of_ones_own_no_certificate_is_issued(values: dict[str, Any]) -> None:
    rendered = objects(values=values | {"certificates": {"existingSecret": "mine"}})
    assert ("Certificate", "techshop-edge") not in by_name(rendered)
    assert "mine" in str([item for item in rendered if item["kind"] in {"Ingress", "Gateway"}])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"ingress": {"enabled": True}}, "ingress.hosts: without a name"),
        ({"gateway": {"enabled": True, "className": "envoy"}}, "gateway.hosts: without a name"),
        ({"gateway.enabled": True}, "no Gateway takes the route"),
        (THEIRS | {"gateway.className": "envoy", "gateway.hosts": HOSTS}, "takes the route instead"),
        (INGRESS | {"certificates.issuerRef.name": ""}, "nobody issues its certificate"),
        (OWN | {"certificates.issuerRef.name": ""}, "nobody issues its certificate"),
        (INGRESS | {"app.enabled": False}, "no shop to lead to"),
        (THEIRS | {"app.enabled": False}, "no shop to lead to"),
        (INGRESS | {"ingress.hosts": ["https://shop.example.com"]}, "hosts"),
        (
            INGRESS | {"ingress.annotations": {"kubernetes.io/ingress.class": "nginx"}},
            "write ingress.className: nginx",
        ),
    ],
)
def test_what_leads_nowhere_is_refused(refused, values: dict[str, Any], said: str) -> None:
    assert said in refused(values=values)


def test_the_notes_name_the_addresses() -> None:
    assert "https://shop.example.com, once its name leads" in notes(values=INGRESS)
    assert "http://shop.example.com," in notes(values=INGRESS | {"ingress.tls.enabled": False})
    assert "port-forward service/techshop-app" in notes(values=THEIRS)
    assert "port-forward service/techshop-app" not in notes(values=OWN)
