"""What an upgrade from the last release does to what runs: nothing that the API refuses, nothing that loses data."""

import copy
from pathlib import Path

import pytest
from conftest import ENVIRONMENTS, Object, by_name, objects, template

from techshop import publish

#: Fields that the API server never lets anyone change.
IMMUTABLE = {
    "Deployment": ["selector"],
    "StatefulSet": ["selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates"],
    "Service": ["clusterIP"],
    "Job": ["selector", "template", "completionMode"],
    "PersistentVolumeClaim": ["storageClassName", "accessModes", "volumeName"],
}


def refused_changes(old: list[Object], new: list[Object]) -> list[str]:
    """Return what of an upgrade the API server would refuse, or what it would take away from the user."""
    before, after = by_name(old), by_name(new)
    found = []
    for key, item in before.items():
        kind, name = key
        if key not in after:
            if kind in {"StatefulSet", "Secret", "PersistentVolumeClaim"}:
                found.append(f"{kind}/{name} is gone")
            continue
        found += [
            f"{kind}/{name}: {field} changes"
            for field in IMMUTABLE.get(kind, [])
            if item["spec"].get(field) != after[key]["spec"].get(field)
        ]
        if kind == "Secret":
            found += [f"{name}: {k} changes" for k, v in item["data"].items() if after[key]["data"].get(k) != v]
    return found


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_last_release_can_be_upgraded_to_this_one(environment: str, tmp_path: Path) -> None:
    chart = publish.unpack(publish.previous(), tmp_path)
    old = objects(tmp_path / f"values/{environment}.yaml", chart=chart)
    assert refused_changes(old, objects(environment)) == []
    # What an operator wrote for the last release is still understood.
    template(tmp_path / f"values/{environment}.yaml")


@pytest.mark.parametrize(
    ("kind", "path", "value", "said"),
    [
        ("StatefulSet", "spec.serviceName", "other", "serviceName changes"),
        ("StatefulSet", "spec.selector.matchLabels", {}, "selector changes"),
        ("StatefulSet", "spec.volumeClaimTemplates", [], "volumeClaimTemplates changes"),
        ("Deployment", "spec.selector.matchLabels", {}, "selector changes"),
        ("Service", "spec.clusterIP", "None", "clusterIP changes"),
        ("Secret", "data", {}, "changes"),
        ("StatefulSet", "metadata.name", "other", "is gone"),
        ("Secret", "metadata.name", "other", "is gone"),
    ],
)
def test_a_change_that_can_not_be_made_is_seen(kind: str, path: str, value: object, said: str) -> None:
    old = objects("prod")
    new = copy.deepcopy(old)
    place = next(item for item in new if item["kind"] == kind)
    *above, key = path.split(".")
    for name in above:
        place = place[name]
    place[key] = value
    assert refused_changes(old, old) == []
    assert any(said in change for change in refused_changes(old, new))


def test_what_every_upgrade_may_change_is_taken() -> None:
    values = {"mongodb.replicaSet.replicas": 5, "redis.cluster.shards": 4, "app.logLevel": "debug"}
    assert refused_changes(objects("prod"), objects("prod", values=values)) == []
