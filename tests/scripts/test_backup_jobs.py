"""What the jobs of the backup store, and what they refuse."""

import gzip
import hashlib
import json
import os
import time

import pytest
import yaml
from conftest import ARCHIVE, DUMPED, PASSWORD, RESTORED, Jobs, kill


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
    code, output = jobs.stopped("dump", "mongodump")
    assert code == 1
    assert output.splitlines()[-1].startswith("dump: stopped before it was done")
    assert jobs.bucket == {}


def test_what_a_killed_dump_left_is_no_backup_and_the_next_is_good(jobs: Jobs) -> None:
    (jobs.folder / "mongodump.waits").touch()
    process = jobs.start("dump")
    jobs.wait_for("mongodump")
    kill(process)
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


#: What mongod says when it meets a full disk: the reason, and then pages about itself.
DYING = '{"s":"I", "msg":"start"}\n{"s":"E", "msg":"no space"}\n{"s":"F", "msg":"abort"}\n{"s":"I", "msg":"Frame"}\n'


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
        (lambda jobs: jobs.says("mongod", err=DYING, fails=True), 'mongod doesn\'t start: {"s":"E", "msg":"no space"}'),
    ],
    ids=[
        "a flipped byte",
        "no archive",
        "no restore",
        "a document less",
        "nothing said",
        "not sound",
        "no mongod",
        "full disk",
    ],
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
