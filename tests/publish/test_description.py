"""What the chart says of itself: to Artifact Hub, in the changelog, in its bill of materials."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from techshop import helm, images, paths, publish
from techshop.errors import Failure

#: https://keepachangelog.com and https://artifacthub.io/docs/topics/annotations/helm/ agree on these.
KINDS = {"added", "changed", "deprecated", "removed", "fixed", "security"}
EXAMPLE = """# Changelog

## [2.0.0] - 2026-01-02

### Added

- One thing.
- Another, over
  two lines: `with: marks`.

### Fixed

- A bug.

## [1.0.0]

### Added

- Everything.

[1.0.0]: https://example.com
"""


def annotation(name: str) -> list[dict[str, str]]:
    return yaml.safe_load(publish.chart()["annotations"][f"artifacthub.io/{name}"])


def test_the_images_told_are_those_that_the_values_name():
    told = annotation("images")
    assert [item["image"] for item in told] == list(images.references(False).values())
    assert len({item["name"] for item in told}) == len(told) >= 3


def test_the_changes_told_are_those_of_the_changelogs_newest_section():
    told = annotation("changes")
    assert told == publish.changes()
    assert len(told) == sum(line.startswith("- ") for line in publish.notes().splitlines()) > 0
    assert {item["kind"] for item in told} <= KINDS


def test_links_and_sources_are_of_the_same_project():
    home = publish.chart()["home"]
    for link in annotation("links"):
        assert link["url"].startswith(home)
        if "/blob/main/" in link["url"]:
            assert (paths.ROOT / link["url"].split("/blob/main/")[1]).is_file()


def test_upgrading_to_each_version_that_may_ask_for_something_is_described():
    versions = re.findall(r"^## \[(\d+\.\d+\.0)\]", (paths.ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    described = re.findall(r"^### (\S+)$", (paths.ROOT / "UPGRADE.md").read_text(), re.MULTILINE)
    assert described == versions


def test_parts_have_the_umbrellas_versions():
    described = publish.chart()
    for dependency in described["dependencies"]:
        part = yaml.safe_load((helm.CHART / "charts" / dependency["name"] / "Chart.yaml").read_text())
        assert part["version"] == dependency["version"]


def test_the_storefronts_tag_is_the_app_version():
    described = publish.chart()
    assert images.references(False)["app.image"].endswith(f":{described['appVersion']}")


@pytest.fixture
def changelog(tmp_path, monkeypatch):
    file = tmp_path / "CHANGELOG.md"
    file.write_text(EXAMPLE)
    monkeypatch.setattr(publish, "_CHANGELOG", file)
    return file


def _version(monkeypatch, version):
    described = publish.chart() | {"version": version}
    monkeypatch.setattr(publish, "chart", lambda: described)


def test_changes_are_read_from_the_newest_section_alone(changelog, monkeypatch):
    _version(monkeypatch, "2.0.0")
    assert publish.changes() == [
        {"kind": "added", "description": "One thing."},
        {"kind": "added", "description": "Another, over two lines: `with: marks`."},
        {"kind": "fixed", "description": "A bug."},
    ]


@pytest.mark.parametrize("version", ["1.0.0", "2.0.1"])
def test_a_changelog_about_another_version_is_told(changelog, monkeypatch, version):
    _version(monkeypatch, version)
    with pytest.raises(Failure, match=rf"about 2\.0\.0, and the chart's version is {version}") as caught:
        publish.notes()
    assert f"`## [{version}]`" in caught.value.advice


def test_the_last_section_ends_before_the_links(changelog, monkeypatch):
    changelog.write_text(EXAMPLE[EXAMPLE.index("## [1.0.0]") :])
    _version(monkeypatch, "1.0.0")
    assert publish.notes() == "### Added\n\n- Everything."


@pytest.fixture
def described(tmp_path, monkeypatch):
    """Chart.yaml of a copy of the chart that a test may change."""
    copy = shutil.copytree(helm.CHART, tmp_path / "techshop")
    monkeypatch.setattr(helm, "CHART", copy)
    return copy / "Chart.yaml"


@pytest.mark.parametrize(("old", "new"), [(r"image: .*/mongo:.*", "image: mongo:1"), (r"    - kind: added\n.*\n", "")])
def test_annotations_that_drifted_are_made_anew(described, old, new):
    right = described.read_text()
    drifted = re.sub(old, new, right, count=1)
    assert drifted != right
    described.write_text(drifted)
    assert publish.annotated() == {described: right}


def test_a_chart_without_the_annotations_is_told_what_to_write(described):
    described.write_text(described.read_text().replace("artifacthub.io/images: |", "artifacthub.io/pictures: |"))
    with pytest.raises(Failure, match=r"Chart\.yaml has no artifacthub\.io/images"):
        publish.annotated()


def test_the_bill_of_materials_has_the_chart_and_every_image():
    bill = publish.bill()
    refs = [component["bom-ref"] for component in bill["components"]]
    assert refs == sorted(set(images.references(False).values()))
    assert bill["metadata"]["component"]["bom-ref"] == publish.tag()
    assert bill["dependencies"] == [{"ref": publish.tag(), "dependsOn": refs}]


@pytest.mark.parametrize(
    ("reference", "name", "version", "purl"),
    [
        ("docker.io/library/mongo:8.0", "docker.io/library/mongo", "8.0", "pkg:docker/library/mongo@8.0"),
        (
            "localhost:5000/a/b:1",
            "localhost:5000/a/b",
            "1",
            "pkg:docker/a/b@1?repository_url=localhost:5000",
        ),
        ("ghcr.io/a/b@sha256:ab", "ghcr.io/a/b", "sha256:ab", "pkg:docker/a/b@sha256%3Aab?repository_url=ghcr.io"),
    ],
)
def test_an_image_is_named_as_scanners_know_it(monkeypatch, reference, name, version, purl):
    monkeypatch.setattr(images, "references", lambda airgapped: {"it.image": reference})
    (component,) = publish.bill()["components"]
    assert (component["name"], component["version"], component["purl"]) == (name, version, purl)


def test_chart_testings_values_are_accepted_and_fit_a_small_cluster(ci_values):
    done = subprocess.run(
        [paths.BIN / "helm", "template", "techshop", helm.CHART, "--values", ci_values, "--kube-version", "1.34"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    cpu = memory = 0
    for item in filter(None, yaml.load_all(done.stdout, Loader=yaml.CSafeLoader)):
        pods = item.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
        for container in pods:
            requests = container["resources"]["requests"]
            cpu += item["spec"].get("replicas", 1) * _milli(requests["cpu"])
            memory += item["spec"].get("replicas", 1) * _mebi(requests["memory"])
    assert 0 < cpu <= 2000
    assert 0 < memory <= 4096


def _milli(quantity: str | int) -> int:
    text = str(quantity)
    return int(text[:-1]) if text.endswith("m") else int(float(text) * 1000)


def _mebi(quantity: str) -> int:
    return int(quantity[:-2]) * {"Mi": 1, "Gi": 1024}[quantity[-2:]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "ci_values" in metafunc.fixturenames:
        files = sorted((helm.CHART / "ci").glob("*-values.yaml"))
        assert files
        metafunc.parametrize("ci_values", files, ids=lambda file: file.name)


def test_chart_testings_commands_are_run_as_they_stand(tmp_path: Path):
    settings = yaml.safe_load((paths.ROOT / "ct.yaml").read_text())
    for file in (settings["lint-conf"], settings["chart-yaml-schema"]):
        assert (paths.ROOT / file).is_file()
    (folder,) = [path for root in settings["chart-dirs"] for path in (paths.ROOT / root).iterdir() if path.is_dir()]
    assert folder == helm.CHART
    here = Path(sys.executable).parent
    linted = [here / "yamllint", "--config-file", settings["lint-conf"], folder / "Chart.yaml", folder / "values.yaml"]
    assert subprocess.run([*linted, *folder.glob("ci/*")], cwd=paths.ROOT, check=False).returncode == 0
    for command in settings["additional-commands"]:
        # Chart testing fills in the path and splits at blanks
        program, *words = command.replace("{{ .Path }}", str(folder.relative_to(paths.ROOT))).split(" ")
        assert program == "helm"
        done = subprocess.run([paths.BIN / program, *words], cwd=paths.ROOT, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
