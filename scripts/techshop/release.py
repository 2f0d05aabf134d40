"""An installed release, as tests and benchmarks look at it and change it."""

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from techshop import helm, install, paths
from techshop.errors import Failure


@dataclass(frozen=True)
class Node:
    """A line of CLUSTER NODES."""

    id: str
    pod: str
    flags: str
    master: str
    link: str
    slots: tuple[str, ...]

    @classmethod
    def parse(cls, line: str) -> "Node":
        """Read the line."""
        id_, address, flags, master, _, _, _, link, *slots = line.split()
        return cls(id_, address.partition(",")[2].split(".")[0].split(",")[0], flags, master, link, tuple(slots))

    @property
    def serves(self) -> bool:
        """Whether it is a master with slots."""
        return "master" in self.flags and "fail" not in self.flags and bool(self.slots)

    @property
    def held(self) -> int:
        """How many slots it serves."""
        ranges = [[int(end) for end in part.split("-")] for part in self.slots if not part.startswith("[")]
        return sum(ends[-1] - ends[0] + 1 for ends in ranges)

    @property
    def follows(self) -> bool:
        """Whether it is a replica that its master knows."""
        return "slave" in self.flags and "fail" not in self.flags and self.link == "connected"


@dataclass
class Release:
    """The chart, installed in a namespace.

    Args:
        namespace: where.
        files: environments, as in ``values/``.
        name: the release's name.
        helm: Helm's major version.
        values: values beside the files, keys with dots.
        chart: the chart's folder.
    """

    namespace: str
    files: tuple[str, ...]
    name: str = "techshop"
    helm: int = 4
    values: dict[str, Any] = field(default_factory=lambda: {"app.service.type": "NodePort"})
    chart: Path = field(default_factory=lambda: helm.CHART)

    def upgrade(self, **values: object) -> None:
        """Install, or upgrade with values beside those of before (``__`` stands for a dot)."""
        self.values.update({key.replace("__", "."): value for key, value in values.items()})
        files = [file for name in self.files for file in install.values_files(name)]
        helm.upgrade(self.name, self.namespace, files, values=self.values, chart=self.chart, version=self.helm)
        self.notice()

    def notice(self) -> None:
        """Let the kubelets look at the stores' changed Secrets and ConfigMaps now, and not within some 90 seconds."""
        # The storefront's pods read theirs at their start, and may be about to go.
        stores = "app.kubernetes.io/component in (mongodb, redis, objectstorage)"
        self.kubectl("annotate", "pods", "-l", stores, "--overwrite", f"techshop.test/noticed={time.time():.3f}")

    @property
    def tls(self) -> bool:
        """Whether the stores want TLS."""
        return bool(self.values.get("global.tls.enabled"))

    def kubectl(self, *arguments: str, timeout: float = 300) -> str:
        """Run kubectl in the release's namespace."""
        return helm.kubectl("--namespace", self.namespace, *arguments, timeout=timeout)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """Return an object."""
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        return found

    def secret(self, part: str) -> dict[str, str]:
        """Return a part's passwords."""
        data = self.get("secret", f"techshop-{part}")["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def set_secret(self, part: str, **values: str) -> None:
        """Write keys of a part's Secret (``_`` stands for a dash)."""
        data = {key.replace("_", "-"): base64.b64encode(value.encode()).decode() for key, value in values.items()}
        self.kubectl("patch", "secret", f"techshop-{part}", "--patch", json.dumps({"data": data}))
        self.notice()

    def pods(self, part: str) -> list[str]:
        """Return the names of a part's pods, the highest ordinal first."""
        found = self.kubectl("get", "pods", "-l", f"app.kubernetes.io/component={part}", "-o", "name").split()
        return sorted((name.removeprefix("pod/") for name in found), reverse=True)

    def restarts(self, pod: str) -> int:
        """Return how often a pod's containers were started again."""
        status = self.get("pod", pod)["status"]
        started = [*status.get("initContainerStatuses", []), *status["containerStatuses"]]
        return sum(container["restartCount"] for container in started)

    def ready(self, part: str, timeout: int = 300) -> None:
        """Wait until all pods of a part are ready."""
        kind = "deployment" if part == "app" else "statefulset"
        self.kubectl("rollout", "status", f"{kind}/techshop-{part}", f"--timeout={timeout}s", timeout=timeout + 30)

    @contextmanager
    def forwarded(self, pod: str, port: int) -> Iterator[str]:
        """Lead an address of this machine to a pod's port."""
        kubectl = [str(paths.BIN / "kubectl"), "--kubeconfig", str(paths.KUBECONFIG), "--namespace", self.namespace]
        command = [*kubectl, "port-forward", f"pod/{pod}", f":{port}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                yield process.stdout.readline().split()[2]
            finally:
                process.terminate()

    def metrics(self, pod: str, port: int) -> dict[str, float]:
        """Return what an exporter says: the largest value under each metric's name, whatever the labels."""
        with self.forwarded(pod, port) as address:
            answer = requests.get(f"http://{address}/metrics", timeout=20)
        found: dict[str, float] = {}
        for line in answer.text.splitlines():
            if not line.startswith("#"):
                name, value = line.split("{")[0].split(" ")[0], float(line.rpartition(" ")[2])
                found[name] = max(value, found.get(name, value))
        return found

    def mongodb(self, script: str, member: int = 0) -> Any:  # noqa: ANN401 (whatever the script evaluates to)
        """Evaluate JavaScript as root on a member and return its value."""
        program = (
            "db.getSiblingDB('admin').auth('root', require('fs').readFileSync('/secrets/root-password', 'utf8'));"
            f"print(JSON.stringify({script}))"
        )
        pod = f"techshop-mongodb-{member}"
        options = ("--tls", "--tlsCAFile=/tls/ca.crt", "--tlsAllowInvalidHostnames") if self.tls else ()
        command = ("env", "HOME=/tmp", "mongosh", *options, "--quiet", "--norc", "--eval", program)
        return json.loads(self.kubectl("exec", pod, "-c", "reconciler", "--", *command).strip().splitlines()[-1])

    def redis(self, *command: str, node: int = 0) -> str:
        """Run a Redis command as admin on a node and return the answer."""
        script = '. /scripts/lib.sh; admin "$@"'
        return self.kubectl("exec", f"techshop-redis-{node}", "-c", "redis", "--", "sh", "-c", script, "sh", *command)

    def states(self) -> dict[str, str]:
        """Return the state of each member of the replica set, as a member that answers sees it."""
        for member in range(len(self.pods("mongodb"))):
            try:
                found = self.mongodb("rs.status().members.map((m) => [m.name.split('.')[0], m.stateStr])", member)
            except Failure:
                continue
            return dict(found)
        return {}

    def primary(self) -> str | None:
        """Return the name of the pod that says it is the primary, or None while there is none."""
        for pod in self.pods("mongodb"):
            try:
                command = ("exec", pod, "-c", "reconciler", "--", "bash", "/scripts/hello.sh", "127.0.0.1")
                said = self.kubectl(*command, timeout=10)
            except Failure:
                continue
            if "isWritablePrimary\n+" in said:
                return pod
        return None

    def writer(self, part: str) -> str:
        """Return the pod that takes a store's writes: the primary, or one of the masters.

        Raises:
            Failure: there is none.
        """
        if not (found := self.writers(part)):
            raise Failure(f"{part} has nobody who takes writes")
        return found[0]

    def writers(self, part: str) -> list[str]:
        """Return the pods that take a store's writes: the primary, or all masters."""
        if part == "redis":
            return self.masters()
        return [pod for pod in [self.primary()] if pod]

    def promote(self, part: str, pod: str) -> None:
        """Make a pod take its store's writes; nothing happens when it does so already."""
        ordinal = int(pod.rpartition("-")[2])
        if part == "mongodb":
            self.mongodb("db.adminCommand({replSetStepUp: 1})", ordinal)
        elif pod not in self.writers(part):
            self.redis("CLUSTER", "FAILOVER", node=ordinal)

    def nodes(self) -> list["Node"]:
        """Return the nodes of Redis as the first that answers knows them.

        Raises:
            Failure: none does; what the last said.
        """
        silent = Failure("there is no pod of Redis")
        for node in range(len(self.pods("redis"))):
            try:
                answer = self.redis("CLUSTER", "NODES", node=node)
            except Failure as failure:
                silent = failure
                continue
            return [Node.parse(line) for line in answer.strip().splitlines()]
        raise silent

    def masters(self) -> list[str]:
        """Return the names of the pods of Redis that serve slots."""
        return sorted(node.pod for node in self.nodes() if node.serves)

    def shape(self) -> dict[str, int]:
        """Return how many nodes of Redis serve slots, follow one that does, and do neither."""
        nodes = self.nodes()
        masters = sum(node.serves for node in nodes)
        replicas = sum(node.follows for node in nodes)
        return {"masters": masters, "replicas": replicas, "others": len(nodes) - masters - replicas}

    def even(self) -> bool:
        """Whether Redis' masters serve as many slots as each other, about."""
        held = [node.held for node in self.nodes() if node.serves]
        return max(held) - min(held) < 300

    @property
    def url(self) -> str:
        """Where the storefront answers, through its Service on the control plane, which no fault takes away."""
        port = self.get("service", "techshop-app")["spec"]["ports"][0]["nodePort"]
        control_plane = "node-role.kubernetes.io/control-plane"
        (node,) = json.loads(helm.kubectl("get", "nodes", "-l", control_plane, "-o", "json"))["items"]
        addresses = [a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP"]
        return f"http://{addresses[0]}:{port}"
