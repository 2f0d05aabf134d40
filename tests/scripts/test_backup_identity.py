"""The identity of a pod in place of keys: the real rclone, with the chart's settings, before a cloud of our own."""

import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from techshop import paths, recipes

STORE = paths.ROOT / "charts/techshop/charts/backup/files/store.sh"
ROLE = "arn:aws:iam::123456789012:role/backup"
KEYS = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>role-key</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>
<SessionToken>session</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration></Credentials>
</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""
POD_KEYS = (
    '{"AccessKeyId": "pod-key", "SecretAccessKey": "secret", "Token": "session", "Expiration": "2100-01-01T00:00:00Z"}'
)


class Cloud(ThreadingHTTPServer):
    """Gives keys for a token, and is a bucket for whoever comes with them."""

    asked: list[tuple[str, dict[str, str], str]]


class _Handler(BaseHTTPRequestHandler):
    server: Cloud

    def _answer(self, body: str = "", **headers: str) -> None:
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def _note(self) -> str:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode(errors="replace")
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((f"{self.command} {self.path}", headers, body))
        return body

    def do_POST(self) -> None:
        self._note()
        self._answer(KEYS)

    def do_GET(self) -> None:
        self._note()
        self._answer(POD_KEYS if self.path == "/v1/credentials" else "<ListBucketResult></ListBucketResult>")

    def do_PUT(self) -> None:
        self._note()
        self._answer(ETag='"x"')

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    server = Cloud(("127.0.0.1", 0), _Handler)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def run(tmp_path: Path, cloud: Cloud, command: str, **env: str) -> None:
    """Run a command of the store's, in the environment of a pod; what is in the folders of the test is in the pod's."""
    address = f"http://127.0.0.1:{cloud.server_address[1]}"
    (tmp_path / "store.sh").write_text(STORE.read_text().replace("/tmp/", f"{tmp_path}/"))
    (tmp_path / "token").write_text("a-token")
    settings = {
        "PATH": f"{recipes.rclone().parent}:{os.environ['PATH']}", "S3_CA_FILE": "", "RCLONE_CONFIG_S3_TYPE": "s3",
        "RCLONE_CONFIG_S3_PROVIDER": "Other", "RCLONE_CONFIG_S3_ENDPOINT": address, "RCLONE_CONFIG_S3_REGION": "eu-1",
        "RCLONE_CONFIG_S3_FORCE_PATH_STYLE": "true", "RCLONE_CONFIG_S3_ENV_AUTH": "true",
        "RCLONE_CONFIG_BACKUP_TYPE": "alias", "RCLONE_CONFIG_BACKUP_REMOTE": "s3:backups",
    }  # fmt: skip
    env = {name: value.format(cloud=address, token=tmp_path / "token") for name, value in env.items()}
    script = f". {tmp_path}/store.sh; {command} || {{ cat {tmp_path}/store.log; exit 1; }}"
    command_line = ["sh", "-c", script]
    done = subprocess.run(command_line, env=settings | env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


OF_A_ROLE = {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": "{token}", "AWS_ENDPOINT_URL_STS": "{cloud}"}
OF_A_POD = {
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "{cloud}/v1/credentials",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "{token}",
}


def test_a_role_is_assumed_with_the_token_of_the_service_account(tmp_path: Path, cloud: Cloud) -> None:
    run(tmp_path, cloud, "store lsf backup:", **OF_A_ROLE)
    (asked, (listed, headers, _)) = cloud.asked[0], cloud.asked[-1]
    form = parse_qs(asked[2])
    assert (form["Action"], form["RoleArn"], form["WebIdentityToken"]) == (
        ["AssumeRoleWithWebIdentity"],
        [ROLE],
        ["a-token"],
    )
    assert listed.startswith("GET /backups?")
    assert "Credential=role-key/" in headers["authorization"]
    assert headers["x-amz-security-token"] == "session"


def test_the_agent_of_the_node_is_asked_with_the_token_of_the_pod(tmp_path: Path, cloud: Cloud) -> None:
    run(tmp_path, cloud, "store lsf backup:", **OF_A_POD)
    assert (cloud.asked[0][0], cloud.asked[0][1]["authorization"]) == ("GET /v1/credentials", "a-token")
    assert "Credential=pod-key/" in cloud.asked[-1][1]["authorization"]


def test_an_upload_asks_the_storage_to_encrypt_with_the_key(tmp_path: Path, cloud: Cloud) -> None:
    encryption = {"RCLONE_CONFIG_S3_SERVER_SIDE_ENCRYPTION": "aws:kms", "RCLONE_CONFIG_S3_SSE_KMS_KEY_ID": "our-key"}
    run(tmp_path, cloud, "echo x | store rcat --s3-no-head backup:a", **OF_A_ROLE, **encryption)
    (headers,) = [headers for asked, headers, _ in cloud.asked if asked.startswith("PUT /backups/a")]
    assert headers["x-amz-server-side-encryption"] == "aws:kms"
    assert headers["x-amz-server-side-encryption-aws-kms-key-id"] == "our-key"
