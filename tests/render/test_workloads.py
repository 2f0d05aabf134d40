"""What holds for everything that makes pods, in every setup."""

import re

import pytest
from conftest import ALL, SERVERS, Workload, by_name, containers, objects, one, pods, workloads

WORKLOADS = workloads()
LASTING = [workload for workload in WORKLOADS if workload.item["kind"] != "Pod"]
SERVING = [workload for workload in LASTING if workload.item["kind"] != "CronJob"]
#: What reads the node, for which nothing but its mounts is an exception to the restricted standard.
NODE_LEVEL = {"node-exporter"}
#: What asks the cluster's API.
CLIENTS_OF_THE_API = {"prometheus", "kube-state-metrics", "backup-snapshots"}
#: redis-server writes its volume and /run/redis only, Prometheus and Alertmanager theirs, the others nothing at all.
WRITES_NO_TMP = {"redis", "prometheus", "alertmanager", "kube-state-metrics", "node-exporter"}

every = pytest.mark.parametrize("workload", WORKLOADS, ids=str)
lasting = pytest.mark.parametrize("workload", LASTING, ids=str)
serving = pytest.mark.parametrize("workload", SERVING, ids=str)

VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


@every
def test_it_meets_the_restricted_pod_security_standard(workload: Workload) -> None:
    spec = workload.pod["spec"]
    assert not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC"))
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"].get("runAsUser", 1) > 0
    assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    for volume in spec.get("volumes", []):
        assert set(volume) - {"name"} <= VOLUMES | ({"hostPath"} if workload.part in NODE_LEVEL else set())
        if "hostPath" in volume:
            mounts = [mount for item in containers(workload.pod) for mount in item["volumeMounts"]]
            assert all(mount.get("readOnly") for mount in mounts if mount["name"] == volume["name"])
    for container in containers(workload.pod):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"] is True
        assert not any("hostPort" in port for port in container.get("ports", []))


@every
def test_each_container_has_a_writable_tmp_or_writes_nowhere(workload: Workload) -> None:
    for container in containers(workload.pod):
        # exporters write nothing, rclone is copied
        if workload.part not in WRITES_NO_TMP and container["name"] not in {"exporter", "rclone"}:
            assert "/tmp" in [mount["mountPath"] for mount in container["volumeMounts"]], container["name"]


@every
def test_each_container_has_requests_and_a_limit_of_memory(workload: Workload) -> None:
    for container in containers(workload.pod):
        resources = container["resources"]
        assert {"cpu", "memory"} <= set(resources["requests"]), container["name"]
        assert "memory" in resources["limits"], container["name"]


@every
def test_it_gets_no_service_account_token_unless_it_asks_the_api(workload: Workload) -> None:
    spec = workload.pod["spec"]
    assert spec["automountServiceAccountToken"] is (workload.part in CLIENTS_OF_THE_API)
    assert one(workload.beside, "ServiceAccount", spec["serviceAccountName"])["automountServiceAccountToken"] is False


@every
def test_no_variable_is_set_twice(workload: Workload) -> None:
    for container in containers(workload.pod):
        names = [variable["name"] for variable in container.get("env", [])]
        assert len(names) == len(set(names)), container["name"]


@every
def test_each_mount_has_its_volume_and_each_volume_a_mount(workload: Workload) -> None:
    volumes = {volume["name"] for volume in workload.pod["spec"].get("volumes", [])}
    volumes |= {claim["metadata"]["name"] for claim in workload.item["spec"].get("volumeClaimTemplates", [])}
    mounts = {mount["name"] for item in containers(workload.pod) for mount in item.get("volumeMounts", [])}
    assert mounts == volumes


@every
def test_no_image_is_latest_or_without_version(workload: Workload) -> None:
    for container in containers(workload.pod):
        assert re.fullmatch(r"\S+/\S+(:(?!latest$|stable$)[\w.-]+|@sha256:[a-f0-9]{64})", container["image"])


@every
def test_no_probe_starts_a_javascript_engine(workload: Workload) -> None:
    for container in containers(workload.pod):
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            command = container.get(probe, {}).get("exec", {}).get("command", [])
            assert not {"mongosh", "mongo", "node"} & set(command), container["name"]


@every
def test_what_it_names_is_there(workload: Workload) -> None:
    have = by_name(workload.beside)
    existing = {
        "m",
        "r",
        "shop-app",
        "shop-mongodb",
        "shop-redis",
        "mongodb-login",
        "redis-login",
        "shop-s3",
        "shop-grafana",
        "s3-login",
        "backup-password",
        "traces-login",
    }  # of the setups
    issued = {item["spec"]["secretName"] for item in workload.beside if item["kind"] == "Certificate"}
    spec = workload.pod["spec"]
    assert ("ServiceAccount", spec["serviceAccountName"]) in have
    for volume in spec.get("volumes", []):
        if "configMap" in volume and not volume["configMap"].get("optional"):
            assert ("ConfigMap", volume["configMap"]["name"]) in have
        if "secret" in volume and not volume["secret"].get("optional"):
            name = volume["secret"]["secretName"]
            assert name in existing | issued or ("Secret", name) in have
    for container in containers(workload.pod):
        for variable in container.get("env", []):
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference and not reference.get("optional") and reference["name"] not in existing:
                assert reference["key"] in have["Secret", reference["name"]]["data"], variable["name"]


