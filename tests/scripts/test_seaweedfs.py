"""The script that runs SeaweedFS, with the real program: what its keys open, and how it starts, heals and stops."""

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from techshop import paths, recipes
from techshop.s3 import Bucket, Denied

SCRIPT = paths.ROOT / "charts/techshop/charts/objectstorage/files/seaweedfs.sh"
BUCKETS = {"assets": "techshop-assets", "backups": "techshop-backups"}
#: Each with the port that it answers HTTP at; gRPC is at ten thousand more.
SERVERS = {"master": 9333, "volume": 8080, "filer": 8888, "s3": 8333}
METRICS = 9327

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the wheel holds an x86-64 program")


class Storage:
    """The script, run as in its container but for paths and ports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        for name in ("scripts", "secrets", "run", "data", "tmp", "bin"):
            (folder / name).mkdir()
        (folder / "bin/weed").symlink_to(recipes.weed())
        for name, bucket in BUCKETS.items():
            (folder / f"scripts/{name}-bucket").write_text(bucket)
            self.give(name, f"{name}-key", f'{name} secret\\ with "quotes"')
        text = SCRIPT.read_text().replace("/run/seaweedfs", f"{folder}/run")
        for name in ("scripts", "secrets", "data"):
            text = re.sub(rf"/{name}\b(?=[/ \"\n])", f"{folder}/{name}", text)
        self.ports = {server: free_port() for server in (*SERVERS, "metrics")}
        self.address = f"http://127.0.0.1:{self.ports['s3']}"
        for server, port in (SERVERS | {"metrics": METRICS}).items():
            text = re.sub(rf"\b{port}\b", str(self.ports[server]), text)
        (folder / "scripts/seaweedfs.sh").write_text(text)

    def give(self, name: str, access: str, secret: str) -> None:
        (self.folder / f"secrets/{name}-access-key").write_text(access)
        (self.folder / f"secrets/{name}-secret-key").write_text(secret)

    def bucket(self, name: str, keys: str = "") -> Bucket:
        access, secret = (
            (self.folder / f"secrets/{keys or name}-{kind}-key").read_text() for kind in ("access", "secret")
        )
        return Bucket(self.address, BUCKETS[name], access, secret)

    def start(self, **more: str) -> None:
        env = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "HOME": str(self.folder / "tmp")}
        env |= {"TMPDIR": str(self.folder / "tmp"), "MEMORY_LIMIT_MIB": "512", "VOLUME_MIB": "1024", **more}
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                ["sh", self.folder / "scripts/seaweedfs.sh"], env=env, stdout=log, stderr=log, start_new_session=True
            )

    def ready(self) -> None:
        def answers() -> bool:
            assert self.process.poll() is None, self.said()
            return requests.get(f"{self.address}/healthz", timeout=5).ok

        eventually(answers)

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> float:
        start = time.monotonic()
        if sign == signal.SIGKILL:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, sign)
        else:
            self.process.send_signal(sign)
        self.process.wait(timeout=60)
        return time.monotonic() - start

    def pid(self, server: str) -> int:
        """Return the process of one of the four servers."""
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, ProcessLookupError):
                words = (folder / "cmdline").read_text().split("\0")
                if words[:3] == ["weed", "-logtostderr", server] and os.getsid(int(folder.name)) == self.process.pid:
                    return int(folder.name)
        pytest.fail(f"{server} doesn't run")

    def said(self) -> list[str]:
        """Return the script's own lines, without the time."""
        return re.findall(r"^\d\d:\d\d:\d\dZ (.*?) *$", self.log.read_text(), re.MULTILINE)


def free_port() -> int:
    """Return a port that is free, as is the one for gRPC, and that no connection of this machine gets by chance."""
    while True:
        port = random.randrange(11_000, 20_000)
        with contextlib.suppress(OSError), socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 10_000))
            return port


def connects(address: str, port: int) -> bool:
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection((address, port), timeout=5):
        return True
    return False


