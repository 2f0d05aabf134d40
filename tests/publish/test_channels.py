"""The way to those who install the chart: through a registry, and through a chart repository."""

import re
import shutil

import pytest
import yaml
from conftest import KEY

from techshop import helm, publish
from techshop.errors import Failure

PROD = helm.VALUES / "prod.yaml"


@pytest.fixture
def pushed(consumer, package, registry):
    """The package in the registry: where, and its digest."""
    place = f"oci://{registry}/{consumer.program}/charts"
    consumer("push", package, place, "--plain-http")
    return f"{place}/techshop"


def test_a_registry_gives_back_the_same_bytes(consumer, package, pushed, tmp_path):
    consumer("pull", pushed, "--version", publish.chart()["version"], "--destination", tmp_path, "--plain-http")
    assert (tmp_path / package.name).read_bytes() == package.read_bytes()


def test_a_registry_keeps_the_signature(consumer, package, pushed, key, tmp_path):
    verified = ("--verify", "--keyring", key.public)
    consumer("pull", pushed, *verified, "--destination", tmp_path, "--plain-http")
    assert (tmp_path / f"{package.name}.prov").read_bytes() == package.with_suffix(".tgz.prov").read_bytes()


def test_a_registrys_chart_signed_by_somebody_else_is_not_pulled(consumer, pushed, strangers_key, tmp_path):
    with pytest.raises(Failure, match="unknown entity"):
        consumer("pull", pushed, "--verify", "--keyring", strangers_key.public, "-d", tmp_path, "--plain-http")


def test_a_registrys_chart_renders_what_the_checkout_renders(consumer, pushed):
    assert consumer.template(pushed, PROD, "--plain-http") == consumer.template(helm.CHART, PROD)


def test_a_digest_of_the_registry_names_this_chart(consumer, package, registry, tmp_path):
    place = f"oci://{registry}/digest/charts"
    said = consumer("push", package, place, "--plain-http")
    found = re.search(r"sha256:[0-9a-f]{64}", said)
    assert found
    consumer("pull", f"{place}/techshop@{found[0]}", "--destination", tmp_path, "--plain-http")
    assert next(tmp_path.glob("*.tgz")).read_bytes() == package.read_bytes()


@pytest.fixture
def repository(consumer, package, releases):
    """A chart repository made of one release, added to Helm's list."""
    address, folder = releases
    release = folder / publish.tag()
    release.mkdir()
    for file in (package, package.with_suffix(".tgz.prov")):
        shutil.copy2(file, release)
    publish.index(release, f"{address}/releases/download", program=consumer.program)
    consumer("repo", "add", "techshop", f"{address}/releases/latest/download")
    return release


def test_a_repository_gives_back_the_same_bytes(consumer, package, repository, key, tmp_path):
    verified = ("--verify", "--keyring", key.public)
    said = consumer("pull", "techshop/techshop", *verified, "--destination", tmp_path)
    assert (tmp_path / package.name).read_bytes() == package.read_bytes()
    assert KEY in said


def test_a_repositorys_chart_renders_what_the_checkout_renders(consumer, repository):
    assert consumer.template("techshop/techshop", PROD) == consumer.template(helm.CHART, PROD)


def test_a_repository_tells_of_the_chart(consumer, repository):
    described = publish.chart()
    found = yaml.safe_load(consumer("search", "repo", "techshop", "--output", "yaml"))
    assert [(item["version"], item["app_version"]) for item in found] == [
        (described["version"], described["appVersion"])
    ]


@pytest.fixture
def two_releases(consumer, key, releases, version_99):
    """The address of a repository with this version and one after it, and both tags."""
    address, folder = releases
    downloads = f"{address}/releases/download"
    tags, previous = [], None
    for before in (lambda: None, version_99):
        before()
        tags.append(publish.tag())
        release = folder / publish.tag()
        publish.package(release, key.secret, KEY, program=consumer.program)
        previous = publish.index(release, downloads, previous, program=consumer.program)
    return f"{address}/releases/latest/download", tags


def test_older_versions_stay_in_the_index(consumer, two_releases, tmp_path):
    address, tags = two_releases
    assert tags[1] == "techshop-99.0.0"
    consumer("repo", "add", "techshop", address)
    for tag in tags:
        consumer("pull", "techshop/techshop", "--version", tag.removeprefix("techshop-"), "--destination", tmp_path)
        assert (tmp_path / f"{tag}.tgz").exists()


def test_a_version_is_published_once(package, tmp_path):
    folder = tmp_path / "again"
    folder.mkdir()
    shutil.copy2(package, folder)
    previous = publish.index(folder, "https://example.com")
    before = previous.read_bytes()
    with pytest.raises(Failure, match=f"{publish.tag()} is published already"):
        publish.index(folder, "https://example.com", previous)
    assert previous.read_bytes() == before


def test_an_index_that_is_none_is_told(package, tmp_path):
    previous = tmp_path / "index.yaml"
    previous.write_text("<html>Not Found</html>\n")
    with pytest.raises(Failure, match="is no index with techshop in it"):
        publish.index(package.parent, "https://example.com", previous)
