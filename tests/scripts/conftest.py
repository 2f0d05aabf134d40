"""The jobs of the backup, with the real rclone and a folder as the bucket; stand-ins speak for MongoDB's programs."""

import gzip
import json
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

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
echo "$name $*${{FROM:+ FROM=$FROM}}" >> {folder}/asked
case $* in *--config=*) cp "${{1#--config=}}" {folder}/$name.yaml ;; esac
if [ "$name" = mongod ] && [ ! -e {folder}/mongod.fails ]; then
  exec python3 -c 'import socket, time
server = socket.create_server(("127.0.0.1", 27017), reuse_port=True)
while True: server.accept()'
fi
case $* in *'new Function('*) exec node -e "${{*: -1}}" ;; esac
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
            kill(process)
        return process.returncode, output.splitlines()[-1]

    def stopped(self, job: str, program: str, **env: str) -> tuple[int, str]:
        """Stop a job that has started a program; return its exit code and what it printed."""
        process = self.start(job, **env)
        try:
            self.wait_for(program)
            time.sleep(1)
            process.terminate()
            output = process.communicate(timeout=15)[0]
        finally:
            kill(process)
        return process.returncode, output

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


def kill(process: subprocess.Popen[str]) -> None:
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
