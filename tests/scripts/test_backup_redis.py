"""The job that stores snapshots of Redis, with the real rclone and a folder as the bucket; a stand-in is redis-cli."""

import hashlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import FILES

from techshop import recipes

#: What CLUSTER NODES says of three shards: with a replica, with one that is lost, and with one that doesn't follow.
NODES = """m1 10.0.0.1:6379@16379,redis-0.nodes,shard-id=x myself,master - 0 1 1 connected 0-99 200-5460 [93->-m2]
r1 10.0.0.2:6379@16379,redis-1.nodes slave m1 0 1 1 connected
m2 10.0.0.3:6379@16379, master - 0 1 2 connected 5461-10922
r2 10.0.0.4:6379@16379,redis-3.nodes slave,fail m2 0 1 2 connected
m3 10.0.0.5:6379@16379,redis-4.nodes master - 0 1 3 connected 10923-16383
r3 10.0.0.6:6379@16379,redis-5.nodes slave m3 0 1 3 disconnected
m4 10.0.0.7:6379@16379,redis-6.nodes master - 0 1 4 connected
"""
CLI = """#!/bin/bash
echo "$REDISCLI_AUTH $*" >> {folder}/asked
case $* in
  *'CLUSTER NODES') cat {folder}/nodes ;;
  *--rdb*)
    [ ! -e {folder}/away ] || {{ echo 'SYNC with master failed: -NOMASTERLINK' >&2; exit 1; }}
    echo "snapshot of $*" > "${{*: -1}}"
    ;;
esac
"""
CHECK = """#!/bin/bash
[ ! -e {folder}/broken ] || {{ echo 'Unexpected EOF reading RDB file'; exit 1; }}
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Return a function that runs the job, and gives its exit code and its last line."""
    for name in ("scripts", "secrets", "bin", "bucket", "tmp", "data"):
        (tmp_path / name).mkdir()
    for file in FILES.iterdir():
        text = re.sub(r"/(scripts|secrets|tmp|data)/", rf"{tmp_path}/\1/", file.read_text())
        (tmp_path / "scripts" / file.name).write_text(text)
    (tmp_path / "secrets/admin-password").write_text("it's secret")
    (tmp_path / "nodes").write_text(NODES)
    for name, text in (("redis-cli", CLI), ("redis-check-rdb", CHECK)):
        (tmp_path / "bin" / name).write_text(text.format(folder=tmp_path))
        (tmp_path / "bin" / name).chmod(0o755)
    settings = {
        "PATH": f"{tmp_path / 'bin'}:{recipes.rclone().parent}:{os.environ['PATH']}", "REDIS": "shop-redis",
        "S3_BUCKET": "backups", "S3_ENDPOINT": "http://s3", "S3_CA_FILE": "", "RCLONE_CONFIG_BACKUP_TYPE": "alias",
        "RCLONE_CONFIG_BACKUP_REMOTE": str(tmp_path / "bucket"), "KEEP_DAYS": "0", "KEEP_LAST": "1",
        "KEEP_WEEKLY": "0", "KEEP_MONTHLY": "0",
    }  # fmt: skip

    def job(**env: str) -> tuple[int, str]:
        process = subprocess.Popen(
            ["bash", tmp_path / "scripts/redis.sh"], env=settings | env, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            output = process.communicate(timeout=60)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        print(output)
        return process.returncode, output.splitlines()[-1]

    return job


def bucket(folder: Path) -> dict[str, bytes]:
    top = folder / "bucket"
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def test_each_shard_is_stored_from_a_replica_that_follows_and_else_from_its_master(run, tmp_path: Path) -> None:
    assert run()[0] == 0
    found = bucket(tmp_path)
    (name,) = [path for path in found if path.endswith(".manifest.json")]
    manifest = json.loads(found[name])
    assert name.startswith(f"redis/{manifest['id'][:4]}/{manifest['id'][4:6]}/")
    hosts = {}
    for shard in manifest["shards"]:
        body = found[f"{name.rpartition('/')[0]}/{shard['object']}"]
        assert (shard["bytes"], shard["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
        hosts[shard["slots"]] = re.search(r"-h (\S+)", body.decode()).group(1)
    assert hosts == {"0-99,200-5460": "redis-1.nodes", "5461-10922": "10.0.0.3", "10923-16383": "redis-4.nodes"}
    assert len(found) == 4


def test_one_node_is_one_shard(run, tmp_path: Path) -> None:
    (tmp_path / "nodes").write_text("ERR This instance has cluster support disabled\n")
    assert run()[0] == 0
    assert sorted(path.partition(".")[2] for path in bucket(tmp_path)) == ["manifest.json", "slot-0.rdb"]


@pytest.mark.parametrize("tls", ["true", "false"])
def test_the_password_is_no_argument_and_tls_is_used_where_it_is_on(run, tmp_path: Path, tls: str) -> None:
    assert run(TLS=tls)[0] == 0
    for line in (tmp_path / "asked").read_text().splitlines():
        assert line.count("it's secret") == 1
        assert ("--tls --cacert /tls/ca.crt" in line) == (tls == "true")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("away", "can't fetch the snapshot of redis-1.nodes: SYNC with master failed: -NOMASTERLINK"),
        ("broken", "the snapshot of redis-1.nodes isn't sound: Unexpected EOF"),
    ],
)
def test_a_shard_that_fails_fails_the_job_and_leaves_no_backup(run, tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / name).touch()
    code, line = run()
    assert (code, said in line) == (1, True), line
    assert bucket(tmp_path) == {}


@pytest.mark.parametrize(
    ("nodes", "said"), [("NOAUTH Authentication required.\n", "NOAUTH"), (NODES.splitlines()[-1] + "\n", "reached")]
)
def test_a_redis_that_refuses_or_serves_nothing_is_named(run, tmp_path: Path, nodes: str, said: str) -> None:
    (tmp_path / "nodes").write_text(nodes)
    code, line = run()
    assert (code, said in line) == (1, True), line


def test_old_snapshots_go_whole_and_backups_of_mongodb_stay(run, tmp_path: Path) -> None:
    for folder, kinds in (("redis", ("slot-0.rdb", "slot-5461.rdb", "manifest.json")), ("mongodb", ("manifest.json",))):
        for kind in kinds:
            old = tmp_path / f"bucket/{folder}/2020/01/01/techshop-20200101T020000Z.{kind}"
            old.parent.mkdir(parents=True, exist_ok=True)
            old.touch()
    assert run()[0] == 0
    assert [path for path in bucket(tmp_path) if "/2020/" in path] == [
        "mongodb/2020/01/01/techshop-20200101T020000Z.manifest.json"
    ]