def eventually(check, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            if check():
                return
        except (requests.RequestException, Denied):
            pass
        assert time.monotonic() < end, f"not within {seconds:.0f} s"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    """A storage that runs; tests leave it running."""
    storage = Storage(tmp_path_factory.mktemp("storage"))
    storage.start()
    storage.ready()
    yield storage
    storage.stop(signal.SIGKILL)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    """A storage of its own for each test, not started yet."""
    storage = Storage(tmp_path)
    yield storage
    if hasattr(storage, "process"):
        storage.stop(signal.SIGKILL)


@pytest.mark.parametrize("name", BUCKETS)
def test_keys_open_their_bucket(running: Storage, name: str) -> None:
    bucket = running.bucket(name)
    bucket.put("a/b", b"1")
    assert bucket.get("a/b") == b"1"
    assert bucket.list() == ["a/b"]
    bucket.call("PUT", "a/b?tagging", b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>")
    bucket.delete("a/b")
    assert bucket.list() == []


@pytest.mark.parametrize(("name", "keys"), [("assets", "backups"), ("backups", "assets")])
def test_keys_open_no_other_bucket(running: Storage, name: str, keys: str) -> None:
    running.bucket(name).put("mine", b"1")
    stranger = running.bucket(name, keys)
    for method, path in (("GET", "?list-type=2"), ("GET", "mine"), ("PUT", "mine"), ("DELETE", "mine")):
        with pytest.raises(Denied):
            stranger.call(method, path)
    assert running.bucket(name).get("mine") == b"1"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", "", b""),
        ("PUT", "?policy", b'{"Version": "2012-10-17", "Statement": []}'),
        ("PUT", "?acl", b""),
        ("PUT", "../another", b""),
    ],
)
def test_keys_can_not_delete_share_or_make_a_bucket(running: Storage, method: str, path: str, body: bytes) -> None:
    with pytest.raises(Denied):
        running.bucket("assets").call(method, path, body)


def test_without_keys_and_with_wrong_ones_nothing_is_open(running: Storage) -> None:
    running.bucket("assets").put("mine", b"1")
    assert requests.get(f"{running.address}/techshop-assets/mine", timeout=5).status_code == 403
    with pytest.raises(Denied):
        Bucket(running.address, "techshop-assets", "assets-key", "guessed").get("mine")


@pytest.mark.parametrize("server", SERVERS)
def test_only_s3_listens_outside_the_pod(running: Storage, server: str) -> None:
    for port in (running.ports[server], running.ports[server] + 10_000):
        assert connects("127.0.0.1", port)
        # Whoever listens at all addresses has this one, too.
        assert connects("127.0.0.2", port) == (server == "s3")


def test_no_secret_key_stands_in_an_argument_or_a_log(running: Storage) -> None:
    arguments = "".join(Path(f"/proc/{running.pid(server)}/cmdline").read_text() for server in SERVERS)
    assert "assets secret" not in arguments + running.log.read_text()
    assert (running.folder / "run/s3.json").stat().st_mode & 0o077 == 0


def test_nobody_is_told_about_the_cluster(running: Storage) -> None:
    assert "-telemetry=false" in Path(f"/proc/{running.pid('master')}/cmdline").read_text()


def test_changed_keys_are_taken_and_old_ones_refused_without_a_restart(running: Storage) -> None:
    old, pid = running.bucket("backups"), running.pid("s3")
    old.put("kept", b"1")
    running.give("backups", "new-access", "new-secret")
    eventually(lambda: running.bucket("backups").get("kept") == b"1")
    with pytest.raises(Denied):
        old.get("kept")
    assert running.pid("s3") == pid
    assert running.bucket("assets").list() is not None


