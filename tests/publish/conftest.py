"""A throwaway key, and the places that a chart is published to: a registry and a web server, all on this machine."""

import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from techshop import helm, paths, publish, shell
from techshop.errors import Failure

KEY = "TechShop test"
SEED = "a-seed-for-tests-0123456789abcdef"


@dataclass(frozen=True)
class Key:
    """A signing key, as files that Helm reads."""

    secret: Path
    public: Path


@dataclass(frozen=True)
class Helm:
    """One of the two Helms, with a home of its own."""

    program: str
    home: Path

    def __call__(self, *arguments: str | Path) -> str:
        """Run Helm and return all that it says; some of it Helm says on standard error."""
        script = 'exec "$@" 2>&1'
        folders = {
            name: str(self.home / name) for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
        }
        return shell.run("sh", "-c", script, "sh", paths.BIN / self.program, *arguments, env=folders)

    def template(self, chart: str | Path, values: Path, *options: str) -> str:
        """Return what a chart renders."""
        settings = ("--set", f"global.secrets.seed={SEED}", "--kube-version", "1.36", "--values", values)
        said = self("template", "techshop", chart, *settings, *options)
        return said[said.index("---") :]


def _make_key(folder: Path, name: str) -> Key:
    if not shutil.which("gpg"):
        pytest.skip("gpg is not installed")
    # Not pytest's own folder: the agent's socket has a path of at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="gnupg-") as home:
        env = {"GNUPGHOME": home}
        quiet = ("gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", "")
        user = f"{name} <{name.replace(' ', '.').lower()}@example.com>"
        try:
            shell.run(*quiet, "--quick-generate-key", user, "rsa2048", "sign", "1d", env=env)
            key = Key(folder / "secret.gpg", folder / "public.gpg")
            shell.run(*quiet, "--output", key.secret, "--export-secret-keys", name, env=env)
            shell.run("gpg", "--batch", "--output", key.public, "--export", name, env=env)
        finally:
            shell.run("gpgconf", "--kill", "all", env=env)
    return key


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    """The key that the chart is signed with."""
    return _make_key(tmp_path_factory.mktemp("key"), KEY)


@pytest.fixture(scope="session")
def strangers_key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    """A key that nobody signed the chart with."""
    return _make_key(tmp_path_factory.mktemp("stranger"), "Somebody else")


@pytest.fixture(params=["helm", "helm3"])
def consumer(request: pytest.FixtureRequest, tmp_path: Path) -> Helm:
    """Each Helm in turn, of somebody who never used it before."""
    home = tmp_path / "home"
    home.mkdir()
    return Helm(request.param, home)


@pytest.fixture(scope="session", params=["helm", "helm3"])
def package(request: pytest.FixtureRequest, key: Key, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The signed package, made by each Helm in turn."""
    folder = tmp_path_factory.mktemp("dist")
    return publish.package(folder, key.secret, KEY, program=request.param)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty container registry; its host and port."""
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    configuration = folder / "registry.yaml"
    storage = {"filesystem": {"rootdirectory": str(folder / "data")}}
    settings = {"version": 0.1, "storage": storage, "http": {"addr": address, "secret": "for tests"}}
    configuration.write_text(yaml.safe_dump(settings))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([paths.BIN / "registry", "serve", configuration], stdout=log, stderr=log)
    try:
        _wait(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(10)


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    host, port = address.split(":")
    end = time.monotonic() + 20
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.05)
    raise Failure(f"no registry answers at {address}")


class _Releases(SimpleHTTPRequestHandler):
    """Serves releases/download/TAG/FILE, and sends releases/latest/download/FILE on to the newest, as GitHub does."""

    def do_GET(self) -> None:
        newest = max((Path(self.directory) / "releases/download").iterdir(), key=lambda folder: folder.stat().st_mtime)
        if self.path.startswith("/releases/latest/"):
            self.send_response(302)
            self.send_header("Location", f"/releases/download/{newest.name}/{self.path.rsplit('/', 1)[1]}")
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def releases(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server of releases: its address and the folder with a folder for each tag."""
    folder = tmp_path / "site/releases/download"
    folder.mkdir(parents=True)
    handler = partial(_Releases, directory=str(tmp_path / "site"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    server.server_close()


@pytest.fixture
def version_99(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function from whose call on the checkout's chart is of version 99.0.0."""

    def change() -> None:
        copy = shutil.copytree(helm.CHART, tmp_path / "copy/techshop")
        described = copy / "Chart.yaml"
        described.write_text(re.sub(r"(?m)^version: .*", "version: 99.0.0", described.read_text()))
        monkeypatch.setattr(helm, "CHART", copy)

    return change
