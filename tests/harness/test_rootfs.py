import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from techshop import archive, rootfs, shell
from techshop.errors import Failure


def package(tree: Path, name: str, *files: str) -> None:
    lists = tree / "var/lib/dpkg/info"
    lists.mkdir(parents=True, exist_ok=True)
    (lists / f"{name}.list").write_text("/.\n" + "".join(f"/{file}\n" for file in files))


@pytest.fixture
def tree(tmp_path):
    tree = tmp_path / "tree"
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "bin").symlink_to("usr/bin")
    (tree / "usr/bin/tool").write_text("tool")
    (tree / "usr/bin/tool").chmod(0o4755)
    (tree / "usr/bin/other").symlink_to("tool")
    (tree / "usr/bin/rest").write_text("rest")
    package(tree, "tool:amd64", "bin", "bin/tool", "usr/bin", "usr/bin/other", "usr/share/doc/gone")
    package(tree, "rest", "usr/bin/rest")
    return tree


def test_subset_copies_a_packages_files_with_links_and_modes(tree, tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    rootfs.subset(tree, ["tool"], target)
    assert (target / "bin").readlink() == Path("usr/bin")
    assert (target / "usr/bin/tool").stat().st_mode & 0o7777 == 0o4755
    assert (target / "usr/bin/other").readlink() == Path("tool")
    assert not (target / "usr/bin/rest").exists()


def test_subset_names_a_package_that_is_not_there(tree, tmp_path):
    with pytest.raises(Failure, match="no package nothing"):
        rootfs.subset(tree, ["nothing"], tmp_path / "target")


def test_key_is_that_of_the_set_of_packages():
    assert rootfs.key(["a", "b"]) == rootfs.key(["b", "a"]) != rootfs.key(["a"])


PUBLIC = [f"deb {rootfs.PUBLIC} bookworm main", f"deb {rootfs.SECURITY} bookworm-security main"]


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("", PUBLIC),
        ("trixie main http://m/debian", PUBLIC),
        ("bookworm contrib http://no\nbookworm main http://m", ["deb http://m bookworm main"]),
        (
            "bookworm-security main http://s\nbookworm main http://m",
            ["deb http://s bookworm-security main", "deb http://m bookworm main"],
        ),
    ],
)
def test_packages_come_from_where_the_machines_own_do(listed, expected, monkeypatch):
    monkeypatch.delenv("TECHSHOP_DEBIAN_MIRROR", raising=False)
    monkeypatch.setattr(rootfs.shutil, "which", lambda _: "/usr/bin/apt-get")
    monkeypatch.setattr(shell, "run", lambda *_, **__: listed)
    assert rootfs.sources() == expected


def test_a_mirror_that_is_named_is_the_only_one(monkeypatch):
    monkeypatch.setenv("TECHSHOP_DEBIAN_MIRROR", "http://mine/debian/")
    assert rootfs.sources() == ["deb http://mine/debian bookworm main"]


def test_archive_is_an_oci_layout_whose_parts_have_the_sums_they_claim(tree, tmp_path):
    image = archive.Image("example.org/a:1", {"/bin/a": tree / "usr/bin/rest"}, tree=tree, command=["/bin/a"], user="7")
    archive.write([image], tmp_path / "images.tar")
    with tarfile.open(tmp_path / "images.tar") as tar:

        def read(name: str) -> bytes:
            file = tar.extractfile(name)
            assert file is not None
            return file.read()

        def blob(entry: dict) -> bytes:
            content = read("blobs/" + entry["digest"].replace(":", "/"))
            assert entry["digest"] == "sha256:" + hashlib.sha256(content).hexdigest()
            assert entry["size"] == len(content)
            return content

        [entry] = json.loads(read("index.json"))["manifests"]
        assert entry["annotations"] == {"io.containerd.image.name": "example.org/a:1"}
        manifest = json.loads(blob(entry))
        config = json.loads(blob(manifest["config"]))
        [layer] = manifest["layers"]
        blob(layer)
        assert config["rootfs"]["diff_ids"] == [layer["digest"]]
        assert config["config"]["Entrypoint"] == ["/bin/a"]
        assert config["config"]["User"] == "7"
