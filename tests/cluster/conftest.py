"""A real cluster with real databases, and the shop installed on it."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_helm_charts.clusters import Cluster

from techshop import cluster, diagnose, engine, helm, images, paths, tools
from techshop.errors import Failure
from techshop.release import Release

RESTRICTED = {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}


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
