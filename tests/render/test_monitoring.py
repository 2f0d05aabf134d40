"""What Prometheus reads and may read, whom alerts reach, and what an operator gets instead."""

import json
import re
from collections.abc import Iterator

import pytest
import yaml
from conftest import ALL, CHART, Object, by_name, objects, one, pod_template, pods

#: What each component's series are called.
JOBS = {
    "app",
    "mongodb",
    "redis",
    "objectstorage",
    "backup",
    "jaeger",
    "prometheus",
    "alertmanager",
    "kube-state-metrics",
    "node-exporter",
    "grafana",
    "kubelet",
}
OPERATOR = {"monitoring.operator.enabled": True}


def configuration(rendered: list[Object]) -> Object:
    return yaml.safe_load(one(rendered, "ConfigMap", "-prometheus")["data"]["prometheus.yml"])


def discovered(rendered: list[Object]) -> Iterator[dict[str, str]]:
    """Yield what Prometheus finds out about each port of each pod, as if each ran once on one node."""
    prefix = "__meta_kubernetes_pod"
    for name, pod in pods(rendered):
        labels = {re.sub(r"\W", "_", key): value for key, value in pod["metadata"]["labels"].items()}
        about = {f"{prefix}_label_{key}": value for key, value in labels.items()}
        about |= {f"{prefix}_name": name, f"{prefix}_host_ip": "10.0.0.1", f"{prefix}_node_name": "node"}
        about |= {f"{prefix}_phase": "Running", "__meta_kubernetes_namespace": "shop"}
        for container in pod["spec"].get("initContainers", []) + pod["spec"]["containers"]:
            for port in container.get("ports", [{}]):
                address = f"{name}:{port.get('containerPort', '')}"
                yield about | {f"{prefix}_container_port_name": port.get("name", ""), "__address__": address}


def relabelled(labels: dict[str, str], rules: list[Object]) -> dict[str, str] | None:
    """Do what Prometheus does with a target's labels; None when it drops it."""
    for rule in rules:
        text = ";".join(labels.get(label, "") for label in rule.get("source_labels", []))
        found = re.fullmatch(str(rule.get("regex", "(.*)")), text)
        if rule.get("action") in {"keep", "drop"}:
            if bool(found) == (rule["action"] == "drop"):
                return None
        elif found:
            value = re.sub(r"\$(\d)", lambda group: found[int(group[1])], rule.get("replacement", "$1"))  # noqa: B023
            labels = labels | {rule["target_label"]: value}
    return labels


def targets(rendered: list[Object]) -> list[dict[str, str]]:
    """Return the labels of every target; those that are the same are one, as Prometheus has it."""
    found = []
    for scrape in configuration(rendered)["scrape_configs"]:
        path = scrape.get("metrics_path", "/metrics")
        once = set()
        for labels in discovered(rendered):
            kept = relabelled(labels | {"__metrics_path__": path}, scrape["relabel_configs"])
            if kept is not None:
                shown = {key: value for key, value in kept.items() if not key.startswith("__meta")}
                once.add(json.dumps(shown, sort_keys=True))
        found += map(json.loads, sorted(once))
    return found


def test_every_metrics_port_is_scraped_and_none_twice() -> None:
    rendered = objects(values=ALL)
    found = targets(rendered)
    places = [(target["__address__"], target["__metrics_path__"]) for target in found]
    assert len(places) == len(set(places))
    assert {target["job"] for target in found} == JOBS
    named = {labels["__address__"] for labels in discovered(rendered) if "metrics" in labels.values()}
    assert named == {address for address, _ in places if "app:3000" not in address and "10.0.0.1" not in address}


def test_every_target_has_the_labels_that_rules_select_by() -> None:
    for target in targets(objects(values=ALL)):
        assert (target["namespace"], target["release"]) == ("shop", "techshop")
        of_itself = target["job"] not in {"kube-state-metrics", "kubelet"}
        assert ("pod" in target) == of_itself, target
        assert target["instance"] == (target["pod"] if of_itself else target.get("node", "kube-state-metrics"))


def test_no_two_targets_have_the_same_labels() -> None:
    shown = [sorted((k, v) for k, v in target.items() if k[0] != "_") for target in targets(objects(values=ALL))]
    assert all(shown.count(labels) == 1 for labels in shown)


