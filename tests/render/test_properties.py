"""What holds for everything that is rendered, whatever the environment."""

import copy
import re
from pathlib import Path

import pytest
import yaml
from conftest import CHART, Object, containers, objects, one, pods, template

KUBERNETES = ("1.34", "1.35", "1.36", "1.37")
MAJORS = ("helm", "helm3")


@pytest.fixture
def rendered(environment: str) -> list[Object]:
    return objects(environment)


@pytest.mark.parametrize("kube", KUBERNETES)
@pytest.mark.parametrize("helm", MAJORS)
def test_every_supported_kubernetes_and_helm_renders_the_same(environment: str, kube: str, helm: str) -> None:
    assert objects(environment, kube=kube, helm=helm) == objects(environment)


@pytest.mark.parametrize("kube", ["1.33", "1.38"])
def test_unsupported_kubernetes_is_refused(refused, kube: str) -> None:
    assert "kubeVersion" in refused(kube=kube)


def test_same_values_give_same_bytes(environment: str) -> None:
    first = template(environment)
    template.__globals__["_helm"].cache_clear()
    assert template(environment) == first


def test_nothing_enabled_renders_nothing() -> None:
    off = {f"{part}.enabled": False for part in ("app", "mongodb", "redis", "networkPolicy")}
    assert objects(values=off) == []


def test_names_are_unique(rendered: list[Object]) -> None:
    names = [(item["kind"], item["metadata"]["name"]) for item in rendered]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("release", ["a", "techshop", "my.shop-2", "r" * 53, "techshop-" + "9" * 44])
def test_names_fit_their_limits(release: str) -> None:
    for item in objects("prod", release=release):
        name, kind = item["metadata"]["name"], item["kind"]
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name), name
        # A StatefulSet's pods get a label NAME-HASH of ten more characters and an ordinal.
        assert len(name) <= (52 if kind == "StatefulSet" else 63), f"{kind} {name}"


def test_long_release_names_that_differ_at_their_end_give_different_names() -> None:
    first, second = ({i["metadata"]["name"] for i in objects(release="r" * 52 + end)} for end in "ab")
    assert not first & second


def test_every_object_says_its_namespace_and_part(rendered: list[Object]) -> None:
    for item in rendered:
        assert item["metadata"]["namespace"] == "shop"
        labels = item["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "techshop"
        assert labels["app.kubernetes.io/component"]
        assert all(isinstance(value, str) for value in labels.values())


def test_a_new_chart_version_changes_labels_only_and_rolls_no_pod(tmp_path: Path, environment: str) -> None:
    for source in CHART.rglob("*"):
        if source.is_file():
            target = tmp_path / source.relative_to(CHART)
            target.parent.mkdir(parents=True, exist_ok=True)
            text = source.read_text()
            if source.name == "Chart.yaml":
                text = text.replace("version: 0.1.0", "version: 0.2.0").replace(
                    'appVersion: "0.1.0"', 'appVersion: "9"'
                )
            target.write_text(text)
    now = copy.deepcopy(objects(environment))
    new = copy.deepcopy(objects(environment, chart=tmp_path))
    assert now != new
    for item in now + new:
        for label in ("helm.sh/chart", "app.kubernetes.io/version"):
            item["metadata"]["labels"].pop(label)
    assert now == new


def test_selectors_match_their_pods_and_nobody_else(rendered: list[Object]) -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(rendered)}
    for item in rendered:
        if item["kind"] in {"Deployment", "StatefulSet"}:
            selector = item["spec"]["selector"]["matchLabels"]
            name = f"{item['kind']}/{item['metadata']['name']}"
            assert [pod for pod, has in labels.items() if selector.items() <= has.items()] == [name]
        if item["kind"] == "Service":
            selected = [pod for pod, has in labels.items() if item["spec"]["selector"].items() <= has.items()]
            assert len(selected) == 1, f"Service {item['metadata']['name']} selects {selected}"


