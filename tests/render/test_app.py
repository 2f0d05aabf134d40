"""The storefront's objects."""

import pytest
from conftest import objects, one


def container(**options) -> dict:
    return one(objects(**options), "Deployment", "-app")["spec"]["template"]["spec"]["containers"][0]


def test_its_environment_is_complete_and_holds_no_password() -> None:
    env = {variable["name"]: variable for variable in container()["env"]}
    assert {"MONGODB_URI", "MONGODB_USERNAME", "REDIS_URL", "REDIS_USERNAME"} <= env.keys()
    for name in ("MONGODB_PASSWORD", "REDIS_PASSWORD", "JWT_SECRET", "S3_SECRET_KEY", "UPLOAD_TOKEN"):
        assert "secretKeyRef" in env[name]["valueFrom"]
    assert "@" not in env["MONGODB_URI"]["value"] + env["REDIS_URL"]["value"]


def test_it_finds_the_stores_in_another_cluster_domain() -> None:
    env = {v["name"]: v.get("value") for v in container(values={"global.clusterDomain": "corp.example"})["env"]}
    assert env["MONGODB_URI"] == "mongodb://techshop-mongodb.shop.svc.corp.example:27017/techshop?replicaSet=rs0"
    assert env["REDIS_URL"] == "redis://techshop-redis.shop.svc.corp.example:6379"


def test_it_can_use_stores_outside_the_release() -> None:
    outside = {
        "mongodb.enabled": False,
        "redis.enabled": False,
        "objectstorage.enabled": False,
        "backup.enabled": False,
        "tracing.enabled": False,
        "app.mongodb.uri": "mongodb+srv://db.example.com/shop",
        "app.redis.url": "rediss://cache.example.com:6380",
        "global.secrets.existing": {"mongodb": "db-login", "redis": "cache-login"},
    }
    env = {variable["name"]: variable for variable in container(values=outside)["env"]}
    assert env["MONGODB_URI"]["value"] == outside["app.mongodb.uri"]
    assert env["REDIS_URL"]["value"] == outside["app.redis.url"]
    assert env["MONGODB_PASSWORD"]["valueFrom"]["secretKeyRef"]["name"] == "db-login"
    rendered = objects(values=outside | {"monitoring.enabled": False})
    assert not [item for item in rendered if item["kind"] == "StatefulSet"]


def test_it_finds_the_pictures_bucket_and_starts_without_one() -> None:
    without = objects(values={"objectstorage.enabled": False, "backup.enabled": False})
    pod, pod_with = (one(found, "Deployment", "-app")["spec"]["template"]["spec"] for found in (without, objects()))
    assert pod == pod_with, "a part can't see whether another is on"
    env = {variable["name"]: variable for variable in pod["containers"][0]["env"]}
    read = [
        next(iter(env[name]["valueFrom"].values())) for name in env if name.startswith("S3_") and name != "S3_CA_FILE"
    ]
    assert [(ref["name"], ref["key"]) for ref in read] == [
        ("techshop-objectstorage", key)
        for key in (
            "identity",
            "assets-bucket",
            "endpoint",
            "path-style",
            "region",
            "assets-access-key",
            "assets-secret-key",
        )
    ]
    (volume,) = (volume for volume in pod["volumes"] if volume["name"] == "s3")
    assert all(reference["optional"] is True for reference in [*read, volume["configMap"]])
    (mount,) = (mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "s3")
    assert env["S3_CA_FILE"]["value"] == f"{mount['mountPath']}/{volume['configMap']['items'][0]['path']}"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"mongodb.enabled": False}, "app.mongodb.uri: mongodb.enabled is false"),
        ({"redis.enabled": False}, "app.redis.url: redis.enabled is false"),
        ({"app.redis.url": "redis://r"}, "global.secrets.existing.redis: the storefront uses a redis outside"),
        ({"app.mongodb.uri": "mongodb://u:p@h/d"}, "/app/mongodb/uri"),
        (
            {"app.service": {"type": "LoadBalancer", "nodePort": 30080}},
            "app.service.nodePort: a Service of the type LoadBalancer doesn't open port 30080",
        ),
        ({"app.autoscaling": {"enabled": True, "minReplicas": 11}}, "app.autoscaling.minReplicas: 11 is more than"),
        (
            {"app.autoscaling.enabled": True, "app.verticalPodAutoscaler": {"enabled": True, "updateMode": "Recreate"}},
            "app.verticalPodAutoscaler.updateMode",
        ),
    ],
)
def test_what_can_not_work_is_refused_in_a_sentence(refused, values: dict, sentence: str) -> None:
    assert sentence in refused(values=values)


def test_the_autoscaler_scales_on_cpu_and_memory_up_fast_and_down_slowly() -> None:
    spec = one(objects("prod"), "HorizontalPodAutoscaler")["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 10)
    targets = {
        metric["resource"]["name"]: metric["resource"]["target"]["averageUtilization"] for metric in spec["metrics"]
    }
    assert targets == {"cpu": 70, "memory": 80}
    behavior = spec["behavior"]
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] < behavior["scaleDown"]["stabilizationWindowSeconds"]


def test_a_vertical_autoscaler_beside_a_horizontal_one_only_recommends() -> None:
    vpa = {"app.autoscaling.enabled": True, "app.verticalPodAutoscaler.enabled": True}
    assert one(objects(values=vpa), "VerticalPodAutoscaler")["spec"]["updatePolicy"]["updateMode"] == "Off"


def test_a_rollout_never_has_fewer_pods_and_gives_each_time_to_drain() -> None:
    spec = one(objects(), "Deployment", "-app")["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    drain = next(v["value"] for v in container()["env"] if v["name"] == "DRAIN_SECONDS")
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] > int(drain) + 15


def test_a_change_of_configuration_rolls_the_pods() -> None:
    def checksum(**values) -> str:
        template = one(objects(values=values), "Deployment", "-app")["spec"]["template"]
        return template["metadata"]["annotations"]["checksum/config"]

    assert checksum() != checksum(**{"app.logLevel": "debug"})
    assert checksum() == checksum(**{"app.replicaCount": 7})


def test_the_service_gives_port_80_to_the_container() -> None:
    service = one(objects("prod"), "Service", "-app")["spec"]
    assert service["ports"] == [{"name": "http", "port": 80, "targetPort": "http"}]
    node = one(objects(values={"app.service": {"type": "NodePort", "nodePort": 30080}}), "Service", "-app")
    assert node["spec"]["ports"][0]["nodePort"] == 30080


def test_the_test_pod_places_an_order_and_is_no_endpoint_of_the_shop() -> None:
    rendered = objects()
    pod = one(rendered, "Pod", "-test-order")
    assert pod["spec"]["containers"][0]["command"] == ["node", "dist/place-order.js", "http://techshop-app:80"]
    selector = one(rendered, "Service", "-app")["spec"]["selector"]
    assert not selector.items() <= pod["metadata"]["labels"].items()
