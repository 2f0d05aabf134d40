import os
import re
import subprocess
from pathlib import Path

import pytest

from techshop import gobuild, paths, recipes


def go_tests(folder: Path) -> list[str]:
    """Name the Go tests of a folder."""
    text = "".join(path.read_text() for path in sorted(folder.glob("*_test.go")))
    return re.findall(r"^func (Test\w+)\(t \*testing\.T\)", text, re.MULTILINE)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "go_test" in metafunc.fixturenames:
        metafunc.parametrize("go_test", go_tests(recipes.MONGO_TOOLS))


@pytest.fixture(scope="session")
def mongod() -> Path:
    """MongoDB's server, which can be run."""
    if os.uname().machine != "x86_64":
        pytest.skip("the only packaged mongod is an x86-64 program")
    program = recipes.mongod()
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"mongod can't be run here: apt-get install libcurl4 libssl3\n{done.stderr}")
    return program


@pytest.fixture(scope="session")
def said(request: pytest.FixtureRequest, mongod: Path) -> dict[str, str]:
    """Run the Go tests that are asked for, together since they share servers, and return what each says."""
    names = [item.callspec.params["go_test"] for item in request.session.items if "go_test" in item.fixturenames]
    (recipe,) = gobuild.load(recipes.MONGO_TOOLS / "go.toml").values()
    command = [gobuild.tests(recipe), "-test.v", f"-test.run=^({'|'.join(names)})$", "-test.timeout=30m"]
    splice = paths.ROOT / "charts/techshop/charts/backup/files/splice.js"
    env = {**os.environ, "MONGOD": str(mongod), "SPLICE": str(splice)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    output: dict[str, str] = dict.fromkeys(names, "")
    current = ""
    for line in (done.stdout + done.stderr).splitlines(keepends=True):
        if found := re.match(r"(?:=== (?:RUN|CONT|NAME)\s+|\s*--- \w+: )(\w+)", line):
            current = found[1]
        if current in output:
            output[current] += line
    return output
