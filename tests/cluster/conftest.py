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

from techshop import cluster, diagnose, helm, images, locks, paths, tools
from techshop.errors import Failure
from techshop.release import Release
from techshop.s3 import Bucket
from techshop.shop import Ledger

RESTRICTED = {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> None:
    """Make the tools, the cluster and the images ready, what is there already is used; take away what a run left.

    The first of this run's processes does so, and the others wait for it.
    """
    base = tmp_path_factory.getbasetemp()
    done = (base if worker_id == "master" else base.parent) / "prepared"
    with locks.hold("cluster-tests", "making the cluster ready for tests"):
        if not done.exists():
            tools.install(["helm", "helm3", "kubectl", "kind"])
            cluster.create(default=3)
            images.load()
            delete_namespaces("test-")
            done.touch()


@pytest.fixture(scope="module")
def kube_config(prepared: None) -> str:
    """Tell pytest-helm-charts where the cluster is."""
    return str(paths.KUBECONFIG)


@pytest.fixture(scope="module")
def make_release(
    request: pytest.FixtureRequest, kube_cluster: Cluster, namespace_factory: Callable[..., Any]
) -> Iterator[Callable[..., Release]]:
    """Return a function that installs the chart into a fresh namespace, which is gone after the module."""
    prefix = f"test-{Path(request.node.name).stem.removeprefix('test_').replace('_', '-')}-"

    def make(*files: str, helm: int = 4, before: Callable[[str], None] | None = None, **values: Any) -> Release:
        namespace = f"{prefix}{int(time.time())}"
        namespace_factory(namespace, extra_metadata=RESTRICTED)
        if before:
            before(namespace)
        release = Release(namespace, files, helm=helm)
        release.upgrade(**values)
        return release

    yield make
    # With the others that the module made.
    delete_namespaces(prefix)


@pytest.fixture(scope="session")
def prod(prepared: None) -> Iterator[Release]:
    """The production environment, for the drills: each module leaves it well to the next."""
    release = Release(f"test-prod-{int(time.time())}", ("prod", "ci"))
    release.upgrade()
    yield release
    delete_namespaces(release.namespace)


@pytest.fixture
def orders(release: Release) -> Iterator[Ledger]:
    """Customers who order while the test runs; afterwards every acknowledged order must be there."""
    with Ledger(release.url, pause=0.2) as ledger:
        yield ledger
        placed = len(ledger.placed)
        eventually(lambda: len(ledger.placed) > placed)
    eventually(ledger.check, seconds=90)


_SECONDS = pytest.StashKey[float]()


def namespaces(prefix: str) -> list[str]:
    """Return the namespaces whose names begin so."""
    names = helm.kubectl("get", "namespaces", "-o", "jsonpath={.items[*].metadata.name}").split()
    return [name for name in names if name.startswith(prefix)]


def delete_namespaces(prefix: str) -> None:
    """Delete the namespaces whose names begin so."""
    if left := namespaces(prefix):
        helm.delete_namespaces(*left)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Collect events, logs and manifests of what a failed test left: a module may have several releases."""
    report = yield
    item.stash[_SECONDS] = report.seconds = item.stash.get(_SECONDS, 0.0) + call.duration
    release = getattr(item, "funcargs", {}).get("release")
    if report.failed and release:
        for folder in map(diagnose.collect, namespaces(release.namespace.rstrip("0123456789"))):
            shown = "\n".join([f"events, logs and manifests: {folder}", "logged as errors:", *diagnose.errors(folder)])
            report.sections.append(("collected", shown))
    return report


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Say how long a test and its setup took."""
    return ("passed", ".", f"PASSED in {report.seconds:.0f} s") if report.when == "call" and report.passed else None


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
