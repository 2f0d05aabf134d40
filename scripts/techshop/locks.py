"""Locks between runs: whoever comes second waits, and is told for whom."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from techshop import paths, ui


@contextmanager
def hold(name: str, what: str) -> Iterator[None]:
    """Hold the machine-wide lock ``name`` while the block runs; it ends with the process at the latest.

    Args:
        name: file name under the cache's ``locks`` folder.
        what: what the lock protects, for the message of the one that waits.
    """
    with _opened(name) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            ui.say(f"  … another run (process {file.read().strip() or 'unknown'}) is busy with {what}: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        _sign(file)
        yield


@contextmanager
def attempt(name: str) -> Iterator[bool]:
    """Hold the lock ``name`` if nobody does; yields whether it is held."""
    with _opened(name) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        _sign(file)
        yield True


def _opened(name: str) -> IO[str]:
    folder = paths.CACHE / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / name).open("a+")


def _sign(file: IO[str]) -> None:
    file.seek(0)
    file.truncate()
    file.write(str(os.getpid()))
    file.flush()
