"""Pinned command-line tools, linked into ``.techshop/bin``: upstream's releases, or built from package registries."""

import functools
import hashlib
import os
import shutil
import tarfile
import tempfile
import tomllib
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from techshop import gobuild, locks, nodeimage, paths, reach, scratch, shell, ui
from techshop.errors import Failure

_PINS = Path(__file__).with_name("tools.toml")
_ARCH = {"x86_64": "amd64", "aarch64": "arm64"}
_SECONDS = 60


@dataclass(frozen=True)
class Tool:
    """One pinned tool.

    Args:
        name: the command's name.
        version: upstream's version, with its v.
        url: upstream's release file: the program, or a tar archive with it.
        checksums: upstream's file of SHA-256 sums.
        member: the program's path in the archive; "" when the file is the program.
        go: how it is built from its Go module.
        node_program: the node image's recipe whose build it comes out of.
        debian: the Debian package it comes out of, and its path there.
    """

    name: str
    version: str
    url: str
    checksums: str
    member: str = ""
    go: dict[str, Any] = field(default_factory=dict)
    node_program: str = ""
    debian: dict[str, str] = field(default_factory=dict)

    @property
    def release(self) -> Path:
        """Where the program is kept when it was downloaded."""
        return paths.CACHE / "tools" / f"{self.name}-{self.version}-{_arch()}" / self.name

    @property
    def packaged(self) -> Path:
        """Where the program is kept when it came from a package registry."""
        if self.debian:
            return paths.CACHE / "tools" / f"{self.name}-debian-{_arch()}" / self.name
        recipe = self.recipe()
        return recipe.folder / (self.name if self.node_program else recipe.packages[0].rsplit("/", 1)[-1])

    def recipe(self) -> gobuild.Recipe:
        """Return how it is built from its Go module."""
        if self.node_program:
            return gobuild.load(nodeimage.RECIPE)[self.node_program]
        return gobuild.parse(self.name, {"version": self.version, **_filled(self.go, self.version)}, _PINS.parent)


def pinned() -> dict[str, Tool]:
    """Return every tool by name."""
    with _PINS.open("rb") as file:
        tables = tomllib.load(file)["tools"]
    texts = {"url", "checksums", "member"}
    return {
        name: Tool(name, **{k: _filled(v, table["version"]) if k in texts else v for k, v in table.items()})
        for name, table in tables.items()
    }


def install(names: Iterable[str] | None = None) -> None:
    """Install the named tools, or all of them; what is installed already costs next to nothing.

    Raises:
        Failure: a name isn't known, or a tool could neither be downloaded nor built.
    """
    known = pinned()
    wanted = list(known if names is None else names)
    if unknown := sorted(set(wanted) - set(known)):
        raise Failure(f"no tool is called {', '.join(unknown)}", f"There are: {', '.join(known)}.")
    missing = [known[name] for name in wanted if not installed(known[name])]
    if not missing:
        return
    with locks.hold("tools", "installing tools"):
        for tool in missing:
            _link(tool, _provide(tool))


def installed(tool: Tool) -> bool:
    """Say whether the link in ``.techshop/bin`` leads to the pinned version."""
    link = paths.BIN / tool.name
    return link.exists() and link.is_symlink() and link.readlink() in {tool.release, tool.packaged}


def described(name: str) -> str:
    """Say in one line which version of a tool is installed and where from."""
    tool = pinned()[name]
    origin = "upstream's release" if (paths.BIN / name).readlink() == tool.release else "built from packages"
    version = f"Debian's {tool.debian['package']}" if tool.debian and origin != "upstream's release" else tool.version
    return f"{paths.BIN / name}: {version}, {origin}"


def _provide(tool: Tool) -> Path:
    for program in (tool.release, tool.packaged):
        if program.exists():
            return program
    if reach.releases():
        with ui.step(f"download {tool.name} {tool.version}"):
            _download(tool)
        return tool.release
    if tool.debian:
        with ui.step(f"take {tool.name} out of Debian's {tool.debian['package']} package"):
            _extract_debian(tool)
    else:
        gobuild.build([tool.recipe()])
    return tool.packaged


