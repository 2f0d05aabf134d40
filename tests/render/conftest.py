"""Rendering for the tests: in this process, or with a Helm of choice; kept for the whole run."""

import json
import os
import pickle
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

# Helm's library and commands collect garbage all the time, for a third of a render's cost; read when they start.
os.environ.setdefault("GOGC", "800")

import helm_python
import pytest
import yaml

from techshop import images, paths

CHART = paths.ROOT / "charts/techshop"
VALUES = paths.ROOT / "values"
SEED = "a-seed-for-tests-0123456789abcdef"
ENVIRONMENTS = ("dev", "staging", "prod")
KUBERNETES = ("1.34", "1.35", "1.36", "1.37")

EXAMPLES = sorted((paths.ROOT / "docs/examples").glob("*.yaml"))
FILES = [*sorted(VALUES.glob("*.yaml")), *EXAMPLES]

PARTS = sorted(path.parent.name for path in CHART.glob("charts/*/values.yaml"))
#: Kinds of objects that belong to no namespace.
CLUSTER_WIDE = {"ClusterRole", "ClusterRoleBinding"}
#: What turns every part off.
OFF = {f"{part}.enabled": False for part in PARTS}
#: Everything that serves, by its component: where its values stand, and the kind of object that makes its pods.
SERVERS = {
    "app": ("app", "Deployment"),
    "mongodb": ("mongodb", "StatefulSet"),
    "redis": ("redis", "StatefulSet"),
    "objectstorage": ("objectstorage", "StatefulSet"),
    "tracing": ("tracing", "StatefulSet"),
    "prometheus": ("monitoring.prometheus", "StatefulSet"),
    "alertmanager": ("monitoring.alertmanager", "StatefulSet"),
    "kube-state-metrics": ("monitoring.kubeStateMetrics", "Deployment"),
    "node-exporter": ("monitoring.nodeExporter", "DaemonSet"),
    "grafana": ("monitoring.grafana", "Deployment"),
}
#: What turns on of them that is off by default.
ALL = {"monitoring.nodeExporter.enabled": True, "backup.pitr.enabled": True}

Object = dict[str, Any]


@dataclass(frozen=True)
class Setup:
    """Values that someone installs the chart with."""

    name: str
    files: tuple[str | Path, ...] = ()
    values: str = "{}"

    @cache  # noqa: B019 - there are some twenty
    def objects(self, **options: Any) -> list[Object]:
        """Render them, once: nobody may change what this returns. Options as for :func:`template`."""
        return objects(*self.files, values=json.loads(self.values), **options)

    def __str__(self) -> str:
        """Name the setup in a test's id."""
        return self.name


def _setup(name: str, *files: str, **values: Any) -> Setup:
    """Return a setup of named values files, with values whose dots are written as ``__``."""
    return Setup(name, files, json.dumps({key.replace("__", "."): value for key, value in values.items()}))


#: What every property is proven over: each values file and example, and each switch that changes what is rendered.
SETUPS = [
    Setup("defaults"),
    *(Setup(file.stem, (file,)) for file in FILES),
    _setup("prod-airgap", "prod", "airgap"),
    _setup("tls", "prod", global__tls={"enabled": True, "issuerRef": {"name": "ours"}}),
    _setup("tls-own", global__tls={"enabled": True, "existing": {"mongodb": "m", "redis": "r"}}),
    _setup("exporters", **{f"{part}__exporter__enabled": True for part in ("mongodb", "redis")}),
    _setup("one-redis", redis__cluster__enabled=False),
    _setup("one-of-each", app__replicaCount=1, mongodb__replicaSet__replicas=1, redis__cluster__enabled=False),
    _setup("large", mongodb__replicaSet__replicas=7, redis__cluster={"shards": 9, "replicasPerShard": 2}),
    _setup("quota", "prod", resourceQuota__enabled=True),
    _setup("vertical", app__verticalPodAutoscaler={"enabled": True, "updateMode": "InPlaceOrRecreate"}),
    _setup("both-autoscalers", app__autoscaling__enabled=True, app__verticalPodAutoscaler__enabled=True),
    _setup("load-balancer", app__service={"type": "LoadBalancer", "annotations": {"cost": 1000000}}),
    _setup(
        "no-policies",
        networkPolicy__enabled=False,
        backup__metrics__enabled=False,
        backup__redis__enabled=False,
    ),
    _setup("stores-only", app__enabled=False),
    _setup("no-objectstorage", objectstorage__enabled=False, backup__enabled=False),
    _setup("node-exporter", monitoring__nodeExporter__enabled=True, monitoring__prometheus__nodeMetrics=False),
    _setup("operator", "prod", monitoring__operator={"enabled": True, "labels": {"release": "kps"}}),
    _setup(
        "ingress", "prod", ingress={"enabled": True, "hosts": ["shop.example.com"]}, certificates__issuerRef__name="ca"
    ),
    _setup(
        "ingress-plain",
        ingress={"enabled": True, "className": "traefik", "hosts": ["a.example.com", "b.example.com"]},
        ingress__tls__enabled=False,
        ingress__annotations={"limit": 100},
    ),
    _setup("gateway", gateway={"enabled": True, "parentRefs": [{"name": "public", "namespace": "edge", "port": 443}]}),
    _setup(
        "own-gateway",
        gateway={"enabled": True, "className": "envoy", "hosts": ["*.example.com"], "annotations": {"cost": 1000000}},
        certificates__existingSecret="ours",
    ),
    _setup("volume-snapshots", "prod", backup__volumeSnapshots={"enabled": True, "className": "csi"}),
    _setup("any-moment", "prod", backup__pitr__enabled=True, resourceQuota__enabled=True),
    _setup("encrypted-backups", backup__encryption__existingSecret="backup-password"),
    _setup(
        "s3-by-identity",
        objectstorage__external={"enabled": True, "endpoint": "https://s3.example.com", "identity": "serviceAccount"},
        backup__serverSideEncryption__type="AES256",
        app__serviceAccount__annotations={"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/shop"},
    ),
    _setup(
        "s3-outside",
        objectstorage__external={"enabled": True, "endpoint": "https://s3.example.com"},
        global__secrets__existing__objectstorage="s3-login",
    ),
    _setup(
        "traces-in-elasticsearch",
        tracing__store="elasticsearch",
        tracing__elasticsearch={"url": "https://es.example.com:9200", "caBundle": "-----BEGIN CERTIFICATE-----\n"},
        global__secrets__existing__tracing="traces-login",
    ),
    _setup("traces-outside", tracing__external={"enabled": True, "endpoint": "https://otel.example.com"}),
]


