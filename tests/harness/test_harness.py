import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from techshop import cli, install, locks, paths, shell, testing, ui
from techshop.errors import Failure


@pytest.fixture(autouse=True)
def _places(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(paths, "STATE", tmp_path / "state")
    monkeypatch.setattr(paths, "LOGS", tmp_path / "state/logs")


@pytest.fixture
def techshop(monkeypatch, capsys):
    """Run the command line; returns its exit code and what it printed."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["techshop", *arguments])
        try:
            cli.main()
            code = 0
        except SystemExit as ended:
            code = ended.code
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    before = signal.getsignal(signal.SIGTERM)
    yield run
    signal.signal(signal.SIGTERM, before)


def test_a_failure_is_told_in_three_parts(techshop, monkeypatch):
    def fail(*_):
        raise Failure("it broke", "Mend [it].", "line 1\nline 2")

    monkeypatch.setattr(install, "up", fail)
    assert techshop("up") == (1, "Failed: it broke\n  │ line 1\n  │ line 2\nMend [it].\n")


def test_an_interruption_says_that_the_command_goes_on(techshop, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(install, "up", interrupt)
    code, printed = techshop("up")
    assert code == 130
    assert "goes on from here" in printed


def test_airgap_option_decides_for_all_that_follows(techshop, monkeypatch):
    seen = []
    monkeypatch.setattr(install, "up", lambda *given: seen.append((*given, os.environ.get("TECHSHOP_AIRGAP"))))
    monkeypatch.setenv("TECHSHOP_AIRGAP", "")
    techshop("up")
    techshop("up", "--airgap", "--workers", "3", "--env", "prod")
    techshop("up", "--no-airgap")
    assert seen == [("dev", None, ""), ("prod", 3, "1"), ("dev", None, "0")]


def test_a_wrong_word_shows_usage(techshop):
    code, printed = techshop("up", "--workers", "many")
    assert code == 2
    assert "Usage: techshop up" in printed


def test_a_second_run_waits_for_the_first_and_says_so(capsys):
    order = []

    def second():
        with locks.hold("it", "the thing"):
            order.append("second")

    with locks.hold("it", "the thing"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert f"process {os.getpid()}) is busy with the thing" in capsys.readouterr().err


def test_attempt_does_not_wait():
    with locks.attempt("it") as first, locks.attempt("it") as second:
        assert (first, second) == (True, False)


def test_a_failed_command_shows_its_last_lines():
    program = "import sys; [print(n) for n in range(99)]; sys.exit(3)"
    with pytest.raises(Failure, match="exit code 3") as caught:
        shell.run(sys.executable, "-c", program, advice="Do so.")
    assert caught.value.tail.splitlines()[-1] == "98"
    assert len(caught.value.tail.splitlines()) == 15
    assert caught.value.advice == "Do so."


def test_a_missing_program_and_a_slow_one_are_failures():
    with pytest.raises(Failure, match="no-such-program is not installed"):
        shell.run("no-such-program")
    with pytest.raises(Failure, match="took longer than 0 s"):
        shell.run("sleep", "5", timeout=0.1)
    assert not shell.succeeds("no-such-program")
    assert shell.succeeds("true")


def test_steps_can_be_nested_and_tell_how_they_ended(capsys):
    with pytest.raises(Failure), ui.step("outer [x]"), ui.step("inner"):
        raise Failure("it broke")
    lines = capsys.readouterr().err.splitlines()
    assert [line.rsplit(" ", 2)[0] for line in lines] == ["✗ inner", "✗ outer [x]"]


@pytest.mark.parametrize(
    ("arguments", "names", "options"),
    [
        ([], list(testing.LAYERS), []),
        (["render"], ["render"], []),
        (["lint", "render", "-k", "app"], ["lint", "render"], ["-k", "app"]),
        (["-x"], list(testing.LAYERS), ["-x"]),
    ],
)
def test_first_words_are_layers_and_the_rest_is_pytests(arguments, names, options):
    assert testing._split(arguments) == (names, options)


def test_an_unknown_layer_is_told():
    with pytest.raises(Failure, match="no layer of tests is called rendre"):
        testing._split(["rendre"])


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with a layer of tests that has one of each outcome."""
    folder = tmp_path / "tests/rules"
    folder.mkdir(parents=True)
    (folder / "test_it.py").write_text(
        "import pytest\ndef test_a(): pass\ndef test_b(): assert 0\ndef test_c(): pytest.skip('x')\n"
        "@pytest.fixture\ndef broken(): 1 / 0\ndef test_d(broken): pass\n"
    )
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(testing.tools, "install", lambda _: None)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return folder


def test_outcomes_are_counted_and_decide_the_exit_code(checkout, capfd):
    assert testing.run(["rules", "-p", "no:cacheprovider"]) == 1
    printed = capfd.readouterr().out
    assert "total: 1 passed, 2 failed" in printed
    assert testing.run(["rules", "-p", "no:cacheprovider", "-k", "test_a"]) == 0
    assert testing.run(["rules", "-p", "no:cacheprovider", "-k", "nothing"]) == 0


def test_tests_that_do_not_load_are_a_failure(checkout, capfd):
    (checkout / "test_it.py").write_text("import nothing_of_that_name\n")
    assert testing.run(["rules"]) == 1
    (checkout / "test_it.py").write_text("")
    (checkout / "conftest.py").write_text("syntax error\n")
    assert testing.run(["rules"]) == 1


def test_the_runtime_wrapper_passes_its_own_tests():
    if not shutil.which("go"):
        pytest.skip("no Go on this machine")
    folder = cli.__file__.rsplit("/scripts/", 1)[0] + "/images/airgap/node/runc-bounded"
    done = subprocess.run(["go", "test", "./..."], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
