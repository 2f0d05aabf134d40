"""The layers of tests behind ``scripts/test``: from static checks to drills on a real cluster."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from rich.table import Table

from techshop import paths, shell, tools, ui
from techshop.errors import Failure

_APP = paths.ROOT / "images/app"
_NOTHING_SELECTED = 5  # pytest's exit code
_TOTAL = re.compile(r"^[#ℹ] (pass|fail|skipped) (\d+)$", re.MULTILINE)


@dataclass
class Result:
    """What became of one layer."""

    layer: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    note: str = ""


def run(arguments: Sequence[str]) -> int:
    """Run the layers named first in ``arguments``, or all; the rest goes to pytest. Returns the exit code.

    Raises:
        Failure: a first word names no layer.
    """
    names, options = _split(arguments)
    results = []
    for name in names:
        start = time.monotonic()
        ui.console.rule(name, align="left")
        try:
            result = LAYERS[name](name, options)
        except Failure as failure:
            ui.say(str(failure))
            result = Result(name, failed=1, note=failure.what)
        result.seconds = time.monotonic() - start
        results.append(result)
    _report(results)
    return 1 if any(result.failed for result in results) else 0


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    names: list[str] = []
    rest = list(arguments)
    while rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        if name not in LAYERS:
            raise Failure(f"no layer of tests is called {name}", f"There are: {', '.join(LAYERS)}.")
        names.append(name)
    return names or list(LAYERS), rest


def _report(results: Sequence[Result]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("layer")
    for title in ("passed", "failed", "skipped", "seconds"):
        table.add_column(title, justify="right")
    table.add_column("")
    for result in results:
        counts = (result.passed, result.failed, result.skipped)
        style = "red" if result.failed else ""
        table.add_row(result.layer, *map(str, counts), f"{result.seconds:.0f}", result.note, style=style)
    ui.results.rule()
    ui.results.print(table)
    passed, failed = sum(r.passed for r in results), sum(r.failed for r in results)
    ui.results.print(f"total: {passed} passed, {failed} failed")


def _pytest(layer: str, options: Sequence[str]) -> Result:
    folder = paths.ROOT / "tests" / _FOLDERS.get(layer, layer)
    if not list(folder.glob("test_*.py")):
        return Result(layer, note="no tests there yet")
    tools.install(_TOOLS[layer])
    if layer in {"cluster", "drills"}:
        from techshop import cluster

        cluster.create(default=3)
    report = paths.STATE / "reports" / f"{layer}.xml"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", str(folder), f"--junitxml={report}", *_PYTEST.get(layer, []), *options]
    env = {**os.environ, "PATH": f"{paths.BIN}:{os.environ['PATH']}", "KUBECONFIG": str(paths.KUBECONFIG)}
    code = subprocess.run(command, cwd=paths.ROOT, env=env, check=False).returncode
    result = Result(layer)
    if report.exists():
        for suite in ElementTree.parse(report).iter("testsuite"):
            bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            skipped = int(suite.get("skipped", 0))
            result.failed += bad
            result.skipped += skipped
            result.passed += int(suite.get("tests", 0)) - bad - skipped
    if code == _NOTHING_SELECTED:
        result.note = "nothing selected"
    elif code and not result.failed:
        result.failed, result.note = 1, f"pytest ended with {code}"
    return result


def _app(layer: str, _options: Sequence[str]) -> Result:
    if not (_APP / "package.json").exists():
        return Result(layer, note="not there yet")
    if not shutil.which("npm"):
        raise Failure("npm is not installed", "Install Node.js 20 or newer: https://nodejs.org/")
    stamp, lock = _APP / "node_modules/.techshop", hashlib.sha256((_APP / "package-lock.json").read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != lock:
        with ui.step("npm ci"):
            shell.run("npm", "ci", "--no-audit", "--no-fund", cwd=_APP, log="npm", timeout=900)
        stamp.write_text(lock)
    result = Result(layer)
    done = subprocess.run(["npm", "test"], cwd=_APP, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, flush=True)
    for word, count in _TOTAL.findall(done.stdout):
        field = {"pass": "passed", "fail": "failed", "skipped": "skipped"}[word]
        setattr(result, field, getattr(result, field) + int(count))
    if done.returncode and not result.failed:
        result.failed = 1
    _check(result, "npm run lint", ["npm", "run", "lint"], _APP)
    return result


def _lint(layer: str, _options: Sequence[str]) -> Result:
    here = Path(sys.executable).parent
    tools.install(_TOOLS[layer])
    result = Result(layer)
    checks: dict[str, Sequence[str | Path]] = {
        "ruff check": [here / "ruff", "check"],
        "ruff format": [here / "ruff", "format", "--check"],
        "mypy": [here / "mypy"],
        "shellcheck": [here / "shellcheck", "--external-sources", "--source-path=SCRIPTDIR", *_scripts()],
        "yamllint": [here / "yamllint", "--strict", *_yaml()],
        "yamale": [here / "yamale", "--schema", ".github/chart-schema.yaml", "charts/techshop/Chart.yaml"],
        # It doesn't know yet that `$/` is this repository.
        "actionlint": [
            paths.BIN / "actionlint",
            f"-shellcheck={here / 'shellcheck'}",
            '-ignore=reusable workflow call "[$]/',
        ],
        "zizmor": [here / "zizmor", "--offline", "--quiet", "--pedantic", "."],
        "docs": [sys.executable, "-m", "techshop.cli", "docs", "--check"],
    }
    if shutil.which("gofmt"):
        checks["gofmt"] = ["gofmt", "-d", *(path for path in _sources() if path.suffix == ".go")]
    for name, command in checks.items():
        _check(result, name, command, paths.ROOT)
    return result


def _check(result: Result, name: str, command: Sequence[str | Path], folder: Path) -> None:
    """Run one static check, and show what it says only when it finds something."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    good = done.returncode == 0 and not (name == "gofmt" and done.stdout)
    ui.console.print("[green]✓[/]" if good else "[red]✗[/]", name)
    if good:
        result.passed += 1
    else:
        result.failed += 1
        print(done.stdout + done.stderr, flush=True)


