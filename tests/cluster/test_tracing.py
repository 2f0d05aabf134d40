"""Traces on a real cluster: an order's way through all stores, and what happens while Jaeger is away."""

import json
import secrets
from collections.abc import Callable
from typing import Any

import pytest
import requests
from conftest import eventually

from techshop.release import Release
from techshop.shop import Ledger, Shop

POD = "techshop-tracing-0"
STATEFUL_SET = "statefulset/techshop-tracing"


@pytest.fixture(scope="module")
def release(make_release: Callable[..., Release]) -> Release:
    return make_release("dev", tracing__enabled=True)


@pytest.fixture(autouse=True)
def healthy(release: Release) -> None:
    release.ready("tracing")
    release.ready("app")


def ask(release: Release, path: str) -> Any:
    """Return what Jaeger's query service says."""
    with release.forwarded(POD, 16686) as address:
        return requests.get(f"http://{address}{path}", timeout=20).json()["data"]


def spans(release: Release, trace: str, *wanted: str) -> list[dict[str, Any]]:
    """Return a trace's spans with their tags, once those with these names are there."""

    def found() -> list[dict[str, Any]]:
        traces = ask(release, f"/api/traces/{trace}")
        assert traces, "Jaeger doesn't have it yet"
        (only,) = traces
        there = [span | {"tags": {tag["key"]: tag["value"] for tag in span["tags"]}} for span in only["spans"]]
        missing = set(wanted) - {span["operationName"] for span in there}
        assert not missing, f"{missing} not among {sorted(span['operationName'] for span in there)}"
        return there

    return eventually(found)


def traced(release: Release) -> tuple[Shop, str]:
    """Return a customer all of whose next requests are of one trace, and its id."""
    shop = Shop(release.url)
    trace = secrets.token_hex(16)
    shop.say(traceparent=f"00-{trace}-{secrets.token_hex(8)}-01")
    return shop, trace


def picture(shop: Shop, trace: str) -> None:
    """Look at a picture, in the same trace."""
    address = eventually(lambda: next(item["picture"] for item in shop.products() if item.get("picture")))
    headers = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}
    assert requests.get(shop.url + address, headers=headers, timeout=20).ok


@pytest.fixture(scope="module")
def ordered(release: Release) -> str:
    """The trace of a customer who looked at a picture and ordered."""
    release.ready("app")
    shop, trace = traced(release)
    picture(shop, trace)
    shop.order(shop.products()[0]["id"])
    return trace


def test_an_orders_trace_leads_through_all_stores(release: Release, ordered: str) -> None:
    bucket = "/techshop-assets/{key}"
    found = spans(release, ordered, "POST /api/orders", "commitTransaction admin", f"GET {bucket}")
    by_id = {span["spanID"]: span for span in found}

    def below(root: str) -> list[dict[str, Any]]:
        (top,) = [span for span in found if span["operationName"] == root]
        return [s for s in found if any(ref["spanID"] == top["spanID"] for ref in s["references"])]

    order = below("POST /api/orders")
    assert {span["tags"]["db.system.name"] for span in order} == {"mongodb", "redis"}
    assert {"findAndModify products", "insert orders"} <= {span["operationName"] for span in order}
    assert all(span["tags"]["span.kind"] == "client" for span in order)
    (s3,) = below("GET /pictures/:name")
    assert s3["operationName"] == f"GET {bucket}"
    assert s3["tags"]["http.response.status_code"] == 200
    (root,) = [span for span in by_id.values() if span["operationName"] == "POST /api/orders"]
    assert root["tags"]["http.response.status_code"] == 201
    assert root["tags"]["http.route"] == "/api/orders"


def test_an_orders_line_in_the_log_has_its_trace(release: Release, ordered: str) -> None:
    log = release.kubectl("logs", "deployment/techshop-app", "--tail=-1").splitlines()
    lines = [json.loads(line) for line in log if ordered in line]
    (line,) = [item for item in lines if item.get("route") == "/api/orders"]
    assert line["trace_id"] == ordered
    assert line["span_id"] in {span["spanID"] for span in spans(release, ordered, "POST /api/orders")}


def test_jaeger_tells_of_itself(release: Release, ordered: str) -> None:
    metrics = release.metrics(POD, 8888)
    assert metrics["otelcol_receiver_accepted_spans_total"] > 0
    assert metrics.get("otelcol_receiver_refused_spans_total", 0) == 0
    assert "techshop-app" in ask(release, "/api/services")


def test_orders_go_on_while_jaeger_is_away_and_old_traces_outlive_its_pod(
    release: Release, ordered: str, orders: Ledger
) -> None:
    placed = len(orders.placed)
    release.kubectl("scale", STATEFUL_SET, "--replicas=0")
    release.kubectl("wait", f"pod/{POD}", "--for=delete", "--timeout=90s")
    said = "Traces are not taken"
    eventually(lambda: said in release.kubectl("logs", "deployment/techshop-app", "--tail=-1"))
    eventually(lambda: len(orders.placed) > placed + 50)
    assert orders.retried == []
    assert orders.longest_gap < 5
    release.kubectl("scale", STATEFUL_SET, "--replicas=1")
    release.ready("tracing")
    assert spans(release, ordered, "POST /api/orders")
    shop, trace = traced(release)
    shop.order(shop.products()[0]["id"])
    assert spans(release, trace, "POST /api/orders")


def test_traces_outlive_a_kill(release: Release, ordered: str) -> None:
    release.kubectl("delete", "pod", POD, "--grace-period=0", "--force")
    release.ready("tracing")
    assert spans(release, ordered, "POST /api/orders")


def test_an_upgrade_restarts_nothing(release: Release, ordered: str) -> None:
    before = release.get("pod", POD)["metadata"]["uid"]
    release.upgrade(app__logLevel="debug")
    assert release.get("pod", POD)["metadata"]["uid"] == before
    assert spans(release, ordered, "POST /api/orders")
