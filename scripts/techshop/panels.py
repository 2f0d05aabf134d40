"""The parts that dashboards are made of, as Grafana wants them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

_WIDTH = 24
#: What the dashboards of a release have in common, and those of others haven't.
_RELEASE = "${NAMESPACE}/${BASE}"
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}

Json = dict[str, Any]

#: Selectors of what is in the release's namespace, of what is scraped for the release, and of the shop's pods.
HERE = 'namespace="${NAMESPACE}"'
OURS = f'{HERE}, release="${{RELEASE}}"'
APP = f'job="app", {OURS}'


def rate(metric: str, labels: str, by: str = "") -> str:
    """Return a query of how fast counters rise together."""
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{labels}}}[$__rate_interval]))"


@dataclass(frozen=True)
class Query:
    """What a panel asks, and how its answers are called.

    Args:
        expr: in PromQL, with the chart's placeholders.
        legend: with labels in double braces.
    """

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """One panel; where it stands is found when the dashboard is made.

    Args:
        kind: Grafana's type of it.
        title: what it shows.
        unit: Grafana's unit.
        queries: what it asks.
        about: more, for who points at it.
        width: of 24.
        steps: from which value on which colour; the first is for all below.
        draws: the rest of how values are drawn.
        options: the kind's own.
        transformations: of the answers, for tables.
    """

    kind: str
    title: str
    unit: str
    queries: tuple[Query, ...]
    about: str = ""
    width: int = 8
    steps: tuple[tuple[float | None, str], ...] = ((None, "green"),)
    draws: Json = field(default_factory=dict)
    options: Json = field(default_factory=dict)
    transformations: tuple[Json, ...] = ()

    def json(self, number: int, x: int, y: int) -> Json:
        """Return it as Grafana keeps it."""
        instant = self.kind != "timeseries"
        thresholds = {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in self.steps]}
        made: Json = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.about,
            "datasource": _SOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "fieldConfig": {
                "defaults": {"unit": self.unit, "thresholds": thresholds, **self.draws},
                "overrides": [],
            },
            "options": self.options,
            "targets": [
                {
                    "refId": chr(ord("A") + index),
                    "datasource": _SOURCE,
                    "expr": query.expr,
                    "legendFormat": query.legend or "__auto",
                    "instant": instant,
                    "range": not instant,
                    "format": "table" if self.kind == "table" else "time_series",
                }
                for index, query in enumerate(self.queries)
            ],
        }
        if self.transformations:
            made["transformations"] = list(self.transformations)
        return made

    @property
    def height(self) -> int:
        """How many rows of the grid it takes."""
        return 4 if self.kind == "stat" else 8


def graph(title: str, unit: str, *queries: Query, about: str = "", width: int = 8, stacked: bool = False) -> Panel:
    """Return lines over time."""
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 20 if stacked else 5,
        "showPoints": "never",
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
    }
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return Panel("timeseries", title, unit, queries, about, width, draws={"custom": custom, "min": 0}, options=options)


def stat(title: str, unit: str, query: Query, about: str = "", width: int = 3, **steps: float) -> Panel:
    """Return one number now, with a line of how it was; from which value on it turns ``yellow`` or ``red``.

    Where less is worse, ``green`` is given instead: below it the number is red.
    """
    first = "red" if "green" in steps else "green"
    options = {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    ordered = sorted((value, color) for color, value in steps.items())
    return Panel("stat", title, unit, (query,), about, width, ((None, first), *ordered), options=options)


def table(title: str, unit: str, query: Query, *columns: str, about: str = "", width: int = 12) -> Panel:
    """Return a row for each answer, with these labels as columns, and its value."""
    shown = {"include": {"names": [*columns, "Value"]}}
    options = {"showHeader": True, "cellHeight": "sm", "footer": {"show": False, "reducer": ["sum"], "fields": ""}}
    transformations: tuple[Json, ...] = ({"id": "filterFieldsByName", "options": shown},)
    return Panel("table", title, unit, (query,), about, width, options=options, transformations=transformations)


def board(name: str, title: str, about: str, rows: Iterable[tuple[str, Iterable[Panel]]]) -> Json:
    """Return a dashboard of titled rows."""
    panels: list[Json] = []
    y = 0
    for row, content in rows:
        position = {"x": 0, "y": y, "w": _WIDTH, "h": 1}
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": row, "collapsed": False, "gridPos": position, "panels": []}
        )
        y, x, tallest = y + 1, 0, 0
        for panel in content:
            if x + panel.width > _WIDTH:
                y, x, tallest = y + tallest, 0, 0
            panels.append(panel.json(len(panels) + 1, x, y))
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    return {
        "uid": f"techshop-${{ID}}-{name}",
        "title": f"TechShop / {title} (${{NAMESPACE}}/${{BASE}})",
        "description": about,
        "tags": ["techshop", _RELEASE],
        "schemaVersion": 41,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "links": [
            {
                "type": "dashboards",
                "title": "TechShop",
                "tags": [_RELEASE],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
                "icon": "external link",
                "tooltip": "",
                "url": "",
            }
        ],
        "annotations": {
            "list": [
                {
                    "name": "Alerts",
                    "enable": True,
                    "iconColor": "red",
                    "datasource": _SOURCE,
                    "expr": 'ALERTS{namespace="${NAMESPACE}", alertstate="firing", severity=~"critical|warning"}',
                    "titleFormat": "{{ alertname }}",
                    "textFormat": "{{ severity }} {{ pod }}",
                }
            ]
        },
        "templating": {
            "list": [{"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus"}]
        },
        "panels": panels,
    }