def test_the_app_is_scraped_every_ten_seconds_and_scrapes_are_bounded() -> None:
    found = configuration(objects(values={"monitoring.prometheus.sampleLimit": 123456}))
    assert {job["job_name"]: job.get("scrape_interval", "15s") for job in found["scrape_configs"]}["app"] == "10s"
    assert found["global"]["sample_limit"] == 123456


@pytest.mark.parametrize("clients", [[], [{"namespaceSelector": {}}]])
def test_the_policies_let_prometheus_reach_what_it_scrapes_and_let_it_out(clients: list) -> None:
    rendered = objects(values=ALL | {"networkPolicy.clients": clients})
    policies = [item["spec"] for item in rendered if item["kind"] == "NetworkPolicy"]
    own = one(rendered, "StatefulSet", "-prometheus")["spec"]["template"]["metadata"]["labels"]

    def allows(policy: Object, labels: dict[str, str], port: int) -> bool:
        if not policy["podSelector"]["matchLabels"].items() <= labels.items():
            return False
        return any(
            {"protocol": "TCP", "port": port} in rule["ports"]
            and any(_selects(peer, own) for peer in rule.get("from", [{"podSelector": {"matchLabels": {}}}]))
            for rule in policy.get("ingress", [])
        )

    out = one(rendered, "NetworkPolicy", "-prometheus")["spec"]["egress"]
    ports = {entry["port"] for rule in out for entry in rule["ports"]}
    pod = {name: found["metadata"]["labels"] for name, found in pods(rendered)}
    for target in targets(rendered):
        name, _, port = target["__address__"].rpartition(":")
        assert int(port) in ports, target
        if target["job"] != "kubelet":
            assert any(allows(policy, pod[name], int(port)) for policy in policies), target


def _selects(peer: Object, labels: dict[str, str]) -> bool:
    return "podSelector" in peer and peer["podSelector"]["matchLabels"].items() <= labels.items()


def test_prometheus_leaves_the_namespace_for_the_api_the_kubelets_and_nothing_else() -> None:
    def outside(**values: object) -> list[list[int]]:
        rules = one(objects(values=values), "NetworkPolicy", "-prometheus")["spec"]["egress"]
        return [[port["port"] for port in rule["ports"]] for rule in rules if "ipBlock" in rule["to"][0]]

    assert outside() == [[443, 6443, 10250]]
    assert outside(**{"networkPolicy.apiServerPorts": [8443], "monitoring.prometheus.nodeMetrics": False}) == [[8443]]


def roles(**options) -> dict[str, list[Object]]:
    found = [item for item in objects(**options) if item["kind"].endswith("Role")]
    return {f"{item['kind']}/{item['metadata']['name']}": item["rules"] for item in found}


def test_nobody_may_read_more_than_the_pods_and_objects_of_the_namespace_and_the_nodes_metrics() -> None:
    found = roles(values=ALL)
    assert found.pop("ClusterRole/shop-techshop-prometheus") == [
        {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]}
    ]
    assert found.pop("Role/techshop-prometheus") == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    ]
    (rules,) = found.values()
    assert all(rule["verbs"] == ["list", "watch"] for rule in rules)
    assert "secrets" not in [resource for rule in rules for resource in rule["resources"]]


def test_without_the_kubelets_nothing_of_the_cluster_is_asked_for() -> None:
    rendered = objects(values={"monitoring.prometheus.nodeMetrics": False})
    assert not [item for item in rendered if item["kind"].startswith("Cluster")]
    assert "kubelet" not in {target["job"] for target in targets(rendered)}


