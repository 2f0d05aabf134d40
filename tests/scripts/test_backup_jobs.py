"""The jobs of the backup, with the real rclone and a folder as the bucket; stand-ins speak for MongoDB's programs."""

import gzip
import hashlib
import json
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from techshop import paths, recipes

FILES = paths.ROOT / "charts/techshop/charts/backup/files"
ARCHIVE = gzip.compress(b"documents" * 50_000)
PASSWORD = "it's \"#\\ %: {}"
DUMPED = (
    "2026-11-27T02:00:01\tdone dumping shop.orders (120 documents)\n\tdone dumping admin.system.users (4 documents)\n"
)
RESTORED = DUMPED.replace("done dumping", "finished restoring").replace(" documents)", " documents, 0 failures)")
PROGRAMS = ("mongodump", "mongorestore", "mongosh", "mongod")
#: Says and does what the files called like the program want; notes its arguments, its settings and its input.
STAND_IN = """#!/bin/bash
name=$(basename "$0")
echo "$name $*" >> {folder}/asked
case $* in *--config=*) cp "${{1#--config=}}" {folder}/$name.yaml ;; esac
if [ "$name" = mongod ] && [ ! -e {folder}/mongod.fails ]; then
  exec python3 -c 'import socket, time
server = socket.create_server(("127.0.0.1", 27017), reuse_port=True)
while True: server.accept()'
fi
[ "$name" != mongosh ] || name=$(basename "${{*: -1}}")
[ "$name" != mongorestore ] || cat > {folder}/restored
[ ! -e {folder}/$name.out ] || cat {folder}/$name.out
[ ! -e {folder}/$name.err ] || cat {folder}/$name.err >&2
[ ! -e {folder}/$name.waits ] || sleep 60
[ ! -e {folder}/$name.fails ]
"""


@dataclass
class Jobs:
    """The jobs, ready to run in a folder."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    def says(self, program: str, out: bytes | str = "", err: str = "", *, fails: bool = False) -> None:
        """Let a program, or a script of mongosh, say this and end so."""
        (self.folder / f"{program}.out").write_bytes(out if isinstance(out, bytes) else out.encode())
        (self.folder / f"{program}.err").write_text(err)
        if fails:
            (self.folder / f"{program}.fails").touch()
        else:
            (self.folder / f"{program}.fails").unlink(missing_ok=True)

    def start(self, job: str, **env: str) -> subprocess.Popen[str]:
        """Start a job."""
        path = f"{self.folder / 'bin'}:{recipes.rclone().parent}:{os.environ['PATH']}"
        return subprocess.Popen(
            ["bash", self.folder / "scripts" / f"{job}.sh"], env={"PATH": path} | self.settings | env,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def run(self, job: str, **env: str) -> tuple[int, str]:
        """Run a job; return its exit code and its last line."""
        process = self.start(job, **env)
        try:
            output = process.communicate(timeout=60)[0]
            print(output)
        finally:
            _kill(process)
        return process.returncode, output.splitlines()[-1]

    def wait_for(self, program: str) -> None:
        """Wait until a program was started."""
        asked = self.folder / "asked"
        end = time.monotonic() + 30
        while not (asked.exists() and program in asked.read_text()):
            assert time.monotonic() < end, f"{program} was not started within 30 s"
            time.sleep(0.1)

    @property
    def bucket(self) -> dict[str, bytes]:
        """What is in the bucket."""
        top = self.folder / "bucket"
        return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}

    def backup(self, **env: str) -> dict[str, object]:
        """Make a backup and return its manifest."""
        code, said = self.run("dump", **env)
        assert code == 0, said
        return json.loads(max(item for item in self.bucket.items() if item[0].endswith(".manifest.json"))[1])


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a job and all that it started, as the end of a container does: each of its pipes is a group of its own."""
    for line in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, session = int(line.parent.name), os.getsid(int(line.parent.name))
        except ProcessLookupError:
            continue
        if session == process.pid:
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    for name in ("scripts", "secrets", "bin", "bucket", "tmp", "encryption"):
        (tmp_path / name).mkdir()
    for file in FILES.iterdir():
        text = re.sub(r"/(scripts|secrets|tmp|encryption)/", rf"{tmp_path}/\1/", file.read_text())
        (tmp_path / "scripts" / file.name).write_text(text)
    (tmp_path / "secrets/backup-password").write_text(PASSWORD)
    (tmp_path / "secrets/keyfile").write_text("key\nfile\n")
    for program in PROGRAMS:
        (tmp_path / "bin" / program).write_text(STAND_IN.format(folder=tmp_path))
        (tmp_path / "bin" / program).chmod(0o755)
    made = Jobs(tmp_path, {
        "MONGODB": "shop-mongodb", "S3_BUCKET": "backups", "S3_ENDPOINT": "http://s3", "S3_CA_FILE": "",
        "RCLONE_CONFIG_BACKUP_TYPE": "alias", "RCLONE_CONFIG_BACKUP_REMOTE": str(tmp_path / "bucket"),
        "KEEP_DAYS": "7", "KEEP_LAST": "3", "KEEP_WEEKLY": "0", "KEEP_MONTHLY": "0",
    })  # fmt: skip
    made.says("choose.js", "shop-mongodb-1:27017 8.0.15 1795000000 7 2\n")
    made.says("mongodump", ARCHIVE, DUMPED)
    made.says("mongorestore", err=RESTORED)
    made.says("validate.js", "3 collections with 124 documents\n")
    made.says("look.js", "rs0/shop-mongodb-0:27017,shop-mongodb-1:27017\n")
    return made


