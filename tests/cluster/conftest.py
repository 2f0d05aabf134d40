"""A real cluster with real databases, and the shop installed on it."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from pytest_helm_charts.clusters import Cluster

from techshop import cluster, diagnose, engine, helm, images, paths, tools
from techshop.errors import Failure
from techshop.release import Release
from techshop.s3 import Bucket
from techshop.shop import Ledger

RESTRICTED = {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}


@pytest.fixture(scope="session")
def prepared() -> Iterator[None]:
    """Make the tools, the cluster and the images ready, what is there already is used; take away what tests leave."""
    tools.install(["helm", "helm3", "kubectl", "kind"])
    engine.ensure()
    cluster.create(default=3)
    images.build()
    images.load()
    yield
    _delete_releases()


@pytest.fixture(scope="module")
def kube_config(prepared: None) -> str:
    """Tell pytest-helm-charts where the cluster is."""
    return str(paths.KUBECONFIG)


@pytest.fixture(scope="module")
def make_release(
    request: pytest.FixtureRequest, kube_cluster: Cluster, namespace_factory: Callable[..., Any]
) -> Iterator[Callable[..., Release]]:
    """Return a function that installs the chart into a fresh namespace, which is gone after the module."""
    _delete_releases()

    def make(*files: str, helm: int = 4, before: Callable[[str], None] | None = None, **values: Any) -> Release:
        namespace = f"test-{Path(request.node.name).stem.removeprefix('test_').replace('_', '-')}-{int(time.time())}"
        namespace_factory(namespace, extra_metadata=RESTRICTED)
        if before:
            before(namespace)
        request.node.stash[_RELEASE] = release = Release(namespace, files, helm=helm)
        release.upgrade(**values)
        return release

    yield make
    if release := request.node.stash.get(_RELEASE, None):
        helm.delete_pods(release.namespace)


@pytest.fixture(scope="module")
def prod(request: pytest.FixtureRequest, prepared: None) -> Release:
    """The production environment. Modules that follow each other use the same, and leave it well."""
    release = request.session.stash.get(_PROD, None)
    there = release is not None and release.namespace in _namespaces()
    if not there:
        _delete_releases()
        release = Release(f"test-prod-{int(time.time())}", ("prod", "ci"))
    request.node.stash[_RELEASE] = request.session.stash[_PROD] = release
    if not there:
        release.upgrade()
    return release


@pytest.fixture
def orders(release: Release) -> Iterator[Ledger]:
    """Customers who order while the test runs; afterwards every acknowledged order must be there."""
    with Ledger(release.url) as ledger:
        yield ledger
        placed = len(ledger.placed)
        eventually(lambda: len(ledger.placed) > placed)
    eventually(ledger.check, seconds=90)


_RELEASE = pytest.StashKey[Release]()
_PROD = pytest.StashKey[Release]()


def _namespaces() -> list[str]:
    found = helm.kubectl("get", "namespaces", "-o", "name").split()
    return [name.removeprefix("namespace/") for name in found]


def _test_namespaces() -> list[str]:
    return [name for name in _namespaces() if name.startswith("test-")]


def _delete_releases() -> None:
    """Delete what other modules left, or a run that was killed: this machine holds one module's releases at a time."""
    if left := _test_namespaces():
        helm.delete_namespaces(*left)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the modules that use the same release after each other."""
    items.sort(key=lambda item: "prod" in getattr(item, "fixturenames", ()))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Collect events, logs and manifests of what a failed test left: a module may have several releases."""
    report = yield
    module = item.getparent(pytest.Module)
    if report.failed and module is not None and _RELEASE in module.stash:
        for folder in map(diagnose.collect, _test_namespaces()):
            shown = "\n".join([f"events, logs and manifests: {folder}", "logged as errors:", *diagnose.errors(folder)])
            report.sections.append(("collected", shown))
    return report


@contextmanager
def bucket(release: Release, name: str, keys: str = "") -> Iterator[Bucket]:
    """Lead to a bucket of a release's object storage, with its own keys or those of another."""
    secret = release.secret("objectstorage")
    access, key = (secret[f"{keys or name}-{kind}-key"] for kind in ("access", "secret"))
    with release.forwarded("techshop-objectstorage-0", 8333) as address:
        yield Bucket(f"http://{address}", f"techshop-{name}", access, key)


def eventually(check: Callable[[], Any], seconds: float = 120, every: float = 2) -> Any:
    """Call ``check`` until it neither fails nor returns something false, and return what it returned."""
    end = time.monotonic() + seconds
    while True:
        try:
            if value := check():
                return value
            problem = "it stayed false"
        except (Failure, AssertionError, subprocess.SubprocessError, LookupError, requests.RequestException) as error:
            problem = str(error)
        if time.monotonic() > end:
            pytest.fail(f"not within {seconds:.0f} s: {problem}")
        time.sleep(every)
