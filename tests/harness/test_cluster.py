import json
import socket

import pytest
import yaml

from techshop import cluster, nodeimage, paths, reach, shell
from techshop.errors import Failure


@pytest.fixture(autouse=True)
def _places(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    monkeypatch.delenv("TECHSHOP_PORT", raising=False)


def test_configuration_has_zones_in_turn_and_the_port_of_the_machine(monkeypatch):
    monkeypatch.setenv("TECHSHOP_PORT", "9090")
    control_plane, *workers = cluster.configuration(4)["nodes"]
    zones = [worker["labels"]["topology.kubernetes.io/zone"] for worker in workers]
    assert zones == ["zone-a", "zone-b", "zone-c", "zone-a"]
    mapping = {"containerPort": 30080, "hostPort": 9090, "listenAddress": "127.0.0.1"}
    assert control_plane["extraPortMappings"] == [mapping]
    assert all("extraPortMappings" not in worker for worker in workers)


def test_configuration_names_patches_that_exist():
    [mount] = cluster.configuration(0)["nodes"][0]["extraMounts"]
    names = {path.name for path in (cluster._MANIFESTS / "kubeadm").iterdir()}
    assert mount["hostPath"] == str(cluster._MANIFESTS / "kubeadm")
    assert {"kube-apiserver+strategic.yaml", "etcd+strategic.yaml", "corednsdeployment+strategic.yaml"} <= names
    for patch in cluster.configuration(0)["kubeadmConfigPatches"]:
        assert yaml.safe_load(patch)["kind"]


@pytest.mark.parametrize("value", ["", "0", "65536", "http", "-1", "80.5"])
def test_a_port_that_is_none_is_told(value, monkeypatch):
    monkeypatch.setenv("TECHSHOP_PORT", value)
    with pytest.raises(Failure, match="TECHSHOP_PORT"):
        cluster.port()


def test_a_taken_port_names_who_has_it(monkeypatch):
    monkeypatch.setattr(shell, "attempt", lambda *_, **__: "")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        monkeypatch.setenv("TECHSHOP_PORT", str(server.getsockname()[1]))
        with pytest.raises(Failure, match=r"is taken by \S+ \(process \d+\)") as caught:
            cluster._check_port()
    assert "TECHSHOP_PORT=" in caught.value.advice
    cluster._check_port()


def test_a_cluster_of_another_shape_is_kept_and_told(monkeypatch):
    record = {"workers": 2, "port": 8080, "version": "v1.36.3"}
    cluster._compare(record, None)
    cluster._compare(record, 2)
    with pytest.raises(Failure, match="has 2 workers, and 0 were asked for"):
        cluster._compare(record, 0)
    monkeypatch.setenv("TECHSHOP_PORT", "9090")
    with pytest.raises(Failure, match="has port 8080, and TECHSHOP_PORT says 9090"):
        cluster._compare(record, 2)


@pytest.fixture
def engine(monkeypatch):
    """A Docker engine and nodes, as far as `load` asks for them; yields what kind was asked to load."""
    loaded = []
    ids = {"a:1": "sha256:aa", "b:1": "sha256:bb"}
    nodes = {"n1": ["sha256:aa"], "n2": []}

    def run(*command, **_):
        words = [str(word) for word in command]
        if words[:3] == ["docker", "image", "inspect"]:
            return ids[words[-1]]
        if words[:2] == ["docker", "exec"]:
            return json.dumps({"images": [{"id": id_} for id_ in nodes[words[2]]]})
        if words[:2] == ["docker", "ps"]:
            return "n2\trunning\tUp 2 hours\nn1\trunning\tUp 2 hours\n"
        loaded.append(words[1:])
        return ""

    monkeypatch.setattr(shell, "run", run)
    return loaded


def test_images_go_only_where_they_are_missing(engine):
    cluster.load("a:1")
    cluster.load("a:1", "b:1")
    names = f"--name={cluster.NAME}".split("=")
    assert engine == [
        ["load", "docker-image", "a:1", "--nodes", "n2", *names],
        ["load", "docker-image", "a:1", "b:1", "--nodes", "n1,n2", *names],
    ]


def test_a_half_made_cluster_is_deleted(monkeypatch):
    monkeypatch.setattr(cluster, "nodes", lambda: [cluster.Node("n1", running=True)])
    deleted = []
    monkeypatch.setattr(cluster, "_delete", lambda: deleted.append(1))
    cluster._half_made().parent.mkdir(parents=True)
    cluster._half_made().touch()
    assert cluster._revive() is None
    assert deleted


def test_a_cluster_that_is_slow_to_answer_is_kept(monkeypatch):
    answers = iter([None, None, {"workers": 0}])
    monkeypatch.setattr(cluster, "nodes", lambda: [cluster.Node("n1", running=True)])
    monkeypatch.setattr(cluster, "_record", lambda: next(answers))
    monkeypatch.setattr(cluster, "_all_ready", lambda: True)
    monkeypatch.setattr(cluster, "_kind", lambda *_, **__: "")
    monkeypatch.setattr(cluster, "_delete", lambda: pytest.fail("deleted"))
    monkeypatch.setattr(cluster.time, "sleep", lambda _: None)
    assert cluster._revive() == {"workers": 0}


@pytest.mark.parametrize(
    ("state", "status", "running", "young"),
    [
        ("running", "Up Less than a second", True, True),
        ("running", "Up 59 seconds", True, True),
        ("running", "Up About a minute", True, False),
        ("running", "Up 12 hours", True, False),
        ("exited", "Exited (137) 3 seconds ago", False, False),
    ],
)
def test_a_node_that_was_just_started_is_known_by_its_age(monkeypatch, state, status, running, young):
    monkeypatch.setattr(shell, "run", lambda *_, **__: f"n1\t{state}\t{status}\n")
    assert cluster.nodes() == [cluster.Node("n1", running, young)]


@pytest.mark.parametrize("woken", [False, True], ids=["by-us", "by-the-engine"])
def test_stopped_nodes_are_started_and_waited_for_until_the_api_stays(monkeypatch, woken):
    started = []
    answers = iter([{"workers": 1}, None, *[{"workers": 1}] * 5])
    monkeypatch.setattr(
        cluster, "nodes", lambda: [cluster.Node("n1", running=woken, young=woken), cluster.Node("n2", True)]
    )
    monkeypatch.setattr(shell, "run", lambda *command, **_: started.append(command) or "")
    monkeypatch.setattr(cluster, "_record", lambda: next(answers))
    monkeypatch.setattr(cluster, "_wait_ready", lambda _: started.append("waited"))
    monkeypatch.setattr(cluster.time, "sleep", lambda _: None)
    monkeypatch.setattr(paths, "KUBECONFIG", paths.ROOT / "pyproject.toml")
    assert cluster._revive() == {"workers": 1}
    assert started == [("docker", "start", "n1")] * (not woken) + ["waited"]
    assert next(answers, "all asked") == "all asked"


@pytest.mark.parametrize(
    ("chosen", "registry", "expected"),
    [("", True, []), ("", False, ["--image", "ours"]), ("kindest/node:v1", True, ["--image", "kindest/node:v1"])],
)
def test_the_node_image_is_the_chosen_one_or_ours_where_there_is_no_registry(monkeypatch, chosen, registry, expected):
    monkeypatch.setenv("TECHSHOP_NODE_IMAGE", chosen)
    monkeypatch.setattr(reach, "registry", lambda: registry)
    monkeypatch.setattr(nodeimage, "ensure", lambda: "ours")
    monkeypatch.setattr(cluster, "_check_port", lambda: None)
    monkeypatch.setattr(cluster, "_wait_ready", lambda seconds: None)
    monkeypatch.setattr(cluster, "kubectl", lambda *_, **__: '{"serverVersion": {"gitVersion": "v1"}}')
    monkeypatch.setattr(paths, "KUBECONFIG", paths.CACHE / "kubeconfig")
    monkeypatch.setattr(paths, "STATE", paths.CACHE)
    (paths.CACHE / "locks").mkdir()
    made = []
    monkeypatch.setattr(cluster, "_kind", lambda *words, **_: made.append(list(words)))
    cluster._make(0)
    [words] = made
    assert words[words.index("--wait") + 2 :] == expected


@pytest.mark.parametrize(
    ("log", "advised"), [("inotify_init: too many open files", "fs.inotify.max_user_instances"), ("no", "Run the same")]
)
def test_a_cluster_that_does_not_get_ready_says_what_its_pods_said_last(log, advised, monkeypatch):
    def kubectl(*arguments, **_):
        if arguments[0] == "wait":
            raise Failure("kubectl failed", tail="timed out")
        return "kube-system  kube-proxy-x  0/1  CrashLoopBackOff  5  1m\nkube-system  etcd  1/1  Running  0  1m\n"

    monkeypatch.setattr(cluster, "kubectl", kubectl)
    monkeypatch.setattr(shell, "attempt", lambda *command, **_: f"{log} of {command[6]}\n")
    with pytest.raises(Failure, match="doesn't get ready") as caught:
        cluster._wait_ready(1)
    assert advised in caught.value.advice
    assert f"    {log} of kube-proxy-x" in caught.value.tail.splitlines()
    assert "etcd" not in caught.value.tail
