"""A real cluster with real databases, and the shop installed on it."""

import base64
import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pytest_helm_charts.clusters import Cluster

from techshop import cluster, diagnose, engine, helm, images, install, paths, tools
from techshop.errors import Failure

RESTRICTED = {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}


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
    def follows(self) -> bool:
        """Whether it is a replica that its master knows."""
        return "slave" in self.flags and "fail" not in self.flags and self.link == "connected"


@dataclass
class Release:
    """The chart, installed in a namespace."""

    namespace: str
    files: tuple[str, ...]
    name: str = "techshop"
    helm: int = 4
    values: dict[str, Any] = field(default_factory=lambda: {"app.service.type": "NodePort"})

    def upgrade(self, **values: Any) -> None:
        """Install, or upgrade with values beside those of before (``__`` stands for a dot)."""
        self.values.update({key.replace("__", "."): value for key, value in values.items()})
        files = [file for name in self.files for file in install.values_files(name)]
        helm.upgrade(self.name, self.namespace, files, values=self.values, version=self.helm)

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

    def pods(self, part: str) -> list[str]:
        """Return the names of a part's pods, the highest ordinal first."""
        found = self.kubectl("get", "pods", "-l", f"app.kubernetes.io/component={part}", "-o", "name").split()
        return sorted((name.removeprefix("pod/") for name in found), reverse=True)

    def ready(self, part: str, timeout: int = 300) -> None:
        """Wait until all pods of a part are ready."""
        kind = "deployment" if part == "app" else "statefulset"
        self.kubectl("rollout", "status", f"{kind}/techshop-{part}", f"--timeout={timeout}s", timeout=timeout + 30)

    def mongodb(self, script: str, member: int = 0) -> Any:
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
        """Return the name of the primary's pod, or None while there is none."""
        return next((name for name, state in self.states().items() if state == "PRIMARY"), None)

    def nodes(self) -> list["Node"]:
        """Return the nodes of Redis as node 0 knows them."""
        return [Node.parse(line) for line in self.redis("CLUSTER", "NODES").strip().splitlines()]

    def masters(self) -> list[str]:
        """Return the names of the pods of Redis that serve slots."""
        return sorted(node.pod for node in self.nodes() if node.serves)

    def shape(self) -> dict[str, int]:
        """Return how many nodes of Redis serve slots, follow one that does, and do neither."""
        nodes = self.nodes()
        masters = sum(node.serves for node in nodes)
        replicas = sum(node.follows for node in nodes)
        return {"masters": masters, "replicas": replicas, "others": len(nodes) - masters - replicas}

    @property
    def url(self) -> str:
        """Where the storefront answers, through its Service on a node."""
        port = self.get("service", "techshop-app")["spec"]["ports"][0]["nodePort"]
        nodes = json.loads(helm.kubectl("get", "nodes", "-o", "json"))["items"]
        addresses = [a["address"] for a in nodes[-1]["status"]["addresses"] if a["type"] == "InternalIP"]
        return f"http://{addresses[0]}:{port}"


@pytest.fixture(scope="session")
def prepared() -> None:
    """Make the tools, the cluster and the images ready; what is there already is used."""
    tools.install(["helm", "helm3", "kubectl", "kind"])
    engine.ensure()
    cluster.create(default=3)
    images.build()
    images.load()


@pytest.fixture(scope="module")
def kube_config(prepared: None) -> str:
    """Tell pytest-helm-charts where the cluster is."""
    return str(paths.KUBECONFIG)


@pytest.fixture(scope="module")
def make_release(
    request: pytest.FixtureRequest, kube_cluster: Cluster, namespace_factory: Callable[..., Any]
) -> Callable[..., Release]:
    """Return a function that installs the chart into a fresh namespace, which is gone after the module."""
    _delete_leftovers()

    def make(*files: str, helm: int = 4, before: Callable[[str], None] | None = None, **values: Any) -> Release:
        namespace = f"test-{Path(request.node.name).stem.removeprefix('test_').replace('_', '-')}-{int(time.time())}"
        namespace_factory(namespace, extra_metadata=RESTRICTED)
        if before:
            before(namespace)
        request.node.stash[_RELEASE] = release = Release(namespace, files, helm=helm)
        release.upgrade(**values)
        return release

    return make


_RELEASE = pytest.StashKey[Release]()


def _delete_leftovers() -> None:
    """Delete the namespaces of a run that was killed."""
    found = helm.kubectl("get", "namespaces", "-o", "name").split()
    left = [name for name in found if name.startswith("namespace/test-")]
    if left:
        helm.kubectl("delete", *left, "--timeout=180s", timeout=200)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Collect events, logs and manifests of what a failed test left."""
    report = yield
    module = item.getparent(pytest.Module)
    if report.failed and module is not None and (release := module.stash.get(_RELEASE, None)):
        report.sections.append(("collected", f"events, logs and manifests: {diagnose.collect(release.namespace)}"))
    return report


def eventually(check: Callable[[], Any], seconds: float = 120, every: float = 2) -> Any:
    """Call ``check`` until it neither fails nor returns something false, and return what it returned."""
    end = time.monotonic() + seconds
    while True:
        try:
            if value := check():
                return value
            problem = "it stayed false"
        except (Failure, AssertionError, subprocess.SubprocessError, LookupError) as error:
            problem = str(error)
        if time.monotonic() > end:
            pytest.fail(f"not within {seconds:.0f} s: {problem}")
        time.sleep(every)
