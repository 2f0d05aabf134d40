"""Where passwords come from."""

import base64

import pytest
from conftest import SEED, objects, one

KEYS = {
    "app": {"jwt-secret", "upload-token"},
    "mongodb": {"root-password", "app-password", "backup-password", "exporter-password", "keyfile"},
    "redis": {"admin-password", "app-password", "exporter-password"},
    "grafana": {"admin-password"},
    "objectstorage": {"assets-access-key", "assets-secret-key", "backups-access-key", "backups-secret-key"},
}


@pytest.mark.parametrize("part", KEYS)
def test_the_chart_makes_the_secret_its_pods_read_and_keeps_it(part: str) -> None:
    secret = one(objects(), "Secret", f"-{part}")
    assert secret["data"].keys() == KEYS[part]
    assert secret["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    for key, value in secret["data"].items():
        assert len(base64.b64decode(value)) >= 32, key


def test_no_two_passwords_are_the_same() -> None:
    values = [v for item in objects() if item["kind"] == "Secret" for v in item["data"].values()]
    assert len(values) == len(set(values))


def test_seed_release_and_namespace_decide_the_derived_passwords() -> None:
    def password(**options) -> str:
        return one(objects(**options), "Secret", "-redis")["data"]["app-password"]

    assert password() == password()
    assert len({password(), password(seed=SEED + "x"), password(namespace="b"), password(release="other")}) == 4


def test_without_a_cluster_or_a_seed_no_secret_is_rendered_so_none_is_ever_replaced() -> None:
    assert not [item for item in objects(seed=None) if item["kind"] == "Secret"]


def test_a_short_seed_is_refused(refused) -> None:
    assert "/global/secrets/seed" in refused(seed="short")


@pytest.mark.parametrize("part", KEYS)
def test_an_existing_secret_is_used_everywhere_and_none_is_made(part: str) -> None:
    rendered = objects(values={f"global.secrets.existing.{part}": "mine"})
    assert not [i for i in rendered if i["kind"] == "Secret" and i["metadata"]["name"].endswith(f"-{part}")]
    assert f"techshop-{part}" not in [name for item in rendered for name in _secrets(item)]
    assert "mine" in [name for item in rendered for name in _secrets(item)]


def _secrets(tree: object) -> list[str]:
    """Names of the Secrets that an object refers to."""
    if isinstance(tree, list):
        return [name for item in tree for name in _secrets(item)]
    if not isinstance(tree, dict):
        return []
    here = [tree["secretName"]] if "secretName" in tree else []
    here += [tree["secretKeyRef"]["name"]] if "secretKeyRef" in tree else []
    return here + [name for item in tree.values() for name in _secrets(item)]
