"""Break things on the project's cluster on purpose: processes, pods' networks, whole nodes."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from techshop import cluster, helm, shell
from techshop.errors import Failure


def node_of(namespace: str, pod: str) -> str:
    """Return the name of the node that the pod runs on, which is also that of its container."""
    return helm.kubectl("get", "pod", pod, "--namespace", namespace, "-o", "jsonpath={.spec.nodeName}")


def signal(namespace: str, pod: str, container: str, name: str) -> None:
    """Send a signal to a container's first process from outside, where no process can ignore it.

    Args:
        namespace: the pod's namespace.
        pod: the pod's name.
        container: the container's name.
        name: "KILL", "STOP", "CONT" and so on.
    """
    _on_node(namespace, pod, "kill", f"-{name}", str(_pid(namespace, pod, container)))


@contextmanager
def isolated(namespace: str, pod: str) -> Iterator[None]:
    """Drop all that the pod sends and receives, without telling anyone; its own loopback stays."""
    node, pid = node_of(namespace, pod), str(_pid(namespace, pod, None))

    def rule(action: str, chain: str, device: str) -> None:
        command = (
            "nsenter",
            "--target",
            pid,
            "--net",
            "iptables",
            "--wait",
            action,
            chain,
            device,
            "eth0",
            "--jump",
            "DROP",
        )
        shell.run("docker", "exec", node, *command)

    rule("--append", "INPUT", "--in-interface")
    rule("--append", "OUTPUT", "--out-interface")
    try:
        yield
    finally:
        rule("--delete", "INPUT", "--in-interface")
        rule("--delete", "OUTPUT", "--out-interface")


@contextmanager
def small_volume(namespace: str, pod: str, room: int = 512) -> Iterator[Path]:
    """Put a pod's volume, a folder of its node, on a file system of its own while this is entered.

    Args:
        namespace: the pod's namespace.
        pod: the pod, which is started again at the beginning and at the end.
        room: MiB that it has beside what it holds.

    Yields:
        The folder, on the pod's node.
    """
    claim = helm.kubectl("get", "pvc", f"data-{pod}", "--namespace", namespace, "-o", "jsonpath={.spec.volumeName}")
    source = "jsonpath={.spec.hostPath.path}{.spec.local.path}"
    folder = helm.kubectl("get", "pv", claim, "-o", source)
    node = node_of(namespace, pod)

    def while_stopped(script: str) -> None:
        # Its volume keeps the pod on this node.
        with cordoned(node):
            helm.kubectl("delete", "pod", pod, "--namespace", namespace, "--wait")
            shell.run("docker", "exec", node, "sh", "-euc", script, "sh", folder, str(room))

    while_stopped("""
        size=$(($(du -sm "$1" | cut -f1) + $2))
        cp -a "$1" "$1.aside"
        mount -t tmpfs -o "size=${size}m" tmpfs "$1"
        cp -a "$1.aside/." "$1"
        rm -r "$1.aside"
    """)
    try:
        yield Path(folder)
    finally:
        while_stopped("""
            rm -f "$1/filler"
            cp -a "$1" "$1.aside"
            umount "$1"
            find "$1" -mindepth 1 -delete
            cp -a "$1.aside/." "$1"
            rm -r "$1.aside"
        """)


def fill(namespace: str, pod: str, folder: Path) -> None:
    """Take all the room that is left in a small volume."""
    _on_node(namespace, pod, "sh", "-euc", '! cat /dev/zero > "$1/filler" 2> /dev/null', "sh", str(folder))


def empty(namespace: str, pod: str, folder: Path) -> None:
    """Give the room back."""
    _on_node(namespace, pod, "rm", str(folder / "filler"))


@contextmanager
def node_down(node: str) -> Iterator[None]:
    """Switch a node off as a power cut does, and on again at the end."""
    shell.run("docker", "kill", node)
    try:
        yield
    finally:
        shell.run("docker", "start", node)
        helm.kubectl("wait", f"node/{node}", "--for=condition=Ready", "--timeout=180s", timeout=200)


@contextmanager
def cordoned(node: str) -> Iterator[None]:
    """Let no pod start on a node meanwhile."""
    helm.kubectl("cordon", node)
    try:
        yield
    finally:
        helm.kubectl("uncordon", node)


@contextmanager
def drained(node: str, seconds: int = 300) -> Iterator[None]:
    """Drain a node as for maintenance, respecting every budget, and give it back at the end."""
    options = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", f"--timeout={seconds}s")
    try:
        helm.kubectl("drain", node, *options, timeout=seconds + 30)
        yield
    finally:
        helm.kubectl("uncordon", node)


def workers() -> list[str]:
    """Return the names of the worker nodes."""
    return [node.name for node in cluster.nodes() if "control-plane" not in node.name]


def _pid(namespace: str, pod: str, container: str | None) -> int:
    """Return a process id on the pod's node: of a container's first process, or of the pod's sandbox."""
    pods = _on_node(
        namespace, pod, "crictl", "pods", "--namespace", namespace, "--name", f"^{pod}$", "--state", "ready", "-q"
    )
    if container is None:
        return int(json.loads(_on_node(namespace, pod, "crictl", "inspectp", pods.split()[0]))["info"]["pid"])
    end = time.monotonic() + 30
    while True:
        listed = _on_node(namespace, pod, "crictl", "ps", "--pod", pods.split()[0], "--name", f"^{container}$", "-q")
        if listed.split():
            return int(json.loads(_on_node(namespace, pod, "crictl", "inspect", listed.split()[0]))["info"]["pid"])
        if time.monotonic() > end:
            raise Failure(f"the container {container} of {pod} doesn't run")
        time.sleep(1)


def _on_node(namespace: str, pod: str, *command: str) -> str:
    return shell.run("docker", "exec", node_of(namespace, pod), *command)
