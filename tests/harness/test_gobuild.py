import dataclasses
import tomllib
from pathlib import Path

import pytest

from techshop import gobuild, nodeimage, paths
from techshop.errors import Failure


@pytest.fixture(autouse=True)
def _no_go(monkeypatch):
    monkeypatch.setattr(gobuild, "go_version", lambda: "go1.26.0")


def own(folder: Path, **table) -> gobuild.Recipe:
    return gobuild.parse("own", {"source": "own", **table}, folder)


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "main.go").write_text("package main\n")
    return tmp_path


def test_key_changes_with_whatever_goes_into_the_result(source, monkeypatch):
    base = own(source)
    changes = [{"tags": "x"}, {"ldflags": "-X a=b"}, {"cgo": True}, {"version": "v2"}, {"packages": ["./cmd"]}]
    keys = {base.key, *(own(source, **change).key for change in changes)}
    (source / "own/main.go").write_text("package main // changed\n")
    keys.add(own(source).key)
    monkeypatch.setattr(gobuild, "go_version", lambda: "go1.26.1")
    keys.add(own(source).key)
    assert len(keys) == len(changes) + 3


def test_key_depends_on_neither_the_place_nor_go_tests(source, tmp_path):
    before = own(source)
    (source / "own/main_test.go").write_text("package main\n")
    moved = dataclasses.replace(before, source="/elsewhere")
    assert own(source).key == before.key == moved.key


def test_edits_that_no_longer_fit_fail(tmp_path, monkeypatch):
    module = tmp_path / "module"
    module.mkdir()
    (module / "a.go").write_text("old old\n")
    (module / "a.go").chmod(0o444)
    monkeypatch.setattr(gobuild, "_download", lambda *_: {"Dir": str(module)})
    table = {"module": "m", "version": "v1", "copy": True, "edits": [{"file": "a.go", "old": "old", "new": "new"}]}
    recipe = gobuild.parse("m", table, tmp_path)
    with pytest.raises(Failure, match="2 times in place of 1"):
        gobuild._copy_module(recipe, tmp_path / "one", {})
    fits = dataclasses.replace(recipe, edits=(gobuild.Edit("a.go", "old", "new", 2),))
    gobuild._copy_module(fits, tmp_path / "two", {})
    assert (tmp_path / "two/a.go").read_text() == "new new\n"


def test_staging_modules_become_their_published_versions(tmp_path, monkeypatch):
    upstream = tmp_path / "upstream.mod"
    upstream.write_text(
        "module k\n\ngo 1.26.0\n\nreplace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n\tx => y v1\n)\n"
    )
    monkeypatch.setattr(gobuild, "_download", lambda *_: {"GoMod": str(upstream)})
    recipe = gobuild.Recipe("k", module="k", version="v1.36.3", staging="v0.36.3")
    gobuild._throw_away_module(recipe, tmp_path, {})
    text = (tmp_path / "go.mod").read_text().splitlines()
    assert text == ["module build", "go 1.26.0", "require k v1.36.3", "replace k8s.io/api => k8s.io/api v0.36.3"]


def test_tests_are_compiled_again_when_one_changes(source, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(gobuild, "go", lambda: "go")
    made = []

    def compile_(*command, **_):
        made.append(command)
        Path(command[4]).write_text("")

    monkeypatch.setattr(gobuild.shell, "run", compile_)
    first = gobuild.tests(own(source))
    assert gobuild.tests(own(source)) == first and len(made) == 1
    (source / "own/main_test.go").write_text("package main\n")
    assert gobuild.tests(own(source)) != first and len(made) == 2


def test_what_is_built_is_not_built_again(source, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    made = []

    def build(recipe):
        made.append(recipe.name)
        recipe.folder.mkdir(parents=True)

    monkeypatch.setattr(gobuild, "_build", build)
    recipe = own(source)
    for _ in range(2):
        assert gobuild.build([recipe]) == {"own": recipe.folder}
    assert made == ["own"]


def test_prune_removes_read_only_folders(tmp_path, monkeypatch):
    private = tmp_path / "go-build"
    (private / "mod/a").mkdir(parents=True)
    (private / "mod/a/file").write_text("")
    (private / "mod/a").chmod(0o555)
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    gobuild.prune()
    assert not private.exists()
    gobuild.prune()


def test_caches_of_the_user_are_used(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    monkeypatch.setenv("GOCACHE", "/theirs")
    monkeypatch.delenv("GOMODCACHE", raising=False)
    env = gobuild._environment(cgo=False)
    assert "GOCACHE" not in env
    assert env["GOMODCACHE"] == str(tmp_path / "go-build/mod")


def test_the_node_recipe_agrees_with_itself():
    recipe = tomllib.loads(nodeimage.RECIPE.read_text())
    programs = gobuild.load(nodeimage.RECIPE)
    for name, image in recipe["images"].items():
        program = programs.get(image["recipe"])
        if program and program.version:
            tag = name.rsplit(":", 1)[1]
            assert tag.removeprefix("v").startswith(program.version.removeprefix("v")), name
    minor = programs["kubernetes"].version.split(".", 1)[1]
    assert programs["kubernetes"].staging == f"v0.{minor}"
    assert programs["kubernetes"].version in programs["kubernetes"].ldflags


def test_manifests_name_only_images_that_the_node_holds():
    recipe = tomllib.loads(nodeimage.RECIPE.read_text())
    held = {*recipe["images"], nodeimage._USERLAND}
    files = [*(nodeimage.FOLDER / "manifests").iterdir(), paths.ROOT / "scripts/techshop/manifests/metrics-server.yaml"]
    named = {
        word.strip("\"',")
        for file in files
        for line in file.read_text().splitlines()
        if "image" in line
        for word in line.replace("[", " ").split()
        if "/" in word and ":" in word
    }
    assert named
    assert named <= held
