"""Rendering for the tests: one helm process for each set of values, kept for the whole run."""

import json
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from techshop import paths

CHART = paths.ROOT / "charts/techshop"
VALUES = paths.ROOT / "values"
SEED = "a-seed-for-tests-0123456789abcdef"
ENVIRONMENTS = ("dev", "staging", "prod")

PARTS = sorted(path.parent.name for path in CHART.glob("charts/*/values.yaml"))

Object = dict[str, Any]


class Refused(Exception):
    """Helm refused the values; the text is what the user reads."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that stores renders anew."""
    parser.addoption("--update-goldens", action="store_true", help="store what is rendered now in tests/golden")


@cache
def _helm(arguments: tuple[str, ...], helm: str) -> str:
    done = subprocess.run([str(paths.BIN / helm), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(done.stderr)
    return done.stdout


def template(
    *files: str | Path,
    values: dict[str, Any] | None = None,
    release: str = "techshop",
    namespace: str = "shop",
    seed: str | None = SEED,
    kube: str = "1.36",
    helm: str = "helm",
    chart: Path = CHART,
    cluster: Path | None = None,
) -> str:
    """Render the chart and return the manifests as text.

    Args:
        files: values files: names such as "prod" of ``values/``, or paths.
        values: values set beside them.
        release: the release's name.
        namespace: the release's namespace.
        seed: ``global.secrets.seed``; None leaves Secrets out.
        kube: Kubernetes version.
        helm: "helm" or "helm3".
        chart: the chart's folder.
        cluster: kubeconfig of the API server that ``lookup`` asks; None: there is no cluster.
    """
    arguments = ["template", release, str(chart), "--namespace", namespace, "--kube-version", kube]
    if cluster:
        arguments += ["--dry-run=server", "--disable-openapi-validation", "--kubeconfig", str(cluster)]
    if seed is not None:
        arguments += ["--set", f"global.secrets.seed={seed}"]
    return _helm((*arguments, *_given(files, values)), helm)


def notes(*files: str | Path, values: dict[str, Any] | None = None) -> str:
    """Return what Helm prints after an install."""
    arguments = ("install", "techshop", str(CHART), "--namespace", "shop", "--dry-run=client", *_given(files, values))
    return _helm(arguments, "helm").split("\nNOTES:\n")[1]


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
    loaded = yaml.load_all(template(*files, **options), Loader=yaml.CSafeLoader)
    return [item for item in loaded if item]


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


def containers(pod: Object) -> list[Object]:
    """Return every container of a pod, sidecars and init containers included."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


@pytest.fixture(params=ENVIRONMENTS)
def environment(request: pytest.FixtureRequest) -> str:
    """Each of the environments in turn."""
    return str(request.param)


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
