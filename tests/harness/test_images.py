"""The images that the chart asks for, and what building them does, with a Docker engine that only remembers."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml

from techshop import cluster, engine, images, reach, recipes, shell
from techshop.errors import Failure

#: What is in no package registry, and off in values/airgap.yaml.
NOT_TO_BE_HAD = {"monitoring.grafana.image"}


class Docker:
    """Answers as the Docker engine does, and keeps what it was asked."""

    def __init__(self) -> None:
        self.images: dict[str, str] = {}
        self.calls: list[tuple[str, ...]] = []
        self.version = "db version v6.0.5"

    def run(self, *command: str | Path, **_: object) -> str:
        words = tuple(str(word) for word in command)
        self.calls.append(words)
        match words[1:3]:
            case ("image", "ls"):
                return "".join(f"{name} {identity}\n" for name, identity in self.images.items())
            case ("build", _):
                self.images[words[words.index("--tag") + 1]] = f"sha256:{len(self.calls)}"
            case ("tag", kept):
                self.images[words[3].removeprefix("docker.io/")] = self.images[kept]
            case ("rmi", name):
                del self.images[name]
            case ("run", _):
                return self.version
        return ""

    def succeeds(self, *command: str | Path, **_: object) -> bool:
        self.run(*command)
        return True

    def said(self, verb: str) -> list[tuple[str, ...]]:
        return [call for call in self.calls if call[1] == verb]


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Docker:
    fake = Docker()
    monkeypatch.setattr(shell, "run", fake.run)
    monkeypatch.setattr(shell, "succeeds", fake.succeeds)
    monkeypatch.setattr(engine, "ensure", lambda: None)
    for name in recipes.RECIPES:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "Dockerfile").write_text(name)
    monkeypatch.setattr(recipes, "FOLDER", tmp_path)
    unfilled = {
        name: recipes.Recipe(name, recipe.parent, lambda folder: None, recipe.made_from)
        for name, recipe in recipes.RECIPES.items()
    }
    monkeypatch.setattr(recipes, "RECIPES", unfilled)
    monkeypatch.setattr("techshop.paths.CACHE", tmp_path / "cache")
    return fake


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    return lambda there: monkeypatch.setattr(reach, "registry", lambda: there)


@pytest.fixture
def chart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Write a chart whose parts have these values, and airgap values beside it."""

    def write(parts: dict[str, object], values: object = None, airgap: object = None) -> None:
        folder = tmp_path / "chart"
        folder.mkdir()
        for name, content in parts.items():
            (folder / "charts" / name).mkdir(parents=True)
            (folder / "charts" / name / "values.yaml").write_text(yaml.safe_dump(content))
        (folder / "values.yaml").write_text(yaml.safe_dump(values or {}))
        (tmp_path / "airgap.yaml").write_text(yaml.safe_dump(airgap or {}))
        monkeypatch.setattr(images, "_CHART", folder)
        monkeypatch.setattr(images, "_AIRGAP", tmp_path / "airgap.yaml")

    return write


def image(repository: str, tag: str = "1", digest: str = "") -> dict[str, str]:
    return {"registry": "docker.io", "repository": repository, "tag": tag, "digest": digest}


def test_airgap_values_only_rename_what_is_not_ours() -> None:
    upstream, airgapped = images.references(False), images.references(True)
    assert upstream.keys() == airgapped.keys()
    renamed = {key for key in upstream if upstream[key] != airgapped[key]}
    assert renamed == set(upstream) - {"app.image", *NOT_TO_BE_HAD}
    assert all(airgapped[key].startswith("docker.io/techshop-airgap/") for key in renamed)


def test_every_image_of_the_chart_can_be_built_air_gapped() -> None:
    assert set(images.references(True)) - NOT_TO_BE_HAD == set(images._KEYS.values())


def test_the_umbrella_wins_over_the_part_and_disabled_parts_are_left_out(chart: Callable[..., None]) -> None:
    chart(
        {"app": {"image": image("shop")}, "mesh": {"enabled": False, "image": image("mesh")}, "bare": {}},
        {"app": {"image": {"tag": "2"}}},
    )
    assert images.references(False) == {"app.image": "docker.io/shop:2"}


def test_a_digest_wins_over_the_tag(chart: Callable[..., None]) -> None:
    chart({"app": {"sidecar": {"image": image("shop", digest="sha256:ab")}}})
    assert images.references(False) == {"app.sidecar.image": "docker.io/shop@sha256:ab"}


def test_values_that_are_no_yaml_are_named(chart: Callable[..., None], tmp_path: Path) -> None:
    chart({})
    (tmp_path / "airgap.yaml").write_text("a: [")
    images.references(False)
    with pytest.raises(Failure, match=r"airgap\.yaml can't be read"):
        images.references(True)


