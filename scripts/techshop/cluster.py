"""The project's kind cluster: make it, mend it, load images into it, describe it, delete it."""

import json
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from techshop import engine, locks, nodeimage, paths, reach, shell, tools, ui
from techshop.errors import Failure

NAME = paths.CLUSTER
#: The port of the control plane's container that the machine's port leads to.
NODE_PORT = 30080
ZONES = ("zone-a", "zone-b", "zone-c")
_MANIFESTS = Path(__file__).with_name("manifests")
_LABEL = f"label=io.x-k8s.kind.cluster={NAME}"
_RECORD = "techshop-cluster"
#: Seconds for which a cluster that was complete once may stay silent before it counts as broken.
_PATIENCE = 180
_MORE_WATCHES = (
    "This machine gives its nodes too few watches of files. As root:"
    " `sysctl fs.inotify.max_user_instances=1024 fs.inotify.max_user_watches=1048576`; then run the same command again."
)
_AGAIN = "Run the same command again; if it stays so, `techshop cluster delete` and then once more."


@dataclass(frozen=True)
class Node:
    """A node's container."""

    name: str
    running: bool
    #: Started within the last minute, by us or with the Docker engine.
    young: bool = False


def port() -> int:
    """Return the machine's port that leads to the storefront: TECHSHOP_PORT, or 8080."""
    value = os.environ.get("TECHSHOP_PORT", "8080")
    if not value.isdecimal() or not 0 < int(value) < 65536:
        raise Failure(f"TECHSHOP_PORT is {value!r}, which is no port", "Set it to a number from 1 to 65535.")
    return int(value)


def url() -> str:
    """Return the address at which the machine reaches the storefront."""
    record = _record()
    return f"http://127.0.0.1:{record['port'] if record else port()}"


def create(workers: int | None = None, default: int = 0, recreate: bool = False) -> None:
    """Make the cluster, or see to it that the one that is there works.

    Stopped nodes are started; a cluster that was left half-made or doesn't come back is deleted and made anew.

    Args:
        workers: worker nodes; None for what is there.
        default: worker nodes when none are named and no cluster is there.
        recreate: delete what is there first.

    Raises:
        Failure: the cluster that is there has another shape, or a step failed.
    """
    tools.install(["kind", "kubectl"])
    with locks.hold(f"cluster-{NAME}", "the cluster"):
        engine.ensure()
        if recreate and nodes():
            _delete()
        record = _revive()
        if record:
            _compare(record, workers)
        else:
            _make(default if workers is None else workers)
        # Kubelets measure volumes that are local ones, and not those that are folders of the node.
        kubectl("annotate", "storageclass", "standard", "defaultVolumeType=local", "--overwrite")


def delete() -> None:
    """Delete the cluster: its containers, volumes, kubeconfig, and kind's network when no other cluster uses it."""
    if not engine.answers():
        paths.KUBECONFIG.unlink(missing_ok=True)
        ui.say("No Docker engine answers, so no cluster runs.")
        return
    tools.install(["kind"])
    with locks.hold(f"cluster-{NAME}", "the cluster"):
        if nodes():
            _delete()
        else:
            ui.say("There is no cluster.")
        paths.KUBECONFIG.unlink(missing_ok=True)


def nodes() -> list[Node]:
    """Return the cluster's node containers, the control plane first."""
    text = shell.run("docker", "ps", "--all", "--filter", _LABEL, "--format", "{{.Names}}\t{{.State}}\t{{.Status}}")
    found = [line.split("\t") for line in shell.lines(text)]
    # Docker counts "Up 59 seconds", then "Up About a minute".
    made = (Node(name, state == "running", state == "running" and "second" in age) for name, state, age in found)
    return sorted(made, key=lambda node: node.name)


