"""The chart inside somebody's own umbrella chart."""

import shutil
from pathlib import Path

import pytest
import yaml
from conftest import CHART, by_name, objects


@pytest.fixture
def umbrella(tmp_path: Path) -> Path:
    """Return a chart with ours in it."""
    about = {"apiVersion": "v2", "name": "company", "version": "1.0.0"}
    about["dependencies"] = [{"name": "techshop", "version": "0.1.0", "condition": "techshop.enabled"}]
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(about))
    (tmp_path / "values.yaml").write_text("global: {company: {region: north}}\ntechshop: {networkPolicy: {}}\n")
    shutil.copytree(CHART, tmp_path / "charts/techshop")
    return tmp_path


@pytest.mark.parametrize("helm", ["helm", "helm3"])
def test_it_renders_what_it_renders_alone(umbrella: Path, helm: str) -> None:
    values = {"resourceQuota.enabled": True, "app.replicaCount": 4, "redis.cluster.shards": 4}
    inside = {f"techshop.{key}": value for key, value in values.items()}
    alone = by_name(objects(values=values, helm=helm))
    assert by_name(objects(chart=umbrella, values=inside, helm=helm)) == alone


@pytest.mark.parametrize("helm", ["helm", "helm3"])
def test_a_typo_in_it_is_still_an_error(umbrella: Path, refused, helm: str) -> None:
    message = refused(chart=umbrella, values={"techshop.app.replicas": 4}, helm=helm)
    assert "at '/app': additional properties 'replicas' not allowed" in message
    message = refused(chart=umbrella, values={"techshop.app.service": None}, helm=helm)
    assert "at '/app': missing property 'service'" in message


def test_it_can_be_switched_off(umbrella: Path) -> None:
    assert objects(chart=umbrella, values={"techshop.enabled": False}) == []
