"""What is in the package, and whether its signature holds."""

import re
import tarfile

import pytest
from conftest import KEY

from techshop import helm, paths, publish
from techshop.errors import Failure

#: Everything that a chart is made of; templates/tests is what `helm test` runs.
_KNOWN = re.compile(
    r"techshop/(charts/(app|backup|common|mongodb|monitoring|objectstorage|redis|tracing)/)?"
    r"(Chart\.yaml|values\.yaml|templates/([\w-]+/)?[\w.-]+\.(yaml|tpl)|files/([\w-]+/)?[\w.-]+)"
    r"|techshop/(\.helmignore|README\.md|values\.schema\.json|templates/NOTES\.txt)"
)


def test_only_the_chart_is_in_the_package(package):
    with tarfile.open(package) as tar:
        members = {member.name: member for member in tar}
    assert [name for name in members if not _KNOWN.fullmatch(name)] == []
    assert all(member.isreg() for member in members.values())


def test_every_file_of_the_checkout_is_packed_as_it_is(package):
    with tarfile.open(package) as tar:
        # Helm writes Chart.yaml anew
        packed = {m.name: tar.extractfile(m).read() for m in tar if not m.name.endswith("Chart.yaml")}
    differing = [name for name, content in packed.items() if (helm.CHART.parent / name).read_bytes() != content]
    assert differing == []
    missing = {
        str(path.relative_to(helm.CHART.parent))
        for folder in ("templates", "charts")
        for path in (helm.CHART / folder).rglob("*")
        if path.is_file() and path.name not in {"Chart.yaml", "definitions.yaml"}
    } - set(packed)
    assert missing == set()


def test_a_release_stays_far_below_what_a_secret_holds(package):
    # Helm keeps the chart in a Secret of at most 1 MiB, in base64, beside the manifests.
    assert package.stat().st_size < 150_000


def test_the_signature_holds(consumer, package, key):
    said = consumer("verify", "--keyring", key.public, package)
    assert f"Signed by: {KEY}" in said
    assert "Chart Hash Verified: sha256:" in said


def test_a_package_changed_by_a_byte_is_refused(consumer, package, key, tmp_path):
    changed = tmp_path / package.name
    changed.write_bytes(package.read_bytes() + b"\0")
    (tmp_path / f"{package.name}.prov").write_bytes(package.with_suffix(".tgz.prov").read_bytes())
    with pytest.raises(Failure, match="sha256 sum does not match"):
        consumer("verify", "--keyring", key.public, changed)


def test_a_package_signed_by_somebody_else_is_refused(consumer, package, strangers_key):
    with pytest.raises(Failure, match="signature made by unknown entity"):
        consumer("verify", "--keyring", strangers_key.public, package)


def test_a_key_that_is_not_there_is_told(key, tmp_path):
    with pytest.raises(Failure, match="gpg --export-secret-keys KEY"):
        publish.package(tmp_path, key.secret, "Nobody")
    assert list(tmp_path.iterdir()) == []


def test_the_package_says_what_the_release_is_called(package):
    assert package.name == f"{publish.tag()}.tgz"
    assert publish.chart()["version"] in package.name
    assert (paths.ROOT / "LICENSE").exists()
