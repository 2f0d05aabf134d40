"""Traces: Jaeger in the release, or a collector outside, and what the storefront is told of either."""

from typing import Any

import pytest
import yaml
from conftest import Object, notes, objects, one

OUTSIDE = {"tracing.external": {"enabled": True, "endpoint": "https://otel.example.com/"}}
ELASTICSEARCH = {
    "tracing.store": "elasticsearch",
    "tracing.elasticsearch.url": "https://es.example.com:9200",
}
LOGIN = {"global.secrets.existing.tracing": "traces-login"}


def told(values: dict[str, Any]) -> dict[str, str | None]:
    """Return what the storefront's variables of tracing hold once the pod runs."""
    rendered = objects(values=values)
    maps = {i["metadata"]["name"]: i["data"] for i in rendered if i["kind"] == "ConfigMap"}
    found: dict[str, str | None] = {}
    for variable in one(rendered, "Deployment", "-app")["spec"]["template"]["spec"]["containers"][0]["env"]:
        if variable["name"].startswith("OTEL_"):
            reference = variable["valueFrom"]["configMapKeyRef"]
            assert reference["optional"] is True
            found[variable["name"]] = maps.get(reference["name"], {}).get(reference["key"])
    return found


def config(**options: Any) -> dict[str, Any]:
    """Return Jaeger's configuration."""
    return yaml.safe_load(one(objects(**options), "ConfigMap", "-tracing")["data"]["config.yaml"])


def policy(**options: Any) -> Object:
    found = [i for i in objects(**options) if i["kind"] == "NetworkPolicy"]
    return one(found, "NetworkPolicy", "-tracing")["spec"]


def jaeger(kind: str = "StatefulSet", **options: Any) -> Object:
    return one(objects(**options), kind, "-tracing")["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize(
    ("values", "endpoint", "ratio"),
    [
        ({}, "http://techshop-tracing.shop.svc.cluster.local:4318", "1"),
        ({"tracing.sampling.ratio": 0.25}, "http://techshop-tracing.shop.svc.cluster.local:4318", "0.25"),
        ({"tracing.sampling.ratio": 0}, "http://techshop-tracing.shop.svc.cluster.local:4318", "0"),
        (OUTSIDE, "https://otel.example.com", "1"),
        ({"tracing.enabled": False}, None, None),
    ],
)
def test_the_storefront_is_told_where_traces_go_and_how_many(values: dict, endpoint: str | None, ratio: str | None):
    assert told(values) == {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_TRACES_SAMPLER_ARG": ratio}


def test_with_a_collector_outside_no_jaeger_is_rendered() -> None:
    ours = [i["kind"] for i in objects(values=OUTSIDE) if "tracing" in i["metadata"]["name"]]
    assert ours == ["ConfigMap"]
    assert set(one(objects(values=OUTSIDE), "ConfigMap", "-tracing")["data"]) == {"endpoint", "sampling-ratio"}


@pytest.mark.parametrize(("values", "ports"), [({}, [4318]), (OUTSIDE, []), ({"tracing.enabled": False}, [])])
def test_the_storefront_may_go_where_traces_go(values: dict, ports: list[int]) -> None:
    policies = [i for i in objects(values=values) if i["kind"] == "NetworkPolicy"]
    rules = one(policies, "NetworkPolicy", "-app")["spec"]["egress"]
    assert [r["ports"][0]["port"] for r in rules if r.get("ports", [{}])[0].get("port") == 4318] == ports
    assert ("ports" not in rules[-1]) == (values == OUTSIDE)


def test_only_the_storefront_sends_traces_and_nobody_looks_unless_named() -> None:
    rule, scraped = policy()["ingress"]
    (peer,) = rule["from"]
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "app"
    assert [port["port"] for port in rule["ports"]] == [4317, 4318]
    (peer,) = scraped["from"]
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "prometheus"
    assert [port["port"] for port in scraped["ports"]] == [8888]
    assert policy()["policyTypes"] == ["Ingress", "Egress"] and "egress" not in policy()


@pytest.mark.parametrize(
    ("who", "ports"), [("tracers", [4317, 4318]), ("viewers", [16686]), ("scrapers", [8888]), ("uploaders", [])]
)
def test_each_peer_reaches_what_it_is_named_for(who: str, ports: list[int]) -> None:
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "theirs"}}}
    rules = policy(values={f"networkPolicy.{who}": [peer]})["ingress"]
    assert [port["port"] for rule in rules if peer in rule["from"] for port in rule["ports"]] == ports


def test_every_port_of_the_configuration_is_one_of_the_container() -> None:
    told = config()
    listens = {
        "grpc-otlp": told["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"],
        "http-otlp": told["receivers"]["otlp"]["protocols"]["http"]["endpoint"],
        "http-query": told["extensions"]["jaeger_query"]["http"]["endpoint"],
        "health": told["extensions"]["healthcheckv2"]["http"]["endpoint"],
    }
    (reader,) = told["service"]["telemetry"]["metrics"]["readers"]
    prometheus = reader["pull"]["exporter"]["prometheus"]
    # Without a host they listen on IPv4 and IPv6, whichever the pod has.
    listens["metrics"] = f"{prometheus['host']}:{prometheus['port']}"
    assert listens == {port["name"]: f":{port['containerPort']}" for port in jaeger()["ports"]}


@pytest.mark.parametrize("values", [{}, ELASTICSEARCH])
def test_every_component_that_is_used_is_configured(values: dict) -> None:
    told = config(values=values)
    pipeline = told["service"]["pipelines"]["traces"]
    for kind in ("receivers", "processors", "exporters"):
        assert pipeline[kind] == list(told[kind])
    assert sorted(told["service"]["extensions"]) == sorted(told["extensions"])
    # First the limit, or batches pile up before it.
    assert pipeline["processors"] == ["memory_limiter", "batch"]