def test_a_backup_is_the_archive_and_a_manifest_that_describes_it(jobs: Jobs) -> None:
    manifest = jobs.backup()
    name = f"mongodb/{manifest['id'][:4]}/{manifest['id'][4:6]}/{manifest['id'][6:8]}/techshop-{manifest['id']}"
    assert set(jobs.bucket) == {f"{name}.archive.gz", f"{name}.manifest.json"}
    assert jobs.bucket[f"{name}.archive.gz"] == ARCHIVE
    assert manifest["sha256"] == hashlib.sha256(ARCHIVE).hexdigest()
    assert (manifest["bytes"], manifest["mongodb"]) == (len(ARCHIVE), "8.0.15")
    assert manifest["member"] == "shop-mongodb-1:27017"
    assert (manifest["oplogSeconds"], manifest["oplogOrdinal"]) == (1795000000, 7)
    assert manifest["collections"] == {"shop.orders": 120, "admin.system.users": 4}


def test_odd_names_of_collections_are_written_as_json(jobs: Jobs) -> None:
    jobs.says("mongodump", ARCHIVE, 'x\tdone dumping shop.a "b" \\ c (1 document)\n')
    assert jobs.backup()["collections"] == {'shop.a "b" \\ c': 1}


@pytest.mark.parametrize(
    ("job", "program", "password"), [("dump", "mongodump", PASSWORD), ("restore", "mongorestore", "keyfile")]
)
def test_the_password_is_no_argument_and_arrives_as_it_is(jobs: Jobs, job: str, program: str, password: str) -> None:
    jobs.backup()
    assert jobs.run(job)[0] == 0
    assert yaml.safe_load((jobs.folder / f"{program}.yaml").read_text()) == {"password": password}
    assert password not in (jobs.folder / "asked").read_text()


@pytest.mark.parametrize(
    ("program", "err", "said"),
    [
        ("mongodump", "2026-11-27T02:00:01.000+0000\tFailed: error creating intents\n", "mongodump failed: "),
        ("choose.js", "MongoServerSelectionError: connection timed out", "MongoDB can't be reached: MongoServerSel"),
    ],
)
def test_a_dump_that_fails_leaves_nothing_and_says_why_in_its_last_line(
    jobs: Jobs, program: str, err: str, said: str
) -> None:
    jobs.says(program, ARCHIVE[:100], err, fails=True)
    code, line = jobs.run("dump")
    assert code == 1
    assert line.startswith(f"dump: {said}")
    assert err.strip()[-20:] in line
    assert jobs.bucket == {}