def test_kube_state_metrics_counts_what_it_may_list() -> None:
    (rules,) = (found for name, found in roles().items() if name.endswith("kube-state-metrics"))
    args = one(objects(), "Deployment", "-kube-state-metrics")["spec"]["template"]["spec"]["containers"][0]["args"]
    (wanted,) = (arg.partition("=")[2].split(",") for arg in args if arg.startswith("--resources="))
    assert wanted == sorted(resource for rule in rules for resource in rule["resources"])
    assert "--namespaces=shop" in args


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ({}, {"time": "15d", "size": "8192MB"}),
        ({"persistence.size": "1.5Gi"}, {"time": "15d", "size": "1228MB"}),
        ({"persistence.size": 1}, {"time": "15d", "size": "1MB"}),
        ({"retention": {"time": "2w", "size": "3GB"}}, {"time": "2w", "size": "3GB"}),
    ],
)
def test_what_is_kept_leaves_a_fifth_of_the_volume_free(values: dict, kept: dict) -> None:
    found = configuration(objects(values={f"monitoring.prometheus.{key}": value for key, value in values.items()}))
    assert found["storage"]["tsdb"]["retention"] == kept


def test_other_settings_of_prometheus_are_taken_without_a_restart() -> None:
    values = {"monitoring.prometheus.sampleLimit": 5, "monitoring.runbooksUrl": "https://wiki.example.com"}
    assert one(objects(values=values), "StatefulSet", "-prometheus") == one(objects(), "StatefulSet", "-prometheus")


def alertmanager(**values: object) -> Object:
    given = {f"monitoring.alertmanager.{key}": value for key, value in values.items()}
    return yaml.safe_load(one(objects(values=given), "ConfigMap", "-alertmanager")["data"]["alertmanager.yml"])


def test_without_a_receiver_alertmanager_runs_and_tells_nobody() -> None:
    found = alertmanager()
    assert found["receivers"] == [{"name": "nobody"}]
    assert {route["receiver"] for route in found["route"]["routes"]} == {"nobody"}
    assert found["route"]["receiver"] == "nobody"


def test_alerts_go_to_the_first_receiver_but_for_those_with_a_route() -> None:
    receivers = [{"name": "team", "slack_configs": [{"api_url_file": "/x"}]}, {"name": "on-call"}]
    route = {"receiver": "on-call", "matchers": ['severity="critical"']}
    found = alertmanager(receivers=receivers, routes=[route])
    assert found["receivers"] == [{"name": "nobody"}, *receivers]
    assert (found["route"]["receiver"], found["route"]["routes"][1:]) == ("team", [route])


@pytest.mark.parametrize(("receiver", "gets"), [("", "nobody"), ("heartbeat", "heartbeat")])
def test_the_alert_that_always_fires_wakes_nobody(receiver: str, gets: str) -> None:
    found = alertmanager(receivers=[{"name": "team"}, {"name": "heartbeat"}], watchdogReceiver=receiver)
    route = found["route"]["routes"][0]
    assert (route["matchers"], route["receiver"]) == (['alertname="Watchdog"'], gets)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"routes": [{"receiver": "who"}]}, 'routes: no receiver is called "who"'),
        ({"watchdogReceiver": "who"}, 'watchdogReceiver: no receiver is called "who"'),
        ({"receivers": [{"name": "nobody"}]}, "receivers: nobody is the chart's own receiver"),
        ({"receivers": [{"name": "a"}, {"name": "a"}]}, "receivers: two have the same name in a, a"),
    ],
)
def test_receivers_that_alertmanager_would_not_take_are_refused(refused, values: dict, said: str) -> None:
    message = refused(values={f"monitoring.alertmanager.{key}": value for key, value in values.items()})
    assert f"monitoring.alertmanager.{said}" in message


def test_production_tells_somebody_whose_address_is_in_a_secret_that_may_come_later() -> None:
    rendered = objects("prod")
    config = yaml.safe_load(one(rendered, "ConfigMap", "-alertmanager")["data"]["alertmanager.yml"])
    (receiver,) = (found for found in config["receivers"] if found["name"] == config["route"]["receiver"])
    (webhook,) = receiver["webhook_configs"]
    spec = one(rendered, "StatefulSet", "-alertmanager")["spec"]["template"]["spec"]
    (folder,) = (m["mountPath"] for m in spec["containers"][0]["volumeMounts"] if m["name"] == "secrets")
    assert webhook["url_file"].startswith(f"{folder}/")
    (secret,) = (volume["secret"] for volume in spec["volumes"] if volume["name"] == "secrets")
    assert secret["optional"] is True