@pytest.mark.parametrize(("days", "hours"), [(7, "168h"), (30, "720h"), (3650, "87600h")])
def test_traces_are_kept_for_days_on_the_volume(days: int, hours: str) -> None:
    backend = config(values={"tracing.retentionDays": days})["extensions"]["jaeger_storage"]["backends"]["traces"]
    assert backend["badger"]["ttl"]["spans"] == hours
    assert backend["badger"]["ephemeral"] is False
    mounts = [mount["mountPath"] for mount in jaeger()["volumeMounts"]]
    for folder in backend["badger"]["directories"].values():
        assert any(folder.startswith(f"{mount}/") for mount in mounts)


@pytest.mark.parametrize("store", ["elasticsearch", "opensearch"])
def test_traces_can_be_kept_outside_and_then_there_is_no_volume(store: str) -> None:
    values = ELASTICSEARCH | LOGIN | {"tracing.store": store, "tracing.elasticsearch.replicas": 0}
    rendered = objects(values=values)
    assert not [i for i in rendered if i["kind"] == "StatefulSet" and i["metadata"]["name"].endswith("-tracing")]
    backend = config(values=values)["extensions"]["jaeger_storage"]["backends"]["traces"]
    assert list(backend) == [store]
    assert backend[store]["server_urls"] == ["https://es.example.com:9200"]
    assert backend[store]["indices"]["index_prefix"] == "techshop"
    assert backend[store]["indices"]["spans"]["replicas"] == 0
    assert backend[store]["max_span_age"] == "168h"
    anywhere = {"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}, {"ipBlock": {"cidr": "::/0"}}]}
    assert policy(values=values)["egress"] == [anywhere]


def test_a_login_is_read_from_the_secret_and_stands_nowhere_else() -> None:
    container = jaeger("Deployment", values=ELASTICSEARCH | LOGIN)
    (username,) = [v for v in container["env"] if v["name"] == "STORE_USERNAME"]
    assert username["valueFrom"]["secretKeyRef"] == {"name": "traces-login", "key": "username"}
    backend = config(values=ELASTICSEARCH | LOGIN)["extensions"]["jaeger_storage"]["backends"]["traces"]
    basic = backend["elasticsearch"]["auth"]["basic"]
    assert basic["username"] == "${env:STORE_USERNAME}"
    assert basic["password_file"] == "/secrets/password"
    without = config(values=ELASTICSEARCH)["extensions"]["jaeger_storage"]["backends"]["traces"]
    assert "auth" not in without["elasticsearch"]


def test_certificates_of_the_store_are_where_the_configuration_looks() -> None:
    pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    values = ELASTICSEARCH | {"tracing.elasticsearch.caBundle": pem}
    backend = config(values=values)["extensions"]["jaeger_storage"]["backends"]["traces"]
    assert backend["elasticsearch"]["tls"]["ca_file"] == "/config/ca.crt"
    assert one(objects(values=values), "ConfigMap", "-tracing")["data"]["ca.crt"] == pem
    assert "/config" in [mount["mountPath"] for mount in jaeger("Deployment", values=values)["volumeMounts"]]


def test_another_retention_restarts_jaeger_and_another_ratio_does_not() -> None:
    def checksum(**values: Any) -> str:
        rendered = objects(values={f"tracing.{key.replace('__', '.')}": value for key, value in values.items()})
        return one(rendered, "StatefulSet", "-tracing")["spec"]["template"]["metadata"]["annotations"][
            "checksum/config"
        ]

    assert checksum() != checksum(retentionDays=8)
    assert checksum() == checksum(sampling__ratio=0.5)


@pytest.mark.parametrize(("limit", "told"), [("512Mi", 375809638), ("1G", 700000000), (1000000000, 700000000)])
def test_the_garbage_collector_heeds_a_limit_below_that_of_the_container(limit: str | int, told: int) -> None:
    env = jaeger(values={"tracing.resources.limits.memory": limit})["env"]
    assert {"name": "GOMEMLIMIT", "value": str(told)} in env


def test_what_can_not_be_reached_is_refused_in_a_sentence(refused) -> None:
    assert "tracing.external.endpoint: external.enabled is true" in refused(values={"tracing.external.enabled": True})
    message = refused(values={"tracing.store": "opensearch"})
    assert "tracing.elasticsearch.url: tracing.store is opensearch, but nothing says where it answers" in message


@pytest.mark.parametrize("ratio", [-0.1, 1.1, "half"])
def test_a_ratio_that_is_none_is_refused(refused, ratio: float | str) -> None:
    assert "at '/tracing/sampling/ratio'" in refused(values={"tracing.sampling.ratio": ratio})


@pytest.mark.parametrize("url", ["es:9200", "https://user:password@es:9200", "https://$HOST:9200"])
def test_an_address_that_is_none_or_holds_a_password_is_refused(refused, url: str) -> None:
    assert "at '/tracing/elasticsearch/url'" in refused(values=ELASTICSEARCH | {"tracing.elasticsearch.url": url})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "Traces       of 100 % of the requests in Jaeger, with 5Gi"),
        ({"tracing.sampling.ratio": 0.29}, "of 29 % of the requests"),
        (ELASTICSEARCH, "in https://es.example.com:9200"),
        (OUTSIDE, "Traces       sent outside this release: https://otel.example.com/"),
    ],
)
def test_the_notes_say_where_traces_are_and_how_to_look_at_them(values: dict, said: str) -> None:
    text = notes(values=values)
    assert said in text
    assert ("port-forward service/techshop-tracing 16686 " in text) == (values != OUTSIDE)
