"""A null takes a default away: what the chart can't do without is refused in a sentence, the rest is as if empty."""

import re
from collections.abc import Iterator

import pytest
from conftest import ALL, PARTS, defaults, template


def keys(values: dict, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield every key below these values, and its default."""
    for key, default in values.items():
        yield f"{path}{key}", default
        if isinstance(default, dict):
            yield from keys(default, f"{path}{key}.")


DEFAULTS = list(keys(defaults()))
EMPTY = [path for path, default in DEFAULTS if default in (None, "", {}, [])]
CPU_LIMITS = [path for path, _ in DEFAULTS if path.endswith("limits.cpu")]
AMOUNTS = [path for path, _ in DEFAULTS if ".resources." in path]  # test_values.py takes these away
# Where Helm, putting globals together, passes a null over.
DEEP = [path for path, _ in DEFAULTS if path.startswith("global.") and path.count(".") > 2]
NEEDED = [path for path, _ in DEFAULTS if path not in EMPTY + AMOUNTS + PARTS + DEEP]


def depth(path: str) -> int:
    return path.count(".")


def missed(path: str) -> str:
    """Return a pattern of the sentence about a key that is missing, perhaps beside others of its map."""
    *above, key = path.split(".")
    place = "".join(f"/{name}" for name in above)
    return rf"at '{re.escape(place)}': missing propert(y|ies) .*'{key}'"


@pytest.mark.parametrize("path", EMPTY)
def test_an_empty_default_may_be_taken_away(path: str) -> None:
    on = ALL | {"resourceQuota.enabled": True}
    assert template(values=on | {path: None}) == template(values=on)


@pytest.mark.parametrize("helm", ["helm", "helm3"])
@pytest.mark.parametrize("path", DEEP)
def test_a_null_deep_inside_global_changes_nothing(path: str, helm: str) -> None:
    assert template(values={path: None}, helm=helm) == template(helm=helm)


@pytest.mark.parametrize("path", CPU_LIMITS)
def test_a_limit_of_cpu_may_be_taken_away(path: str) -> None:
    assert template(values=ALL | {path: None}) != template(values=ALL)


@pytest.mark.parametrize("path", NEEDED)
def test_what_is_needed_is_missed_in_a_sentence(refused, path: str) -> None:
    assert re.search(missed(path), refused(values={path: None}, seed=None))


@pytest.mark.parametrize("helm", ["helm", "helm3"])
@pytest.mark.parametrize("path", sorted(NEEDED, key=depth))
def test_each_helm_misses_all_that_is_needed_at_once(refused, path: str, helm: str) -> None:
    beside = {other: None for other in NEEDED if depth(other) == depth(path)}  # none of them in another
    assert re.search(missed(path), refused(values=beside, seed=None, helm=helm))
