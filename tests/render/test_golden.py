"""What each values file of the project renders, compared with a stored render, so that every change shows as a diff."""

import difflib
from pathlib import Path

import pytest
import yaml
from conftest import CHART, ENVIRONMENTS, EXAMPLES, FILES, VALUES, defaults, notes, objects

from techshop import paths

GOLDEN = paths.ROOT / "tests/golden"


def stored_form(file: Path) -> str:
    """Return the objects in a stable order; of scripts, whose text stands in the chart, only the names."""
    rendered = objects(file, seed=None)
    # A dashboard's name begins with what tells its release from others.
    scripts = tuple(path.name for path in CHART.glob("charts/*/files/**/*.*"))
    for item in rendered:
        if item["kind"] == "ConfigMap":
            item["data"] = {key: "(a script)" if key.endswith(scripts) else text for key, text in item["data"].items()}
    rendered.sort(key=lambda item: (item["kind"], item["metadata"]["name"]))
    return yaml.safe_dump_all(rendered, width=120)


def compare(path: Path, text: str, update: bool) -> None:
    if update:
        path.write_text(text)
    old = path.read_text() if path.exists() else ""
    if old != text:
        diff = "\n".join(
            [*difflib.unified_diff(old.splitlines(), text.splitlines(), "stored", "now", lineterm="")][:40]
        )
        pytest.fail(f"{path.name} renders differently; if that is meant: scripts/test render --update-goldens\n{diff}")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_values_file_renders_what_it_did(file: Path, update_goldens: bool) -> None:
    compare(GOLDEN / f"{file.stem}.yaml", stored_form(file), update_goldens)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_notes_say_what_they_did(file: Path, update_goldens: bool) -> None:
    compare(GOLDEN / f"{file.stem}.txt", notes(file), update_goldens)


def test_every_stored_render_has_its_values_file() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == {file.stem for file in FILES}


@pytest.mark.parametrize(
    "file", [VALUES / f"{name}.yaml" for name in ENVIRONMENTS] + EXAMPLES, ids=lambda file: file.stem
)
def test_a_values_file_sets_nothing_that_is_the_default(file: Path) -> None:
    def compare_maps(values: dict, default: dict, path: str) -> None:
        for key, value in values.items():
            if isinstance(value, dict):
                compare_maps(value, default[key], f"{path}{key}.")
            else:
                assert value != default.get(key), f"{path}{key} is {value!r} without this file too"

    compare_maps(yaml.safe_load(file.read_text()), defaults(), "")
