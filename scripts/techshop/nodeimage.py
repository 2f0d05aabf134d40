"""The image of kind's nodes for clusters without a registry: built from packages, once per recipe."""

import hashlib
import shutil
import subprocess
import time
import tomllib
from pathlib import Path
from typing import Any

from techshop import archive, gobuild, locks, paths, rootfs, scratch, shell, ui
from techshop.errors import Failure

FOLDER = paths.ROOT / "images/airgap/node"
RECIPE = FOLDER / "node.toml"
_REPOSITORY = "techshop-airgap/node"
_USERLAND = "docker.io/techshop-airgap/userland:node"
#: Where the node's own programs go: folder, recipe, programs (none named: all).
_PLACES = (
    ("usr/local/bin", "containerd", ("containerd", "containerd-shim-runc-v2", "ctr")),
    ("usr/local/bin", "crictl", ()),
    ("usr/local/sbin", "runc", ()),
    ("usr/bin", "kubernetes", ("kubelet", "kubeadm", "kubectl")),
    ("opt/cni/bin", "cni", ()),
)


def ensure() -> str:
    """Return the name of an air-gapped node image that the Docker engine has, building it when it isn't there yet.

    Raises:
        Failure: a part can't be downloaded or built; the parts that were built are kept.
    """
    programs = gobuild.load(RECIPE)
    name = f"{_REPOSITORY}:{programs['kubernetes'].version}-{_key(programs)}"
    if not _there(name):
        with locks.hold("node-image", "building the node image"):
            if not _there(name):
                _build(name, programs)
    return name


def _there(name: str) -> bool:
    return shell.succeeds("docker", "image", "inspect", name)


def _recipe() -> dict[str, Any]:
    with RECIPE.open("rb") as file:
        return tomllib.load(file)


def _key(programs: dict[str, gobuild.Recipe]) -> str:
    """Hash everything that goes into the image, and the code that puts it together."""
    digest = hashlib.sha256(rootfs.key(_recipe()["system"]["packages"]).encode())
    for recipe in programs.values():
        digest.update(recipe.key.encode())
    here = Path(__file__)
    code = [here, here.with_name("archive.py"), here.with_name("rootfs.py")]
    parts = sorted(path for path in FOLDER.rglob("*") if path.is_file() and not path.name.endswith("_test.go"))
    for path in (*code, *parts):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _build(name: str, programs: dict[str, gobuild.Recipe]) -> None:
    recipe = _recipe()
    _need_compiler()
    built = gobuild.build(programs.values())
    system = rootfs.archive(recipe["system"]["packages"])
    with scratch.folder(paths.CACHE) as work:
        with ui.step("put the node's file system together"):
            tree = _tree(work, system, built, recipe["system"]["masked"])
        with ui.step("preload the images of Kubernetes' components"):
            archive.write(_images(work, tree, built, recipe), work / "images.tar")
            _preload(work, tree, built["containerd"])
        with ui.step(f"make the image {name}"):
            _import(name, tree)


def _need_compiler() -> None:
    """Install what runc and pause are compiled with: a C compiler and libseccomp's headers."""
    if Path("/usr/include/seccomp.h").exists() and shutil.which("gcc") and shutil.which("pkg-config"):
        return
    advice = "Install gcc, libc6-dev, pkg-config and libseccomp-dev, and run the same command again."
    with ui.step("install a C compiler and libseccomp's headers"):
        shell.apt_install("gcc", "libc6-dev", "pkg-config", "libseccomp-dev", advice=advice)


def _tree(work: Path, system: Path, built: dict[str, Path], masked: list[str]) -> Path:
    tree = work / "tree"
    tree.mkdir()
    shell.run("tar", "--extract", "--numeric-owner", "--file", system, "--directory", tree)
    shutil.copytree(FOLDER / "files", tree, dirs_exist_ok=True)
    shutil.copytree(FOLDER / "manifests", tree / "kind/manifests")
    for folder in ("etc/kubernetes/manifests", "etc/kubernetes/kubelet.conf.d", "var/lib/kubelet"):
        (tree / folder).mkdir(parents=True)
    for folder, recipe, names in _PLACES:
        (tree / folder).mkdir(parents=True, exist_ok=True)
        for name in names or sorted(path.name for path in built[recipe].iterdir()):
            shutil.copy(built[recipe] / name, tree / folder)
    (tree / "kind/version").write_text(gobuild.load(RECIPE)["kubernetes"].version + "\n")
    (tree / "etc/machine-id").write_text("")
    _units(tree, masked)
    return tree