def _sources() -> list[Path]:
    listed = shell.run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=paths.ROOT)
    return [path for name in shell.lines(listed) if (path := paths.ROOT / name).is_file()]


def _scripts() -> list[Path]:
    """Return every shell script: by its name, or by its first line."""
    return [path for path in _sources() if path.suffix == ".sh" or _is_shell(path)]


def _is_shell(path: Path) -> bool:
    if path.suffix:
        return False
    with path.open("rb") as file:
        return re.match(rb"#!.*\b(ba|da|)sh\b", file.readline()) is not None


def _yaml() -> list[Path]:
    """Return the YAML files; a chart's templates are none until they are rendered, nor is what kind fills in."""
    return [
        path
        for path in _sources()
        if path.suffix in {".yaml", ".yml"} and "templates" not in path.parts and path.name != "default-cni.yaml"
    ]


_TOOLS: dict[str, list[str]] = {
    "lint": ["actionlint"],
    "harness": [],
    "scripts": [],
    "render": ["helm", "helm3"],
    "publish": ["helm", "helm3", "registry"],
    "rules": ["amtool", "helm", "promtool"],
    "tools": [],
    "cluster": ["helm", "kubectl", "kind"],
    "drills": ["helm", "kubectl", "kind"],
}
_FOLDERS = {"drills": "cluster/drills"}
#: Ends a test that hangs, whatever it waits in, and shows where; none takes half as long.
_BOUNDED = ["-v", "--timeout=1200", "--timeout-method=thread"]
_DRILLS = f"--ignore={paths.ROOT / 'tests' / _FOLDERS['drills']}"
#: Many tests for every processor; files whose tests mostly wait beside each other; drills alone, as they break nodes.
_PYTEST = {
    "render": ["-n", "auto", "--dist", "worksteal"],
    "scripts": ["-n", "4", "--dist", "loadfile"],
    "cluster": [*_BOUNDED, "-n", "2", "--dist", "loadfile", _DRILLS],
    "drills": _BOUNDED,
}

#: The layers in the order in which they run: the fast ones first.
LAYERS: dict[str, Callable[[str, Sequence[str]], Result]] = {
    "lint": _lint,
    "app": _app,
    "harness": _pytest,
    "scripts": _pytest,
    "render": _pytest,
    "publish": _pytest,
    "rules": _pytest,
    "tools": _pytest,
    "cluster": _pytest,
    "drills": _pytest,
}
