"""MongoDB's and Redis' objects: the defects of clusters that were never clusters."""

import pytest
import yaml
from conftest import containers, objects, one

VOLUMES = [
    ("mongodb", {"dev": "1Gi", "staging": "5Gi", "prod": "20Gi"}),
    ("redis", {"dev": "1Gi", "staging": "1Gi", "prod": "5Gi"}),
    ("objectstorage", {"dev": "1Gi", "staging": "5Gi", "prod": "50Gi"}),
    ("tracing", {"staging": "2Gi", "prod": "10Gi"}),
]


def pod_of(part: str, **options) -> dict:
    return one(objects(**options), "StatefulSet", f"-{part}")["spec"]["template"]["spec"]


@pytest.mark.parametrize(("part", "sizes"), VOLUMES)
def test_each_pod_has_its_own_volume_that_outlives_it(part: str, sizes: dict[str, str], environment: str) -> None:
    rendered = objects(environment)
    if environment not in sizes:
        assert not [i for i in rendered if i["kind"] == "StatefulSet" and i["metadata"]["name"].endswith(f"-{part}")]
        return
    spec = one(rendered, "StatefulSet", f"-{part}")["spec"]
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == sizes[environment]
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert set(spec["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}


@pytest.mark.parametrize("part", ["mongodb", "redis", "objectstorage", "tracing"])
@pytest.mark.parametrize(
    ("own", "everywhere", "rendered"), [("", "", None), ("", "slow", "slow"), ("fast", "slow", "fast")]
)
def test_the_storage_class_is_the_parts_own_then_the_global_then_the_clusters(part, own, everywhere, rendered) -> None:
    values = {f"{part}.persistence.storageClass": own, "global.storageClass": everywhere}
    claim = one(objects(values=values), "StatefulSet", f"-{part}")["spec"]["volumeClaimTemplates"][0]
    assert claim["spec"].get("storageClassName") == rendered


@pytest.mark.parametrize("part", ["mongodb", "redis"])
def test_members_find_each_other_before_they_are_ready(part: str) -> None:
    rendered = objects()
    headless = one(rendered, "StatefulSet", f"-{part}")["spec"]["serviceName"]
    assert one(rendered, "Service", headless)["spec"]["publishNotReadyAddresses"] is True


@pytest.mark.parametrize("part", ["mongodb", "redis"])
def test_members_start_together_and_a_sidecar_reconciles_them(part: str) -> None:
    stateful = one(objects(), "StatefulSet", f"-{part}")["spec"]
    assert stateful["podManagementPolicy"] == "Parallel"
    (sidecar,) = stateful["template"]["spec"]["initContainers"]
    assert sidecar["restartPolicy"] == "Always"


@pytest.mark.parametrize(("part", "size"), [("mongodb", "replicaSet.replicas"), ("redis", "cluster.shards")])
def test_growing_restarts_no_member(part: str, size: str) -> None:
    grown = objects(values={f"{part}.{size}": 5})
    assert pod_of(part) == one(grown, "StatefulSet", f"-{part}")["spec"]["template"]["spec"]
    config = one(grown, "ConfigMap", f"-{part}")["data"]
    assert len(config["members"].split()) == one(grown, "StatefulSet", f"-{part}")["spec"]["replicas"]


@pytest.mark.parametrize("part", ["mongodb", "redis", "objectstorage"])
def test_a_changed_script_restarts_the_members(part: str, tmp_path) -> None:
    import shutil

    from conftest import CHART

    shutil.copytree(CHART, tmp_path / "techshop")
    script = next((tmp_path / f"techshop/charts/{part}/files").glob("*.sh"))
    script.write_text(script.read_text() + "# changed\n")

    def checksum(**options) -> str:
        stateful = one(objects(**options), "StatefulSet", f"-{part}")
        return stateful["spec"]["template"]["metadata"]["annotations"]["checksum/config"]

    assert checksum() != checksum(chart=tmp_path / "techshop")


def test_mongodb_members_are_named_by_ordinal_under_the_headless_service() -> None:
    config = one(objects("prod"), "ConfigMap", "-mongodb")["data"]
    assert config["members"].split() == [
        f"techshop-mongodb-{n}.techshop-mongodb.shop.svc.cluster.local:27017" for n in range(3)
    ]


def test_mongod_runs_as_a_member_with_a_keyfile_and_a_cache_that_follows_its_limit() -> None:
    script = one(objects(), "ConfigMap", "-mongodb")["data"]["mongod.sh"]
    for option in ("--replSet rs0", "--keyFile ", "--wiredTigerCacheSizeGB ", "enableLocalhostAuthBypass=false"):
        assert option in script
    env = pod_of("mongodb")["containers"][0]["env"]
    limit = next(v for v in env if v["name"] == "MEMORY_LIMIT_MIB")["valueFrom"]["resourceFieldRef"]
    assert limit == {"containerName": "mongod", "resource": "limits.memory", "divisor": "1Mi"}


def test_mongod_gets_time_to_step_down() -> None:
    assert pod_of("mongodb")["terminationGracePeriodSeconds"] >= 30


@pytest.mark.parametrize("replicas", [0, 2, 4, 6, 8, -1, "3", 1.5])
def test_a_set_that_can_not_vote_is_refused(refused, replicas) -> None:
    assert "/mongodb/replicaSet/replicas" in refused(values={"mongodb.replicaSet.replicas": replicas})


@pytest.mark.parametrize(
    ("cluster", "pods"),
    [
        ({}, 6),
        ({"shards": 4}, 8),
        ({"shards": 3, "replicasPerShard": 2}, 9),
        ({"enabled": False}, 1),
        ({"enabled": False, "shards": 5}, 1),
    ],
)
def test_redis_has_a_pod_for_each_master_and_replica(cluster: dict, pods: int) -> None:
    rendered = objects(values={"redis.cluster": cluster})
    assert one(rendered, "StatefulSet", "-redis")["spec"]["replicas"] == pods
    assert len(one(rendered, "ConfigMap", "-redis")["data"]["members"].split()) == pods


@pytest.mark.parametrize("cluster", [{"shards": 2}, {"shards": 0}, {"replicasPerShard": 0}])
def test_a_cluster_that_can_not_fail_over_is_refused(refused, cluster: dict) -> None:
    assert "/redis/cluster/" in refused(values={"redis.cluster": cluster})


def test_one_redis_node_has_the_same_service_and_forms_no_cluster() -> None:
    rendered = objects("dev")
    assert one(rendered, "Service", "-redis")["spec"]["ports"][0]["port"] == 6379
    pod = one(rendered, "StatefulSet", "-redis")["spec"]["template"]["spec"]
    for container in containers({"spec": pod}):
        assert {"name": "CLUSTER", "value": "false"} in container["env"]


def test_a_stopping_redis_master_hands_over_first() -> None:
    hook = pod_of("redis")["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert hook == ["sh", "/scripts/handover.sh"]


def test_no_script_ever_forms_a_cluster_over_existing_data() -> None:
    for part in ("mongodb", "redis", "objectstorage"):
        for name, text in one(objects(), "ConfigMap", f"-{part}")["data"].items():
            for word in ("--cluster-yes", "FLUSHALL", "CLUSTER RESET HARD", "force: true", "rm -rf"):
                assert word not in text, f"{part}/{name}"


def test_application_accounts_of_redis_are_least_privilege() -> None:
    script = one(objects(), "ConfigMap", "-redis")["data"]["lib.sh"]
    lines = {line.split()[1]: line for line in script.splitlines() if line.startswith("user ")}
    assert lines["default"] == "user default off"
    assert "~shop:*" in lines["app"] and "-@admin" in lines["app"] and "-@dangerous" in lines["app"]
    assert "-@all" in lines["exporter"]


@pytest.mark.parametrize("size", ["big", "-1Gi", "1 Gi", -1])
def test_a_volume_size_that_is_none_is_refused(refused, size: str) -> None:
    assert "/mongodb/persistence/size" in refused(values={"mongodb.persistence.size": size})


def test_scripts_survive_rendering_unchanged() -> None:
    from conftest import CHART

    for part in ("mongodb", "redis", "objectstorage"):
        data = one(objects(), "ConfigMap", f"-{part}")["data"]
        for file in (CHART / f"charts/{part}/files").iterdir():
            assert data[file.name].strip() == file.read_text().strip()
            assert yaml.safe_load(yaml.safe_dump(data[file.name])) == data[file.name]


@pytest.mark.parametrize("pods", [1, 2])
def test_a_drain_may_take_as_many_nodes_of_redis_as_the_values_say(pods: int) -> None:
    rendered = objects(values={"redis.podDisruptionBudget.maxUnavailable": pods})
    assert one(rendered, "PodDisruptionBudget", "-redis")["spec"]["maxUnavailable"] == pods
