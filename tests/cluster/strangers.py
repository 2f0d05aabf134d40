"""Pods that aren't the chart's, in a release's namespace: what runs there, and what it reaches."""

import json
from collections.abc import Sequence

from techshop import helm, images, reach
from techshop.release import Release

_REACHED = """
const net = require('node:net');
const connects = ([host, port]) => new Promise((resolve) => {
  const socket = net.connect({ host, port, timeout: 4000 }, () => resolve(true));
  for (const sign of ['error', 'timeout']) socket.on(sign, () => { socket.destroy(); resolve(false); });
});
Promise.all(JSON.parse(process.argv[1]).map(connects)).then((found) => {
  console.log(JSON.stringify(found));
  process.exit(0);
});
"""


def start(release: Release, name: str, *command: str, labels: dict[str, str] | None = None) -> None:
    """Start a pod of the storefront's image that runs a command once."""
    image = images.references(not reach.registry())["app.image"]
    context = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1001, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "runs", "image": image, "command": list(command), "securityContext": context}],
        },
    }
    helm.kubectl("apply", "--namespace", release.namespace, "-f", "-", stdin=json.dumps(pod))


def reached(
    release: Release, name: str, places: Sequence[tuple[str, int]], labels: dict[str, str] | None = None
) -> list[tuple[str, int]]:
    """Return which hosts and ports a pod with these labels can connect to."""
    start(release, name, "node", "-e", _REACHED, json.dumps(places), labels=labels)
    release.kubectl("wait", f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    connected = json.loads(release.kubectl("logs", name))
    return [place for place, connects in zip(places, connected, strict=True) if connects]
