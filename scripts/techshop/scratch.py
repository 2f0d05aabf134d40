"""Folders for parts in the making, beside where the parts will be."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Seconds within which the one who made a folder has locked it.
_NEW = 60


@contextmanager
def folder(parent: Path) -> Iterator[Path]:
    """Make a folder in ``parent`` that goes away with the block, and take away those that killed runs left there."""
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(".making-*"):
        _sweep(left)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".making-") as name, _locked(Path(name)):
        Path(name).chmod(0o755)  # apt's own user reads here
        yield Path(name)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the folder's lock, or raise BlockingIOError; it ends with the process at the latest."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _sweep(left: Path) -> None:
    try:
        if time.time() - left.stat().st_ctime > _NEW:
            with _locked(left):
                shutil.rmtree(left)
    except (FileNotFoundError, BlockingIOError):
        return  # another run was faster, or uses it
