"""The object storage: SeaweedFS in the release, or an S3 outside, and what consumers are told of either."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import CHART, Object, objects, one

OUTSIDE = {
    "objectstorage.external": {
        "enabled": True,
        "endpoint": "https://s3.example.com/",
        "region": "north-1",
        "pathStyle": False,
        "caBundle": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    },
    "objectstorage.buckets.assets": "their-assets",
    "global.secrets.existing.objectstorage": "s3-login",
}


@pytest.fixture
def consumer(tmp_path: Path):
    """Return a function that renders the chart with a pod beside it that wants a bucket, and gives that pod."""
    shutil.copytree(CHART, tmp_path / "techshop")
    (tmp_path / "techshop/charts/app/templates/consumer.yaml").write_text("""
apiVersion: v1
kind: Pod
metadata:
  name: consumer
spec:
  containers:
    - name: main
      env:
        {{- include "common.s3Env" (dict "ctx" . "bucket" "backups") | nindent 8 }}
  volumes:
    {{- include "common.s3Volume" . | nindent 4 }}
""")

    def render(**options: Any) -> tuple[Object, list[Object]]:
        rendered = objects(chart=tmp_path / "techshop", **options)
        return one(rendered, "Pod", "consumer")["spec"], rendered

    return render


def policy(**options: Any) -> Object:
    return one([i for i in objects(**options) if i["kind"] == "NetworkPolicy"], "NetworkPolicy", "-objectstorage")[
        "spec"
    ]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            {},
            {
                "S3_BUCKET": "techshop-backups",
                "S3_ENDPOINT": "http://techshop-objectstorage.shop.svc.cluster.local:8333",
                "S3_PATH_STYLE": "true",
                "S3_REGION": "us-east-1",
            },
        ),
        (
            OUTSIDE,
            {
                "S3_BUCKET": "techshop-backups",
                "S3_ENDPOINT": "https://s3.example.com",
                "S3_PATH_STYLE": "false",
                "S3_REGION": "north-1",
            },
        ),
    ],
)
def test_a_consumer_is_told_where_its_bucket_is_and_given_its_keys(consumer, values: dict, told: dict) -> None:
    pod, rendered = consumer(values=values)
    data = one(rendered, "ConfigMap", "-objectstorage")["data"]
    found, secrets = {}, {}
    for variable in pod["containers"][0]["env"]:
        source = variable.get("valueFrom", {})
        if reference := source.get("configMapKeyRef"):
            assert reference["name"] == "techshop-objectstorage"
            found[variable["name"]] = data[reference["key"]]
        elif reference := source.get("secretKeyRef"):
            secrets[variable["name"]] = (reference["name"], reference["key"])
        else:
            assert variable == {"name": "S3_CA_FILE", "value": "/s3/ca.crt"}
    assert found == told
    secret = "s3-login" if values else "techshop-objectstorage"
    assert secrets == {
        "S3_ACCESS_KEY": (secret, "backups-access-key"),
        "S3_SECRET_KEY": (secret, "backups-secret-key"),
    }


@pytest.mark.parametrize("values", [{}, OUTSIDE])
def test_a_consumer_finds_the_certificates_of_a_storage_outside(consumer, values: dict) -> None:
    pod, rendered = consumer(values=values)
    (volume,) = pod["volumes"]
    data = one(rendered, "ConfigMap", volume["configMap"]["name"])["data"]
    assert data["ca.crt"] == ((values and OUTSIDE["objectstorage.external"]["caBundle"]) or "")


def test_with_a_storage_outside_no_seaweedfs_is_rendered() -> None:
    label = "app.kubernetes.io/component"
    ours = [i["kind"] for i in objects(values=OUTSIDE) if i["metadata"]["labels"].get(label) == "objectstorage"]
    assert ours == ["ConfigMap"]
    assert set(one(objects(values=OUTSIDE), "ConfigMap", "-objectstorage")["data"]) == {
        "assets-bucket",
        "backups-bucket",
        "ca.crt",
        "endpoint",
        "identity",
        "path-style",
        "region",
    }


def test_only_the_storefront_the_backup_and_who_is_named_reach_s3_and_nobody_the_rest() -> None:
    rule, metrics = policy()["ingress"]
    parts = [peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for peer in rule["from"]]
    assert parts == ["app", "backup", "backup-metrics"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 8333}]
    (prometheus,) = metrics["from"]
    assert prometheus["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "prometheus"
    assert metrics["ports"] == [{"protocol": "TCP", "port": 9327}]
    assert "egress" not in policy()
    uploader = {"namespaceSelector": {"matchLabels": {"team": "pictures"}}}
    rule, _ = policy(values={"networkPolicy.uploaders": [uploader]})["ingress"]
    assert rule["from"][3:] == [uploader]


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({}, {"protocol": "TCP", "port": 8333}),
        (OUTSIDE, None),
        ({"objectstorage.enabled": False, "backup.enabled": False}, False),
    ],
)
def test_the_storefront_may_go_where_s3_is(values: dict, rule: Any) -> None:
    rules = one([i for i in objects(values=values) if i["kind"] == "NetworkPolicy"], "NetworkPolicy", "-app")["spec"][
        "egress"
    ]
    inside = [r for r in rules if r.get("ports") == [{"protocol": "TCP", "port": 8333}]]
    anywhere = [r for r in rules if "ports" not in r]
    assert (len(inside), len(anywhere)) == ((1, 0) if rule else (0, 1) if rule is None else (0, 0))


@pytest.mark.parametrize(("size", "mebibytes"), [("1Gi", "1024"), ("1.5Gi", "1536"), ("2T", "1907348"), (1e9, "953")])
def test_it_knows_the_size_of_its_volume(size: str | float, mebibytes: str) -> None:
    rendered = objects(values={"objectstorage.persistence.size": size})
    env = one(rendered, "StatefulSet", "-objectstorage")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "VOLUME_MIB", "value": mebibytes} in env


def test_another_bucket_restarts_it_so_that_it_is_made() -> None:
    def checksum(**values: str) -> str:
        rendered = objects(values={f"objectstorage.buckets.{name}": bucket for name, bucket in values.items()})
        pod = one(rendered, "StatefulSet", "-objectstorage")["spec"]["template"]
        return pod["metadata"]["annotations"]["checksum/config"]

    assert checksum() != checksum(assets="pictures")


def test_it_gets_the_time_that_it_needs_to_stop() -> None:
    pod = one(objects(), "StatefulSet", "-objectstorage")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= 60


def test_a_storage_outside_needs_an_address_and_keys(refused) -> None:
    on = {"objectstorage.external.enabled": True}
    assert "objectstorage.external.endpoint: external.enabled is true" in refused(values=on)
    message = refused(values=on | {"objectstorage.external.endpoint": "https://s3.example.com"})
    keys = "assets-access-key, assets-secret-key, backups-access-key, backups-secret-key"
    assert "global.secrets.existing.objectstorage: the object storage is outside this release" in message
    assert f"the name of a Secret with the keys {keys}, or" in message
    assert "write the" in message and "objectstorage.external.identity: serviceAccount" in message


@pytest.mark.parametrize("endpoint", ["s3.example.com", "https://key:secret@s3.example.com", "ftp://s3", "https://a b"])
def test_an_address_that_is_none_is_refused(refused, endpoint: str) -> None:
    assert "/objectstorage/external/endpoint" in refused(values={"objectstorage.external.endpoint": endpoint})


@pytest.mark.parametrize("name", ["ab", "a" * 64, "Assets", "my_bucket", "-a-", "a..b", "a.-b", "a/b"])
def test_a_bucket_that_can_not_be_is_refused(refused, name: str) -> None:
    assert "at '/objectstorage/buckets/assets'" in refused(values={"objectstorage.buckets.assets": name})


@pytest.mark.parametrize(
    "name", ["10.0.0.1", "1234", "xn--shop", "sthree-shop", "shop-s3alias", "shop--x-s3", "a.mrap"]
)
def test_a_bucket_that_s3_keeps_for_itself_is_refused_in_a_sentence(refused, name: str) -> None:
    message = refused(values={"objectstorage.buckets.backups": name})
    assert f'objectstorage.buckets.backups: S3 keeps names like "{name}" for itself' in message


def test_one_bucket_for_both_is_refused(refused) -> None:
    message = refused(values={"objectstorage.buckets.assets": "techshop-backups"})
    assert 'objectstorage.buckets.backups: it is "techshop-backups", as buckets.assets is' in message


@pytest.mark.parametrize("name", ["shop", "0shop", "a.b.c", "a" * 63, "techshop-assets"])
def test_other_buckets_are_taken(name: str) -> None:
    rendered = objects(values={"objectstorage.buckets.assets": name})
    assert one(rendered, "ConfigMap", "-objectstorage")["data"]["assets-bucket"] == name