def _units(tree: Path, masked: list[str]) -> None:
    """Leave systemd only what a node needs: nothing that touches the machine's devices, settings or terminals."""
    library, own = tree / "lib/systemd/system", tree / "etc/systemd/system"
    unwanted = [own.glob("*.wants/*"), library.glob("sockets.target.wants/dbus.socket")]
    unwanted += [library.glob(f"{name}.target.wants/*") for name in ("multi-user", "local-fs", "basic", "sysinit")]
    unwanted += [library.glob(f"sockets.target.wants/*{name}*") for name in ("udev", "initctl")]
    for path in [path for paths_ in unwanted for path in paths_]:
        path.unlink()
    links = {
        library / "sysinit.target.wants/systemd-journald.service": "../systemd-journald.service",
        own / "multi-user.target.wants/containerd.service": "/etc/systemd/system/containerd.service",
        own / "multi-user.target.wants/kubelet.service": "/etc/systemd/system/kubelet.service",
        own / "default.target": "/lib/systemd/system/multi-user.target",
        **{own / f"{name}.service": "/dev/null" for name in masked},
    }
    for path, target in links.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target)


def _images(work: Path, tree: Path, built: dict[str, Path], recipe: dict[str, Any]) -> list[archive.Image]:
    userland, pause = work / "userland", work / "pause"
    userland.mkdir()
    pause.mkdir()
    rootfs.subset(tree, recipe["system"]["userland"], userland)
    (userland / "etc/alternatives").mkdir(parents=True)
    for path in (tree / "etc/alternatives").glob("*tables*"):  # iptables -> iptables-nft and so on
        for link in (userland / "etc/alternatives" / path.name, userland / "usr/sbin" / path.name):
            link.symlink_to(path.readlink())
    shell.run("gcc", "-Os", "-static", "-s", "-o", pause / "pause", FOLDER / "pause/pause.c")
    folders = {**built, "pause": pause}
    images = [archive.Image(_USERLAND, tree=userland)]
    for name, entry in recipe["images"].items():
        program = folders[entry["recipe"]] / entry.get("program", entry["recipe"])
        images.append(
            archive.Image(
                name,
                {entry["path"]: program},
                tree=userland if entry.get("userland") else None,
                command=[] if entry.get("userland") else [entry["path"]],
                user=entry.get("user", ""),
            )
        )
    return images


def _preload(work: Path, tree: Path, containerd: Path) -> None:
    """Run the node's containerd over the tree's store; layers are unpacked on the node, not here."""
    state, socket = work / "state", work / "containerd.sock"
    settings = work / "containerd.toml"
    settings.write_text(
        f'version = 3\nroot = "{tree}/var/lib/containerd"\nstate = "{state}"\n'
        'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", '
        '"io.containerd.cri.v1.runtime", "io.containerd.nri.v1.nri"]\n'
        f'[grpc]\naddress = "{socket}"\n[ttrpc]\naddress = "{work}/ttrpc.sock"\n'
    )
    paths.LOGS.mkdir(parents=True, exist_ok=True)
    with (paths.LOGS / "containerd.log").open("w") as log:
        daemon = subprocess.Popen([containerd / "containerd", "--config", settings], stdout=log, stderr=log)
    try:
        ctr = (containerd / "ctr", "--address", socket, "--namespace", "k8s.io")
        end = time.monotonic() + 60
        while not shell.succeeds(*ctr, "version", timeout=5) and time.monotonic() < end:
            time.sleep(0.2)
        shell.run(*ctr, "images", "import", "--no-unpack", "--digests", work / "images.tar", log="node-image")
    finally:
        daemon.terminate()
        daemon.wait()


def _import(name: str, tree: Path) -> None:
    raw = f"{_REPOSITORY}:tree"
    pack = ["tar", "--create", "--numeric-owner", "--directory", str(tree), "."]
    with subprocess.Popen(pack, stdout=subprocess.PIPE) as tar:
        done = subprocess.run(
            ["docker", "import", "-", raw], stdin=tar.stdout, capture_output=True, check=False, text=True
        )
    if done.returncode or tar.returncode:
        raise Failure("the Docker engine didn't take the node's file system", "Is its disk full?", done.stderr)
    recipe = (
        f"FROM {raw}\n"
        "ENV container=docker PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
        "STOPSIGNAL SIGRTMIN+3\n"  # `docker import --change` can't set it
        'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]\n'
    )
    shell.run("docker", "build", "--tag", name, "-", stdin=recipe, env={"DOCKER_BUILDKIT": "0"}, log="node-image")
    shell.run("docker", "rmi", "--no-prune", raw)