def test_a_store_that_goes_away_is_named_and_not_the_dump_that_it_broke_off(jobs: Jobs) -> None:
    # More than a pipe holds; what is in the way of the folder stands for a store that refuses.
    jobs.says("mongodump", os.urandom(300_000), DUMPED)
    (jobs.folder / "bucket/mongodb").touch()
    code, line = jobs.run("dump")
    assert code == 1
    assert line.startswith("dump: can't store the archive: "), line


def test_a_bucket_that_is_not_there_is_named_with_what_the_store_said(jobs: Jobs) -> None:
    (jobs.folder / "bucket").rmdir()
    for job in ("dump", "verify", "restore"):
        code, line = jobs.run(job)
        assert (code, "can't list the bucket backups" in line, "not found" in line) == (1, True, True), line


def test_a_dump_that_is_stopped_ends_at_once_and_leaves_nothing(jobs: Jobs) -> None:
    (jobs.folder / "mongodump.waits").touch()
    process = jobs.start("dump")
    try:
        jobs.wait_for("mongodump")
        time.sleep(1)
        process.terminate()
        output = process.communicate(timeout=15)[0]
    finally:
        _kill(process)
    assert process.returncode == 1
    assert output.splitlines()[-1].startswith("dump: stopped before it was done")
    assert jobs.bucket == {}


def test_what_a_killed_dump_left_is_no_backup_and_the_next_is_good(jobs: Jobs) -> None:
    (jobs.folder / "mongodump.waits").touch()
    process = jobs.start("dump")
    jobs.wait_for("mongodump")
    _kill(process)
    process.communicate()
    (jobs.folder / "mongodump.waits").unlink()
    assert "there is no backup latest" in jobs.run("restore")[1]
    assert jobs.backup()["bytes"] == len(ARCHIVE)
    assert jobs.run("verify")[0] == 0


def test_old_backups_go_after_the_new_one_is_stored(jobs: Jobs) -> None:
    for day in range(1, 6):
        for kind in ("archive.gz", "manifest.json"):
            old = jobs.folder / f"bucket/mongodb/2020/01/0{day}/techshop-2020010{day}T020000Z.{kind}"
            old.parent.mkdir(parents=True, exist_ok=True)
            old.touch()
    jobs.backup()
    left = {path.split("/")[-1].split(".")[0] for path in jobs.bucket}
    assert len(left) == 3
    assert {"techshop-20200104T020000Z", "techshop-20200105T020000Z"} < left


def test_a_backup_that_can_be_restored_is_marked_so(jobs: Jobs) -> None:
    manifest = jobs.backup()
    code, line = jobs.run("verify")
    assert code == 0, line
    assert "3 collections with 124 documents" in line
    assert (jobs.folder / "restored").read_bytes() == ARCHIVE
    (marked,) = [body for path, body in jobs.bucket.items() if path.endswith(".verified.json")]
    assert json.loads(marked)["id"] == manifest["id"]


def test_odd_names_of_collections_are_the_same_before_and_after(jobs: Jobs) -> None:
    line = '\tdone dumping shop.a "b" \\ c (1 document)\n'
    jobs.says("mongodump", ARCHIVE, DUMPED + line)
    jobs.says(
        "mongorestore", err=RESTORED + line.replace("done dumping", "finished restoring").replace(")", ", 0 failures)")
    )
    jobs.backup()
    assert jobs.run("verify")[0] == 0