def test_every_pod_meets_the_restricted_pod_security_standard(rendered: list[Object]) -> None:
    for name, pod in pods(rendered):
        spec = pod["spec"]
        assert not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")), name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", name
        allowed = {
            "configMap",
            "csi",
            "downwardAPI",
            "emptyDir",
            "ephemeral",
            "persistentVolumeClaim",
            "projected",
            "secret",
        }
        for volume in spec.get("volumes", []):
            assert set(volume) - {"name"} <= allowed, f"{name}: {volume}"
        for container in containers(pod):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert context["readOnlyRootFilesystem"] is True, name
            assert not any("hostPort" in port for port in container.get("ports", [])), name


def test_every_container_has_a_writable_tmp_or_writes_nowhere(rendered: list[Object]) -> None:
    for name, pod in pods(rendered):
        for container in containers(pod):
            # redis-server writes its volume and /run/redis only, exporters nothing at all
            if "redis" not in name and container["name"] != "exporter":
                assert "/tmp" in [mount["mountPath"] for mount in container["volumeMounts"]], name


def test_every_container_has_requests_and_limits(rendered: list[Object]) -> None:
    for name, pod in pods(rendered):
        for container in containers(pod):
            resources = container["resources"]
            assert {"cpu", "memory"} <= set(resources["requests"]), f"{name}/{container['name']}"
            assert "memory" in resources["limits"], f"{name}/{container['name']}"


def test_no_pod_gets_a_service_account_token(rendered: list[Object]) -> None:
    for name, pod in pods(rendered):
        assert pod["spec"]["automountServiceAccountToken"] is False, name
    assert all(item["automountServiceAccountToken"] is False for item in rendered if item["kind"] == "ServiceAccount")


def test_every_serving_container_has_all_probes_and_starts_slowly_unharmed(rendered: list[Object]) -> None:
    for name, pod in pods(rendered):
        if name.startswith(("Deployment", "StatefulSet")):
            for container in (item for item in pod["spec"]["containers"] if item["name"] != "exporter"):
                assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container), name
                startup = container["startupProbe"]
                patience = startup["periodSeconds"] * startup["failureThreshold"]
                assert patience >= (1800 if name.startswith("StatefulSet") else 120), name
                liveness = container["livenessProbe"]
                assert liveness["periodSeconds"] * liveness["failureThreshold"] >= 60, name


def test_no_probe_starts_a_javascript_engine(rendered: list[Object]) -> None:
    for name, pod in pods(rendered):
        for container in containers(pod):
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                command = container.get(probe, {}).get("exec", {}).get("command", [])
                assert not {"mongosh", "mongo", "node"} & set(command), f"{name}: {command}"


def test_every_mount_has_its_volume_and_each_volume_a_mount(rendered: list[Object]) -> None:
    claims = {
        item["metadata"]["name"]: item["spec"].get("volumeClaimTemplates", []) for item in rendered if "spec" in item
    }
    for name, pod in pods(rendered):
        volumes = {volume["name"] for volume in pod["spec"].get("volumes", [])}
        volumes |= {claim["metadata"]["name"] for claim in claims[name.split("/")[1]]}
        mounts = {mount["name"] for container in containers(pod) for mount in container.get("volumeMounts", [])}
        assert mounts == volumes, name


def test_every_named_object_is_there(rendered: list[Object]) -> None:
    have = {(item["kind"], item["metadata"]["name"]): item for item in rendered}
    for name, pod in pods(rendered):
        assert ("ServiceAccount", pod["spec"]["serviceAccountName"]) in have, name
        for volume in pod["spec"].get("volumes", []):
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in have, name
            if "secret" in volume:
                assert ("Secret", volume["secret"]["secretName"]) in have, name
        for container in containers(pod):
            for variable in container.get("env", []):
                if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                    secret = have["Secret", reference["name"]]
                    assert reference["key"] in secret["data"], f"{name}: {variable['name']}"
    for item in rendered:
        if item["kind"] == "StatefulSet":
            assert have["Service", item["spec"]["serviceName"]]["spec"]["clusterIP"] == "None"
        if item["kind"] == "HorizontalPodAutoscaler":
            target = item["spec"]["scaleTargetRef"]
            assert (target["kind"], target["name"]) in have


def test_every_port_name_exists(rendered: list[Object]) -> None:
    for service in (item for item in rendered if item["kind"] == "Service"):
        selector = service["spec"]["selector"]
        pod = next(pod for _, pod in pods(rendered) if selector.items() <= pod["metadata"]["labels"].items())
        names = {port["name"] for container in containers(pod) for port in container.get("ports", [])}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= names


