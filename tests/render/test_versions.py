"""The order of MongoDB's series; what only a running release can tell is in tests/cluster."""

import pytest
from conftest import objects, one


@pytest.mark.parametrize("held", ["", "7.0", "8.0"])
def test_the_version_that_files_are_held_at_is_told_without_a_restart(held: str) -> None:
    rendered = objects(values={"mongodb.featureCompatibilityVersion": held})
    assert one(rendered, "ConfigMap", "-mongodb")["data"]["compatibility"] == held
    assert one(rendered, "StatefulSet", "-mongodb") == one(objects(), "StatefulSet", "-mongodb")


@pytest.mark.parametrize(("tag", "held"), [("7.0.1", "8.0"), ("v8.0.15-noble", "8.2"), ("6.0", "7.0")])
def test_files_can_not_be_held_at_a_version_to_come(refused, tag: str, held: str) -> None:
    message = refused(values={"mongodb.image.tag": tag, "mongodb.featureCompatibilityVersion": held})
    assert f"can't keep its files as {held} does; write" in message


@pytest.mark.parametrize("tag", ["noble", "1234567890123456789012.0", "08.0", "nightly-2026.11", "8"])
def test_a_tag_that_names_no_series_is_taken_as_it_is(tag: str) -> None:
    assert objects(values={"mongodb.image.tag": tag, "mongodb.featureCompatibilityVersion": "8.0"})


@pytest.mark.parametrize("held", ["8", "v8.0", "8.0.1", "08.0", "1234567890123456789012.0", 8.0])
def test_a_version_is_written_as_a_series(refused, held: object) -> None:
    assert "/mongodb/featureCompatibilityVersion" in refused(values={"mongodb.featureCompatibilityVersion": held})
