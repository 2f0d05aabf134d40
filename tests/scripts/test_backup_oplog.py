"""Slices of the oplog: how they are stored, and how a restore goes on with them."""

import gzip
import json
import os
import shutil
import struct
import time
from datetime import UTC, datetime

import pytest
from conftest import DUMPED, PASSWORD, Jobs, kill

START = 1795744800  # 2026-11-27T02:00:00Z
MEMBER = "shop-mongodb-1:27017"


def document(body: bytes) -> bytes:
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def entry(seconds: int) -> bytes:
    """Return an entry of an oplog, with what isn't its time before it."""
    inner = b"\x03o\0" + document(b"\x11ts\0" + bytes(8)) + b"\x05ui\0\x02\0\0\0\x04ts"
    return document(inner + b"\x11ts\0" + struct.pack("<II", 1, START + seconds))


def archive(*entries: bytes) -> bytes:
    """Return an archive whose oplog has these entries."""

    def head(name: bytes, *, last: bool) -> bytes:
        text = b"\x02db\0\x01\0\0\0\0\x02collection\0" + struct.pack("<i", len(name) + 1) + name + b"\0"
        return document(text + b"\x08EOF\0" + bytes([last]) + b"\x12CRC\0" + bytes(8))

    end = b"\xff" * 4
    blocks = [head(b"a", last=False) + document(b"") + end, head(b"a", last=True) + end]
    blocks += [head(b"oplog", last=False) + b"".join(entries) + end, head(b"oplog", last=True) + end]
    return struct.pack("<I", 0x8199E26D) + document(b"") + end + b"".join(blocks)


def time_(after: str) -> str:
    """Return SECONDS.ORDINAL, of which the seconds are after START."""
    seconds, ordinal = after.split(".")
    return f"{START + int(seconds)}.{ordinal}"


def path(begin: str, end: str) -> str:
    day = datetime.fromtimestamp(float(time_(end)), UTC)
    return f"oplog/{day:%Y/%m/%d}/{time_(begin)}-{time_(end)}.bson.gz"


def put(jobs: Jobs, begin: str, end: str, *entries: bytes) -> None:
    """Put a slice into the bucket."""
    file = jobs.folder / "bucket" / path(begin, end)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(b"".join(entries)))


def ship(jobs: Jobs, begin: str, end: str, **env: str) -> tuple[int, str]:
    """Store a slice: MongoDB's programs say that it is this one, where times are seconds after START."""
    first = begin if begin == "none" else time_(begin)
    jobs.says("slice.js", f"{MEMBER} {first} {time_(end)} yes\n")
    return jobs.run("slice", **env)


def shipped(jobs: Jobs) -> dict[str, bytes]:
    return {name: body for name, body in jobs.bucket.items() if name.endswith(".bson.gz")}


def asked(jobs: Jobs, program: str) -> list[str]:
    lines = (jobs.folder / "asked").read_text().splitlines()
    return [line for line in lines if line.startswith(program)]


def test_slices_go_on_where_the_last_one_ended_and_begin_with_its_last_entry(jobs: Jobs) -> None:
    code, said = ship(jobs, "none", "0.4")
    assert (code, said[10:]) == (0, "what is written after 2026-11-27T02:00:00Z will be stored")
    jobs.says("mongodump", b"entries", DUMPED)
    assert ship(jobs, "0.4", "50.2")[0] == 0
    assert ship(jobs, "50.2", "50.2")[0] == 0
    assert ship(jobs, "50.2", "86400.11")[0] == 0
    assert {name: gzip.decompress(body) for name, body in shipped(jobs).items()} == {
        path("0.4", "50.2"): b"entries",
        path("50.2", "86400.11"): b"entries",
    }
    assert path("50.2", "86400.11").startswith("oplog/2026/11/28/")
    froms = [line.partition("FROM=")[2] for line in asked(jobs, "mongosh")]
    assert froms == ["", f"{START}.4", f"{START + 50}.2", f"{START + 50}.2"]
    first, second = asked(jobs, "mongodump")
    assert f"--host={MEMBER}" in first and "--db=local --collection=oplog.rs --out=-" in first
    assert json.loads(first.partition("--query=")[2]) == {
        "ts": {"$gte": {"$timestamp": {"t": START, "i": 4}}, "$lte": {"$timestamp": {"t": START + 50, "i": 2}}}
    }
    assert PASSWORD not in first + second


def test_who_begins_anew_goes_on_from_the_bucket_and_else_from_the_newest_backup(jobs: Jobs) -> None:
    jobs.backup()
    put(jobs, "0.1", "9.5", b"")
    put(jobs, "9.5", "9.12", b"")
    ship(jobs, "9.12", "50.1")
    assert asked(jobs, "mongosh")[-1].endswith(f"FROM={START + 9}.12 1795000000.7")


