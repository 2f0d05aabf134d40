"""The job that asks for snapshots of volumes, before an API server of our own."""

import json
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema_rs
import pytest

from techshop import crds, paths

SCRIPT = paths.ROOT / "charts/techshop/charts/backup/files/snapshots.js"
SNAPSHOTS = "/apis/snapshot.storage.k8s.io/v1/namespaces/shop/volumesnapshots"
LABELS = {
    "app.kubernetes.io/name": "techshop",
    "app.kubernetes.io/instance": "mine",
    "app.kubernetes.io/component": "mongodb",
}


class Cluster(ThreadingHTTPServer):
    """Holds claims and snapshots; makes snapshots ready, unless ``problem`` says why not."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.volumes = {"data-mine-mongodb-0": "Bound", "data-mine-mongodb-1": "Bound"}
        self.snapshots: dict[str, dict[str, Any]] = {}
        self.asked: list[dict[str, str]] = []
        self.problem = ""
        self.installed = True

    def has(self, name: str, volume: str = "data-mine-mongodb-0", *, ready: bool = True) -> None:
        """Add a snapshot from before."""
        spec = {"source": {"persistentVolumeClaimName": volume}}
        self.snapshots[name] = {"metadata": {"name": name}, "spec": spec, "status": {"readyToUse": ready}}


class _Handler(BaseHTTPRequestHandler):
    server: Cluster

    def log_message(self, format: str, *_: object) -> None:
        """Say nothing."""

    def _answer(self, body: object, status: int = 200) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        self.server.asked.append(dict(self.headers))
        url = urlsplit(self.path)
        (selector,) = parse_qs(url.query)["labelSelector"]
        assert "app.kubernetes.io/instance=mine,app.kubernetes.io/component in (mongodb,redis)" in selector
        if url.path == SNAPSHOTS:
            self._answer({"items": list(self.server.snapshots.values())})
        else:
            assert url.path == "/api/v1/namespaces/shop/persistentvolumeclaims"
            items = [
                {"metadata": {"name": name, "labels": LABELS}, "status": {"phase": phase}}
                for name, phase in self.server.volumes.items()
            ]
            self._answer({"items": items})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.server.installed:
            self._answer({"message": "the server could not find the requested resource"}, 404)
            return
        problem = self.server.problem
        body["status"] = {"error": {"message": problem}} if problem else {"readyToUse": True}
        self.server.snapshots[body["metadata"]["name"]] = body
        self._answer(body, 201)

    def do_DELETE(self) -> None:
        del self.server.snapshots[self.path.removeprefix(f"{SNAPSHOTS}/")]
        self._answer({})


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def run(tmp_path: Path, cluster: Cluster) -> Callable[..., tuple[int, str]]:
    """Return a function that runs the job with Node.js, without TLS, and gives its exit code and its last line."""
    for name, content in (("ca.crt", ""), ("namespace", "shop"), ("token", "a-token")):
        (tmp_path / name).write_text(content)
    script = tmp_path / "snapshots.js"
    text = SCRIPT.read_text().replace("/var/run/secrets/kubernetes.io/serviceaccount/", f"{tmp_path}/")
    script.write_text(re.sub(r"\bhttps\b", "http", text))
    settings = {
        "PATH": os.environ["PATH"], "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(cluster.server_port), "INSTANCE": "mine", "CLASS": "", "KEEP_LAST": "2",
        "PATIENCE": "5",
    }  # fmt: skip

    def run(**env: str) -> tuple[int, str]:
        done = subprocess.run(
            ["node", script], env=settings | env, capture_output=True, text=True, check=False, timeout=60
        )
        print(done.stdout, done.stderr)
        return done.returncode, (done.stdout + done.stderr).splitlines()[-1]

    return run


def test_each_volume_gets_a_snapshot_of_the_named_class(run: Callable[..., tuple[int, str]], cluster: Cluster) -> None:
    cluster.volumes["data-mine-redis-0"] = "Pending"
    code, line = run(CLASS="csi")
    assert (code, line.partition(" ")[2]) == (0, "2 snapshots are ready")
    assert {name.rpartition("-")[0] for name in cluster.snapshots} == {"data-mine-mongodb-0", "data-mine-mongodb-1"}
    known = jsonschema_rs.validator_for(crds.schemas()["snapshot.storage.k8s.io/v1", "VolumeSnapshot"])
    for name, snapshot in cluster.snapshots.items():
        known.validate(snapshot)
        assert re.fullmatch(r".*-\d{8}t\d{6}z", name)
        assert snapshot["metadata"]["labels"] == LABELS
        assert snapshot["spec"] == {
            "source": {"persistentVolumeClaimName": name.rpartition("-")[0]},
            "volumeSnapshotClassName": "csi",
        }
    assert {headers["Authorization"] for headers in cluster.asked} == {"Bearer a-token"}


def test_without_a_class_the_clusters_default_is_taken(run: Callable[..., tuple[int, str]], cluster: Cluster) -> None:
    assert run()[0] == 0
    assert all("volumeSnapshotClassName" not in snapshot["spec"] for snapshot in cluster.snapshots.values())


def test_the_newest_that_are_ready_stay_and_those_of_people_do(
    run: Callable[..., tuple[int, str]], cluster: Cluster
) -> None:
    for day in ("01", "02", "03"):
        cluster.has(f"data-mine-mongodb-0-202601{day}t020000z", ready=day != "03")
    cluster.has("before-the-sale")
    cluster.has("data-mine-mongodb-0-before-the-sale")
    assert run()[0] == 0
    old = {name for name in cluster.snapshots if "2026" not in name or "202601" in name}
    assert old == {"data-mine-mongodb-0-20260102t020000z", "before-the-sale", "data-mine-mongodb-0-before-the-sale"}


def test_what_the_storage_can_not_make_fails_and_deletes_nothing(
    run: Callable[..., tuple[int, str]], cluster: Cluster
) -> None:
    before = {f"data-mine-mongodb-0-2026010{day}t020000z" for day in (1, 2, 3)}
    for name in before:
        cluster.has(name)
    cluster.problem = "no space"
    code, line = run(PATIENCE="1")
    assert (code, line.partition("isn't ready: ")[2]) == (1, "no space")
    assert before <= set(cluster.snapshots)


def test_a_cluster_without_snapshots_is_named(run: Callable[..., tuple[int, str]], cluster: Cluster) -> None:
    cluster.installed = False
    code, line = run()
    assert (code, line.startswith("snapshots: this cluster has no VolumeSnapshots")) == (1, True)


def test_a_release_without_volumes_is_named(run: Callable[..., tuple[int, str]], cluster: Cluster) -> None:
    cluster.volumes.clear()
    assert run() == (1, "snapshots: neither MongoDB nor Redis has a volume here")
