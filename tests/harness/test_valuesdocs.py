"""The chart's schema and tables: made from the comments in values files, and nothing left unsaid."""

import json
from pathlib import Path

import pytest

from techshop import valuesdocs
from techshop.errors import Failure

DEFINITIONS = """
quantity: {type: string, description: An amount}
volume:
  type: object
  description: A volume
  properties:
    size: {$ref: "#/$defs/quantity"}
"""
OPEN = """
# -- Open
# @schema {"additionalProperties": true}
open:
  # -- B
  b: 1
"""


@pytest.fixture
def chart(tmp_path: Path):
    """Return a function that lays a chart with one part around the part's values."""

    def lay(values: str, umbrella: str = "") -> Path:
        files = {
            "Chart.yaml": "description: A shop\ndependencies: [{name: common}, {name: part}]\n",
            "README.md.tmpl": "{description}\n",
            "values.yaml": umbrella,
            "charts/common/Chart.yaml": "type: library\n",
            "charts/common/definitions.yaml": DEFINITIONS,
            "charts/part/Chart.yaml": "type: application\ndescription: A part\n",
            "charts/part/values.yaml": values,
        }
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return lay


def schema_of(chart: Path) -> dict:
    made = json.loads(valuesdocs.made(chart)[chart / "values.schema.json"])
    return made["properties"]["part"]["properties"]


def rows_of(chart: Path) -> list[str]:
    return [line for line in valuesdocs.made(chart)[chart / "README.md"].splitlines() if line.startswith("| `")]


def test_a_default_says_its_type_and_its_comment_the_rest(chart) -> None:
    laid = chart('# no words of the value\n\n# -- How many,\n# in pods\n# @schema {"minimum": 1}\ncount: 2\n')
    described = {"description": "How many, in pods", "type": "integer", "minimum": 1, "default": 2}
    assert schema_of(laid)["count"] == described
    assert rows_of(laid) == ["| `part.count` | integer | `2` | How many, in pods |"]


def test_a_value_called_like_a_definition_is_described_by_it(chart) -> None:
    laid = chart("volume:\n  size: 1Gi\n")
    assert schema_of(laid)["volume"] == {"$ref": "#/$defs/volume", "default": {"size": "1Gi"}}
    assert rows_of(laid) == [
        "| `part.volume` | map |  | A volume |",
        '| `part.volume.size` | quantity | `"1Gi"` | An amount |',
    ]


def test_a_comment_wins_over_the_definitions_description(chart) -> None:
    laid = chart("# -- Where it writes\nvolume:\n  size: 1Gi\n")
    assert rows_of(laid)[0] == "| `part.volume` | map |  | Where it writes |"


def test_a_map_takes_only_the_keys_it_has_unless_it_says_otherwise(chart) -> None:
    laid = chart("# -- Shut\nshut:\n  # -- A\n  a: 1\n" + OPEN)
    assert schema_of(laid)["shut"]["additionalProperties"] is False
    assert schema_of(laid)["open"]["additionalProperties"] is True


def test_a_default_that_is_not_empty_is_needed_once_helm_has_put_values_and_defaults_together(chart) -> None:
    laid = chart("# -- A\na: false\n# -- B\nb: ''\nvolume: {size: 1Gi}\n")
    part = json.loads(valuesdocs.made(laid)[laid / "values.schema.json"])["properties"]["part"]
    assert part["if"] == {"required": ["global"]}
    assert part["then"] == {"required": ["a", "volume"], "properties": {"volume": {"required": ["size"]}}}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ("count: 1\n", "part/values.yaml, line 1: count has no description"),
        ("# -- A\na:\n  b: 1\n", "part/values.yaml, line 3: b has no description"),
        ("# -- Some\nlist: []\n", "list: its default doesn't say what may stand in it"),
        ("# -- Some\nmap: {}\n", "map: its default doesn't say what may stand in it"),
        ("# -- Some\nport: null\n", "port: its default doesn't say what may stand in it"),
        ("# -- Some\n# @schema {minimum: 1}\ncount: 1\n", "count: what follows `# @schema` is no JSON"),
    ],
)
def test_what_is_left_unsaid_is_refused(chart, values: str, sentence: str) -> None:
    with pytest.raises(Failure) as caught:
        valuesdocs.made(chart(values))
    assert sentence in str(caught.value)


def test_a_file_that_drifted_is_named_and_written_anew(chart, monkeypatch) -> None:
    laid = chart("# -- How many\ncount: 1\n")
    monkeypatch.setattr(valuesdocs.helm, "CHART", laid)
    monkeypatch.setattr(valuesdocs.paths, "ROOT", laid)
    monkeypatch.setattr(valuesdocs.publish, "annotated", dict)  # this chart has no changelog
    with pytest.raises(Failure, match=r"values\.schema\.json is not what its sources make"):
        valuesdocs.write(check=True)
    assert not (laid / "README.md").exists()
    valuesdocs.write(check=False)
    valuesdocs.write(check=True)
    (laid / "README.md").write_text("edited by hand")
    with pytest.raises(Failure, match=r"README\.md is not what"):
        valuesdocs.write(check=True)
