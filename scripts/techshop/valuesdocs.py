"""Make the chart's values schema and its README's tables from the comments in the values files.

``# --`` above a key describes it and ``# @schema`` adds what its default doesn't say, as JSON Schema on one line. A key
that is called like an entry of ``charts/common/definitions.yaml`` is described there.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from techshop import helm, paths, publish, ui
from techshop.errors import Failure

Schema = dict[str, Any]

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
_NAMES = {"array": "list", "object": "map"}


@dataclass(frozen=True)
class Part:
    """A chart whose values are described.

    Args:
        name: its key in the umbrella's values; "" for the umbrella.
        title: what it is, in a sentence.
        defaults: its values.
        properties: the schema of each of them.
    """

    name: str
    title: str
    defaults: dict[str, Any]
    properties: dict[str, Schema]


def write(*, check: bool) -> None:
    """Write what the chart has that is made from other files: schema, README and annotations.

    Args:
        check: write nothing, and fail instead.

    Raises:
        Failure: a value has no description or an unclear type, or, with ``check``, a file is out of date.
    """
    for path, text in (made(helm.CHART) | publish.annotated()).items():
        if path.exists() and path.read_text() == text:
            continue
        name = path.relative_to(paths.ROOT)
        if check:
            raise Failure(f"{name} is not what its sources make", "Run `.venv/bin/techshop docs` and commit it.")
        path.write_text(text)
        ui.say(f"wrote {name}")


def made(chart: Path) -> dict[Path, str]:
    """Return the text of each generated file of a chart."""
    definitions = _load(chart / "charts/common/definitions.yaml")
    about = _load(chart / "Chart.yaml")
    parts = [_part(chart, "", "Across parts", definitions)]
    for dependency in about["dependencies"]:
        folder = chart / "charts" / dependency["name"]
        if (own := _load(folder / "Chart.yaml"))["type"] != "library":
            parts.append(_part(folder, dependency["name"], own["description"], definitions))
    schema = json.dumps(_schema(parts, definitions), indent=2) + "\n"
    readme = (chart / "README.md.tmpl").read_text().format(**about)
    readme += "".join(_table(part, definitions) for part in parts)
    return {chart / "values.schema.json": schema, chart / "README.md": readme}


def _part(folder: Path, name: str, title: str, definitions: dict[str, Schema]) -> Part:
    file = folder / "values.yaml"
    text = file.read_text()
    root = yaml.compose(text)
    if root is None:
        return Part(name, title, {}, {})
    properties = _properties(root, text.splitlines(), file, definitions)
    return Part(name, title, yaml.safe_load(text), properties)


def _properties(node: yaml.Node, lines: list[str], file: Path, definitions: dict[str, Schema]) -> dict[str, Schema]:
    """Return the schema of each key of a mapping."""
    found = {}
    for key, value in node.value:
        line = key.start_mark.line
        where = f"{file.parent.name}/values.yaml, line {line + 1}: {key.value}"
        description, own = _comment(lines[:line], where)
        if not own and key.value in definitions:
            own = {"$ref": f"#/$defs/{key.value}"}
        default = yaml.safe_load(yaml.serialize(value))
        schema: Schema = {"description": description} if description else {}
        if "$ref" in own:
            schema |= own | {"default": default}
        elif not description:
            raise Failure(f"{where} has no description", "Write `# -- ` and a sentence above it.")
        elif isinstance(default, dict) and default:
            schema |= {"type": "object", **own, "properties": _properties(value, lines, file, definitions)}
        elif not own and (default is None or isinstance(default, list | dict)):
            raise Failure(f"{where}: its default doesn't say what may stand in it", "Write it behind `# @schema `.")
        else:
            schema |= {"type": _TYPES.get(type(default)), **own, "default": default}
        found[key.value] = schema
    return found


def _comment(above: list[str], where: str) -> tuple[str, Schema]:
    """Return the description and the schema in the comment that ends right above a key."""
    words: list[str] = []
    own: Schema = {}
    for line in reversed([text.strip() for text in above]):
        if line.startswith("# @schema "):
            try:
                own = json.loads(line.removeprefix("# @schema "))
            except ValueError as error:
                raise Failure(f"{where}: what follows `# @schema` is no JSON: {error}") from error
        elif line.startswith("# -- "):
            return " ".join([line.removeprefix("# -- "), *words]), own
        elif line.startswith("# "):
            words.insert(0, line.removeprefix("# "))
        else:
            break
    return "", own


def _schema(parts: list[Part], definitions: dict[str, Schema]) -> Schema:
    seen_by_parts = {"type": "object", "description": "The umbrella's `global`, which Helm passes on"}
    properties = parts[0].properties | {
        "common": {"type": "object", "description": "Kept by Helm for the library chart; nothing to set"}
    }
    for part in parts[1:]:
        properties[part.name] = {
            "type": "object",
            "description": part.title,
            "properties": part.properties | {"global": seen_by_parts},
            **_whole("global", part.defaults),
        }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Values of the TechShop Cloud chart",
        **_closed({"type": "object", "properties": properties, **_whole("common", parts[0].defaults)}),
        "$defs": {name: _closed(definition) for name, definition in definitions.items()},
    }


def _whole(mark: str, defaults: dict[str, Any]) -> Schema:
    """Refuse that a null takes a default away which templates can't do without.

    Args:
        mark: a key that is there only once Helm has put values and defaults together; before that, as in an editor or
            for a part that isn't installed, nothing needs to be complete.
        defaults: the values of a chart.
    """
    return {"if": {"required": [mark]}, "then": _needs(defaults)}


def _needs(defaults: dict[str, Any]) -> Schema:
    needed = {key: value for key, value in defaults.items() if value not in (None, "", [], {})}
    # Which amounts of its resources a container needs, the template says: common.resources.
    maps = {key: _needs(value) for key, value in needed.items() if isinstance(value, dict) and key != "resources"}
    return {"required": list(needed)} | ({"properties": maps} if maps else {})


def _closed(schema: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Refuse keys that aren't described."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: value if key in {"default", "then"} else _closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        closed["additionalProperties"] = False
    return closed


def _table(part: Part, definitions: dict[str, Schema]) -> str:
    """Return one part's section of the README."""
    lines = [f"\n### {part.name and f'`{part.name}`: '}{part.title}\n", "| Key | Type | Default | Description |"]
    lines.append("| --- | --- | --- | --- |")
    for path, schema, default in _rows(part.name, {"properties": part.properties}, part.defaults, definitions):
        shown = "" if "properties" in schema else f"`{json.dumps(default)}`"
        cells = (f"`{path}`", _type(schema), shown, schema["description"])
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _rows(
    path: str, schema: Schema, defaults: dict[str, Any], definitions: dict[str, Schema]
) -> Iterator[tuple[str, Schema, Any]]:
    """Yield path, schema and default of every key below a map, the map's own before those in it."""
    for key, default in defaults.items():
        below = _resolved(schema["properties"][key], definitions)
        name = f"{path}.{key}" if path else key
        yield name, below, default
        if "properties" in below:
            yield from _rows(name, below, default, definitions)


def _resolved(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """Follow a reference; what stands beside it wins."""
    if "$ref" not in schema:
        return schema
    name = schema["$ref"].removeprefix("#/$defs/")
    below = _resolved(definitions[name], definitions)
    return {**below, **schema, "type": name if name == "quantity" else below["type"]}


def _type(schema: Schema) -> str:
    if "enum" in schema:
        return " or ".join(f"`{choice}`" for choice in schema["enum"])
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return " or ".join(_NAMES.get(name) or str(name) for name in types)


def _load(file: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(file.read_text())
    return loaded