@pytest.mark.parametrize("begin", ["none", "40.1"])
def test_a_gap_is_told_and_a_new_chain_begins(jobs: Jobs, begin: str) -> None:
    put(jobs, "0.1", "9.5", b"")
    jobs.says("slice.js", f"{MEMBER} {begin if begin == 'none' else f'{START + 40}.1'} {START + 60}.1 yes\n")
    with jobs.start("slice") as process:
        output = process.communicate(timeout=60)[0]
    assert process.returncode == 0, output
    assert "GAP: no member has the oplog from 2026-11-27T02:00:09Z on any more" in output
    assert (path(begin, "60.1") in shipped(jobs)) if begin != "none" else len(shipped(jobs)) == 1
    assert (jobs.folder / "tmp/end").read_text() == f"{START + 60}.1\n"


def test_what_breaks_off_is_never_stored(jobs: Jobs) -> None:
    jobs.says(
        "mongodump", os.urandom(300_000), "2026-11-27T02:00:01.000+0000\tFailed: CappedPositionLost\n", fails=True
    )
    code, said = ship(jobs, "0.1", "50.1")
    assert (code, said) == (1, "slice: mongodump failed: Failed: CappedPositionLost")
    assert not shipped(jobs)
    assert not (jobs.folder / "tmp/end").exists()
    shutil.rmtree(jobs.folder / "bucket/oplog", ignore_errors=True)
    (jobs.folder / "bucket/oplog").touch()
    jobs.says("mongodump", os.urandom(300_000))
    code, said = ship(jobs, "0.1", "50.1")
    assert code == 1
    assert said.startswith("slice: can't "), said


def test_one_that_is_stopped_leaves_nothing(jobs: Jobs) -> None:
    (jobs.folder / "mongodump.waits").touch()
    jobs.says("mongodump", os.urandom(300_000))
    jobs.says("slice.js", f"{MEMBER} {START}.1 {START + 60}.1 yes\n")
    code, output = jobs.stopped("oplog", "mongodump", INTERVAL="300")
    assert code == 0
    assert "stopped before it was done" in output
    assert not shipped(jobs)


def test_it_goes_round_and_at_once_when_there_is_more(jobs: Jobs) -> None:
    jobs.says("slice.js", f"{MEMBER} {START}.1 {START + 60}.1 no\n")
    process = jobs.start("oplog", INTERVAL="300")
    end = time.monotonic() + 60
    try:
        while len(asked(jobs, "mongodump") if (jobs.folder / "asked").exists() else []) < 3:
            assert time.monotonic() < end
            time.sleep(0.1)
    finally:
        process.terminate()
        kill(process)


@pytest.fixture
def past(jobs: Jobs) -> Jobs:
    """Two backups, of 02:00 to 02:01 and of 03:00, and slices from 02:00 to 04:00 with an entry each 10 minutes."""
    for hour, last in ((2, 30), (3, 3600)):
        jobs.says("mongodump", gzip.compress(archive(entry(last - 20), entry(last))), DUMPED)
        jobs.says("choose.js", f"{MEMBER} 8.0.15 {START + last - 20} 1 2\n")
        manifest = jobs.backup()
        for file in list((jobs.folder / "bucket").rglob(f"*{manifest['id']}*")):
            body = file.read_bytes()
            if file.name.endswith("manifest.json"):
                body = json.dumps(
                    manifest | {"id": f"20261127T0{hour}0000Z", "finished": f"20261127T0{hour}0100Z"}, indent=2
                ).encode()
            name = (
                jobs.folder / f"bucket/mongodb/2026/11/27/techshop-20261127T0{hour}0000Z.{file.name.split('.', 1)[1]}"
            )
            name.parent.mkdir(parents=True, exist_ok=True)
            file.unlink()
            name.write_bytes(body)
    put(jobs, "0.1", "1800.1", entry(0), *(entry(time) for time in (10, 30, 600, 1200)), entry(1800))
    put(jobs, "1800.1", "4200.1", entry(1800), *(entry(time) for time in (2400, 3000, 3600)), entry(4200))
    put(jobs, "4200.1", "7200.1", entry(4200), *(entry(time) for time in (4800, 5400, 6000, 6600)), entry(7200))
    return jobs