class Refused(Exception):
    """Helm refused the values; the text is what the user reads."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that stores renders anew."""
    parser.addoption("--update-goldens", action="store_true", help="store what is rendered now in tests/golden")


def run_helm(arguments: tuple[str, ...], helm: str) -> str:
    """Run a Helm, once, and return what it prints."""
    done = _finished(arguments, helm)
    if done.returncode:
        raise Refused(done.stderr)
    return done.stdout


@cache
def _finished(arguments: tuple[str, ...], helm: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(paths.BIN / helm), *arguments], capture_output=True, text=True, check=False)


def template(
    *files: str | Path,
    values: dict[str, Any] | None = None,
    release: str = "techshop",
    namespace: str = "shop",
    seed: str | None = SEED,
    kube: str = "",
    helm: str = "",
    chart: Path = CHART,
    cluster: Path | None = None,
) -> str:
    """Render the chart and return the manifests as text.

    Unless something below asks for a Helm of its own, Helm's library renders in this process, in a quarter of the time.

    Args:
        files: values files: names such as "prod" of ``values/``, or paths.
        values: values set beside them.
        release: the release's name.
        namespace: the release's namespace.
        seed: ``global.secrets.seed``; None leaves Secrets out.
        kube: Kubernetes version; empty: the newest.
        helm: "helm" or "helm3"; empty: whichever is fastest.
        chart: the chart's folder.
        cluster: kubeconfig of the API server that ``lookup`` asks; None: there is no cluster.
    """
    if not (kube or helm or cluster):
        given = merged(*files, values=(values or {}) | ({"global.secrets.seed": seed} if seed is not None else {}))
        return in_process(chart, json.dumps(given), release, namespace)
    arguments = ["template", release, str(chart), "--namespace", namespace, "--kube-version", kube or KUBERNETES[-1]]
    if cluster:
        arguments += ["--dry-run=server", "--disable-openapi-validation", "--kubeconfig", str(cluster)]
    if seed is not None:
        arguments += ["--set", f"global.secrets.seed={seed}"]
    return run_helm((*arguments, *_given(files, values)), helm or "helm")


@lru_cache(maxsize=256)
def in_process(chart: Path, values: str, release: str, namespace: str) -> str:
    """Render with Helm's library; the values are JSON."""
    try:
        # Loaded anew each time: rendering takes the subcharts that are off out of the chart for good.
        with helm_python.Chart.load(chart) as loaded:
            rendered = loaded.render(json.loads(values), name=release, namespace=namespace)
    except helm_python.HelmError as error:
        raise Refused(str(error)) from None
    return "\n".join(f"---\n{rendered[name]}" for name in sorted(rendered) if name.endswith(".yaml"))


