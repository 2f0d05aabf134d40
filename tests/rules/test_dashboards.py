"""Dashboards are what Grafana takes, and show what an operator needs."""

import json
import re
from typing import Any

import pytest
import yaml
from conftest import NAMES, Promtool
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from techshop import dashboards, observability

plugins.register_default_plugins()

DASHBOARDS = observability.dashboards(NAMES)
PANELS = [(name, panel) for name, board in DASHBOARDS.items() for panel in observability.panels(board)]
DRAWN = [(name, panel) for name, panel in PANELS if panel["type"] != "row"]
IDS = [f"{name}-{panel['id']}" for name, panel in DRAWN]
#: What the SDK doesn't know of annotations, since they belong to the data source.
_OF_THE_SOURCE = {"titleFormat", "textFormat"}


def test_the_files_are_what_the_generator_makes() -> None:
    dashboards.write(check=True)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_is_made_of_what_grafana_knows(name: str) -> None:
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(DASHBOARDS[name])))
    assert not _lost(DASHBOARDS[name], again, name)


def _lost(written: Any, read: Any, where: str) -> list[str]:
    if isinstance(written, dict) and isinstance(read, dict):
        missing = [f"{where}.{key}" for key in written.keys() - read.keys() - _OF_THE_SOURCE]
        shared = written.keys() & read.keys()
        return missing + [lost for key in sorted(shared) for lost in _lost(written[key], read[key], f"{where}.{key}")]
    if isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        return [
            lost
            for index, pair in enumerate(zip(written, read, strict=True))
            for lost in _lost(*pair, f"{where}[{index}]")
        ]
    return [] if written == read else [f"{where}: {written!r} became {read!r}"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_can_be_provisioned_and_leads_to_the_others(name: str) -> None:
    board = DASHBOARDS[name]
    assert "id" not in board and board["schemaVersion"] >= 41
    assert board["uid"] == f"techshop-{NAMES.id}-{name}" and len(board["uid"]) <= 40
    assert board["tags"] == ["techshop", "shop/techshop"]
    assert [link["tags"] for link in board["links"]] == [["shop/techshop"]]
    assert [(v["name"], v["type"], v["query"]) for v in board["templating"]["list"]] == [
        ("datasource", "datasource", "prometheus")
    ]
    ids = [panel["id"] for panel in observability.panels(board)]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(("name", "panel"), DRAWN, ids=IDS)
def test_a_panel_is_of_a_kind_that_grafana_still_has_and_says_in_what_it_counts(name: str, panel: dict) -> None:
    assert panel["type"] in {"timeseries", "stat", "table"}
    assert panel["title"] and panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    for target in panel["targets"]:
        assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_fill_the_grid_and_do_not_cover_each_other(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in observability.panels(DASHBOARDS[name]):
        grid = panel["gridPos"]
        cells = {
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not taken & cells and max(x for x, _ in cells) < 24
        taken |= cells


def test_every_query_can_be_parsed(promtool: Promtool) -> None:
    queries = observability.panel_queries(NAMES)
    rules = [{"record": f"query:{number}", "expr": query.expr} for number, query in enumerate(queries)]
    (promtool.folder / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert not promtool.run("check", "rules", "--lint=none", "panels.yaml")


def test_every_query_is_of_this_release_alone() -> None:
    for query in observability.panel_queries(NAMES):
        for selector in re.findall(r"{[^}]*}", query.expr):
            assert 'namespace="shop"' in selector, query


def test_the_first_dashboard_has_what_everyone_asks_for() -> None:
    titles = {panel["title"] for panel in observability.panels(DASHBOARDS["overview"])}
    assert {"Request rate", "Latency, 95th percentile", "5xx rate", "Database connections"} <= titles