def test_no_variable_is_set_twice(rendered: list[Object]) -> None:
    for name, pod in pods(rendered):
        for container in containers(pod):
            names = [variable["name"] for variable in container.get("env", [])]
            assert len(names) == len(set(names)), name


def test_no_image_is_latest_or_without_version(rendered: list[Object]) -> None:
    for name, pod in pods(rendered):
        for container in containers(pod):
            assert re.fullmatch(r"\S+/\S+(:(?!latest$|stable$)[\w.-]+|@sha256:[a-f0-9]{64})", container["image"]), name


def test_every_workload_has_a_budget_that_never_blocks_a_drain_for_ever(rendered: list[Object]) -> None:
    budgets = [item["spec"] for item in rendered if item["kind"] == "PodDisruptionBudget"]
    for name, pod in pods(rendered):
        if not name.startswith("Pod/"):
            covering = [b for b in budgets if b["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()]
            assert len(covering) == 1, name
            assert covering[0]["maxUnavailable"] == 1, name
            assert covering[0]["unhealthyPodEvictionPolicy"] == "AlwaysAllow", name


def test_pods_spread_over_zones_and_nodes(rendered: list[Object]) -> None:
    for name, pod in pods(rendered):
        constraints = pod["spec"]["topologySpreadConstraints"]
        keys = [constraint["topologyKey"] for constraint in constraints]
        assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"], name


def test_an_autoscaler_and_a_fixed_count_are_never_both_set(rendered: list[Object]) -> None:
    scaled = {item["spec"]["scaleTargetRef"]["name"] for item in rendered if item["kind"] == "HorizontalPodAutoscaler"}
    for item in rendered:
        if item["kind"] == "Deployment":
            assert ("replicas" in item["spec"]) != (item["metadata"]["name"] in scaled)


def test_secret_values_stand_nowhere_but_in_secrets(environment: str) -> None:
    rendered = objects(environment)
    passwords = [value for item in rendered if item["kind"] == "Secret" for value in item["data"].values()]
    assert passwords
    import base64

    rest = yaml.safe_dump([item for item in rendered if item["kind"] != "Secret"])
    for value in passwords:
        assert value not in rest
        assert base64.b64decode(value).decode() not in rest


def test_no_hook_is_needed_to_work(rendered: list[Object]) -> None:
    hooks = [item["metadata"].get("annotations", {}).get("helm.sh/hook") for item in rendered]
    assert set(hooks) <= {None, "test"}


@pytest.mark.parametrize("part", ["app", "mongodb", "redis"])
def test_every_workload_takes_the_same_settings(part: str) -> None:
    settings = {
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
    rendered = objects(values={f"{part}.{key}": value for key, value in settings.items()})
    item = one(rendered, "Deployment" if part == "app" else "StatefulSet", f"-{part}")
    pod = item["spec"]["template"]
    main = pod["spec"]["containers"][0]
    assert main["image"] == "r.example.com/a/b:1.10"
    assert pod["spec"]["nodeSelector"] == {"disk": "true"}
    for key in ("affinity", "tolerations", "topologySpreadConstraints", "priorityClassName"):
        assert pod["spec"][key] == settings[key]
    assert {"a": "1.1", "b": "true", "c": "1000000"}.items() <= pod["metadata"]["annotations"].items()
    assert pod["metadata"]["labels"]["team"] == "yes"
    assert pod["metadata"]["labels"]["app.kubernetes.io/component"] == part
    assert main["env"][-1] == {"name": "EXTRA", "value": "0123"}
    assert {"name": "more", "emptyDir": {}} in pod["spec"]["volumes"]
    assert {"name": "more", "mountPath": "/more"} in main["volumeMounts"]


@pytest.mark.parametrize(
    ("part", "ours"), [("app", "MONGODB_URI"), ("mongodb", "MEMORY_LIMIT_MIB"), ("redis", "POD_IP")]
)
def test_a_variable_of_ours_can_not_be_overridden_silently(refused, part: str, ours: str) -> None:
    message = refused(values={f"{part}.extraEnv": [{"name": ours, "value": "x"}]})
    assert f"{part}.extraEnv: the chart sets {ours} itself" in message
