"""The recipes of the air-gapped images: what they are pinned to, when they change, and what they promise."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from techshop import gobuild, images, recipes
from techshop.errors import Failure

LOCKS = sorted(recipes.FOLDER.glob("*/package-lock.json"))
ENTRYPOINTS = {name: recipes.FOLDER / name / "docker-entrypoint.sh" for name in ("mongo", "redis")}


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The recipes' folder, to change at will."""
    for name in recipes.RECIPES:
        shutil.copytree(recipes.FOLDER / name, tmp_path / name, ignore=shutil.ignore_patterns("node_modules"))
    monkeypatch.setattr(recipes, "FOLDER", tmp_path)
    return tmp_path


def keys() -> dict[str, str]:
    return {name: recipes.key(name) for name in recipes.RECIPES}


def changed(before: dict[str, str]) -> set[str]:
    return {name for name, key in keys().items() if key != before[name]}


@pytest.mark.parametrize(
    ("file", "rebuilt"),
    [
        ("redis/docker-entrypoint.sh", {"redis", "valkey"}),
        ("mongo/requirements.txt", {"mongo"}),
        ("seaweedfs/requirements.txt", {"seaweedfs"}),
        ("nodejs/package-lock.json", {"nodejs", "mongo", "app"}),
        ("alertmanager/index.html", {"alertmanager"}),
        (
            "redis/packages",
            {"base", "nodejs", "mongo", "redis", "valkey", "seaweedfs", "rclone", "prometheus", "alertmanager", "app"},
        ),
    ],
)
def test_a_change_rebuilds_what_stands_on_it_and_no_more(copied: Path, file: str, rebuilt: set[str]) -> None:
    before = keys()
    assert not changed(before)
    path = copied / file
    path.write_text(path.read_text() + "more\n")
    assert changed(before) == rebuilt


def test_a_program_bit_counts_and_installed_modules_do_not(copied: Path) -> None:
    before = keys()
    (copied / "redis/node_modules").mkdir()
    (copied / "redis/node_modules/x.js").write_text("")
    assert not changed(before)
    (copied / "redis/docker-entrypoint.sh").chmod(0o644)
    assert changed(before) == {"redis", "valkey"}


def test_the_mongo_image_follows_the_source_of_its_tools_but_not_their_tests(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(recipes.MONGO_TOOLS, tmp_path / "tools")
    monkeypatch.setitem(
        recipes.RECIPES, "mongo", dataclasses.replace(recipes.RECIPES["mongo"], source=tmp_path / "tools")
    )
    before = keys()
    (tmp_path / "tools/new_test.go").write_text("package main\n")
    assert not changed(before)
    (tmp_path / "tools/main.go").write_text("package main\n")
    assert changed(before) == {"mongo"}


def test_a_source_key_follows_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = recipes.source_key(tmp_path)
    assert recipes.source_key(tmp_path) == first
    (tmp_path / "b").write_text("1")
    assert recipes.source_key(tmp_path) != first


def test_parents_come_before_their_children() -> None:
    names = list(recipes.RECIPES)
    for recipe in recipes.RECIPES.values():
        assert not recipe.parent or names.index(recipe.parent) < names.index(recipe.name)
        assert (recipes.FOLDER / recipe.name / "Dockerfile").is_file()


#: Whose module has other numbers than its releases: 0.316.0 is Prometheus 3.16.0, 1.76.0 is Jaeger 2.13.0.
NUMBERED_OTHERWISE = {"prometheus", "jaeger"}
FROM_MODULES = [name for name in images._KEYS if (recipes.FOLDER / name / "go.toml").exists()]


@pytest.mark.parametrize("name", FROM_MODULES)
def test_a_program_built_from_its_module_has_the_version_that_its_tag_and_the_chart_name(name: str) -> None:
    place = images._KEYS[name]
    (program,) = gobuild.load(recipes.FOLDER / name / "go.toml").values()
    tags = {reference.rpartition(":")[2] for air in (True, False) for reference in (images.references(air)[place],)}
    (version,) = {tag.removeprefix("v") for tag in tags}
    assert re.search(rf"=v?{re.escape(version)}$", program.ldflags)
    assert name in NUMBERED_OTHERWISE or program.version.removeprefix("v") == version


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.parent.name)
def test_npm_packages_are_pinned_by_checksum_and_name_no_mirror(lock: Path) -> None:
    packages = json.loads(lock.read_text())["packages"]
    assert not any("resolved" in entry for entry in packages.values())
    assert all("integrity" in entry for name, entry in packages.items() if name and not entry.get("inBundle"))
    declared = json.loads((lock.parent / "package.json").read_text())
    for versions in (declared.get("dependencies", {}), declared.get("devDependencies", {})):
        assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions.values())


def pins(name: str) -> list[str]:
    lines = (recipes.FOLDER / name / "requirements.txt").read_text().splitlines()
    return [line for line in lines if line[0] != "#"]


@pytest.mark.parametrize("name", ["mongo", "seaweedfs"])
def test_wheels_are_pinned_by_checksum(name: str) -> None:
    assert pins(name)
    assert all(re.fullmatch(r"[\w-]+==[\d.]+ --hash=sha256:[0-9a-f]{64}", pin) for pin in pins(name))


