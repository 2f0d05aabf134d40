"""Values made from the chart's schema: Hypothesis strategies for what it accepts, and for what it must refuse."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema_rs
from conftest import CHART, PARTS
from hypothesis import strategies as st

Values = dict[str, Any]

SCHEMA = json.loads((CHART / "values.schema.json").read_text())

#: Where the schema leaves the form to Kubernetes: values that Kubernetes takes.
FREE = {
    "affinity": [{"nodeAffinity": {}}, {"podAntiAffinity": {}}],
    "tolerations": [[{"operator": "Exists"}], [{"key": "spot", "operator": "Exists", "tolerationSeconds": 10_000_000}]],
    "topologySpreadConstraints": [[], [{"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "ScheduleAnyway"}]],
    "clients": [[{"namespaceSelector": {}}], [{"ipBlock": {"cidr": "fd00::/8"}}]],
    "scrapers": [[{"namespaceSelector": {"matchLabels": {"team": "metrics"}}}]],
    "uploaders": [[{"podSelector": {"matchLabels": {"job": "upload"}}}]],
    "tracers": [[{"podSelector": {"matchLabels": {"job": "edge"}}}]],
    "viewers": [[{"ipBlock": {"cidr": "10.0.0.0/8"}}]],
    "extraEnv": [[{"name": "A", "value": "0123"}], [{"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]],
    "extraVolumes": [[], [{"name": "more", "emptyDir": {}}]],
    "extraVolumeMounts": [[]],
    "receivers": [[], [{"name": "a", "webhook_configs": [{"url": "http://a.example.com"}]}, {"name": "b"}]],
    "routes": [[], [{"receiver": "b", "matchers": ['team="b"']}]],
    "inhibitRules": [[], [{"source_matchers": ["a=b"], "target_matchers": ["b=c"]}]],
}
#: Texts that YAML takes for something else, and others that are odd.
# fmt: off
_TEXTS = [
    "", "0", "0123", "1e6", "1.10", "yes", "null", "~", "1_000", "0x1F", "12:30:45", "2026-01-01", "a: b", "- a", "#",
    "{{ x }}", "{}", "'", '"', "\\", "a\nb", " a ", "ünïcode", "$(HOME)", "%", "*a", "!a", "@", "`", "1", "true", "&a",
]
# fmt: on
#: Passed through from Helm, not set by anyone.
_INNER = {"common", *(f"{part}.global" for part in PARTS)}
#: What people write where something else belongs.
_ODD = [-1, 0, 1.5, 10**12, True, "", "x y", "1e6", "0123", "yes", "ünïcode", [], [1], {}, {"a": 1}, "a" * 300]


@cache
def leaves() -> dict[str, dict[str, Any]]:
    """Return the schema of every value that holds no others, by its dotted path."""
    return {path: node for path, node in _walk(SCHEMA, "") if path not in _INNER}


def accepted() -> st.SearchStrategy[Values]:
    """Return a strategy for one to eight values by their paths, each of a form that the schema accepts."""
    # Half of all values are amounts of resources, which seldom fit each other when they are drawn alone.
    amounts, others = ([name for name in leaves() if (".resources." in name) is among] for among in (True, False))
    some = st.lists(st.sampled_from(others * 4 + amounts), min_size=1, max_size=8, unique=True)
    return some.flatmap(lambda names: st.fixed_dictionaries({name: _valid(name) for name in names}))


def refused() -> st.SearchStrategy[tuple[str, Any]]:
    """Return a strategy for a path and a value that the schema must not accept there."""
    return st.sampled_from(sorted(leaves())).flatmap(
        lambda name: st.tuples(st.just(name), st.sampled_from(_ODD).filter(lambda value: not _fits(name, value)))
    )


@cache
def _valid(path: str) -> st.SearchStrategy[Any]:
    free = FREE.get(path.rpartition(".")[2])
    return st.sampled_from(free) if free else _meets(leaves()[path])


def _meets(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for what meets a schema of the few forms that the chart's has."""
    if "anyOf" in schema:
        return st.one_of(*map(_meets, schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return st.one_of(*(_of_type(name, schema) for name in types)).filter(_schema_validator(schema).is_valid)


def _of_type(name: str, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    least, most = schema.get("minimum", -(2**53)), schema.get("maximum", 2**53)
    makes = {
        "string": lambda: _text(schema.get("pattern")),
        "integer": lambda: st.integers(least, most),
        "number": lambda: st.floats(least, most),
        "boolean": st.booleans,
        "null": st.none,
        "array": lambda: st.lists(_meets(schema["items"]), max_size=3),
        "object": lambda: _map(schema),
    }
    return makes[name]()


def _text(pattern: str | None) -> st.SearchStrategy[str]:
    odd = st.sampled_from(_TEXTS)
    return (odd | st.from_regex(pattern, fullmatch=True)) if pattern else (odd | st.text(max_size=40))


def _map(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "properties" in schema:
        return st.fixed_dictionaries({key: _meets(below) for key, below in schema["properties"].items()})
    ((keys, values),) = schema["patternProperties"].items()
    return st.dictionaries(_text(keys).filter(re.compile(keys).fullmatch), _meets(values), max_size=3)


def _fits(path: str, value: Any) -> bool:
    fits: bool = _schema_validator(leaves()[path]).is_valid(value)
    return fits


def _schema_validator(schema: dict[str, Any]) -> Any:
    return jsonschema_rs.validator_for(schema)


def _walk(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    node = _resolved(node)
    if not node.get("properties"):
        yield path, node
    for key, below in node.get("properties", {}).items():
        yield from _walk(below, f"{path}.{key}".lstrip("."))


def _resolved(tree: Any) -> Any:
    """Return the schema with each reference replaced by what it stands for."""
    if isinstance(tree, list):
        return [_resolved(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if "$ref" in tree:
        tree = {**SCHEMA["$defs"][tree["$ref"].rsplit("/", 1)[1]], **{k: v for k, v in tree.items() if k != "$ref"}}
    return {key: _resolved(value) for key, value in tree.items()}
