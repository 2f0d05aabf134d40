"""What stands in for mongodump and mongorestore; its own tests are in Go, and say what they prove."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from techshop import recipes


def test_go(go_test: str, said: dict[str, str]) -> None:
    assert f"--- PASS: {go_test} " in said[go_test], said[go_test] or "it didn't run"


@pytest.mark.parametrize("name", ["mongodump", "mongorestore"])
def test_the_image_has_one_static_program_that_is_either_by_its_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).symlink_to(recipes.mongo_tools())
    done = subprocess.run([tmp_path / name, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{name} version: ") and "stand-in" in done.stdout
    assert b"INTERP" not in subprocess.run(["readelf", "-lW", tmp_path / name], capture_output=True, check=True).stdout


def test_the_image_calls_it_by_both_names() -> None:
    text = (recipes.FOLDER / "mongo/Dockerfile").read_text()
    assert re.search(rf"^COPY {recipes.MONGO_TOOLS.name} /usr/bin/mongodump$", text, re.MULTILINE)
    assert "ln -s mongodump /usr/bin/mongorestore" in text
    assert os.access(recipes.mongo_tools(), os.X_OK)
