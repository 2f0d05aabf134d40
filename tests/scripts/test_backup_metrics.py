"""What Prometheus is told of the backups, by the real rclone with a folder as the bucket, in each shell there is."""

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from techshop import paths, recipes

FILES = paths.ROOT / "charts/techshop/charts/backup/files"
MANIFEST = """{
  "id": "20261127T020000Z",
  "finished": "20261127T020130Z",
  "bytes": 4500,
  "collections": {
    "shop.orders": 120
  }
}
"""
#: The same as MANIFEST says, in metrics; 2026-11-27T02:01:30Z.
TOLD = {
    "techshop_backup_last_success_timestamp_seconds": 1795744890,
    "techshop_backup_last_duration_seconds": 90,
    "techshop_backup_last_size_bytes": 4500,
}


@dataclass
class Teller:
    """The pod's script, while it runs."""

    folder: Path
    port: int
    process: subprocess.Popen[str]

    def put(self, time_: str, kind: str, body: str) -> None:
        """Put an object of the backup with this id into the bucket."""
        path = self.folder / f"bucket/mongodb/{time_[:4]}/{time_[4:6]}/{time_[6:8]}/techshop-{time_}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body)

    def read(self) -> tuple[str, str]:
        """Return what a scrape gets, and its type."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            return answer.read().decode(), answer.headers["Content-Type"]

    def metrics(self, **wanted: float) -> dict[str, float]:
        """Return the metrics once these, whose names are given without their beginning, have these values."""
        end, found = time.monotonic() + 30, {}
        while time.monotonic() < end:
            try:
                lines = [line.split() for line in self.read()[0].splitlines() if not line.startswith("#")]
                found = {name: float(value) for name, value in lines}
            except (urllib.error.URLError, ConnectionError):
                assert self.process.poll() is None, "it ended"
            if found and all(found.get(f"techshop_backup_{name}") == value for name, value in wanted.items()):
                return found
            time.sleep(0.1)
        raise AssertionError(f"not {wanted} but {found}")


def shells() -> list[list[str]]:
    found = [["dash"], ["bash", "--posix"], ["busybox", "sh"]]
    return [shell for shell in found if shutil.which(shell[0])]


@pytest.fixture
def interval() -> str:
    """How often slices of the oplog are to be stored: never."""
    return ""


@pytest.fixture(params=shells(), ids=" ".join)
def teller(tmp_path: Path, request: pytest.FixtureRequest, interval: str) -> Iterator[Teller]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for name in ("scripts", "bin", "bucket", "tmp", "served", "encryption"):
        (tmp_path / name).mkdir()
    for file in ("store.sh", "slices.sh", "chain.awk", "metrics.sh"):
        text = re.sub(r"(?<![\w/])/(scripts|tmp|served|encryption)\b", rf"{tmp_path}/\1", (FILES / file).read_text())
        text = text.replace(":9090", f"127.0.0.1:{port}").replace("sleep 60", "sleep 0.2")
        (tmp_path / "scripts" / file).write_text(text)
    env = {
        "PATH": f"{recipes.rclone().parent}:{os.environ['PATH']}", "S3_BUCKET": "backups", "S3_ENDPOINT": "http://s3",
        "S3_CA_FILE": "", "INTERVAL": interval,
        "RCLONE_CONFIG_BACKUP_TYPE": "alias", "RCLONE_CONFIG_BACKUP_REMOTE": str(tmp_path / "bucket"),
    }  # fmt: skip
    process = subprocess.Popen(
        [*request.param, tmp_path / "scripts/metrics.sh"], env=env, stderr=subprocess.PIPE, text=True
    )
    made = Teller(tmp_path, port, process)
    yield made
    process.terminate()
    said = process.communicate(timeout=10)[1]
    print(said)
    assert process.returncode == 0, "it doesn't end when it is told to"
    with pytest.raises(urllib.error.URLError):
        made.read()


def test_of_an_empty_bucket_it_tells_that_there_is_nothing(teller: Teller) -> None:
    found = teller.metrics(store_up=1)
    assert time.time() - found.pop("techshop_backup_checked_timestamp_seconds") < 60
    assert found == {"techshop_backup_store_up": 1, "techshop_backup_count": 0}


def test_prometheus_knows_what_it_reads(teller: Teller) -> None:
    teller.put("20261127T020000Z", "manifest.json", MANIFEST)
    teller.metrics(count=1)
    text, kind = teller.read()
    # The type that Prometheus 3 takes without being told a fallback.
    assert kind.partition(";")[0] == "text/plain"
    names = re.findall(r"^(techshop_\w+) ", text, re.MULTILINE)
    assert len(names) == 6
    for word in ("HELP", "TYPE"):
        assert re.findall(rf"^# {word} (\w+) \S", text, re.MULTILINE) == names


def test_it_tells_of_the_newest_backup_and_of_the_newest_that_was_verified(teller: Teller) -> None:
    for day, verified in ((25, "20261125T041000Z"), (26, "20261126T040500Z"), (27, "")):
        id_ = f"202611{day}T020000Z"
        teller.put(id_, "archive.gz", "x")
        teller.put(id_, "manifest.json", MANIFEST.replace("20261127", f"202611{day}"))
        if verified:
            teller.put(id_, "verified.json", json.dumps({"id": id_, "verified": verified, "seconds": 7}, indent=2))
    teller.put("20261128T020000Z", "archive.gz", "half of one")
    found = teller.metrics(count=3, last_verified_timestamp_seconds=1795665900)
    assert TOLD.items() <= found.items()


def test_what_was_known_stays_while_the_bucket_is_away(teller: Teller) -> None:
    teller.put("20261127T020000Z", "manifest.json", MANIFEST)
    before = teller.metrics(count=1)
    (teller.folder / "bucket").rename(teller.folder / "away")
    after = teller.metrics(store_up=0)
    assert TOLD.items() <= after.items()
    assert after["techshop_backup_checked_timestamp_seconds"] >= before["techshop_backup_checked_timestamp_seconds"]
    (teller.folder / "away").rename(teller.folder / "bucket")
    teller.metrics(store_up=1)


@pytest.mark.parametrize("interval", ["50"])
def test_it_tells_up_to_when_the_oplog_is_stored_and_whether_a_part_is_missing(teller: Teller) -> None:
    def put(begin: float, end: float) -> Path:
        day = datetime.fromtimestamp(end, UTC)
        path = teller.folder / f"bucket/oplog/{day:%Y/%m/%d}/{begin:.0f}.1-{end:.0f}.1.bson.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return path

    found = teller.metrics(oplog_interval_seconds=50)
    assert not {"techshop_backup_oplog_last_timestamp_seconds", "techshop_backup_oplog_unbroken"} & set(found)
    now = int(time.time())
    put(now - 60, now)
    assert "techshop_backup_oplog_unbroken" not in teller.metrics(oplog_last_timestamp_seconds=now)
    manifest = MANIFEST.replace('"bytes"', f'"oplogSeconds": {now - 90_000},\n  "oplogOrdinal": 1,\n  "bytes"')
    teller.put("20261127T020000Z", "manifest.json", manifest)
    teller.metrics(oplog_last_timestamp_seconds=now, oplog_unbroken=0)
    put(now - 95_000, now - 60_000)
    missing = put(now - 60_000, now - 30)
    teller.metrics(oplog_last_timestamp_seconds=now, oplog_unbroken=1)
    missing.unlink()
    teller.metrics(oplog_last_timestamp_seconds=now, oplog_unbroken=0)
