"""What the chart writes for Prometheus and Alertmanager, read by the programs that check it for them."""

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from techshop import paths

#: What checks each file.
CHECKS = {
    "prometheus.yml": ("promtool", "check", "config", "--syntax-only"),
    "alertmanager.yml": ("amtool", "check-config"),
}
RECEIVERS = [
    {"name": "team", "slack_configs": [{"api_url_file": "/etc/alertmanager/secrets/slack", "channel": "#shop"}]},
    {"name": "on-call", "pagerduty_configs": [{"routing_key_file": "/etc/alertmanager/secrets/pagerduty"}]},
    {"name": "heartbeat", "webhook_configs": [{"url_file": "/etc/alertmanager/secrets/heartbeat"}]},
]
ROUTES = [{"receiver": "on-call", "matchers": ['severity="critical"']}]
LITTLE = {part: {"enabled": False} for part in ("alertmanager", "kubeStateMetrics")}
#: Values beside those of an environment, and the files that they make.
SETUPS: dict[str, tuple[str, dict[str, Any], set[str]]] = {
    "dev": ("dev", {}, {"prometheus.yml"}),
    "prod": ("prod", {}, set(CHECKS)),
    "nobody": ("staging", {}, set(CHECKS)),
    "receivers": (
        "prod",
        {"alertmanager": {"receivers": RECEIVERS, "routes": ROUTES, "watchdogReceiver": "heartbeat"}},
        set(CHECKS),
    ),
    "little": ("prod", {**LITTLE, "prometheus": {"nodeMetrics": False}}, {"prometheus.yml"}),
}


@cache
def written(setup: str) -> dict[str, str]:
    """Return the text of each file that is made, by its name."""
    environment, values, _ = SETUPS[setup]
    chart, file = paths.ROOT / "charts/techshop", paths.ROOT / f"values/{environment}.yaml"
    command = (
        paths.BIN / "helm",
        "template",
        "techshop",
        chart,
        "--namespace",
        "shop",
        "--values",
        file,
        "--values",
        "-",
    )
    given = json.dumps({"monitoring": values})
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
    maps = [item for item in yaml.safe_load_all(done.stdout) if item and item["kind"] == "ConfigMap"]
    return {name: text for item in maps for name, text in item["data"].items() if name in CHECKS}


def check(name: str, text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Let the program that knows a file look at it."""
    (folder / name).write_text(text)
    program, *arguments = CHECKS[name]
    command = (paths.BIN / program, *arguments, folder / name)
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("setup", SETUPS)
def test_each_program_takes_its_configuration(setup: str, tmp_path: Path) -> None:
    texts = written(setup)
    assert texts.keys() == SETUPS[setup][2]
    for name, text in texts.items():
        done = check(name, text, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", CHECKS)
def test_a_planted_mistake_is_seen(name: str, tmp_path: Path) -> None:
    assert check(name, written("prod")[name] + "no_such_setting: []\n", tmp_path).returncode
