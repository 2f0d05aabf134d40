"""Progress on the terminal: which step runs, and how long it has taken so far."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.status import Status

#: Progress and messages.
console = Console(stderr=True, highlight=False, soft_wrap=True)
#: What was asked for: tables and lists.
results = Console(highlight=False, soft_wrap=True)

_HEARTBEAT_SECONDS = 30.0
#: The steps that run now, the innermost last: only that one is shown.
_running: list[tuple[str, float]] = []
_lock = threading.RLock()


@contextmanager
def step(name: str) -> Iterator[None]:
    """Show that ``name`` is running and, when it ends, the seconds it took. Steps can be nested.

    On a terminal a spinner counts the seconds; elsewhere (a log of CI) a line comes every 30 s.
    """
    entry = (name, time.monotonic())
    done = threading.Event()
    thread = threading.Thread(target=_beat, args=(entry, done), daemon=True)
    with _lock:
        _running.append(entry)
    thread.start()
    mark, style = "✗", "red"
    try:
        yield
        mark, style = "✓", "green"
    finally:
        done.set()
        thread.join()
        with _lock:
            _running.remove(entry)
            console.print(f"[{style}]{mark}[/]", escape(name), f"[dim]{time.monotonic() - entry[1]:.1f} s[/]")


def say(text: str) -> None:
    """Print one line for the user, without markup."""
    console.print(text, markup=False)
    sys.stderr.flush()


def _beat(entry: tuple[str, float], done: threading.Event) -> None:
    name, start = entry
    status: Status | None = None
    while not done.wait(0.2 if console.is_terminal else _HEARTBEAT_SECONDS):
        seconds = time.monotonic() - start
        innermost = bool(_running) and _running[-1] is entry
        if not console.is_terminal:
            if innermost:
                console.print(f"  … {name}: {seconds:.0f} s so far", markup=False)
        elif innermost and status is None:
            status = Status("", console=console)
            status.start()
        elif not innermost and status is not None:
            status.stop()
            status = None
        if status is not None:
            status.update(f"{name} ({seconds:.0f} s)")
    if status is not None:
        status.stop()
