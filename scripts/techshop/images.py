"""The workload images: which the chart asks for, building ours, loading them all into the cluster, listing them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from techshop import cluster, engine, locks, paths, reach, recipes, shell, ui
from techshop.errors import Failure

_CHART = paths.ROOT / "charts/techshop"
_AIRGAP = paths.ROOT / "values/airgap.yaml"
#: Where the chart's values say which image a recipe makes.
_KEYS = {
    "app": "app.image",
    "mongo": "mongodb.image",
    "redis": "redis.image",
    "seaweedfs": "objectstorage.image",
    "rclone": "backup.image",
    "mongodb-exporter": "mongodb.exporter.image",
    "redis-exporter": "redis.exporter.image",
    "jaeger": "tracing.image",
    "prometheus": "monitoring.prometheus.image",
    "alertmanager": "monitoring.alertmanager.image",
    "kube-state-metrics": "monitoring.kubeStateMetrics.image",
    "node-exporter": "monitoring.nodeExporter.image",
}
#: What says which version is inside a stand-in; Debian's packages move on, and a tag must not lie.
_VERSION = {
    "mongo": ("mongod", "--version"),
    "redis": ("redis-server", "--version"),
    "valkey": ("redis-server", "--version"),
    "seaweedfs": ("version",),
    "rclone": ("version",),
}
#: What can take the place of an image of the chart: in air-gapped clusters, and elsewhere.
_ALTERNATIVES = {
    "valkey": ("docker.io/techshop-airgap/valkey:8.0.1", "docker.io/valkey/valkey:8.1.4"),
}
_BUILD_SECONDS = 900


def build(names: Sequence[str] | None = None) -> None:
    """Build the images that no registry has: the storefront's, and in air-gapped clusters the stand-ins as well.

    An image is built only when its recipe, its sources or those of its parent changed.

    Args:
        names: app, mongo, redis or others of the recipes; all that are needed when None.

    Raises:
        Failure: a name is unknown, a package can't be fetched or a build failed.
    """
    airgapped = not reach.registry()
    buildable = list(_KEYS) if airgapped else ["app"]
    for name in names or ():
        if name not in _KEYS:
            raise Failure(f"there is no image called {name!r}", f"Those that can be built: {', '.join(buildable)}.")
        if name not in buildable:
            what = f"{name} is pulled, not built, where a container registry is in reach"
            raise Failure(what, f"TECHSHOP_AIRGAP=1 techshop images build {name} builds its stand-in.")
    engine.ensure()
    asked = references(airgapped)
    with locks.hold("images", "building images"):
        there = _present()
        for name in names or [name for name in buildable if _KEYS[name] in asked]:
            if airgapped:
                _from_packages(name, asked[_KEYS[name]], there)
            else:
                _from_dockerfile(asked[_KEYS[name]], there)


def load() -> None:
    """Put every image that the chart asks for on the cluster's nodes, building or pulling those that aren't there.

    Raises:
        Failure: there is no cluster, or an image can't be had.
    """
    build()
    asked = references(not reach.registry())
    if reach.registry():
        there = _present()
        for key, reference in asked.items():
            if key != _KEYS["app"] and _short(reference) not in there:
                with ui.step(f"pull {reference}"):
                    advice = "Check the name in the chart's values, and that this machine may pull it."
                    shell.run("docker", "pull", "--quiet", reference, log="images", advice=advice)
    else:
        for key in asked.keys() - set(_KEYS.values()):
            ui.say(f"{key} ({asked.pop(key)}) has no stand-in: where it is enabled, its pods can't start.")
    cluster.load(*asked.values())


def alternative(name: str) -> dict[str, str]:
    """Return an image that can take another's place, as the chart's values say it; air-gapped, the nodes have it then.

    Args:
        name: "valkey", which takes that of ``redis.image``.
    """
    built, pulled = _ALTERNATIVES[name]
    reference = pulled
    if not reach.registry():
        reference = built
        with locks.hold("images", "building images"):
            _from_packages(name, reference, _present())
        cluster.load(reference)
    place, _, tag = reference.rpartition(":")
    registry, _, repository = place.partition("/")
    return {"registry": registry, "repository": repository, "tag": tag, "digest": ""}


def list_() -> None:
    """Print each image: its size, whether Docker and the cluster have it, what it is made from and stands in for."""
    airgapped = not reach.registry()
    upstream = references(False)
    there = _present() if engine.answers() else {}
    loaded = _loaded() if there else {}
    rows = [("IMAGE", "SIZE", "IN DOCKER", "IN THE CLUSTER", "STANDS IN FOR", "MADE FROM")]
    for key, reference in references(airgapped).items():
        name = _short(reference)
        ids = loaded.get(name, set())
        rows.append(
            (
                name,
                f"{_size(name) / 1e6:.0f} MB" if name in there else "-",
                "yes" if name in there else "no",
                "yes" if there.get(name) in ids else "another build" if ids else "no",
                _short(upstream[key]) if upstream[key] != reference else "-",
                _made_from(key, airgapped),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def references(airgapped: bool) -> dict[str, str]:
    """Return the images that the chart asks for, by the place in its values that names them.

    Args:
        airgapped: whether ``values/airgap.yaml`` is laid over the chart's values.
    """
    values = _read(_CHART / "values.yaml")
    for part in sorted((_CHART / "charts").glob("*/values.yaml")):
        name = part.parent.name
        values[name] = merged(_read(part), values.get(name, {}))
    found: dict[str, str] = {}
    for name, part in (merged(values, _read(_AIRGAP)) if airgapped else values).items():
        # What a part may switch on later is asked for now.
        if isinstance(part, dict) and part.get("enabled") is not False:
            _find(part, name, found)
    return found


def _find(values: Mapping[str, Any], place: str, found: dict[str, str]) -> None:
    if isinstance(values.get("repository"), str) and "tag" in values:
        name = "/".join(filter(None, (values.get("registry"), values["repository"])))
        found[place] = f"{name}@{values['digest']}" if values.get("digest") else f"{name}:{values['tag']}"
    for key, value in values.items():
        if isinstance(value, dict):
            _find(value, f"{place}.{key}", found)


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay values over others, as Helm does: maps are put together, anything else is replaced."""
    both = dict(under)
    for key, value in over.items():
        mappings = isinstance(value, dict) and isinstance(both.get(key), dict)
        both[key] = merged(both[key], value) if mappings else value
    return both


