"""Publish the chart: package and sign it, index it, say what changed and what it installs.

The release workflow and the tests of publishing go through the same functions.
"""

import io
import re
import subprocess
import tarfile
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from techshop import helm, images, paths, shell
from techshop.errors import Failure

_CHANGELOG = paths.ROOT / "CHANGELOG.md"
_SECTION = re.compile(r"^## \[(?P<version>[^]]+)\].*\n(?P<text>(?:(?!^## |^\[).*\n?)*)", re.MULTILINE)
_KIND = re.compile(r"^### (\w+)$")


def chart() -> dict[str, Any]:
    """Return the chart's own description, Chart.yaml."""
    described: dict[str, Any] = yaml.safe_load((helm.CHART / "Chart.yaml").read_text())
    return described


def tag() -> str:
    """Return the name of this version's release, which is also its git tag."""
    described = chart()
    return f"{described['name']}-{described['version']}"


def previous() -> str:
    """Return the tag of the last release; until there is one, the last commit."""
    tags = shell.run("git", "tag", "--list", "v*", "--sort=-version:refname", cwd=paths.ROOT).split()
    return (tags or ["HEAD"])[0]


def unpack(reference: str, folder: Path) -> Path:
    """Write the charts and values of a commit or tag into a folder and return the chart's."""
    archive = ["git", "archive", reference, "charts/techshop", "values"]
    content = subprocess.run(archive, cwd=paths.ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        tar.extractall(folder, filter="data")
    return folder / "charts/techshop"


def package(folder: Path, keyring: Path, key: str, passphrase: Path | None = None, program: str = "helm") -> Path:
    """Package the chart and sign it.

    Args:
        folder: where the package and its ``.prov`` go.
        keyring: the secret key, in GnuPG's binary export format.
        key: part of the key's user name.
        passphrase: file with the key's passphrase; None when it has none.
        program: "helm" or "helm3".

    Returns:
        The package.

    Raises:
        Failure: the key isn't there or doesn't open.
    """
    signing = ["--sign", "--key", key, "--keyring", str(keyring)]
    if passphrase:
        signing += ["--passphrase-file", str(passphrase)]
    advice = "The keyring is what `gpg --export-secret-keys KEY` writes, not armoured; KEY is part of its user name."
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:  # a package that can't be signed is none
        shell.run(paths.BIN / program, "package", helm.CHART, "--destination", scratch, *signing, advice=advice)
        for file in Path(scratch).iterdir():
            file.replace(folder / file.name)
    return folder / f"{tag()}.tgz"


def index(folder: Path, downloads: str, previous: Path | None = None, program: str = "helm") -> Path:
    """Write the index of a chart repository whose packages are the assets of releases.

    Args:
        folder: where this version's package is, and the index goes.
        downloads: the address under which each release's files are, in a folder called as its tag.
        previous: the index of the versions before; None for the first one.
        program: "helm" or "helm3".

    Returns:
        The index.

    Raises:
        Failure: the index before can't be read, or has this version already.
    """
    if previous and chart()["version"] in _versions(previous):
        raise Failure(f"{tag()} is published already", "Give charts/techshop/Chart.yaml a new version.")
    before = ["--merge", str(previous)] if previous else []
    shell.run(paths.BIN / program, "repo", "index", folder, "--url", f"{downloads}/{tag()}", *before)
    return folder / "index.yaml"


def _versions(file: Path) -> set[str]:
    try:
        entries = yaml.safe_load(file.read_text())["entries"][chart()["name"]]
        return {str(entry["version"]) for entry in entries}
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise Failure(f"{file} is no index with {chart()['name']} in it", "Download it again.", str(error)) from error


def notes() -> str:
    """Return the changelog's section about this version.

    Raises:
        Failure: the newest section is about another version.
    """
    found = _SECTION.search(_CHANGELOG.read_text())
    newest = found["version"] if found else "nothing"
    if not found or newest != chart()["version"]:
        what = f"the newest section of CHANGELOG.md is about {newest}, and the chart's version is {chart()['version']}"
        raise Failure(what, f"Write what changed under `## [{chart()['version']}]`.")
    return found["text"].strip()


def changes() -> list[dict[str, str]]:
    """Return the changes of this version, as Artifact Hub's annotation lists them."""
    return [{"kind": kind, "description": text} for kind, text in _bullets(notes())]


def annotated() -> dict[Path, str]:
    """Return the text of Chart.yaml with the annotations that have sources elsewhere: the changes and the images.

    Raises:
        Failure: the newest section of the changelog is about another version.
    """
    file = helm.CHART / "Chart.yaml"
    named = {place.removesuffix(".image").replace(".", "-"): name for place, name in images.references(False).items()}
    text = _annotation(file.read_text(), "changes", changes())
    return {file: _annotation(text, "images", [{"name": name, "image": image} for name, image in named.items()])}


def _annotation(text: str, name: str, items: list[dict[str, str]]) -> str:
    """Put ``items`` in place of what stands under the annotation."""
    dumped = yaml.safe_dump(items, sort_keys=False, allow_unicode=True, width=110)
    block = re.compile(rf"^  artifacthub\.io/{name}: \|\n(    .*\n)+", re.MULTILINE)
    new = f"  artifacthub.io/{name}: |\n{textwrap.indent(dumped, '    ')}"
    text, count = block.subn(lambda _: new, text)
    if count != 1:
        raise Failure(
            f"Chart.yaml has no artifacthub.io/{name}", f"Write `artifacthub.io/{name}: |` and any line under it."
        )
    return text


def _bullets(text: str) -> Iterator[tuple[str, str]]:
    """Yield each bullet's kind and its text on one line."""
    kind = ""
    for block in re.split(r"\n(?=[-#])|\n\n", text):
        if heading := _KIND.match(block):
            kind = heading[1].lower()
        elif block.startswith("- "):
            yield kind, " ".join(block.removeprefix("- ").split())


def bill() -> dict[str, Any]:
    """Return a bill of materials in CycloneDX: the chart, and the images that it installs by default."""
    described = chart()
    ref = tag()
    components = [_component(reference) for reference in sorted(set(images.references(False).values()))]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": ref,
                "name": described["name"],
                "version": described["version"],
                "description": described["description"],
                "licenses": [{"license": {"id": described["annotations"]["artifacthub.io/license"]}}],
            }
        },
        "components": components,
        "dependencies": [{"ref": ref, "dependsOn": [component["bom-ref"] for component in components]}],
    }


def _component(reference: str) -> dict[str, Any]:
    name, mark, version = reference.rpartition("@" if "@" in reference else ":")
    registry, _, repository = name.partition("/")
    place = "" if registry == "docker.io" else f"?repository_url={registry}"
    return {
        "type": "container",
        "bom-ref": f"{name}{mark}{version}",
        "name": name,
        "version": version,
        "purl": f"pkg:docker/{repository}@{version.replace(':', '%3A')}{place}",
    }
