"""Alerts fire when they should, don't when they shouldn't, and lead to a page that says what to do."""

import re
from collections.abc import Callable

import pytest
from conftest import ALERTS, CASES, NAMES, RULES, Case, Promtool

from techshop import observability

IDS = [f"{rule['alert']}-{rule['labels']['severity']}-{rule['labels'].get('window', '')}".strip("-") for rule in ALERTS]


def test_the_rules_are_ones_that_prometheus_takes(promtool: Promtool) -> None:
    assert not promtool.run("check", "rules", *(f"{name}.yaml" for name in RULES))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_alert_fires_when_it_should_and_only_then(complaints: Callable[[Case], str], case: Case) -> None:
    if complaint := complaints(case):
        pytest.fail(complaint, pytrace=False)


@pytest.mark.parametrize("rule", ALERTS, ids=IDS)
def test_an_alert_has_cases_of_both_kinds(rule: dict) -> None:
    assert any(case.fires and rule in case.rules() for case in CASES), "none fires"
    if rule["alert"] != "Watchdog":
        assert any(not case.fires and case.alert == rule["alert"] for case in CASES), "none stays quiet"


def test_nothing_fires_where_there_is_nothing(promtool: Promtool) -> None:
    quiet = [rule["alert"] for rule in ALERTS if rule["alert"] != "Watchdog"]
    test = {
        "interval": "1h",
        "input_series": [{"series": "elsewhere", "values": "0x30"}],
        "alert_rule_test": [{"eval_time": "30h", "alertname": name, "exp_alerts": []} for name in quiet],
    }
    assert not promtool.test(list(RULES), [test], "1h")


@pytest.mark.parametrize("rule", ALERTS, ids=IDS)
def test_an_alert_says_what_is_wrong_how_bad_it_is_and_where_to_read_on(rule: dict) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"} or rule["alert"] == "Watchdog"
    assert rule["labels"]["namespace"] == NAMES.namespace and rule["labels"]["release"] == NAMES.release
    notes = rule["annotations"]
    assert notes["summary"] and not notes["summary"].endswith(".")
    assert notes["description"].endswith(".")
    assert notes["runbook_url"] == f"{NAMES.runbooks}/{rule['alert']}.md"
    assert re.fullmatch(r"[A-Z][A-Za-z]+", rule["alert"])


@pytest.mark.parametrize("name", sorted({rule["alert"] for rule in ALERTS}))
def test_an_alert_has_a_page_that_says_how_to_look_and_what_to_do(name: str) -> None:
    page = observability.runbook(name).read_text()
    assert page.startswith(f"# {name}: "), "a page begins with the alert's name"
    assert "\n## Look\n" in page and "\n## Do\n" in page


def test_no_page_is_about_an_alert_that_there_is_not() -> None:
    pages = {path.stem for path in observability.RUNBOOKS.glob("[A-Z]*.md")}
    assert pages == {rule["alert"] for rule in ALERTS}


def test_only_what_is_of_this_release_counts() -> None:
    for file in sorted(observability.FILES.glob("rules/*.yaml")):
        text = re.sub(r'"[^"{]*"', lambda m: m[0].replace("}", "]"), file.read_text().replace("${", "<"))
        for selector in re.findall(r"[a-z0-9_:]+{[^}]*}", text):
            if "{{" not in selector and not selector.startswith("labels"):
                assert re.search(r'\b(exported_)?namespace="<NAMESPACE', selector), f"{file.name}: {selector}"
