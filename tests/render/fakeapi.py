"""As much of a Kubernetes API as Helm's ``lookup`` asks for, so that rules about what runs already need no cluster."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

KINDS = {
    "v1": {"Secret": "secrets", "ConfigMap": "configmaps"},
    "apps/v1": {"StatefulSet": "statefulsets"},
}


@contextlib.contextmanager
def serving(objects: list[dict[str, Any]], kubeconfig: Path, version: str = "1.36") -> Iterator[None]:
    """Serve these objects, and nothing else, to who uses the kubeconfig that is written."""
    answers: dict[str, Any] = {
        "/version": {"major": "1", "minor": version.split(".")[1], "gitVersion": f"v{version}.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "groups": [_group("apps", "v1")]},
    }
    for group_version, kinds in KINDS.items():
        resources = [
            {"name": plural, "kind": kind, "namespaced": True, "verbs": ["get", "list"]}
            for kind, plural in kinds.items()
        ]
        answers[_root(group_version)] = {
            "kind": "APIResourceList",
            "groupVersion": group_version,
            "resources": resources,
        }
    for item in objects:
        plural = KINDS[item["apiVersion"]][item["kind"]]
        namespace, name = item["metadata"]["namespace"], item["metadata"]["name"]
        answers[f"{_root(item['apiVersion'])}/namespaces/{namespace}/{plural}/{name}"] = item

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
            content = json.dumps(answers.get(path, missing)).encode()
            self.send_response(200 if path in answers else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    context = {"name": "fake", "context": {"cluster": "fake", "user": ""}}
    cluster = {"name": "fake", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
    config = {"kind": "Config", "apiVersion": "v1", "current-context": "fake", "contexts": [context]}
    kubeconfig.write_text(json.dumps(config | {"clusters": [cluster]}))
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def _root(group_version: str) -> str:
    return f"/{'apis' if '/' in group_version else 'api'}/{group_version}"


def _group(name: str, version: str) -> dict[str, Any]:
    known = {"groupVersion": f"{name}/{version}", "version": version}
    return {"name": name, "versions": [known], "preferredVersion": known}
