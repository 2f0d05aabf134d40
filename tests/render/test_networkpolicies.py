"""Who may talk to whom: everything is denied, then exactly what the shop needs is allowed."""

from conftest import objects, one, pods


def policies(**options) -> dict[str, dict]:
    return {i["metadata"]["name"]: i["spec"] for i in objects(**options) if i["kind"] == "NetworkPolicy"}


def test_every_pod_is_denied_everything_by_default() -> None:
    deny = policies()["techshop-default-deny"]
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in deny and "egress" not in deny
    for name, pod in pods(objects()):
        assert deny["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items(), name


def test_dns_is_allowed_by_a_label_that_namespaces_have() -> None:
    (rule,) = policies()["techshop-dns"]["egress"]
    (peer,) = rule["to"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "kube-system"}
    assert {(port["protocol"], port["port"]) for port in rule["ports"]} == {("UDP", 53), ("TCP", 53)}


def test_no_rule_opens_all_destinations() -> None:
    for name, spec in policies().items():
        for rule in spec.get("egress", []):
            assert rule.get("to"), f"{name}: an egress rule without destinations allows all"


def test_only_members_the_storefront_and_the_backup_reach_a_store() -> None:
    for store, port, clients in (("mongodb", 27017, ["app", "backup"]), ("redis", 6379, ["app", "backup"])):
        allowed = [
            peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
            for rule in policies()[f"techshop-{store}"]["ingress"]
            for peer in rule["from"]
            if port in [entry["port"] for entry in rule["ports"]]
        ]
        assert sorted(allowed) == sorted([store, *clients])


def test_everyone_reaches_the_storefront_unless_clients_are_named() -> None:
    (rule,) = policies()["techshop-app"]["ingress"]
    assert "from" not in rule
    ingress = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "edge"}}}
    (rule,) = policies(values={"networkPolicy.clients": [ingress]})["techshop-app"]["ingress"]
    assert rule["from"][0] == ingress
    test = one(objects(), "Pod", "-test-order")["metadata"]["labels"]
    assert rule["from"][1]["podSelector"]["matchLabels"].items() <= test.items()


def test_a_store_outside_the_release_may_be_reached() -> None:
    outside = {
        "mongodb.enabled": False,
        "backup.enabled": False,
        "app.mongodb.uri": "mongodb://db.example.com",
        "global.secrets.existing.mongodb": "login",
    }
    rules = policies(values=outside)["techshop-app"]["egress"]
    assert {"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}, {"ipBlock": {"cidr": "::/0"}}]} in rules
    assert "techshop-mongodb" not in policies(values=outside)