@serving
def test_its_selector_matches_its_own_pods_and_no_others(workload: Workload) -> None:
    selector = workload.item["spec"]["selector"]["matchLabels"].items()
    matched = [name for name, pod in pods(workload.beside) if selector <= pod["metadata"]["labels"].items()]
    assert matched == [f"{workload.item['kind']}/{workload.item['metadata']['name']}"]


@serving
def test_one_budget_covers_it_and_never_blocks_a_drain_for_ever(workload: Workload) -> None:
    if workload.item["kind"] == "DaemonSet":  # which drains leave alone, and budgets don't know
        return
    labels = workload.pod["metadata"]["labels"].items()
    budgets = [item["spec"] for item in workload.beside if item["kind"] == "PodDisruptionBudget"]
    (covering,) = [budget for budget in budgets if budget["selector"]["matchLabels"].items() <= labels]
    assert covering["maxUnavailable"] >= 1
    assert covering["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


@lasting
def test_it_spreads_over_zones_and_nodes_unless_the_values_say_otherwise(workload: Workload) -> None:
    keys = [constraint["topologyKey"] for constraint in workload.pod["spec"]["topologySpreadConstraints"]]
    if not (workload.setup.name == "single-zone" and workload.part == "mongodb"):
        assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]


@serving
def test_it_has_all_probes_and_a_slow_start_is_left_alone(workload: Workload) -> None:
    for container in (item for item in workload.pod["spec"]["containers"] if item["name"] != "exporter"):
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)
        startup = container["startupProbe"]
        patience = startup["periodSeconds"] * startup["failureThreshold"]
        assert patience >= (1800 if workload.item["kind"] == "StatefulSet" else 120)
        liveness = container["livenessProbe"]
        assert liveness["periodSeconds"] * liveness["failureThreshold"] >= 60


@serving
def test_it_is_scaled_by_an_autoscaler_or_by_a_count_and_never_by_both(workload: Workload) -> None:
    if workload.item["kind"] == "Deployment":
        scaled = [
            item["spec"]["scaleTargetRef"]["name"]
            for item in workload.beside
            if item["kind"] == "HorizontalPodAutoscaler"
        ]
        assert ("replicas" in workload.item["spec"]) != (workload.item["metadata"]["name"] in scaled)


SETTINGS = {
    "image": {"registry": "r.example.com/", "repository": "a/b", "tag": "1.10"},
    "nodeSelector": {"disk": True},
    "affinity": {"nodeAffinity": {}},
    "tolerations": [{"operator": "Exists"}],
    "topologySpreadConstraints": [{"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}],
    "priorityClassName": "high",
    "podAnnotations": {"a": 1.10, "b": True, "c": 1000000},
    "podLabels": {"team": "yes", "app.kubernetes.io/component": "hijacked"},
    "extraEnv": [{"name": "EXTRA", "value": "0123"}],
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
}


@pytest.mark.parametrize("part", SERVERS)
def test_every_workload_takes_the_same_settings(part: str) -> None:
    place, kind = SERVERS[part]
    rendered = objects(values=ALL | {f"{place}.{key}": value for key, value in SETTINGS.items()})
    pod = one(rendered, kind, f"-{part}")["spec"]["template"]
    main = pod["spec"]["containers"][0]
    assert main["image"] == "r.example.com/a/b:1.10"
    assert pod["spec"]["nodeSelector"] == {"disk": "true"}
    for key in ("affinity", "tolerations", "topologySpreadConstraints", "priorityClassName"):
        assert pod["spec"][key] == SETTINGS[key]
    assert {"a": "1.1", "b": "true", "c": "1000000"}.items() <= pod["metadata"]["annotations"].items()
    assert pod["metadata"]["labels"]["team"] == "yes"
    assert pod["metadata"]["labels"]["app.kubernetes.io/component"] == part
    assert main["env"][-1] == {"name": "EXTRA", "value": "0123"}
    assert {"name": "more", "emptyDir": {}} in pod["spec"]["volumes"]
    assert {"name": "more", "mountPath": "/more"} in main["volumeMounts"]


@pytest.mark.parametrize(
    ("part", "ours"),
    [
        ("app", "MONGODB_URI"),
        ("app", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("mongodb", "MEMORY_LIMIT_MIB"),
        ("redis", "POD_IP"),
        ("objectstorage", "VOLUME_MIB"),
        ("tracing", "GOMEMLIMIT"),
        ("monitoring.grafana", "GF_USERS_ALLOW_SIGN_UP"),
    ],
)
def test_a_variable_of_ours_can_not_be_overridden_silently(refused, part: str, ours: str) -> None:
    message = refused(values={f"{part}.extraEnv": [{"name": ours, "value": "x"}]})
    assert f"{part}.extraEnv: the chart sets {ours} itself" in message
