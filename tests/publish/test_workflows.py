"""What every workflow holds to, and that what it runs is there."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from techshop import cli, paths, publish, testing, tools

FILES = sorted((paths.ROOT / ".github/workflows").glob("*.yaml"))
JOBS = [
    pytest.param(job, id=f"{file.stem}-{name}")
    for file in FILES
    for name, job in yaml.safe_load(file.read_text())["jobs"].items()
]


def runs() -> Iterator[tuple[str, str]]:
    for file in FILES:
        for job in yaml.safe_load(file.read_text())["jobs"].values():
            for step in job.get("steps", []):
                if "run" in step:
                    yield file.name, step["run"].replace("\\\n", " ")


def commands(pattern: str) -> list[Any]:
    found = [match for _, script in runs() for match in re.finditer(pattern, script, re.MULTILINE)]
    assert found
    return found


def test_there_are_workflows():
    assert {file.stem for file in FILES} == {"test", "image", "release", "deploy"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_action_is_pinned_by_commit_with_its_version_beside_it(file):
    used = re.findall(r"^\s*(?:- )?uses: (.*)$", file.read_text(), re.MULTILINE)
    for action in used:
        ours = re.fullmatch(r"\$/(\.github/workflows/\S+)", action)
        assert ours or re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
        assert not ours or (paths.ROOT / ours[1]).is_file()


def test_an_action_has_one_version_everywhere():
    pins = {pin for file in FILES for pin in re.findall(r"uses: (\S+@.*)", file.read_text())}
    names = [pin.split("@")[0] for pin in pins]
    assert len(names) == len(set(names)) >= 5


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_workflow_gives_no_permission_to_every_job(file):
    assert yaml.safe_load(file.read_text())["permissions"] == {}


@pytest.mark.parametrize("job", JOBS)
def test_every_job_names_its_permissions_and_its_end(job):
    assert isinstance(job["permissions"], dict)
    assert set(job["permissions"].values()) <= {"read", "write"}
    if "uses" not in job:
        assert 0 < job["timeout-minutes"] <= 120


@pytest.mark.parametrize("job", JOBS)
def test_no_checkout_leaves_its_token_behind(job):
    for step in job.get("steps", []):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_workflows_that_change_things_run_one_at_a_time_to_the_end():
    for name in ("release", "deploy"):
        concurrency = yaml.safe_load((paths.ROOT / f".github/workflows/{name}.yaml").read_text())["concurrency"]
        assert concurrency["cancel-in-progress"] is False


def test_what_is_run_by_path_is_there():
    for match in commands(r"(?<![\w/.-])((?:scripts|charts|images|values)/[\w./-]*\w)"):
        assert (paths.ROOT / match[1]).exists(), match[1]


def test_the_tests_that_are_run_are_layers():
    layers = [name for match in commands(r"^scripts/test(.*)$") for name in match[1].split()]
    assert set(layers) == set(testing.LAYERS)


def test_the_tools_that_are_installed_are_pinned():
    wanted = [name for match in commands(r"tools install(.*)$") for name in match[1].split()]
    assert set(wanted) <= set(tools.pinned())


def test_the_projects_commands_are_there():
    for match in commands(r"scripts/techshop\.sh ((?:[a-z]+ ?)+)"):
        # Words that name no command are arguments
        words = [word for word in match[1].split() if word not in {"dist", *tools.pinned()}]
        done = CliRunner().invoke(cli.group, [*words, "--help"])
        assert done.exit_code == 0, f"{words}: {done.output}"


def test_the_values_of_each_environment_that_is_deployed_are_there():
    deploy = yaml.safe_load((paths.ROOT / ".github/workflows/deploy.yaml").read_text())
    for name in deploy[True]["workflow_dispatch"]["inputs"]["environment"]["options"]:
        assert (paths.ROOT / f"values/{name}.yaml").is_file()


def test_every_kubernetes_that_the_chart_takes_is_tested():
    matrix = yaml.safe_load((paths.ROOT / ".github/workflows/test.yaml").read_text())["jobs"]["cluster"]["strategy"]
    tested = matrix["matrix"]["include"]
    lowest, highest = map(int, re.findall(r"1\.(\d+)\.0", publish.chart()["kubeVersion"]))
    assert [item["kubernetes"] for item in tested] == [f"1.{minor}" for minor in range(lowest, highest)]
    for item in tested:
        pattern = rf"kindest/node:v{re.escape(item['kubernetes'])}\.\d+@sha256:[0-9a-f]{{64}}"
        assert re.fullmatch(pattern, item["image"])


@pytest.mark.parametrize(("name", "script"), list(runs()))
def test_a_script_is_one_that_bash_and_shellcheck_accept(name, script):
    # GitHub runs `bash -e`; its expressions are no part of a script, as zizmor sees to
    checked = f"#!/usr/bin/env bash\nset -e\n{script}\n"
    done = subprocess.run(
        [Path(sys.executable).with_name("shellcheck"), "--severity=style", "-"],
        input=checked,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{name}\n{script}\n{done.stdout}"
