"""From where to where a slice of the oplog goes: the shell's script against real members of a replica set."""

import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from techshop import paths, recipes

SCRIPT = paths.ROOT / "charts/techshop/charts/backup/files/slice.js"
#: Entries in a slice, in place of the script's.
MANY = 10
PASSWORD = "it's \"#\\ %: {}"
NEWEST = "db.getSiblingDB('local').oplog.rs.find().sort({ $natural: -1 }).limit(1).next().ts"
STOPPED = "db.adminCommand({ configureFailPoint: 'stopReplProducer', mode: MODE }).ok"


@dataclass
class Members:
    """A replica set of three, each a process of this machine."""

    folder: Path
    mongod: Path
    ports: list[int] = field(default_factory=list)
    processes: dict[int, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def start(self) -> None:
        """Start them, and make the user that reads backups."""
        for _ in range(3):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            data = self.folder / str(port)
            data.mkdir()
            options = ["--replSet=rs0", f"--port={port}", f"--dbpath={data}", f"--logpath={data}/log"]
            options += ["--bind_ip=127.0.0.1", "--nounixsocket", "--wiredTigerCacheSizeGB=0.25"]
            # So that replication can be stopped.
            options += ["--setParameter=enableTestCommands=1"]
            self.processes[port] = subprocess.Popen([self.mongod, *options], stdout=subprocess.DEVNULL)
            self.ports.append(port)
        (self.folder / "backup-password").write_text(PASSWORD)
        members = [{"_id": n, "host": f"127.0.0.1:{port}"} for n, port in enumerate(self.ports)]
        members[0]["priority"] = 2
        config = {"_id": "rs0", "members": members}
        self.evaluate(f"rs.initiate({json.dumps(config)}).ok", self.ports[0])
        user = {"user": "backup", "pwd": PASSWORD, "roles": ["backup"]}
        until = "while (!db.hello().isWritablePrimary) sleep(100)"
        self.evaluate(f"{until}; db.getSiblingDB('admin').createUser({json.dumps(user)}).ok", self.ports[0])

    def evaluate(self, script: str, port: int) -> Any:
        """Evaluate JavaScript on a member and return its last value."""
        body, _, last = script.rpartition(";")
        return json.loads(self._shell("--eval", f"{body}; print(JSON.stringify({last}))", port=port).splitlines()[-1])

    def write(self, count: int, concern: str = "'majority'") -> str:
        """Insert documents one by one, and return the time of the newest entry of the primary's oplog."""
        insert = f"shop.insertOne({{ n }}, {{ writeConcern: {{ w: {concern} }} }})"
        script = f"shop = db.getSiblingDB('shop').orders; for (let n = 0; n < {count}; n++) {insert}; {NEWEST}"
        return text(self.evaluate(script, self.ports[0]))

    def stop_replication(self, stop: bool) -> None:
        """Let the members that are no primary take nothing more, or go on."""
        for port in self.ports[1:]:
            self.evaluate(STOPPED.replace("MODE", "'alwaysOn'" if stop else "'off'"), port)

    def slice(self, *begins: str) -> list[str]:
        """Run the script; return the member, the first and the last entry, and whether that is all."""
        script = SCRIPT.read_text().replace("/secrets/", f"{self.folder}/").replace("100000", str(MANY))
        (self.folder / "slice.js").write_text(script)
        alive = next(port for port, process in self.processes.items() if process.poll() is None)
        options = "serverSelectionTimeoutMS=2000"
        more = {"FROM": " ".join(begins), "OPTIONS": options}
        return self._shell("--file", str(self.folder / "slice.js"), port=alive, **more).split()

    def _shell(self, *arguments: str, port: int, **env: str) -> str:
        address = f"mongodb://127.0.0.1:{port}/?directConnection=true"
        command = [recipes.node(), recipes.mongosh(), address, "--quiet", "--norc", *arguments]
        done = subprocess.run(
            command, env={"HOME": str(self.folder), **env}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def text(timestamp: dict[str, Any]) -> str:
    """Write a time as the script does."""
    both = int(timestamp["$timestamp"])
    return f"{both >> 32}.{both & 0xFFFFFFFF}"


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory, mongod: Path) -> Iterator[Members]:
    made = Members(tmp_path_factory.mktemp("members"), mongod)
    try:
        made.start()
        yield made
    finally:
        for process in made.processes.values():
            process.kill()
            process.wait()


def order(time_: str) -> tuple[int, ...]:
    return tuple(map(int, time_.split(".")))


def test_a_slice_goes_from_the_entry_before_to_the_newest_that_a_majority_has(members: Members) -> None:
    begin = members.write(1)
    end = members.write(3)
    host, first, last, all_ = members.slice(begin)
    assert (first, all_) == (begin, "yes")
    # Besides what was written, a primary notes each ten seconds that it is one.
    assert order(last) >= order(end)
    # Secondaries are read while they keep up.
    assert host in {f"127.0.0.1:{port}" for port in members.ports[1:]}


def test_a_backlog_is_parted_and_no_entry_is_left_out(members: Members) -> None:
    begin = members.write(1)
    end = members.write(3 * MANY)
    slices = []
    while not slices or slices[-1][3] == "no":
        slices.append(members.slice(slices[-1][2] if slices else begin))
    assert len(slices) >= 3
    assert [first for _, first, _, _ in slices[1:]] == [last for _, _, last, _ in slices[:-1]]
    assert slices[0][1] == begin and order(slices[-1][2]) >= order(end)


def test_an_entry_that_no_oplog_has_any_more_is_said_to_be_none(members: Members) -> None:
    assert members.slice("1600000000.1")[1] == "none"
    assert members.slice()[1] == "none"


def test_after_a_gap_it_goes_on_from_the_newest_backup(members: Members) -> None:
    backup = members.write(1)
    assert members.slice("1600000000.1", backup)[1] == backup


def test_what_only_the_primary_has_is_stored_when_a_majority_has_it(members: Members) -> None:
    begin = members.write(1)
    members.stop_replication(True)
    try:
        alone = members.write(1, concern="1")
        # Members that lag so long are not read while there is another.
        time.sleep(7)
        members.write(1, concern="1")
        _, _, last, _ = members.slice(begin)
        assert order(begin) <= order(last) < order(alone)
    finally:
        members.stop_replication(False)
    end = time.monotonic() + 60
    while order(members.slice(begin)[2]) < order(alone):
        assert time.monotonic() < end


def test_another_member_goes_on_where_a_primary_that_died_ended(members: Members) -> None:
    begin = members.write(2)
    members.processes[members.ports[0]].kill()
    members.processes[members.ports[0]].wait()
    host, first, last, _ = members.slice(begin)
    assert first == begin and order(last) >= order(begin)
    assert not re.search(rf":{members.ports[0]}$", host)