@pytest.mark.parametrize(
    ("at", "hour", "entries"),
    [
        ("2026-11-27T02:40:00Z", 2, [10, 30, 600, 1200, 1800]),
        ("2026-11-27T02:40:01Z", 2, [10, 30, 600, 1200, 1800, 2400]),
        ("2026-11-27T03:00:59Z", 2, [10, 30, 600, 1200, 1800, 2400, 3000, 3600]),
        ("2026-11-27T03:01:00Z", 3, [3580, 3600]),
        ("latest", 3, [3580, 3600, 4200, 4800, 5400, 6000, 6600, 7200]),
    ],
)
def test_a_moment_is_the_last_backup_before_it_and_what_was_written_in_between(
    past: Jobs, at: str, hour: int, entries: list[int]
) -> None:
    code, said = past.run("restore", AT=at)
    assert code == 0, said
    restored = (past.folder / "restored").read_bytes()
    for moment in [10, 30, 3580, *range(600, 7201, 600)]:
        assert restored.count(entry(moment)) == (moment in entries), moment
    (command,) = asked(past, "mongorestore")
    assert "--archive --oplogReplay" in command and "--gzip" not in command
    assert f"techshop-20261127T0{hour}0000Z with {len(entries) - 2} entries of the oplog after its own" in said


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"AT": "2026-11-27T01:00:00Z"}, "no backup ended before 2026-11-27T01:00:00Z; what there is: 20261127T02"),
        ({"AT": "2026-11-27T04:00:01Z"}, "up to 2026-11-27T04:00:00Z: that is the last moment that can be restored"),
        ({"AT": "tomorrow"}, "AT is tomorrow, which is no moment; write one like 2026-11-28T05:00:00Z, or latest"),
        ({"AT": "2026-11-31T00:00:00Z"}, "which is no moment"),
        ({"AT": "2026-11-27T02:30:00Z", "BACKUP": "20261127T030000Z"}, "ends at 2026-11-27T03:00:00Z, which is not"),
        ({"AT": "2026-11-27T02:30:00Z", "BACKUP": "20200101T000000Z"}, "there is no backup 20200101T000000Z"),
    ],
)  # fmt: skip
def test_a_moment_that_can_not_be_restored_is_refused_with_what_can(past: Jobs, env: dict[str, str], said: str) -> None:
    code, line = past.run("restore", **env)
    assert (code, said in line) == (1, True), line


def test_a_part_of_the_oplog_that_is_missing_is_no_moment_but_before_it_there_are(past: Jobs) -> None:
    (past.folder / "bucket" / path("1800.1", "4200.1")).unlink()
    code, line = past.run("restore", AT="2026-11-27T02:50:00Z")
    assert code == 1
    assert "before a part that is missing, up to 2026-11-27T02:30:00Z: that is the last moment" in line
    assert not (past.folder / "restored").exists()
    assert past.run("restore", AT="2026-11-27T02:30:00Z")[0] == 0
    assert past.run("restore", AT="latest")[0] == 0
    assert entry(4200) not in (past.folder / "restored").read_bytes()


def test_slices_that_overlap_are_as_good(past: Jobs) -> None:
    put(
        past,
        "600.1",
        "3000.1",
        *(entry(time) for time in (600, 1200)),
        entry(1800),
        entry(2400),
        entry(3000),
    )
    (past.folder / "bucket" / path("1800.1", "4200.1")).unlink()
    put(past, "2400.1", "4200.1", *(entry(time) for time in (2400, 3000, 3600, 4200)))
    assert past.run("restore", AT="2026-11-27T03:00:59Z")[0] == 0
    restored = (past.folder / "restored").read_bytes()
    assert [restored.count(entry(time)) for time in (600, 2400, 3000, 3600, 4200)] == [1, 1, 1, 1, 0]


@pytest.mark.parametrize("entries", [[entry(1800)], [entry(2400), entry(4200)], [entry(1800), entry(4800)], []])
def test_a_slice_that_is_not_what_its_name_says_fails_the_restore(past: Jobs, entries: list[bytes]) -> None:
    put(past, "1800.1", "4200.1", *entries)
    code, line = past.run("restore", AT="2026-11-27T03:00:30Z")
    assert code == 1
    assert f"{START + 1800}.1-{START + 4200}.1 can't be read, or isn't whole" in line


def test_slices_from_before_the_oldest_backup_that_is_needed_go(past: Jobs) -> None:
    old = [path("0.1", "1800.1")]
    past.says("choose.js", f"{MEMBER} 8.0.15 {START + 4000} 1 2\n")
    assert past.backup(KEEP_MOMENTS="1000000", KEEP_LAST="9")["id"] > "20261127T030000Z"
    assert set(old) <= set(shipped(past))
    time.sleep(1.1)
    past.backup(KEEP_MOMENTS="0", KEEP_LAST="9")
    assert len(shipped(past)) == 2
    assert not set(old) & set(shipped(past))
