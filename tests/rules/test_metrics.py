"""Nothing asks for a metric that nobody exports."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from conftest import HERE, NAMES, RULES

from techshop import observability

#: Of each job what it exports, as its program was seen to do: MongoDB's without most of what nobody looks at.
EXPORTED = {path.stem: set(path.read_text().split()) for path in sorted(HERE.glob("metrics/*.txt"))}
FROM_KUBERNETES = observability.FILES / "kube-state-metrics.txt"
QUERIES = [*observability.rule_queries(NAMES), *observability.panel_queries(NAMES)]


def _rules(kind: str) -> set[str]:
    groups = [group for content in RULES.values() for group in content["groups"]]
    return {rule[kind] for group in groups for rule in group["rules"] if kind in rule}


def _listed(path: Path) -> list[str]:
    return path.read_text().split()


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.where)
def test_a_query_asks_for_what_somebody_exports(query: observability.Query) -> None:
    known = set().union(*EXPORTED.values(), _rules("record"), _listed(FROM_KUBERNETES))
    assert observability.metrics(query.expr) or query.expr.startswith("vector(")
    assert not observability.metrics(query.expr) - known
    for metric, job in re.findall(r'([a-z0-9_A-Z]+){\s*job="([a-z-]+)"', query.expr):
        assert metric == "up" or metric in EXPORTED[job], f"{job} exports no {metric}"


def test_what_is_needed_of_kube_state_metrics_is_listed_and_nothing_else() -> None:
    used = set().union(*(observability.metrics(query.expr) for query in QUERIES))
    listed = _listed(FROM_KUBERNETES)
    assert listed == sorted({metric for metric in used if metric.startswith("kube_")})


def test_what_a_well_system_may_lack_is_asked_for() -> None:
    used = set().union(*(observability.metrics(query.expr) for query in QUERIES))
    assert set(observability.SELDOM) <= used


def test_names_of_metrics_are_found_in_queries() -> None:
    query = 'sum by (pod) (rate(a_total{x="b{}", y=~"c|d"}[5m] offset 1h)) / on (pod) group_left (e) (f:g > bool 0.5)'
    assert observability.metrics(query) == {"a_total", "f:g"}


class _Prometheus(BaseHTTPRequestHandler):
    """Has data for all but one metric."""

    def do_POST(self) -> None:
        query = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())["query"][0]
        found = [] if "redis_up" in observability.metrics(query) else [{"metric": {}, "value": [0, "1"]}]
        body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": found}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_what_a_live_prometheus_has_no_data_for_is_found() -> None:
    with HTTPServer(("127.0.0.1", 0), _Prometheus) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        missing = observability.without_data(f"http://127.0.0.1:{server.server_port}", NAMES)
        server.shutdown()
    assert {query.where for query in missing} == {
        "redis: Nodes that answer (A)",
        "redis: RedisDown",
        "redis: RedisNodeDown",
    }