def _flip(jobs: Jobs) -> None:
    (archive,) = (jobs.folder / "bucket").rglob("*.archive.gz")
    body = bytearray(archive.read_bytes())
    body[len(body) // 2] ^= 1
    archive.write_bytes(body)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_flip, "isn't what was stored"),
        (lambda jobs: next((jobs.folder / "bucket").rglob("*.archive.gz")).unlink(), "can't read the archive"),
        (lambda jobs: jobs.says("mongorestore", err="\tFailed: E11000\n", fails=True), "mongorestore failed: Failed"),
        (lambda jobs: jobs.says("mongorestore", err=RESTORED.replace("120", "119")), "other numbers of documents"),
        (lambda jobs: jobs.says("mongorestore", err=""), "other numbers of documents"),
        (lambda jobs: jobs.says("validate.js", "shop.orders: index broken\n", fails=True), "orders: index broken"),
        (lambda jobs: jobs.says("mongod", err="no space left", fails=True), "mongod doesn't start: no space left"),
    ],
    ids=["a flipped byte", "no archive", "no restore", "a document less", "nothing said", "not sound", "no mongod"],
)
def test_a_backup_that_can_not_be_restored_is_never_marked_as_verified(jobs: Jobs, spoil, said: str) -> None:
    jobs.backup()
    spoil(jobs)
    code, line = jobs.run("verify")
    assert code == 1
    assert said in line
    assert not [path for path in jobs.bucket if path.endswith(".verified.json")]


@pytest.mark.parametrize("drop", ["no", "yes"])
def test_data_that_is_there_goes_only_when_that_is_said(jobs: Jobs, drop: str) -> None:
    jobs.backup()
    jobs.says("look.js", "rs0/shop-mongodb-0:27017\n  shop.orders: 3 documents, the newest of 2026-11-27T10:00:00Z\n")
    code, line = jobs.run("restore", DROP=drop)
    assert (code == 0) == (drop == "yes")
    assert (jobs.folder / "restored").exists() == (drop == "yes")
    assert drop == "yes" or "set DROP to yes" in line


def test_a_restore_goes_to_the_replica_set_and_ends_with_the_passwords_of_now(jobs: Jobs) -> None:
    jobs.backup()
    assert jobs.run("restore")[0] == 0
    lines = (jobs.folder / "asked").read_text().splitlines()
    (asked,) = [line for line in lines if line.startswith("mongorestore")]
    assert lines[-1].endswith("/scripts/passwords.js")
    assert "--host=rs0/shop-mongodb-0:27017,shop-mongodb-1:27017" in asked
    assert "--username=__system --authenticationDatabase=local" in asked
    assert "--oplogReplay" in asked


def test_a_backup_is_chosen_by_its_id_and_one_that_is_not_there_is_answered_with_those_that_are(jobs: Jobs) -> None:
    first = jobs.backup()
    time.sleep(1.1)
    jobs.says("mongodump", gzip.compress(b"later"), DUMPED)
    jobs.backup()
    assert jobs.run("restore", BACKUP=str(first["id"]))[0] == 0
    assert (jobs.folder / "restored").read_bytes() == ARCHIVE
    code, line = jobs.run("restore", BACKUP="20200101T000000Z")
    assert code == 1
    assert f"there is no backup 20200101T000000Z in the bucket backups; what there is: {first['id']}" in line


def test_a_list_says_which_backups_there_are_and_which_are_verified(jobs: Jobs) -> None:
    first = jobs.backup()["id"]
    assert jobs.run("verify")[0] == 0
    time.sleep(1.1)
    second = max(jobs.backup()["id"], first)
    with jobs.start("restore", BACKUP="list") as process:
        output = process.communicate(timeout=60)[0]
    assert output.splitlines()[:-1] == [f"{first} verified", second]
    assert process.returncode == 0


def test_what_is_encrypted_can_be_read_with_the_password_only(jobs: Jobs) -> None:
    (jobs.folder / "encryption/password").write_text(PASSWORD)
    settings = {
        "RCLONE_CONFIG_BACKUP_TYPE": "crypt", "RCLONE_CONFIG_BACKUP_SUFFIX": "none",
        "RCLONE_CONFIG_BACKUP_FILENAME_ENCRYPTION": "off", "RCLONE_CONFIG_BACKUP_DIRECTORY_NAME_ENCRYPTION": "false",
    }  # fmt: skip
    assert jobs.run("dump", **settings)[0] == 0
    assert not any(body.startswith(ARCHIVE[:2]) or b"shop" in body for body in jobs.bucket.values())
    assert jobs.run("verify", **settings)[0] == 0
    (jobs.folder / "encryption/password").write_text("another")
    assert jobs.run("verify", **settings)[0] == 1