def test_seaweedfs_is_the_same_build_in_the_wheel_and_in_the_image_that_the_chart_names() -> None:
    (pin,) = pins("seaweedfs")
    version = pin.split()[0].partition("==")[2]
    ours, upstreams = (images.references(air)["objectstorage.image"].rpartition(":")[2] for air in (True, False))
    # The wheel's build writes files that upstream's other one, without this ending, can't read.
    assert (ours, upstreams) == (version, f"{version}_large_disk")


def test_other_processors_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "x", "6", "1", "aarch64")))
    with pytest.raises(Failure, match="this machine is aarch64"), recipes.context("redis"):
        pass


def test_a_chosen_mirror_wins() -> None:
    assert recipes.sources_list("http://mirror.example/debian", ["http://apt.example bookworm main"]) == [
        "deb http://mirror.example/debian bookworm main",
        "deb http://mirror.example/debian bookworm-updates main",
        "deb http://mirror.example/debian bookworm-backports main",
    ]


def test_the_machines_own_mirrors_are_used() -> None:
    configured = [
        "http://apt.example/debian bookworm main",
        "http://apt.example/debian bookworm non-free",
        "http://apt.example/security bookworm-security main",
        "http://other.example/x nodistro main",
    ]
    assert recipes.sources_list("", configured) == [
        "deb http://apt.example/debian bookworm main",
        "deb http://apt.example/debian bookworm-backports main",
        "deb http://apt.example/security bookworm-security main",
    ]


@pytest.mark.parametrize("configured", [[], ["http://archive.example/ubuntu noble main"]])
def test_a_machine_of_another_kind_asks_debian(configured: list[str]) -> None:
    lines = recipes.sources_list("", configured)
    assert [line.split()[2] for line in lines] == [
        "bookworm",
        "bookworm-backports",
        "bookworm-security",
        "bookworm-updates",
    ]
    assert all("deb.debian.org" in line for line in lines)


def instructions(dockerfile: Path) -> dict[str, list[str]]:
    """Return what the last stage, and those it stands on, say about how the image runs."""
    text = re.sub(r"\\\n\s*", "", dockerfile.read_text())
    found: dict[str, list[str]] = {}
    parent = ""
    for stage in reversed(re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]):
        head, *lines = stage.splitlines()
        if parent and not head.endswith(f" AS {parent}"):
            continue
        parent = head.split()[0]
        for line in lines:
            word, _, rest = line.partition(" ")
            if word in {"WORKDIR", "USER", "EXPOSE", "HEALTHCHECK", "CMD", "ENTRYPOINT", "ENV", "STOPSIGNAL", "VOLUME"}:
                found.setdefault(word, []).append(" ".join(rest.split()))
    return found


def test_the_storefront_runs_the_same_on_both_bases() -> None:
    assert instructions(recipes.FOLDER / "app/Dockerfile") == instructions(recipes.STOREFRONT / "Dockerfile")


def started(name: str, tmp_path: Path, *arguments: str, **env: str) -> list[str]:
    """Run an entrypoint as a user who is not root, and return the command that it ends in."""
    for program in ("mongod", "redis-server"):
        stub = tmp_path / program
        stub.write_text('#!/bin/sh\nprintf "%s\\n" "${0##*/}" "$@"\nenv | grep ^MONGO_ || true\n')
        stub.chmod(0o755)
    (tmp_path / "id").write_text("#!/bin/sh\necho 999\n")
    (tmp_path / "id").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    command = [ENTRYPOINTS[name], *arguments]
    done = subprocess.run(command, env={"PATH": path, **env}, capture_output=True, text=True, check=True, cwd=tmp_path)
    return done.stdout.splitlines()


def test_redis_takes_options_alone_and_leaves_protected_mode_off(tmp_path: Path) -> None:
    assert started("redis", tmp_path, "--port", "1") == ["redis-server", "--port", "1", "--protected-mode", "no"]


def test_redis_keeps_the_protected_mode_that_was_asked_for(tmp_path: Path) -> None:
    conf = tmp_path / "redis.conf"
    conf.write_text("protected-mode yes\n")
    assert started("redis", tmp_path, str(conf)) == ["redis-server", str(conf)]
    asked = ["redis-server", "--protected-mode", "yes"]
    assert started("redis", tmp_path, *asked) == asked


@pytest.mark.parametrize("question", ["--version", "--help"])
def test_redis_answers_what_it_is_and_nothing_else(tmp_path: Path, question: str) -> None:
    assert started("redis", tmp_path, "redis-server", question) == ["redis-server", question]


def test_redis_runs_other_commands_as_they_are(tmp_path: Path) -> None:
    assert started("redis", tmp_path, "echo", "hello") == ["hello"]


def test_mongod_takes_options_alone_and_listens_everywhere(tmp_path: Path) -> None:
    assert started("mongo", tmp_path, "--replSet", "rs0") == ["mongod", "--replSet", "rs0", "--bind_ip_all"]


@pytest.mark.parametrize("own", [["--bind_ip=::"], ["--bind_ip", "::"], ["--config", "x"], ["-f", "x"]])
def test_mongod_keeps_the_addresses_that_were_asked_for(tmp_path: Path, own: list[str]) -> None:
    assert started("mongo", tmp_path, "mongod", *own) == ["mongod", *own]


def test_mongod_never_sees_the_root_password(tmp_path: Path) -> None:
    said = started("mongo", tmp_path, "mongod", MONGO_INITDB_ROOT_PASSWORD="secret", MONGO_INITDB_DATABASE="x")
    assert said == ["mongod", "--bind_ip_all"]