def kubectl(*arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
    """Run kubectl on the cluster and return what it prints."""
    program = paths.BIN / "kubectl"
    return shell.run(program, "--kubeconfig", paths.KUBECONFIG, *arguments, stdin=stdin, timeout=timeout, log="cluster")


def _kind(*arguments: str, timeout: float = 900, advice: str = _AGAIN) -> str:
    return shell.run(paths.BIN / "kind", *arguments, "--name", NAME, timeout=timeout, log="cluster", advice=advice)


def _record() -> dict[str, Any] | None:
    """Read what the cluster says of itself: its shape, written when it was complete."""
    try:
        text = kubectl("get", "configmap", _RECORD, "-n", "kube-system", "-o", "jsonpath={.data.shape}", timeout=20)
        record: dict[str, Any] = json.loads(text)
    except (Failure, ValueError):
        return None
    return record


def _revive() -> dict[str, Any] | None:
    """Bring back the cluster that is there, and return its record; a broken one is deleted."""
    there = nodes()
    if not there:
        return None
    if stopped := [node.name for node in there if not node.running]:
        with ui.step(f"start {len(stopped)} stopped node{'s' * (len(stopped) > 1)} of the cluster"):
            shell.run("docker", "start", *stopped, log="cluster", advice=_AGAIN)
    try:
        if _half_made().exists():
            raise Failure("the cluster was left half-made")
        if not paths.KUBECONFIG.exists():
            _kind("export", "kubeconfig", "--kubeconfig", str(paths.KUBECONFIG))
        starting = bool(stopped) or any(node.young for node in there)
        record = (None if starting else _record()) or _wait_for_record(in_a_row=5 if starting else 1)
    except Failure as failure:
        ui.say(f"{failure.what[0].upper()}{failure.what[1:]}: deleting it and making a new one.")
        _delete()
        return None
    if starting or not _all_ready():
        _wait_ready(300)
    return record


def _half_made() -> Path:
    """The file that is there while a cluster is being made."""
    return paths.CACHE / "locks" / f"{NAME}.half-made"


def _wait_for_record(in_a_row: int) -> dict[str, Any]:
    """Wait until the API answers, a second apart, so many times: while nodes start, it may answer and be gone again."""
    with ui.step("wait for the Kubernetes API"):
        end = time.monotonic() + _PATIENCE
        answers = 0
        while time.monotonic() < end:
            record = _record()
            answers = answers + 1 if record else 0
            if record and answers == in_a_row:
                return record
            time.sleep(1)
    raise Failure(f"the cluster doesn't answer after {_PATIENCE} s")


def _compare(record: dict[str, Any], workers: int | None) -> None:
    advice = "`techshop cluster delete` removes the one that is there, with all data in it."
    if workers is not None and record["workers"] != workers:
        raise Failure(
            f"the cluster that is there has {record['workers']} workers, and {workers} were asked for", advice
        )
    if record["port"] != port():
        what = f"the cluster that is there has port {record['port']}, and TECHSHOP_PORT says {port()}"
        raise Failure(what, advice)
    ui.say(f"The cluster is there: {record['workers']} workers, {record['version']}.")


def _make(workers: int) -> None:
    _check_port()
    airgapped = not reach.registry()
    # Without either, kind takes its own newest image, whose digest it knows.
    chosen = os.environ.get("TECHSHOP_NODE_IMAGE") or (nodeimage.ensure() if airgapped else "")
    image = ["--image", chosen] if chosen else []
    paths.KUBECONFIG.unlink(missing_ok=True)
    paths.STATE.mkdir(exist_ok=True)
    shape = f"control plane and {workers} worker{'s' * (workers != 1)}"
    _half_made().touch()
    with ui.step(f"create the cluster ({shape})"):
        config = paths.STATE / f"kind-{NAME}.yaml"
        config.write_text(yaml.safe_dump(configuration(workers), sort_keys=False))
        kubeconfig = str(paths.KUBECONFIG)
        _kind("create", "cluster", "--config", str(config), "--kubeconfig", kubeconfig, "--wait", "300s", *image)
        kubectl("apply", "-f", str(_MANIFESTS / "metrics-server.yaml"))
    _wait_ready(300)
    version = json.loads(kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"]
    record = {"workers": workers, "port": port(), "version": version, "airgapped": airgapped}
    kubectl("create", "configmap", _RECORD, "-n", "kube-system", f"--from-literal=shape={json.dumps(record)}")
    _half_made().unlink()


def configuration(workers: int) -> dict[str, Any]:
    """Return kind's configuration of a cluster with so many workers."""
    patches = {"hostPath": str(_MANIFESTS / "kubeadm"), "containerPath": "/kubeadm-patches", "readOnly": True}
    kubeadm = [
        {"kind": "InitConfiguration", "patches": {"directory": "/kubeadm-patches"}},
        # The API's own data need not outlive a power cut, and slow disks make etcd lose its leader.
        {"kind": "ClusterConfiguration", "etcd": {"local": {"extraArgs": {"unsafe-no-fsync": "true"}}}},
    ]
    control_plane = {
        "role": "control-plane",
        "extraMounts": [patches],
        "extraPortMappings": [{"containerPort": NODE_PORT, "hostPort": port(), "listenAddress": "127.0.0.1"}],
    }
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "kubeadmConfigPatches": [yaml.safe_dump(patch) for patch in kubeadm],
        "nodes": [
            control_plane,
            *(
                {"role": "worker", "labels": {"topology.kubernetes.io/zone": ZONES[number % len(ZONES)]}}
                for number in range(workers)
            ),
        ],
    }


def _all_ready() -> bool:
    listed = json.loads(kubectl("get", "nodes", "-o", "json", timeout=30))["items"]
    conditions = [condition for node in listed for condition in node["status"]["conditions"]]
    states = [condition["status"] for condition in conditions if condition["type"] == "Ready"]
    return bool(states) and all(state == "True" for state in states)


def _wait_ready(seconds: int) -> None:
    """Wait until every node and every part of the system is ready."""
    with ui.step("wait until all of the cluster is ready"):
        limit = f"--timeout={seconds}s"
        try:
            kubectl("wait", "--for=condition=Ready", "node", "--all", limit, timeout=seconds + 30)
            for kind in ("daemonset", "deployment"):
                for namespace in ("kube-system", "local-path-storage"):
                    names = kubectl("get", kind, "-n", namespace, "-o", "name").split()
                    for name in names:
                        kubectl("rollout", "status", name, "-n", namespace, limit, timeout=seconds + 30)
            kubectl("wait", "--for=condition=Available", "apiservice", "--all", limit, timeout=seconds + 30)
        except Failure as failure:
            said = "\n".join([failure.tail, *_unready()])
            advice = _MORE_WATCHES if "too many open files" in said else _AGAIN
            raise Failure("the cluster doesn't get ready", advice, said) from failure


def _unready() -> list[str]:
    """Return the pods that don't run, each with the end of its log."""
    found: list[str] = []
    for line in shell.lines(kubectl("get", "pods", "-A", "--no-headers")):
        namespace, pod, _, state, *_ = line.split()
        if state != "Running":
            program = (paths.BIN / "kubectl", "--kubeconfig", paths.KUBECONFIG)
            log = shell.attempt(*program, "logs", "-n", namespace, pod, "--tail=3", "--all-containers")
            found += [line, *(f"    {end}" for end in shell.lines(log))]
    return found


def _check_port() -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port()))
        except OSError as error:
            owner = _owner(port())
            what = f"port {port()} of this machine is taken{f' by {owner}' if owner else ''}"
            raise Failure(what, f"Stop that, or choose another: TECHSHOP_PORT={port() + 1}.") from error