def test_it_stops_in_order_within_its_time_and_starts_again_with_its_data(storage: Storage) -> None:
    storage.start()
    storage.ready()
    storage.bucket("assets").put("kept", b"1" * 5_000_000)
    assert storage.stop() < 30
    assert storage.process.returncode == 0
    stopped = [storage.log.read_text().rindex(line) for line in ("Gracefully stopping gRPC", "Shut down successfully!")]
    assert stopped == sorted(stopped)
    storage.start()
    storage.ready()
    assert storage.bucket("assets").get("kept") == b"1" * 5_000_000
    assert storage.said().count("the bucket techshop-assets is there") == 2
    assert len([line for line in storage.said() if line.startswith("making the bucket techshop-assets")]) == 1


def test_data_outlive_a_kill_and_buckets_a_lost_volume(storage: Storage) -> None:
    storage.start()
    storage.ready()
    storage.bucket("backups").put("kept", b"1")
    storage.stop(signal.SIGKILL)
    storage.start()
    storage.ready()
    assert storage.bucket("backups").get("kept") == b"1"
    storage.stop(signal.SIGKILL)
    shutil.rmtree(storage.folder / "data")
    (storage.folder / "data").mkdir()
    storage.start()
    storage.ready()
    assert storage.bucket("backups").list() == []


def test_a_full_volume_can_be_read_and_emptied_and_the_pod_stopped(storage: Storage) -> None:
    storage.start()
    storage.ready()
    bucket = storage.bucket("backups")
    for key in ("old", "new"):
        bucket.put(key, b"1" * 1_000_000)
    storage.stop()
    script = storage.folder / "scripts/seaweedfs.sh"
    script.write_text(script.read_text().replace("-minFreeSpace=64MiB", "-minFreeSpace=1000000GiB"))
    storage.start()
    storage.ready()
    with pytest.raises(requests.HTTPError):
        bucket.put("more", b"1" * 1_000_000)
    bucket.delete("old")
    assert bucket.list() == ["new"]
    assert bucket.get("new") == b"1" * 1_000_000
    assert storage.stop() < 40


@pytest.mark.parametrize("server", SERVERS)
def test_one_that_dies_is_named_and_takes_the_container_along(storage: Storage, server: str) -> None:
    storage.start()
    storage.ready()
    os.kill(storage.pid(server), signal.SIGKILL)
    assert storage.process.wait(timeout=15) == 1
    assert storage.said()[-1] == f"weed {server} ended with 137"


@pytest.mark.parametrize(
    ("access", "secret", "sentence"),
    [
        ("", "x", 'the Secret\'s "assets-access-key" is empty'),
        ("a", "", 'the Secret\'s "assets-secret-key" is empty'),
        ("a\n", "x", 'the Secret\'s "assets-access-key" has a line break'),
        ("backups-key", "x", "the Secret has the same access key twice"),
    ],
)
def test_keys_that_can_not_be_are_said_and_nothing_starts(
    storage: Storage, access: str, secret: str, sentence: str
) -> None:
    storage.give("assets", access, secret)
    storage.start()
    assert storage.process.wait(timeout=10) == 1
    (said,) = storage.said()
    assert said.startswith(sentence)


def test_garbage_collectors_rest_while_nobody_asks(storage: Storage) -> None:
    storage.start(GODEBUG="gctrace=1")
    storage.ready()

    def collections() -> int:
        return len(re.findall(r"\bgc \d+ @", storage.log.read_text(errors="replace")))

    time.sleep(2)
    before = collections()
    time.sleep(4)
    assert collections() - before < 8


def test_metrics_tell_of_every_request_and_of_no_bucket_that_a_stranger_makes_up(running: Storage) -> None:
    running.bucket("assets").put("counted", b"1")
    for path in ("made-up/1", "made-up-too/2"):
        assert requests.get(f"{running.address}/{path}", timeout=5).status_code in {403, 404}
    # Prometheus asks at the pod's own address.
    told = requests.get(f"http://127.0.0.2:{running.ports['metrics']}/metrics", timeout=5).text
    counted = dict(re.findall(r"^SeaweedFS_s3_request_total{(.*)} (\d+)$", told, re.MULTILINE))
    assert int(counted['bucket="techshop-assets",code="200",type="PUT"']) > 0
    assert "made-up" not in told
