"""What the chart's rules and dashboards ask of Prometheus, and whether it is there."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import yaml

from techshop import paths

FILES = paths.ROOT / "charts/techshop/charts/monitoring/files"
RUNBOOKS = paths.ROOT / "docs/runbooks"

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_COMMENT = re.compile(r"#.*")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_NAME = re.compile(r"(?<![\w:.$])[a-zA-Z_:][\w:]*(?!\s*\()(?![\w:])")
_WORDS = {"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring", "group_left", "group_right"}

#: Metrics that a well system may lack, and what makes them come.
SELDOM = {
    "certmanager_certificate_expiration_timestamp_seconds": "somebody scrapes cert-manager",
    "kube_daemonset_status_current_number_scheduled": "node-exporter is on",
    "kube_daemonset_status_desired_number_scheduled": "node-exporter is on",
    "kube_job_failed": "a Job has failed",
    "kube_pod_container_status_last_terminated_reason": "a container has ended",
    "kube_pod_container_status_waiting_reason": "a container waits",
    "kube_pod_init_container_status_waiting_reason": "an init container waits",
    "mongodb_ss_security_SSLServerCertificateExpirationDate": "TLS is on",
    "node_cpu_seconds_total": "node-exporter is on",
    "node_memory_MemAvailable_bytes": "node-exporter is on",
    "node_memory_MemTotal_bytes": "node-exporter is on",
    "techshop_backup_oplog_interval_seconds": "the oplog is stored",
    "techshop_backup_oplog_last_timestamp_seconds": "the oplog is stored",
    "techshop_backup_oplog_unbroken": "the oplog is stored",
    "techshop:certificate_expires:timestamp_seconds": "TLS is on",
}


@dataclass(frozen=True)
class Names:
    """What the placeholders of rules and dashboards stand for."""

    namespace: str = "shop"
    release: str = "techshop"
    base: str = "techshop"
    id: str = "0a1b2c3d"
    runbooks: str = "https://runbooks"

    def fill(self, text: str) -> str:
        """Replace the placeholders, as the chart does."""
        for name, value in vars(self).items():
            text = text.replace(f"${{{name.upper()}}}", value)
        return text


@dataclass(frozen=True)
class Query:
    """A query, and where it stands."""

    where: str
    expr: str


def rules(names: Names) -> dict[str, dict[str, Any]]:
    """Return the rule files by name, filled in."""
    files = sorted(FILES.glob("rules/*.yaml"))
    return {file.stem: yaml.safe_load(names.fill(file.read_text())) for file in files}


def dashboards(names: Names) -> dict[str, dict[str, Any]]:
    """Return the dashboards by name, filled in."""
    files = sorted(FILES.glob("dashboards/*.json"))
    return {file.stem: json.loads(names.fill(file.read_text())) for file in files}


def rule_queries(names: Names) -> list[Query]:
    """Return what rules evaluate."""
    return [
        Query(f"{file}: {rule.get('alert') or rule.get('record')}", rule["expr"])
        for file, content in rules(names).items()
        for group in content["groups"]
        for rule in group["rules"]
    ]


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Go through a dashboard's panels, and those in its rows."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", ())


def panel_queries(names: Names) -> list[Query]:
    """Return what panels ask, as Grafana asks it."""
    found = []
    for name, dashboard in dashboards(names).items():
        for panel in panels(dashboard):
            for target in panel.get("targets", ()):
                expr = target["expr"].replace("$__rate_interval", "2m").replace("$__range", "1h")
                found.append(Query(f"{name}: {panel['title']} ({target['refId']})", expr))
    return found


def metrics(expr: str) -> set[str]:
    """Return the names of the metrics in a query."""
    text = _GROUPING.sub(" ", _COMMENT.sub("", _TEXT.sub('""', expr)))
    text = re.sub(r"\{[^}]*\}|\[[^]]*\]", " ", text)
    return {name for name in _NAME.findall(text) if name.lower() not in _WORDS | {"inf", "nan"}}


def without_data(address: str, names: Names) -> list[Query]:
    """Ask a Prometheus each panel's query, and for each metric in a rule, and return what it has no data for.

    What a well system may lack isn't asked for.

    Args:
        address: base address of a Prometheus.
        names: of the release that it scrapes.
    """
    asked = [query for query in panel_queries(names) if not metrics(query.expr) & SELDOM.keys()]
    for query in rule_queries(names):
        for metric in sorted(metrics(query.expr) - SELDOM.keys()):
            asked.append(Query(query.where, f'{metric}{{namespace="{names.namespace}"}}'))
    answers: dict[str, bool] = {}
    for query in asked:
        if query.expr not in answers:
            answers[query.expr] = _has_data(address, query.expr)
    return [query for query in asked if not answers[query.expr]]


def _has_data(address: str, expr: str) -> bool:
    response = requests.post(f"{address}/api/v1/query", data={"query": expr}, timeout=30)
    answer = response.json()
    if answer["status"] != "success":
        raise ValueError(f"{expr}: {answer['error']}")
    return bool(answer["data"]["result"])


def alert_rules(names: Names) -> list[dict[str, Any]]:
    """Return the alerts among the rules."""
    groups = [group for content in rules(names).values() for group in content["groups"]]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def runbook(alert: str) -> Path:
    """Return where the page of an alert is."""
    return RUNBOOKS / f"{alert}.md"
