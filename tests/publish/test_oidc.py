"""How a workflow logs in to a cluster."""

import base64
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from techshop import paths

PLUGIN = paths.ROOT / "scripts/techshop/oidc.py"


def _part(content: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def _run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ACTIONS_")}
    # -I: as the workflow's own Python, which has none of the project's packages
    command = [sys.executable, "-I", PLUGIN, *arguments]
    return subprocess.run(command, env=clean | env, capture_output=True, text=True, check=False)


class GitHub(BaseHTTPRequestHandler):
    """Gives a token that says who asked for it."""

    answer: bytes | None = None

    def do_GET(self):
        query = parse_qs(urlsplit(self.path).query)
        claims = {"aud": query["audience"][0], "asked": self.headers["Authorization"], "exp": 1893456000, "?": "~~~>"}
        self.send_response(200)
        self.end_headers()
        token = f"{_part({'alg': 'none'})}.{_part(claims)}.signature"
        self.wfile.write(self.answer or json.dumps({"value": token}).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def github(monkeypatch):
    monkeypatch.setattr(GitHub, "answer", None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), GitHub)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/token?api-version=2"
    yield {"ACTIONS_ID_TOKEN_REQUEST_URL": address, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of-this-job"}
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("audience", ["techshop", "https://cluster.example.com/?a=b&c"])
def test_the_token_is_for_the_cluster_and_lasts_as_long_as_it_says(github, audience):
    credential = json.loads(_run(audience, **github).stdout)
    assert (credential["kind"], credential["apiVersion"]) == ("ExecCredential", "client.authentication.k8s.io/v1")
    claims = credential["status"]["token"].split(".")[1]
    read = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    assert (read["aud"], read["asked"]) == (audience, "bearer of-this-job")
    assert credential["status"]["expirationTimestamp"] == "2030-01-01T00:00:00Z"


def test_a_job_without_the_permission_is_told():
    done = _run("techshop")
    assert (done.returncode, done.stdout) == (1, "")
    assert "`id-token: write`" in done.stderr


@pytest.mark.parametrize("answer", [b"<html>", b"{}", b"[]"])
def test_an_answer_without_a_token_is_told(github, monkeypatch, answer):
    monkeypatch.setattr(GitHub, "answer", answer)
    done = _run("techshop", **github)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("GitHub gives no token for techshop: ")
    assert "Traceback" not in done.stderr


def test_a_missing_audience_is_told(github):
    done = _run(**github)
    assert done.returncode == 1
    assert done.stderr == "Name the audience: oidc.py AUDIENCE\n"
