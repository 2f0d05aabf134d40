"""The Docker engine: use the one that answers, and only when there is none, install and start one."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from techshop import gobuild, locks, paths, shell, ui
from techshop.errors import Failure

_ADVICE = "Install Docker Engine (https://docs.docker.com/engine/install/), start it, and run the same command again."
_NEEDED_GB = 10
_WRAPPER = Path("/usr/local/sbin/runc-bounded")
_SETTINGS = Path("/etc/docker/daemon.json")
_PIDFILE = Path("/var/run/docker.pid")
_RECIPE = paths.ROOT / "images/airgap/node/node.toml"


def ensure() -> None:
    """Make sure that a Docker engine answers and can run kind's privileged node containers.

    Raises:
        Failure: there is none and none can be started, it can't run privileged containers, or the disk is full.
    """
    if not answers():
        with locks.hold("engine", "starting the Docker engine"):
            if not answers():
                _start()
    _bounded()
    _disk()


def answers() -> bool:
    """Say whether a Docker engine answers."""
    return shell.succeeds("docker", "version", "--format", "{{.Server.Version}}", timeout=20)


def _start() -> None:
    if host := os.environ.get("DOCKER_HOST"):
        raise Failure(f"the Docker engine at DOCKER_HOST={host} doesn't answer", "Start it, or unset DOCKER_HOST.")
    if os.geteuid() != 0:
        tail = shell.attempt("docker", "version").strip().splitlines()[-1:]
        raise Failure("no Docker engine answers, and only root can start one", _ADVICE, "\n".join(tail))
    if not shutil.which("dockerd"):
        _install()
    if Path("/run/systemd/system").is_dir():
        with ui.step("start the Docker engine (systemctl)"):
            shell.run("systemctl", "start", "docker", advice=_ADVICE)
            _wait(None)
        return
    if _missing_capabilities("self"):
        _write_settings()
    with ui.step("start the Docker engine (dockerd, in the background)"):
        _wait(_spawn())


def _install() -> None:
    with ui.step("install a Docker engine (docker.io): this machine has none"):
        shell.apt_install("docker.io", "iptables", "ca-certificates", advice=_ADVICE)


def _spawn() -> "subprocess.Popen[bytes]":
    paths.LOGS.mkdir(parents=True, exist_ok=True)
    _PIDFILE.unlink(missing_ok=True)  # left by a machine that was switched off
    with (paths.LOGS / "dockerd.log").open("ab") as log:
        return subprocess.Popen(
            ["dockerd", "--pidfile", str(_PIDFILE)],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _wait(process: "subprocess.Popen[bytes] | None") -> None:
    end = time.monotonic() + 90
    while not answers():
        died = process is not None and process.poll() is not None
        if died or time.monotonic() > end:
            log = paths.LOGS / "dockerd.log"
            tail = log.read_text(errors="replace").splitlines()[-8:] if process and log.exists() else []
            what = "ended at once" if died else "doesn't answer after 90 s"
            raise Failure(f"the Docker engine was started but {what}", f"{log} holds all it said.", "\n".join(tail))
        time.sleep(0.5)


def _missing_capabilities(process: str) -> bool:
    try:
        status = Path(f"/proc/{process}/status").read_text()
        last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    except OSError:
        return False
    mask = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapBnd:"))
    return mask != (1 << (last + 1)) - 1


def _bounded() -> None:
    """See to it that `docker run --privileged` works where root itself lacks a capability.

    Such an engine can't run any privileged container until its runtime asks only for what can be had.
    """
    try:
        daemon = _PIDFILE.read_text().strip()
    except OSError:
        return
    if not _missing_capabilities(daemon):
        return
    name = shell.run("docker", "info", "--format", "{{.DefaultRuntime}}").strip()
    if name == "bounded" and _WRAPPER.exists():
        return
    if _SETTINGS.exists() and name != "bounded":
        raise Failure(
            "the Docker engine can't run privileged containers: this machine's root lacks a capability",
            f'Add to {_SETTINGS}: "runtimes": {{"bounded": {{"path": "{_WRAPPER}"}}}}, "default-runtime": "bounded"; '
            "remove the file to have it written; then run the same command again.",
        )
    _write_settings()
    with ui.step("let the Docker engine run privileged containers with the capabilities there are"):
        os.kill(int(daemon), signal.SIGHUP)
        for _ in range(50):
            if shell.run("docker", "info", "--format", "{{.DefaultRuntime}}").strip() == "bounded":
                return
            time.sleep(0.2)
    raise Failure("the Docker engine didn't take up its new runtime", "Restart it and run the same command again.")


def _write_settings() -> None:
    recipe = gobuild.load(_RECIPE)["runc-bounded"]
    program = gobuild.build([recipe])[recipe.name] / "runc-bounded"
    shutil.copy(program, _WRAPPER)
    if not _SETTINGS.exists():
        _SETTINGS.parent.mkdir(parents=True, exist_ok=True)
        settings = {"runtimes": {"bounded": {"path": str(_WRAPPER)}}, "default-runtime": "bounded"}
        _SETTINGS.write_text(json.dumps(settings, indent=2) + "\n")


def _disk() -> None:
    root = Path(shell.run("docker", "info", "--format", "{{.DockerRootDir}}").strip())
    if root.is_dir():
        free = shutil.disk_usage(root).free / 1e9
        if free < _NEEDED_GB:
            advice = f"Free some, e.g. with `docker system prune`, until {_NEEDED_GB} GB are there."
            raise Failure(f"only {free:.1f} GB are free where Docker keeps its data ({root})", advice)
