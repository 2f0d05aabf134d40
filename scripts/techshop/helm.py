"""Helm against the project's cluster: install, upgrade, test, uninstall."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from techshop import diagnose, locks, paths, shell, ui
from techshop.errors import Failure

CHART = paths.ROOT / "charts/techshop"
VALUES = paths.ROOT / "values"


def kubectl(*arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
    """Run kubectl on the project's cluster and return what it prints."""
    return shell.run(
        paths.BIN / "kubectl", "--kubeconfig", paths.KUBECONFIG, *arguments, stdin=stdin, timeout=timeout, log="kubectl"
    )


def helm(*arguments: str, version: int = 4, timeout: float = 900) -> str:
    """Run Helm 4 (or 3) on the project's cluster and return what it prints."""
    program = paths.BIN / ("helm" if version == 4 else f"helm{version}")
    return shell.run(program, "--kubeconfig", paths.KUBECONFIG, *arguments, timeout=timeout, log="helm")


def upgrade(
    release: str,
    namespace: str,
    files: Sequence[Path],
    *,
    values: dict[str, Any] | None = None,
    chart: Path = CHART,
    version: int = 4,
    minutes: int = 10,
) -> str:
    """Install the chart or upgrade it, and wait until everything is ready.

    Args:
        release: the release's name.
        namespace: where; made if it isn't there, with restricted Pod Security enforced.
        files: values files, later ones win.
        values: values beside them, keys with dots.
        chart: the chart's folder, or its package.
        version: Helm's major version.
        minutes: how long it may take.

    Returns:
        What Helm prints: the chart's notes.

    Raises:
        Failure: with the events and logs that say why; everything is also in ``.techshop/diagnostics``.
    """
    ensure_namespace(namespace)
    arguments = ["upgrade", "--install", release, str(chart), "--namespace", namespace]
    for file in files:
        arguments += ["--values", str(file)]
    for key, value in (values or {}).items():
        arguments += ["--set-json", f"{key}={json.dumps(value)}"]
    with locks.hold(f"release-{paths.CLUSTER}-{namespace}-{release}", f"the release {release}"):
        _forget_killed(release, namespace)
        try:
            return helm(*arguments, "--wait", "--timeout", f"{minutes}m", version=version, timeout=minutes * 60 + 60)
        except Failure as failure:
            raise diagnose.explain(failure, namespace) from failure


def _forget_killed(release: str, namespace: str) -> None:
    """Take away the record by which a Helm that was killed keeps out the next one; what it made stays.

    Whoever holds the release's lock knows that none is at it.
    """
    states = "pending-install,pending-upgrade,pending-rollback"
    selector = f"owner=helm,name={release},status in ({states})"
    records = kubectl("get", "secret", "--namespace", namespace, "-l", selector, "-o", "name").split()
    if records:
        ui.say(f"An earlier run was killed while it changed the release {release}; this one goes on from there.")
        kubectl("delete", "--namespace", namespace, *records)


def delete_namespaces(*namespaces: str) -> None:
    """Delete namespaces and all that is in them, and wait until they are gone."""
    for namespace in namespaces:
        delete_pods(namespace)
    kubectl("delete", "namespace", *namespaces, "--timeout=300s", timeout=320)


def delete_pods(namespace: str) -> None:
    """Delete a namespace's pods, and what makes them, without the time to stop well: nobody needs what they hold.

    Before the namespace itself, since its controller looks again only after half of the longest grace period of the
    pods that it still found: eight minutes for Redis'.
    """
    makers = "cronjob,job,deployment,replicaset,statefulset"
    kubectl("delete", makers, "--all", "--cascade=orphan", "--namespace", namespace, timeout=120)
    kubectl("delete", "pod", "--all", "--grace-period=1", "--namespace", namespace, "--timeout=300s", timeout=320)


def ensure_namespace(namespace: str) -> None:
    """Make the namespace, with the restricted Pod Security standard enforced, unless it is there."""
    manifest = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
