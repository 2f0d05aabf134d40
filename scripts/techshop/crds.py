"""What other operators' objects must look like: their CRDs, taken once from the Go modules that publish them."""

import functools
import hashlib
import io
import json
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from techshop import locks, paths, tools, ui
from techshop.errors import Failure

Schema = dict[str, Any]

_PINS = Path(__file__).with_name("crds.toml")
_PROXY = "https://proxy.golang.org"


@functools.cache
def schemas() -> dict[tuple[str, str], Schema]:
    """Return the JSON schema of every custom resource, by apiVersion and kind; unknown fields are errors in them.

    Raises:
        Failure: a module could not be downloaded, or is not the pinned one.
    """
    found: dict[tuple[str, str], Schema] = {}
    for name in _pins():
        for file in files(name):
            for document in yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader):
                found |= dict(_versions(document))
    return found


def _versions(document: dict[str, Any]) -> Iterator[tuple[tuple[str, str], Schema]]:
    """Yield a CRD's schemas, one for each version."""
    spec = document["spec"]
    for version in spec["versions"]:
        schema = version["schema"]["openAPIV3Schema"]
        yield (f"{spec['group']}/{version['name']}", spec["names"]["kind"]), _strict(schema)


def _strict(schema: Any) -> Any:  # noqa: ANN401 - whatever a schema holds
    """Return the schema with every field it doesn't know forbidden, where the API server would drop it in silence."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: _strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        strict.setdefault("additionalProperties", False)
    if schema.get("nullable") and isinstance(schema.get("type"), str):
        strict["type"] = [schema["type"], "null"]
    return strict


def _pins() -> dict[str, dict[str, Any]]:
    pins: dict[str, dict[str, Any]] = tomllib.loads(_PINS.read_text())["crds"]
    return pins


def files(name: str) -> list[Path]:
    """Return the files with an operator's CRDs, by its name in ``crds.toml``; downloaded once."""
    pin = _pins()[name]
    folder = paths.CACHE / "crds" / hashlib.sha256(json.dumps(pin, sort_keys=True).encode()).hexdigest()[:16]
    found = [folder / Path(file).name for file in pin["files"]]
    with locks.hold("crds", "downloading CRDs"):
        if not folder.exists():
            _download(pin, found[0])
    return found


def _download(pin: dict[str, Any], file: Path) -> None:
    """Make the folder of this file, with all that is wanted of the module."""
    name = f"{pin['module']}@{pin['version']}"
    url = f"{_PROXY}/{pin['module']}/@v/{pin['version']}.zip"
    with ui.step(f"take CRDs out of {name}"):
        content = tools.fetch(url, "Check that the Go module proxy can be reached.")
        if (sum_ := hashlib.sha256(content).hexdigest()) != pin["sha256"]:
            raise Failure(f"{url} has the SHA-256 {sum_}", f"If that is right, write it into {_PINS.name}.")
        with tools.fresh(file) as folder, zipfile.ZipFile(io.BytesIO(content)) as archive:
            for wanted in pin["files"]:
                (folder / Path(wanted).name).write_bytes(archive.read(f"{name}/{wanted}"))