def test_grafana_lets_nobody_in_without_a_password_and_calls_nobody_outside() -> None:
    rendered = objects()
    env = one(rendered, "Deployment", "-grafana")["spec"]["template"]["spec"]["containers"][0]["env"]
    found = {variable["name"]: variable.get("value") for variable in env}
    assert found["GF_SECURITY_ADMIN_PASSWORD"] is None
    for name in ("AUTH_ANONYMOUS_ENABLED", "USERS_ALLOW_SIGN_UP", "ANALYTICS_REPORTING_ENABLED"):
        assert found[f"GF_{name}"] == "false"
    rules = one(rendered, "NetworkPolicy", "-grafana")["spec"]["egress"]
    assert all("podSelector" in peer for rule in rules for peer in rule["to"])


def test_each_dashboard_is_provisioned() -> None:
    rendered = objects()
    volumes = one(rendered, "Deployment", "-grafana")["spec"]["template"]["spec"]["volumes"]
    (sources,) = (volume["projected"]["sources"] for volume in volumes if volume["name"] == "dashboards")
    files = sorted((CHART / "charts/monitoring/files/dashboards").glob("*.json"))
    have = by_name(rendered)
    named = [have["ConfigMap", source["configMap"]["name"]]["data"] for source in sources]
    assert sorted(name.split("-", 2)[2] for data in named for name in data) == [file.name for file in files]


def test_one_grafana_takes_the_dashboards_of_two_releases() -> None:
    def taken(**of: str) -> list[str]:
        """Return by what a Grafana, and what copies files to it, tells them apart."""
        maps = [i["data"] for i in objects(values=OPERATOR, **of) if i["metadata"]["name"].endswith("-dashboard")]
        boards = {name: json.loads(text) for data in maps for name, text in data.items()}
        return [*boards, *(board[key] for board in boards.values() for key in ("uid", "title"))]

    found = [taken(), taken(namespace="other"), taken(release="another")]
    every = [name for names in found for name in names]
    assert every and len(every) == len(set(every))


@pytest.mark.parametrize("values", [{}, OPERATOR])
def test_rules_and_dashboards_are_filled_in(values: dict) -> None:
    rendered = objects(values=values)
    filled = [item for item in rendered if item["metadata"]["labels"]["helm.sh/chart"].startswith("monitoring-")]
    assert filled
    # Grafana's own variables are in small letters.
    assert not re.findall(r"\$\{[A-Z]+\}", json.dumps(filled))


def test_with_an_operator_nothing_runs_and_the_same_is_scraped_with_the_same_labels() -> None:
    rendered = objects(values=OPERATOR | {"monitoring.operator.labels": {"release": "kps"}})
    ours = [i for i in rendered if i["metadata"]["labels"]["helm.sh/chart"].startswith("monitoring-")]
    assert {item["kind"] for item in ours} <= {"PodMonitor", "PrometheusRule", "ConfigMap"}
    assert not [item for item in ours if pod_template(item)]
    config = configuration(objects())
    names = {"source_labels": "sourceLabels", "target_label": "targetLabel"}
    for monitor in (item for item in ours if item["kind"] == "PodMonitor"):
        assert monitor["metadata"]["labels"]["release"] == "kps"
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        (scrape,) = (s for s in config["scrape_configs"] if monitor["metadata"]["name"].endswith(f"-{s['job_name']}"))
        rules = [rule for rule in scrape["relabel_configs"] if "action" not in rule]
        same = [{names.get(key, key): value for key, value in rule.items()} for rule in rules]
        assert endpoint["relabelings"] == same
        assert endpoint["interval"] == scrape.get("scrape_interval", "15s")
    assert one(ours, "PrometheusRule")["metadata"]["labels"]["release"] == "kps"
    found = {item["metadata"]["labels"].get("grafana_dashboard") for item in ours if item["kind"] == "ConfigMap"}
    assert found <= {"1"}


def test_the_operators_prometheus_is_let_in_where_the_values_say() -> None:
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    rendered = objects(values=OPERATOR | {"networkPolicy.scrapers": [peer]})
    for part, port in (("mongodb", 9216), ("redis", 9121), ("objectstorage", 9327)):
        rules = one(rendered, "NetworkPolicy", f"-{part}")["spec"]["ingress"]
        assert {"from": [peer], "ports": [{"protocol": "TCP", "port": port}]} in rules
