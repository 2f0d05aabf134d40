"""Bring a backup back into a release, on any cluster."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from techshop import paths, shell, ui
from techshop.errors import Failure


class Jobs:
    """The backup jobs of the release in a namespace.

    Args:
        namespace: where the release is.
        kubeconfig: how to reach its cluster.

    Raises:
        Failure: no release there has backups.
    """

    def __init__(self, namespace: str, kubeconfig: Path = paths.KUBECONFIG) -> None:
        """Find them."""
        self.namespace = namespace
        self._command = (paths.BIN / "kubectl", "--kubeconfig", kubeconfig, "--namespace", namespace)
        found = self._names("cronjob", "backup")
        if not found:
            what = f"no release in the namespace {namespace} has backups"
            raise Failure(what, "Name its namespace with --to; `helm list -A` knows; backup.enabled must be true.")
        #: Name of the release's own part of every name.
        self.base = min(found, key=len).removesuffix("-backup")

    def run(self, job: str, minutes: float = 240, **env: str) -> str:
        """Run a job now and show what it says.

        Args:
            job: "backup", "backup-verify" or "restore".
            minutes: how long it may take.
            env: settings that win over the schedule's.

        Returns:
            Its last line.

        Raises:
            Failure: it failed; the last line of its log.
        """
        name = f"{self.base}-{job}"
        made = ("create", "job", f"{name}-{int(time.time())}", f"--from=cronjob/{name}")
        described: dict[str, Any] = json.loads(self._kubectl(*made, "--dry-run=client", "-o", "json"))
        described["spec"]["backoffLimit"] = 0
        (container,) = described["spec"]["template"]["spec"]["containers"]
        container["env"] = [
            *(item for item in container["env"] if item["name"] not in env),
            *({"name": key, "value": env[key]} for key in env),
        ]
        reference = f"job/{described['metadata']['name']}"
        self._kubectl("create", "-f", "-", stdin=json.dumps(described))
        end = time.monotonic() + minutes * 60
        said = self._follow(reference, container["name"], end)
        while not (conditions := self._conditions(reference)) & {"Complete", "Failed"}:
            if time.monotonic() > end:
                raise Failure(f"{reference} isn't done after {minutes:.0f} minutes")
            time.sleep(1)
        if "Complete" not in conditions:
            advice = f"`kubectl -n {self.namespace} describe {reference}` and docs/disaster-recovery.md say more."
            raise Failure(said or f"{reference} failed before it said anything", advice)
        return said

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Stop the storefront meanwhile, so that nobody writes what is about to be lost."""
        deployments = self._names("deployment", "app")
        before = {
            name: self._kubectl("get", "deployment", name, "-o", "jsonpath={.spec.replicas}") for name in deployments
        }
        for name in before:
            self._kubectl("scale", f"deployment/{name}", "--replicas=0")
            self._kubectl("wait", "pod", "--for=delete", "--timeout=120s", "-l", _label("app"), timeout=150)
        try:
            yield
        finally:
            for name, replicas in before.items():
                self._kubectl("scale", f"deployment/{name}", f"--replicas={max(1, int(replicas))}")
                self._kubectl("rollout", "status", f"deployment/{name}", "--timeout=300s", timeout=330)

    def _follow(self, reference: str, container: str, end: float) -> str:
        """Show a job's log until it ends, and return its last line."""
        command = [*map(str, self._command), "logs", "--follow", "--pod-running-timeout=1m", reference, "-c", container]
        said = ""
        while not said and time.monotonic() < end and not self._conditions(reference) & {"Complete", "Failed"}:
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as log:
                assert log.stdout is not None
                for line in log.stdout:
                    said = line.rstrip()
                    ui.say(f"  {said}")
            time.sleep(1)
        return said

    def _conditions(self, reference: str) -> set[str]:
        path = "{.status.conditions[?(@.status=='True')].type}"
        return set(self._kubectl("get", reference, "-o", f"jsonpath={path}").split())

    def _names(self, kind: str, part: str) -> list[str]:
        return [name.split("/")[1] for name in self._kubectl("get", kind, "-l", _label(part), "-o", "name").split()]

    def _kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        return shell.run(*self._command, *arguments, stdin=stdin, timeout=timeout, log="kubectl")


def restore(
    namespace: str, backup: str = "latest", *, at: str = "", drop: bool, kubeconfig: Path = paths.KUBECONFIG
) -> None:
    """Restore a backup into the release of a namespace.

    Args:
        namespace: where the release is.
        backup: id of the backup, or "latest".
        at: the moment to go back to, as 2026-11-28T05:00:00Z, with the newest backup from before it if none is named;
            "latest" for all that was stored; "" for the backup alone.
        drop: whether data that is there may go; the storefront is stopped meanwhile.
        kubeconfig: how to reach its cluster.

    Raises:
        Failure: there is no such backup or release, that moment can't be restored, data is in the way, or the restore
            failed.
    """
    jobs = Jobs(namespace, kubeconfig)
    what = f"backup {backup}" + (f" and what was written after it up to {at}" if at else "")
    if not drop:
        ui.say(f"Restore {what} into {jobs.base} in {namespace}, if its MongoDB is empty:")
        jobs.run("restore", BACKUP=backup, AT=at, DROP="no")
    else:
        ui.say(f"Stop the storefront, restore {what} over the data of {jobs.base} in {namespace}, start it again:")
        with jobs.closed():
            jobs.run("restore", BACKUP=backup, AT=at, DROP="yes")
    ui.say("Done. Carts and sessions are in Redis, and as they were.")


def _label(part: str) -> str:
    return f"app.kubernetes.io/name=techshop,app.kubernetes.io/component={part}"