def _owner(number: int) -> str:
    containers = shell.attempt("docker", "ps", "--filter", f"publish={number}", "--format", "{{.Names}}").split()
    if containers:
        return f"the container {containers[0]}"
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for row in Path(table).read_text().splitlines()[1:]:
            columns = row.split()
            if columns[3] == "0A" and int(columns[1].rsplit(":", 1)[1], 16) == number:
                inodes.add(f"socket:[{columns[9]}]")
    for handle in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(handle.readlink()) in inodes:
                process = handle.parents[1]
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
        except OSError:
            continue
    return ""


def _delete() -> None:
    with ui.step("delete the cluster"):
        _kind("delete", "cluster", "--kubeconfig", str(paths.KUBECONFIG))
        _half_made().unlink(missing_ok=True)
        others = shell.run("docker", "ps", "--all", "--quiet", "--filter", "label=io.x-k8s.kind.cluster").strip()
        if not others and shell.succeeds("docker", "network", "inspect", "kind"):
            shell.succeeds("docker", "network", "rm", "kind")


def load(*images: str) -> None:
    """Load images of the Docker engine into every node that doesn't have them yet.

    Raises:
        Failure: the engine has no such image, or a node doesn't take it.
    """
    ids = {name: _image_id(name) for name in images}
    missing = {
        node.name: [name for name, id_ in ids.items() if id_ not in had]
        for node in nodes()
        for had in [_node_images(node.name)]
    }
    wanted = sorted({name for names in missing.values() for name in names})
    if not wanted:
        return
    targets = [node for node, names in missing.items() if names]
    short = ", ".join(name.rpartition("/")[2].partition(":")[0] for name in wanted)
    with ui.step(f"load {short} into {len(targets)} node{'s' * (len(targets) > 1)}"):
        _kind("load", "docker-image", *wanted, "--nodes", ",".join(targets), advice=_AGAIN)


def _image_id(name: str) -> str:
    advice = "`techshop images build` makes the images."
    return shell.run("docker", "image", "inspect", "--format", "{{.Id}}", name, advice=advice).strip()


def _node_images(node: str) -> Sequence[str]:
    listed = json.loads(shell.run("docker", "exec", node, "crictl", "images", "--output", "json", advice=_AGAIN))
    return [image["id"] for image in listed["images"]]
