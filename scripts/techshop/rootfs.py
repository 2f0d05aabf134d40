"""Debian root file systems, made from packages once and kept as archives under the hash of their package list."""

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from techshop import locks, paths, scratch, shell, ui
from techshop.errors import Failure

SUITE = "bookworm"
PUBLIC = "http://deb.debian.org/debian"
SECURITY = "http://deb.debian.org/debian-security"
#: mmdebstrap's own hooks for a tree whose /bin is /usr/bin.
MERGED_USR = "/usr/share/mmdebstrap/hooks/merged-usr"
_ADVICE = "Check that this machine reaches Debian's packages (TECHSHOP_DEBIAN_MIRROR), and run the same command again."
#: What a container never needs.
_LEFT_OUT = ("doc", "info", "locale", "man")
#: What would tell of the machine that made the tree, or changes with every making.
_REMOVED = (
    "etc/hostname",
    "etc/resolv.conf",
    "etc/apt/sources.list",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log/apt",
)


def key(packages: Iterable[str]) -> str:
    """Name the archive that holds Debian's base system and ``packages``."""
    text = " ".join([SUITE, os.uname().machine, *_LEFT_OUT, *_REMOVED, *sorted(packages)])
    return f"{SUITE}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def archive(packages: Iterable[str]) -> Path:
    """Return a tar archive of Debian's base system with ``packages``, making it when it isn't there yet.

    Raises:
        Failure: the packages, or the tool that unpacks them, can't be had.
    """
    wanted = sorted(packages)
    target = paths.CACHE / "rootfs" / f"{key(wanted)}.tar"
    if not target.exists():
        with locks.hold("rootfs", "making a Debian root file system"):
            if not target.exists():
                with ui.step(f"make a Debian root file system ({len(wanted)} packages and what they need)"):
                    _make(wanted, target)
    return target


def subset(tree: Path, packages: Iterable[str], target: Path) -> None:
    """Copy the files of some installed ``packages`` from one root file system to another, links and modes kept."""
    for link in tree.iterdir():
        if link.is_symlink():  # /bin -> usr/bin and the like
            (target / link.readlink()).mkdir(parents=True, exist_ok=True)
            (target / link.name).symlink_to(link.readlink())
    lists = tree / "var/lib/dpkg/info"
    for package in packages:
        found = [*lists.glob(f"{package}.list"), *lists.glob(f"{package}:*.list")]
        if not found:
            raise Failure(f"the root file system has no package {package}")
        for name in found[0].read_text().splitlines():
            _copy(tree, name.lstrip("/"), target)


def _copy(tree: Path, name: str, target: Path) -> None:
    source, copy = tree / name, target / name
    if copy.is_symlink() or not (source.is_symlink() or source.exists()):
        return
    if source.is_dir() and not source.is_symlink():
        copy.mkdir(parents=True, exist_ok=True)
    elif not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, copy, follow_symlinks=False)


def mmdebstrap() -> list[str]:
    """Return the command that makes Debian root file systems, installing it when it is missing.

    Raises:
        Failure: it is missing and can't be installed.
    """
    if not shutil.which("mmdebstrap"):
        advice = "Install mmdebstrap and Debian's keyring (apt-get install mmdebstrap debian-archive-keyring)."
        with ui.step("install mmdebstrap, which makes Debian root file systems"):
            shell.apt_install("mmdebstrap", "debian-archive-keyring", advice=advice)
    # What root mounts for it is gone with it, however it ends.
    return [*(["unshare", "--mount"] if os.geteuid() == 0 else []), "mmdebstrap"]


def sources() -> list[str]:
    """Return the lines for apt: TECHSHOP_DEBIAN_MIRROR, what this machine itself uses, or Debian's public archive."""
    if mirror := os.environ.get("TECHSHOP_DEBIAN_MIRROR", "").rstrip("/"):
        return [f"deb {mirror} {SUITE} main"]
    found = {}
    if shutil.which("apt-get"):
        listed = shell.run("apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)")
        for line in shell.lines(listed):
            suite, component, uri = (*line.split(), "", "", "")[:3]
            if component == "main" and suite in {SUITE, f"{SUITE}-security"}:
                found[suite] = uri
    if SUITE not in found:
        found = {SUITE: PUBLIC, f"{SUITE}-security": SECURITY}
    return [f"deb {uri} {suite} main" for suite, uri in found.items()]


def _make(packages: list[str], target: Path) -> None:
    with scratch.folder(target.parent) as work:
        half = work / "tree.tar"
        shell.run(
            *mmdebstrap(),
            "--variant=minbase",
            "--skip=output/dev",
            f"--hook-dir={MERGED_USR}",
            '--aptopt=Apt::Install-Recommends "false"',
            *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in _LEFT_OUT),
            "--dpkgopt=path-include=/usr/share/doc/*/copyright",
            f"--include={','.join(packages)}",
            f'--customize-hook=cd "$1" && rm -rf {" ".join(_REMOVED)}',
            SUITE,
            half,
            *sources(),
            timeout=1800,
            log="rootfs",
            advice=_ADVICE,
        )
        half.rename(target)
