import json
import os
import signal

import pytest

from techshop import engine, paths, shell
from techshop.errors import Failure


@pytest.fixture(autouse=True)
def _places(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(engine, "_SETTINGS", tmp_path / "docker/daemon.json")
    monkeypatch.setattr(engine, "_WRAPPER", tmp_path / "runc-bounded")
    monkeypatch.setattr(engine, "_PIDFILE", tmp_path / "docker.pid")


@pytest.fixture
def bare(monkeypatch):
    """A machine without an engine."""
    monkeypatch.setattr(engine, "answers", lambda: False)


def test_an_engine_that_answers_is_left_alone(monkeypatch):
    monkeypatch.setattr(engine, "answers", lambda: True)
    monkeypatch.setattr(engine, "_start", lambda: pytest.fail("started"))
    monkeypatch.setattr(shell, "run", lambda *_, **__: "/nowhere")
    engine.ensure()


def test_only_root_starts_an_engine(bare, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shell, "attempt", lambda *_, **__: "Client: 28\npermission denied")
    with pytest.raises(Failure, match="only root can start one") as caught:
        engine.ensure()
    assert caught.value.tail == "permission denied"
    assert "docs.docker.com" in caught.value.advice


def test_an_engine_elsewhere_is_not_replaced(bare, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://elsewhere:2375")
    with pytest.raises(Failure, match="DOCKER_HOST=tcp://elsewhere:2375 doesn't answer"):
        engine.ensure()


@pytest.fixture
def bounded(monkeypatch):
    """An engine whose root lacks a capability: its runtime, and the signals it got."""
    state = {"runtime": "runc", "signals": []}
    engine._PIDFILE.write_text("4711")
    program = paths.CACHE / "built" / "runc-bounded"
    program.parent.mkdir()
    program.write_text("the wrapper")
    monkeypatch.setattr(engine, "_missing_capabilities", lambda _: True)
    monkeypatch.setattr(shell, "run", lambda *_, **__: state["runtime"] + "\n")
    monkeypatch.setattr(engine.gobuild, "build", lambda _: {"runc-bounded": program.parent})

    def kill(process, number):
        state["signals"].append((process, number))
        state["runtime"] = json.loads(engine._SETTINGS.read_text())["default-runtime"]

    monkeypatch.setattr(os, "kill", kill)
    return state


def test_a_bounded_machine_gets_the_wrapper_once(bounded):
    engine._bounded()
    engine._bounded()
    assert bounded["signals"] == [(4711, signal.SIGHUP)]
    assert engine._WRAPPER.read_text() == "the wrapper"


def test_settings_that_are_there_are_not_touched(bounded):
    engine._SETTINGS.parent.mkdir()
    engine._SETTINGS.write_text("{}")
    with pytest.raises(Failure, match="can't run privileged containers") as caught:
        engine._bounded()
    assert str(engine._SETTINGS) in caught.value.advice
    assert engine._SETTINGS.read_text() == "{}"


def test_a_full_disk_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(shell, "run", lambda *_, **__: str(tmp_path))
    monkeypatch.setattr(engine, "_NEEDED_GB", 10**9)
    with pytest.raises(Failure, match=r"only \d+\.\d GB are free"):
        engine._disk()