def merged(*files: str | Path, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what Helm makes of values files, and of values by their dotted paths, before the chart's defaults."""
    total: dict[str, Any] = {}
    for file in files:
        path = VALUES / f"{file}.yaml" if isinstance(file, str) else file
        total = images.merged(total, yaml.load(path.read_text(), Loader=yaml.CSafeLoader) or {})
    for key, value in (values or {}).items():
        for part in reversed(key.split(".")):
            value = {part: value}  # noqa: PLW2901
        total = images.merged(total, value)
    return total


def notes(*files: str | Path, values: dict[str, Any] | None = None) -> str:
    """Return what Helm prints after an install."""
    arguments = ("install", "techshop", str(CHART), "--namespace", "shop", "--dry-run=client", *_given(files, values))
    return run_helm(arguments, "helm").split("\nNOTES:\n")[1]


def _given(files: Sequence[str | Path], values: dict[str, Any] | None) -> list[str]:
    """Return the arguments that give Helm these values."""
    given = []
    for file in files:
        given += ["--values", str(VALUES / f"{file}.yaml") if isinstance(file, str) else str(file)]
    for key, value in (values or {}).items():
        given += ["--set-json", f"{key}={json.dumps(value)}"]
    return given


def objects(*files: str | Path, **options: Any) -> list[Object]:
    """Render the chart and return its objects."""
    return load(template(*files, **options))


class _Loader(yaml.CSafeLoader):
    """Refuses a key that stands twice in a map: parsers settle that in silence, each in its own way."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Object:
        names = [key.value for key, _ in node.value]
        if len(set(names)) < len(names):
            raise yaml.constructor.ConstructorError(None, None, f"a key of {names} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


#: What parts the documents of a stream, with the line that Helm's command writes under it.
_BETWEEN = re.compile(r"^---(?:\n# Source: .*)?$", re.MULTILINE)


def load(text: str) -> list[Object]:
    """Read manifests: objects that are nobody else's."""
    found = (pickle.loads(_document(part)) for part in _BETWEEN.split(text))
    return [item for item in found if item]


@lru_cache(maxsize=8192)
def _document(text: str) -> bytes:
    """Read one document, once: most renders differ from others in a few of them only."""
    return pickle.dumps(yaml.load(text, Loader=_Loader), pickle.HIGHEST_PROTOCOL)


def defaults() -> dict[str, Any]:
    """Return every value's default, each part's under its name."""
    files = {part: CHART / f"charts/{part}/values.yaml" for part in PARTS}
    return yaml.safe_load((CHART / "values.yaml").read_text()) | {
        part: yaml.safe_load(file.read_text()) for part, file in files.items()
    }


def one(rendered: Sequence[Object], kind: str, suffix: str = "") -> Object:
    """Return the one object of this kind whose name ends like this."""
    found = [item for item in rendered if item["kind"] == kind and item["metadata"]["name"].endswith(suffix)]
    assert len(found) == 1, f"{len(found)} objects of kind {kind} end in {suffix!r}"
    return found[0]


def by_name(rendered: Iterable[Object]) -> dict[tuple[str, str], Object]:
    """Return the objects by kind and name."""
    return {(item["kind"], item["metadata"]["name"]): item for item in rendered}


def pod_template(item: Object) -> Object | None:
    """Return what an object says of pods, with metadata and spec, or None when it makes none."""
    if item["kind"] == "Pod":
        return item
    spec = item.get("spec") or {}
    if item["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    found: Object | None = spec.get("template")
    return found if found and "spec" in found else None


def pods(rendered: Sequence[Object]) -> list[tuple[str, Object]]:
    """Return the kind and name, and the pod template, of every object that makes pods."""
    named = ((f"{item['kind']}/{item['metadata']['name']}", pod_template(item)) for item in rendered)
    return [(name, found) for name, found in named if found]


@dataclass(frozen=True)
class Workload:
    """Something that makes pods, in one setup.

    Args:
        part: the part of the shop, as ``app.kubernetes.io/component`` says it.
        item: the object.
        pod: its pod template.
        beside: every object of the setup.
    """

    setup: Setup
    part: str
    item: Object
    pod: Object
    beside: tuple[Object, ...]

    def __str__(self) -> str:
        """Name the workload in a test's id."""
        return f"{self.setup}-{self.item['kind']}-{self.part}"


def workloads() -> list[Workload]:
    """Return everything that makes pods, in every setup."""
    found = []
    for setup in SETUPS:
        rendered = setup.objects()
        for item in rendered:
            if pod := pod_template(item):
                part = item["metadata"]["labels"]["app.kubernetes.io/component"]
                found.append(Workload(setup, part, item, pod, tuple(rendered)))
    return found


def containers(pod: Object) -> list[Object]:
    """Return every container of a pod, sidecars and init containers included."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


@pytest.fixture(params=ENVIRONMENTS)
def environment(request: pytest.FixtureRequest) -> str:
    """Each of the environments in turn."""
    return str(request.param)


@pytest.fixture(params=SETUPS, ids=str)
def setup(request: pytest.FixtureRequest) -> Setup:
    """Each setup in turn."""
    chosen: Setup = request.param
    return chosen


@pytest.fixture
def rendered(setup: Setup) -> list[Object]:
    """Return the objects of each setup in turn."""
    return setup.objects()


@pytest.fixture
def update_goldens(request: pytest.FixtureRequest) -> bool:
    """Say whether stored renders are to be made anew."""
    return bool(request.config.getoption("--update-goldens"))


@pytest.fixture
def refused() -> Callable[..., str]:
    """Return a function that renders values which must be refused, and gives the sentence Helm prints."""

    def check(*files: str | Path, **options: Any) -> str:
        with pytest.raises(Refused) as caught:
            template(*files, **options)
        message = str(caught.value)
        for ugly in ("nil pointer", "goroutine", "runtime error", "interface conversion"):
            assert ugly not in message
        return message

    return check
