"""Run commands: output goes to a log, and a failure shows its last lines and what to do."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from techshop import paths
from techshop.errors import Failure

_TAIL_LINES = 15


def run(
    *command: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
    log: str | None = None,
    advice: str = "",
) -> str:
    """Run ``command`` and return its standard output.

    Args:
        command: program and arguments; never a shell.
        cwd: folder to run in.
        env: variables set beside the current ones.
        stdin: text for its standard input.
        timeout: seconds after which it is killed.
        log: name of a file under ``.techshop/logs`` that gets both outputs.
        advice: what the user should do when it fails.

    Raises:
        Failure: it could not be started, exited non-zero or ran out of time.
    """
    words = [str(word) for word in command]
    shown = " ".join(words[:6]) + (" …" if len(words) > 6 else "")
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise Failure(f"{words[0]} is not installed", advice) from error
    except subprocess.TimeoutExpired as error:
        raise Failure(
            f"`{shown}` took longer than {timeout:.0f} s", advice, _tail(error.stdout, error.stderr)
        ) from error
    if log:
        paths.LOGS.mkdir(parents=True, exist_ok=True)
        with (paths.LOGS / f"{log}.log").open("a") as file:
            file.write(f"$ {' '.join(words)}\n{done.stdout}{done.stderr}\n")
    if done.returncode:
        raise Failure(f"`{shown}` failed with exit code {done.returncode}", advice, _tail(done.stdout, done.stderr))
    return done.stdout


def succeeds(*command: str | Path, env: Mapping[str, str] | None = None, timeout: float | None = 30) -> bool:
    """Say whether ``command`` exits with 0; a missing program or a timeout counts as no."""
    try:
        run(*command, env=env, timeout=timeout)
    except Failure:
        return False
    return True


def attempt(*command: str | Path, timeout: float | None = 30) -> str:
    """Return what ``command`` prints, or what it says when it fails; for messages, never for decisions."""
    try:
        return run(*command, timeout=timeout)
    except Failure as failure:
        return failure.tail or failure.what


def apt_install(*packages: str, advice: str) -> None:
    """Install Debian or Ubuntu packages; apt's lists are fetched only when they are too old to do without.

    Raises:
        Failure: this user or this system can't, or there are no such packages.
    """
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Failure(f"{', '.join(packages)} must be installed, which needs root on Debian or Ubuntu", advice)
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    command = ("apt-get", "install", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", *packages)
    if not succeeds(*command, env=env, timeout=900):
        run("apt-get", "update", env=env, log="apt", advice=advice)
        run(*command, env=env, log="apt", advice=advice)


def lines(text: str) -> Sequence[str]:
    """Split output into its non-empty lines."""
    return [line for line in text.splitlines() if line.strip()]


def _tail(*outputs: str | bytes | None) -> str:
    text = "\n".join(out.decode(errors="replace") if isinstance(out, bytes) else out for out in outputs if out)
    return "\n".join(text.strip().splitlines()[-_TAIL_LINES:])