def _read(path: Path) -> dict[str, Any]:
    try:
        return yaml.safe_load(path.read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise Failure(f"{path} can't be read", tail=str(error)) from error


def _from_packages(name: str, reference: str, there: dict[str, str]) -> None:
    """Build the image ``name`` and its parents from packages, and bring ``there`` up to date."""
    parent = recipes.RECIPES[name].parent
    kept = _kept(name)
    if kept not in there:
        if parent:
            _from_packages(parent, "", there)
        with recipes.context(name) as folder, ui.step(f"build {_short(reference) or kept}"):
            arguments = ["--build-arg", f"PARENT={_kept(parent)}"] if parent else []
            _docker_build(folder, kept, reference, "--network", "none", *arguments)
        _check_version(name, kept, reference)
        there.update(_present())
    _name(kept, reference, there)


def _check_version(name: str, kept: str, reference: str) -> None:
    if name in _VERSION:
        said = shell.run("docker", "run", "--rm", "--network", "none", kept, *_VERSION[name]).splitlines()[0]
        if reference.rpartition(":")[2] not in said:
            shell.succeeds("docker", "rmi", kept)
            raise Failure(f"the packages hold another version than {reference}", f"Correct its tag in {_AIRGAP}.", said)


def _from_dockerfile(reference: str, there: dict[str, str]) -> None:
    """Build the storefront as its Dockerfile says, and bring ``there`` up to date."""
    kept = f"techshop-build/app:{recipes.source_key(recipes.STOREFRONT)}"
    if kept not in there:
        with ui.step(f"build {_short(reference)}"):
            _docker_build(recipes.STOREFRONT, kept, reference)
        there.update(_present())
    _name(kept, reference, there)


def _docker_build(folder: Path, kept: str, reference: str, *arguments: str) -> None:
    # engines without the buildx plugin have only the classic builder
    env = {} if shell.succeeds("docker", "buildx", "version") else {"DOCKER_BUILDKIT": "0"}
    version = f"org.opencontainers.image.version={reference.rpartition(':')[2] or 'none'}"
    options = ("--quiet", "--tag", kept, "--label", version, *arguments)
    shell.run("docker", "build", *options, folder, env=env, timeout=_BUILD_SECONDS, log="images")


def _name(kept: str, reference: str, there: Mapping[str, str]) -> None:
    """Give the built image the name that the chart asks for, and drop what was built of older recipes."""
    if reference and there.get(_short(reference)) != there[kept]:
        shell.run("docker", "tag", kept, reference)
    repository = kept.rpartition(":")[0]
    for stale in there:
        if stale.rpartition(":")[0] == repository and stale != kept:
            shell.succeeds("docker", "rmi", stale)  # one that is still in use stays


def _kept(name: str) -> str:
    """Return the name under which a built image is found again as long as its recipe stays the same."""
    return f"techshop-build/{name}:{recipes.key(name)}"


def _present() -> dict[str, str]:
    """Return the images that the Docker engine has: name and id."""
    listed = shell.run("docker", "image", "ls", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}")
    return dict(line.split() for line in shell.lines(listed))


def _size(name: str) -> int:
    return int(shell.run("docker", "image", "inspect", "--format", "{{.Size}}", name))


def _loaded() -> dict[str, set[str]]:
    """Return the images that every node of the cluster has: name, and the ids under it."""
    found: dict[str, set[str]] = {}
    nodes = [node.name for node in cluster.nodes() if node.running]
    for node in nodes:
        listed = json.loads(shell.run("docker", "exec", node, "crictl", "images", "--output", "json"))
        here = {_short(tag): {image["id"]} for image in listed["images"] for tag in image["repoTags"]}
        found = here if node == nodes[0] else {name: found[name] | here[name] for name in found.keys() & here.keys()}
    return found


def _made_from(key: str, airgapped: bool) -> str:
    name = next((name for name, place in _KEYS.items() if place == key), "")
    if name and airgapped:
        return recipes.RECIPES[name].made_from
    return "images/app/Dockerfile" if name == "app" else "a registry"


def _short(reference: str) -> str:
    """Return a reference as Docker shows it."""
    return reference.removeprefix("docker.io/").removeprefix("library/")
