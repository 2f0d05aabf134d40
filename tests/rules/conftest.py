"""Rules tried with promtool: what each alert does over series that are made up, told by the files in ``cases``."""

import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from techshop import observability, paths

HERE = Path(__file__).parent
NAMES = observability.Names()
RULES = observability.rules(NAMES)
ALERTS = observability.alert_rules(NAMES)

_PERCENTAGE = "{{ $value | humanizePercentage }}"


@dataclass(frozen=True)
class Case:
    """Series, and what becomes of an alert over them.

    Args:
        file: the rule file, and its cases' name.
        alert: the alert's name.
        fires: whether the alert fires, or stays quiet.
        content: the case as written: `name`, `series`, `at`, and if it fires `labels`, `description` (or only
            the `percentage` in it), and `severity` or `windows` where the alert has several rules.
        labels: what all series of the file carry.
    """

    file: str
    alert: str
    fires: bool
    content: dict[str, Any]
    labels: str

    def __str__(self) -> str:
        """Name the case in a test's id."""
        return f"{self.alert}-{self.content['name'].replace(' ', '-')}"

    @property
    def every(self) -> str:
        """How far the series' values lie apart, and how often rules are evaluated."""
        return self.content.get("every", "1m")

    def rules(self) -> list[dict[str, Any]]:
        """Return the rules that it tries: an alert may have one for each severity or window."""
        wanted = [("severity", self.content.get("severity")), ("window", self.content.get("windows"))]
        rules = [rule for rule in ALERTS if rule["alert"] == self.alert]
        return [rule for rule in rules if all(value is None or rule["labels"][key] in value for key, value in wanted)]

    def test(self) -> dict[str, Any]:
        """Return it as promtool takes it."""
        times = self.content["at"] if isinstance(self.content["at"], list) else [self.content["at"]]
        return {
            "name": str(self),
            "interval": self.every,
            "input_series": [
                {"series": self._labelled(series), "values": self._values(values)}
                for series, values in self.content["series"].items()
            ],
            "alert_rule_test": [
                {"eval_time": time, "alertname": self.alert, "exp_alerts": self._expected()} for time in times
            ],
        }

    @staticmethod
    def _values(values: str) -> str:
        assert isinstance(values, str), "quote what YAML takes for a hexadecimal number"
        return values

    def _labelled(self, series: str) -> str:
        name, _, rest = series.partition("{")
        labels = [part for part in (rest.removesuffix("}"), self.labels) if part]
        return f"{name}{{{', '.join(labels)}}}"

    def _expected(self) -> list[dict[str, Any]]:
        if not self.fires:
            return []
        own = self.content.get("labels", {})
        return [
            {
                "exp_labels": {**own, **rule["labels"]},
                "exp_annotations": {
                    "summary": re.sub(r"{{ \$labels\.(\w+) }}", lambda m: own[m[1]], rule["annotations"]["summary"]),
                    "description": self.content.get("description")
                    or rule["annotations"]["description"].replace(_PERCENTAGE, self.content["percentage"]),
                    "runbook_url": f"{NAMES.runbooks}/{self.alert}.md",
                },
            }
            for rule in self.rules()
        ]


def cases() -> list[Case]:
    """Return what is written in ``cases``."""
    found = []
    for file in sorted(HERE.glob("cases/*.yaml")):
        content = yaml.safe_load(file.read_text())
        for alert, kinds in content["alerts"].items():
            for kind, several in kinds.items():
                labels = content["labels"]
                found += [Case(file.stem, alert, kind == "fires", one, one.get("common", labels)) for one in several]
    return found


CASES = cases()


@dataclass(frozen=True)
class Promtool:
    """promtool, and the filled-in rules."""

    folder: Path

    def run(self, *arguments: str | Path) -> str:
        """Run it, and return what it complains of."""
        command = [str(paths.BIN / "promtool"), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.folder)
        return done.stdout + done.stderr if done.returncode else ""

    def test(self, files: Sequence[str], tests: Sequence[dict[str, Any]], every: str = "1m") -> str:
        """Try rules over series, and return what is otherwise than the tests expect."""
        content = {"rule_files": [f"{file}.yaml" for file in files], "evaluation_interval": every, "tests": list(tests)}
        (self.folder / "test.yaml").write_text(yaml.safe_dump(content))
        return self.run("test", "rules", "test.yaml")


@pytest.fixture(scope="session")
def promtool(tmp_path_factory: pytest.TempPathFactory) -> Promtool:
    """promtool beside the filled-in rules."""
    folder = tmp_path_factory.mktemp("rules")
    for name, content in RULES.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return Promtool(folder)


@pytest.fixture(scope="session")
def complaints(promtool: Promtool) -> Callable[[Case], str]:
    """What promtool says of a case. Those of a file are tried together: to start takes longer than to try."""

    @cache
    def together(file: str, every: str) -> dict[str, str]:
        tests = [case.test() for case in CASES if (case.file, case.every) == (file, every)]
        said = re.split(r"^ +name: (.+),", promtool.test([file], tests, every), flags=re.MULTILINE)
        assert len(said) > 1 or not said[0], said[0]
        return dict(zip(said[1::2], said[2::2], strict=True))

    return lambda case: together(case.file, case.every).get(str(case), "")
