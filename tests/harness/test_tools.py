import hashlib
import io
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from techshop import paths, reach, tools
from techshop.errors import Failure

PROGRAM = b"#!/bin/sh\necho it runs\n"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(autouse=True)
def _places(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(paths, "BIN", tmp_path / "bin")
    monkeypatch.setenv("TECHSHOP_AIRGAP", "0")


@pytest.fixture
def upstream(tmp_path):
    """A release server with one archive, its list of sums, and a function that spoils the archive."""
    folder = tmp_path / "upstream"
    folder.mkdir()
    with tarfile.open(folder / "it.tar.gz", "w:gz") as tar:
        entry = tarfile.TarInfo("linux/it")
        entry.size = len(PROGRAM)
        tar.addfile(entry, io.BytesIO(PROGRAM))
    digest = hashlib.sha256((folder / "it.tar.gz").read_bytes()).hexdigest()
    (folder / "sums").write_text(f"{'0' * 64}  other.tar.gz\n{digest} *it.tar.gz\n")
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: Quiet(*a, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    server.server_close()


@pytest.fixture
def tool(upstream, monkeypatch):
    url, _ = upstream
    debian = {"package": "it", "member": "usr/bin/it"}
    tool = tools.Tool("it", "v1.0.0", f"{url}/it.tar.gz", f"{url}/sums", "linux/it", debian=debian)
    monkeypatch.setattr(tools, "pinned", lambda: {"it": tool})
    return tool


def test_every_pin_is_complete():
    for name, tool in tools.pinned().items():
        assert tool.version.startswith("v"), name
        assert tool.url.startswith("https://"), name
        assert "{" not in tool.url + tool.checksums + tool.member, name
        assert tool.go or tool.node_program or tool.debian, f"{name} can't be had without its release"
    assert tools.pinned()["helm"].recipe().ldflags.endswith("v4.3.1")


def test_kubectl_is_of_the_node_images_kubernetes():
    tool = tools.pinned()["kubectl"]
    assert tool.recipe().version == tool.version


def test_downloads_verifies_and_links(tool):
    tools.install(["it"])
    assert (paths.BIN / "it").resolve().read_bytes() == PROGRAM
    assert (paths.BIN / "it").stat().st_mode & 0o111
    assert tools.described("it").endswith("v1.0.0, upstream's release")


def test_the_second_time_asks_nobody(tool, upstream, monkeypatch):
    tools.install(["it"])
    monkeypatch.setattr(tools, "fetch", lambda url: pytest.fail(f"asked {url}"))
    monkeypatch.setattr(reach, "releases", lambda: pytest.fail("asked whether releases can be reached"))
    tools.install(["it"])


def test_a_link_to_another_version_is_replaced(tool):
    paths.BIN.mkdir()
    (paths.BIN / "it").symlink_to("/nowhere/it-v0.9")
    tools.install(["it"])
    assert (paths.BIN / "it").resolve().read_bytes() == PROGRAM


def test_a_changed_download_is_refused(tool, upstream):
    (upstream[1] / "it.tar.gz").write_bytes(b"something else")
    with pytest.raises(Failure, match="but upstream publishes"):
        tools.install(["it"])
    assert not (paths.BIN / "it").exists()
    assert not tool.release.exists()


def test_an_unlisted_download_is_refused(tool, upstream):
    (upstream[1] / "sums").write_text(f"{'0' * 64}  other.tar.gz\n")
    with pytest.raises(Failure, match=r"doesn't name it\.tar\.gz"):
        tools.install(["it"])


def test_a_missing_release_says_what_to_do(tool, upstream):
    (upstream[1] / "it.tar.gz").unlink()
    with pytest.raises(Failure, match="TECHSHOP_AIRGAP=1"):
        tools.install(["it"])


def test_unknown_names_are_told(tool):
    with pytest.raises(Failure, match="no tool is called hlem") as caught:
        tools.install(["hlem"])
    assert "it" in caught.value.advice


@pytest.mark.parametrize(
    ("value", "expected"), [("1", False), ("true", False), ("0", True), ("no", True), ("", "asked"), ("?", "asked")]
)
def test_the_environment_decides_what_can_be_reached(value, expected, monkeypatch):
    monkeypatch.setenv("TECHSHOP_AIRGAP", value)
    monkeypatch.setattr(reach, "_answers", lambda url: "asked")
    assert reach.registry() == reach.releases() == expected


def test_a_refusal_is_an_answer_and_silence_is_none(upstream):
    url, _ = upstream
    assert reach._answers(f"{url}/sums")
    assert reach._answers(f"{url}/not-there")
    assert not reach._answers("http://127.0.0.1:1/")