def test_an_unknown_image_is_refused(registry: Callable[[bool], None]) -> None:
    registry(False)
    with pytest.raises(Failure, match="no image called 'nginx'") as refused:
        images.build(["nginx"])
    assert "app, mongo, redis" in refused.value.advice


def test_with_a_registry_a_stand_in_is_refused(registry: Callable[[bool], None]) -> None:
    registry(True)
    with pytest.raises(Failure, match="pulled, not built") as refused:
        images.build(["mongo"])
    assert "TECHSHOP_AIRGAP=1" in refused.value.advice


def test_parents_are_built_once_and_the_second_time_nothing_is(
    docker: Docker, registry: Callable[[bool], None]
) -> None:
    registry(False)
    docker.version = "v6.0.5 v=7.0.15 8000GB 4.48 v1.75.2"
    images.build()
    built = [Path(call[-1]).name for call in docker.said("build")]
    assert built == [
        "base",
        "nodejs",
        "app",
        "mongo",
        "redis",
        "seaweedfs",
        "rclone",
        "mongodb-exporter",
        "redis-exporter",
        "jaeger",
        "prometheus",
        "alertmanager",
        "kube-state-metrics",
        "node-exporter",
    ]
    assert all("none" in call[call.index("--network") + 1] for call in docker.said("build"))
    assert {"techshop/app:0.1.0", "techshop-airgap/mongo:6.0.5", "techshop-airgap/redis:7.0.15"} <= docker.images.keys()
    docker.calls.clear()
    images.build()
    assert [call[1:3] for call in docker.calls] == [("image", "ls")]


def test_a_changed_recipe_builds_its_image_again_and_drops_the_old(
    docker: Docker, registry: Callable[[bool], None], tmp_path: Path
) -> None:
    registry(False)
    images.build(["app"])
    before = images._kept("app")
    (tmp_path / "app/Dockerfile").write_text("changed")
    docker.calls.clear()
    images.build(["app"])
    assert [Path(call[-1]).name for call in docker.said("build")] == ["app"]
    assert before not in docker.images
    assert docker.images["techshop/app:0.1.0"] == docker.images[images._kept("app")]


def test_a_tag_that_lies_is_refused(docker: Docker, registry: Callable[[bool], None]) -> None:
    registry(False)
    docker.version = "db version v6.0.6"
    with pytest.raises(Failure, match="another version") as refused:
        images.build(["mongo"])
    assert refused.value.tail == docker.version
    assert images._kept("mongo") not in docker.images


def test_with_a_registry_the_dockerfile_is_built_and_the_rest_is_pulled(
    docker: Docker, registry: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry(True)
    loaded: list[Sequence[str]] = []
    monkeypatch.setattr(cluster, "load", lambda *names: loaded.append(names))
    upstream = images.references(False)
    docker.images[upstream["redis.image"].removeprefix("docker.io/library/")] = "sha256:there"
    images.load()
    assert [call[-1] for call in docker.said("build")] == [str(recipes.STOREFRONT)]
    assert {call[-1] for call in docker.said("pull")} == set(upstream.values()) - {
        upstream["redis.image"],
        upstream["app.image"],
    }
    assert set(loaded[0]) == set(upstream.values())


def test_air_gapped_what_has_no_stand_in_is_said_and_the_rest_loaded(
    docker: Docker,
    registry: Callable[[bool], None],
    chart: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    registry(False)
    docker.version = "1"
    chart({name: {"image": image(name)} for name in ("app", "mongodb", "redis", "mesh")})
    loaded: list[str] = []
    monkeypatch.setattr(cluster, "load", lambda *names: loaded.extend(names))
    images.load()
    assert loaded == ["docker.io/app:1", "docker.io/mongodb:1", "docker.io/redis:1"]
    assert "mesh.image (docker.io/mesh:1) has no stand-in" in capsys.readouterr().err


def test_the_list_says_what_stands_in_for_what(
    monkeypatch: pytest.MonkeyPatch, registry: Callable[[bool], None], capsys: pytest.CaptureFixture[str]
) -> None:
    registry(False)
    monkeypatch.setattr(engine, "answers", lambda: True)
    mongo = images.references(True)["mongodb.image"].removeprefix("docker.io/")
    monkeypatch.setattr(images, "_present", lambda: {mongo: "sha256:new"})
    monkeypatch.setattr(images, "_loaded", lambda: {mongo: {"sha256:old"}})
    monkeypatch.setattr(images, "_size", lambda _: 309_000_000)
    images.list_()
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(mongo))
    upstream = images.references(False)["mongodb.image"].removeprefix("docker.io/library/")
    assert "309 MB" in line
    assert "another build" in line
    assert upstream in line
    assert "PyPI (mongod)" in line
