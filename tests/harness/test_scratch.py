"""Parts are made in folders that go away, also when the run that made one was killed."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from techshop import scratch

KILLED = """
import pathlib, sys, time
from techshop import scratch
with scratch.folder(pathlib.Path(sys.argv[1])) as folder:
    (folder / "half").touch()
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def run(tmp_path: Path):
    """Another run that is making something in ``tmp_path``; yields the process and its folder."""
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_what_a_killed_run_left_is_taken_away(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process, folder = run
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (folder / "half").exists()
    monkeypatch.setattr(scratch, "_NEW", -1)
    with scratch.folder(tmp_path):
        assert not folder.exists()


def test_what_another_run_is_making_stays(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, folder = run
    monkeypatch.setattr(scratch, "_NEW", -1)
    with scratch.folder(tmp_path):
        assert (folder / "half").exists()


def test_what_another_run_has_just_made_and_not_yet_locked_stays(tmp_path: Path) -> None:
    new = tmp_path / ".making-new"
    new.mkdir()
    with scratch.folder(tmp_path):
        assert new.exists()


def test_nothing_is_left_of_a_making_that_is_interrupted(tmp_path: Path) -> None:
    def interrupted() -> None:
        with scratch.folder(tmp_path) as folder:
            (folder / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
