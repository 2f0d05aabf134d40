"""A client of Redis inside the cluster that remembers every write a replica confirmed, and reads all of them back."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from techshop import helm
from techshop.errors import Failure

_SCRIPT = Path(__file__).with_name("manifests") / "redis-ledger.js"


@dataclass
class RedisLedger:
    """Writes to Redis while it is entered; afterwards ``result`` says what became of the writes.

    Args:
        namespace: the release's namespace.
        release: the base of the release's names.
        tls: the Secret with the certificate of a Redis that wants TLS, or "".
    """

    namespace: str
    release: str = "techshop"
    tls: str = ""

    #: written, lost, failed, unconfirmed: counts; longest_gap: seconds between two confirmed writes.
    result: dict[str, Any] | None = None

    def __enter__(self) -> "RedisLedger":
        """Start to write, and wait until the first write is confirmed."""
        self._delete()
        self._kubectl(
            "apply", "-f", "-", stdin="\n---\n".join(json.dumps(item) for item in (self._admission(), self._pod()))
        )
        self._wait_for("started", 90)
        return self

    def __exit__(self, *error: object) -> None:
        """Stop writing, read back every confirmed write and keep what was found."""
        try:
            if error[0] is None:
                self._kubectl("exec", "ledger", "--", "sh", "-c", "kill -TERM 1")
                self.result = json.loads(self._wait_for("result ", 300))
        finally:
            self._delete()

    def _wait_for(self, start: str, seconds: float) -> str:
        end = time.monotonic() + seconds
        log = ""
        while time.monotonic() < end:
            try:
                log = self._kubectl("logs", "ledger")
            except Failure as failure:  # it is being started
                log = failure.tail
            for line in log.splitlines():
                if line.startswith(start):
                    return line.removeprefix(start)
            time.sleep(1)
        raise Failure(f"the Redis ledger didn't say {start.strip()!r} within {seconds:.0f} s", tail=log)

    def _kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return helm.kubectl("--namespace", self.namespace, *arguments, stdin=stdin)

    def _delete(self) -> None:
        self._kubectl("delete", "pod/ledger", "networkpolicy/ledger", "--ignore-not-found", "--grace-period=1")

    def _pod(self) -> dict[str, Any]:
        deployment = json.loads(self._kubectl("get", "deployment", f"{self.release}-app", "-o", "json"))
        image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
        password = {"secretKeyRef": {"name": f"{self.release}-redis", "key": "app-password"}}
        container = {
            "name": "ledger",
            "image": image,
            "command": ["node", "--input-type=commonjs", "--eval", _SCRIPT.read_text()],
            "env": [
                {"name": "REDIS_HOST", "value": f"{self.release}-redis.{self.namespace}.svc.cluster.local"},
                {"name": "REDIS_PASSWORD", "valueFrom": password},
                {"name": "REDIS_TLS", "value": str(bool(self.tls)).lower()},
                {"name": "NODE_EXTRA_CA_CERTS", "value": "/tls/ca.crt" if self.tls else ""},
            ],
            "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [{"name": "tls", "mountPath": "/tls"}],
        }
        authority = {"secretName": self.tls, "items": [{"key": "ca.crt", "path": "ca.crt"}]}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "ledger", "labels": {"app": "ledger"}},
            "spec": {
                # On the control plane, which no fault takes away.
                "nodeSelector": {"node-role.kubernetes.io/control-plane": ""},
                "tolerations": [{"operator": "Exists"}],
                "restartPolicy": "Never",
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 1001,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [container],
                "volumes": [{"name": "tls", **({"secret": authority} if self.tls else {"emptyDir": {}})}],
            },
        }

    def _admission(self) -> dict[str, Any]:
        """Let the ledger in beside the storefront."""
        labels = {"app.kubernetes.io/instance": self.release, "app.kubernetes.io/component": "redis"}
        source = {"podSelector": {"matchLabels": {"app": "ledger"}}}
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "ledger"},
            "spec": {
                "podSelector": {"matchLabels": labels},
                "policyTypes": ["Ingress"],
                "ingress": [{"from": [source], "ports": [{"protocol": "TCP", "port": 6379}]}],
            },
        }