def _link(tool: Tool, program: Path) -> None:
    paths.BIN.mkdir(parents=True, exist_ok=True)
    half = paths.BIN / f".{tool.name}.half"
    half.unlink(missing_ok=True)
    half.symlink_to(program)
    half.rename(paths.BIN / tool.name)


def _download(tool: Tool) -> None:
    content = fetch(tool.url)
    expected = _checksum(fetch(tool.checksums).decode(), tool.url.rsplit("/", 1)[-1])
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        what = f"{tool.url} has the SHA-256 {found}, but upstream publishes {expected}"
        raise Failure(what, "Try again; if it stays so, something between you and upstream changes files.")
    with fresh(tool.release) as folder:
        file = folder / tool.name
        if tool.member:
            packed = folder / "packed"
            packed.write_bytes(content)
            with tarfile.open(packed) as tar, file.open("wb") as out:
                member = tar.extractfile(tool.member)
                if member is None:
                    raise Failure(f"{tool.url} has no {tool.member}")
                out.write(member.read())
            packed.unlink()
        else:
            file.write_bytes(content)
        file.chmod(0o755)


def _checksum(text: str, name: str) -> str:
    """Find the sum of the file ``name`` in a list of sums, or take the only one there is."""
    rows = [line.split() for line in text.splitlines() if line.strip()]
    for row in rows:
        if row[-1].lstrip("*").rsplit("/", 1)[-1] == name:
            return row[0].lower()
    if len(rows) == 1 and len(rows[0]) == 1:
        return rows[0][0].lower()
    raise Failure(f"upstream's list of checksums doesn't name {name}")


def fetch(url: str, advice: str = "Try again, or set TECHSHOP_AIRGAP=1 to build it from package registries.") -> bytes:
    """Download a file.

    Raises:
        Failure: it can't be had; with the advice.
    """
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:
            content: bytes = answer.read()
            return content
    except OSError as error:
        raise Failure(f"{url} can't be downloaded: {error}", advice) from error


def _extract_debian(tool: Tool) -> None:
    advice = "Run `apt-get update` and try again."
    with fresh(tool.packaged) as folder, tempfile.TemporaryDirectory() as name:
        work = Path(name)
        work.chmod(0o755)  # apt's own user writes here
        if not shell.succeeds("apt-cache", "show", tool.debian["package"]):
            shell.run("apt-get", "update", log="tools", advice=advice)
        shell.run("apt-get", "download", tool.debian["package"], cwd=work, log="tools", advice=advice)
        package = next(work.glob("*.deb"))
        shell.run("dpkg", "-x", package, work / "files")
        shutil.copy2(work / "files" / tool.debian["member"], folder / tool.name)


@contextmanager
def fresh(program: Path) -> Iterator[Path]:
    """Make a folder that takes its place beside ``program`` only when the block succeeds."""
    with scratch.folder(program.parent.parent) as work:
        folder = work / "new"
        folder.mkdir()
        yield folder
        os.replace(folder, program.parent)


@functools.cache
def _arch() -> str:
    machine = os.uname().machine
    if machine not in _ARCH:
        raise Failure(f"the project's tools are not published for {machine}", "Use an x86-64 or arm64 machine.")
    return _ARCH[machine]


def _filled(value: Any, version: str) -> Any:  # noqa: ANN401 - whatever TOML holds
    """Fill in {version}, {number} and {arch} wherever they occur."""
    if isinstance(value, str):
        return value.format(version=version, number=version.removeprefix("v"), arch=_arch())
    if isinstance(value, list):
        return [_filled(item, version) for item in value]
    if isinstance(value, dict):
        return {key: _filled(item, version) for key, item in value.items()}
    return value
