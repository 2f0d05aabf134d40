"""Thousands of values made from the schema: each renders to what Kubernetes takes, or is refused in a sentence."""

import re
from collections import Counter

import generated
import pytest
import test_workloads
from api import problems
from conftest import KUBERNETES, Object, Refused, Setup, Workload, load, pod_template, template
from hypothesis import HealthCheck, given, seed, settings

#: Groups, so that several processes share the work to the end; each draws other values.
GROUPS = range(40)
PROPERTIES = [
    test_workloads.test_it_meets_the_restricted_pod_security_standard,
    test_workloads.test_each_container_has_a_writable_tmp_or_writes_nowhere,
    test_workloads.test_each_container_has_requests_and_a_limit_of_memory,
    test_workloads.test_it_gets_no_service_account_token_unless_it_asks_the_api,
    test_workloads.test_no_variable_is_set_twice,
    test_workloads.test_no_image_is_latest_or_without_version,
    test_workloads.test_no_probe_starts_a_javascript_engine,
]
SERVING = [
    test_workloads.test_its_selector_matches_its_own_pods_and_no_others,
    test_workloads.test_one_budget_covers_it_and_never_blocks_a_drain_for_ever,
    test_workloads.test_it_is_scaled_by_an_autoscaler_or_by_a_count_and_never_by_both,
]
# A path of the values, then what is wrong with it.
SENTENCE = re.compile(r"(execution error at \([^)]*\): |^)[a-z]+[\w.-]*: \S+ .{20,}", re.MULTILINE)
INNARDS = ("nil pointer", "goroutine", "runtime error", "interface conversion", "error calling", "wrong type", "%!")


def render(values: generated.Values) -> list[Object] | None:
    """Return what the values render to, or None when they are refused, which must be in a sentence."""
    try:
        return load(template(values=values))
    except Refused as refusal:
        said = str(refusal)
        assert not [word for word in INNARDS if word in said], said
        assert SENTENCE.search(said), said
        return None


@pytest.mark.parametrize("group", GROUPS)
def test_what_the_schema_accepts_is_taken_by_kubernetes_or_refused_in_a_sentence(group: int) -> None:
    outcomes: Counter[bool] = Counter()

    @seed(group)
    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(generated.accepted())
    def check(values: generated.Values) -> None:
        rendered = render(values)
        outcomes[rendered is not None] += 1
        for item in rendered or []:
            kube = KUBERNETES[group % len(KUBERNETES)]
            assert problems(item, kube) == [], f"{item['kind']}/{item['metadata']['name']}"
            if pod := pod_template(item):
                part = item["metadata"]["labels"]["app.kubernetes.io/component"]
                workload = Workload(Setup("generated"), part, item, pod, tuple(rendered or []))
                for holds in PROPERTIES + (SERVING if item["kind"] not in {"Pod", "CronJob"} else []):
                    holds(workload)

    check()
    assert outcomes[True] > outcomes[False], outcomes


@pytest.mark.parametrize("group", GROUPS)
def test_what_the_schema_refuses_is_refused_with_its_place(group: int) -> None:
    @seed(group)
    @settings(max_examples=25, deadline=None, database=None)
    @given(generated.refused())
    def check(wrong: tuple[str, object]) -> None:
        path, value = wrong
        with pytest.raises(Refused) as caught:
            template(values={path: value}, seed=None)
        said = str(caught.value)
        assert not [word for word in INNARDS if word in said], said
        assert "at '/" + path.replace(".", "/") in said, said

    check()
