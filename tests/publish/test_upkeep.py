"""Whether what keeps the project up to date finds what it should, and what pages link to is there."""

import json
import re
from pathlib import Path

import pytest
import yaml

from techshop import images, paths, shell, tools

RENOVATE = json.loads((paths.ROOT / "renovate.json").read_text())
SOURCES = shell.lines(shell.run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=paths.ROOT))


def _files(patterns: list[str]) -> list[str]:
    """Return the files that Renovate's patterns, regular expressions between slashes, match."""
    return [name for name in SOURCES if any(re.search(pattern[1:-1], name) for pattern in patterns)]


def found(start: str) -> list[tuple[str, str]]:
    """Return each version that a custom manager finds, with what it is of; JavaScript names groups without a P."""
    [manager] = [item for item in RENOVATE["customManagers"] if item["description"].startswith(start)]
    [pattern] = [text.replace("(?<", "(?P<") for text in manager["matchStrings"]]
    matches = []
    for name in _files(manager["managerFilePatterns"]):
        for match in re.finditer(pattern, (paths.ROOT / name).read_text()):
            groups = match.groupdict()
            template = manager.get("depNameTemplate", "").replace("{{{", "{").replace("}}}", "}")
            matches.append((groups.get("depName") or template.format(**groups), groups["currentValue"]))
    return matches


def test_renovate_sees_every_image_of_the_values():
    assert sorted(":".join(pair) for pair in found("Images")) == sorted(images.references(False).values())


def test_renovate_sees_every_tool_once():
    seen = [*found("Tools, and"), *found("Tools that"), *found("kubectl")]
    assert sorted(version for _, version in seen) == sorted(tool.version for tool in tools.pinned().values())
    assert len({name for name, _ in seen}) == len(seen)
    assert ("k8s.io/kubernetes", tools.pinned()["kubectl"].version) in seen


def test_renovate_sees_every_program_of_the_airgapped_images():
    names = [name for name in SOURCES if name.startswith("images/airgap/") and name.endswith(".toml")]
    modules = sum((paths.ROOT / name).read_text().count("\nmodule = ") for name in names)
    assert len(found("Programs")) == modules > 0


@pytest.mark.parametrize("manager", ["dockerfile", "pip_requirements"])
def test_renovates_other_managers_have_files(manager):
    assert manager in RENOVATE["enabledManagers"]
    for pattern in RENOVATE[manager]["managerFilePatterns"]:
        assert _files([pattern]), pattern


def test_every_rule_is_about_something_that_is_there():
    starts = ("Images", "Tools, and", "Tools that", "kubectl", "Programs")
    known = {name for start in starts for name, _ in found(start)}
    for rule in RENOVATE["packageRules"]:
        assert set(rule["matchPackageNames"]) <= known


def test_hooks_run_what_the_virtual_environment_has():
    hooks = yaml.safe_load((paths.ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    for hook in hooks:
        assert (paths.ROOT / hook["entry"].split()[0]).is_file(), hook["id"]
        if "files" in hook:
            assert any(re.search(hook["files"], name) for name in SOURCES), hook["id"]


@pytest.mark.parametrize("page", [name for name in SOURCES if name.endswith(".md")])
def test_what_a_page_links_to_is_there(page):
    text = (paths.ROOT / page).read_text()
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in link:
            assert ((paths.ROOT / page).parent / link).exists(), link


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "UPGRADE.md", "docs/deploying.md"])
def test_files_that_a_page_names_are_there(page):
    text = (paths.ROOT / page).read_text()
    for name in re.findall(r"(?<![\w/.-])((?:scripts|charts|images|values|docs|tests)/[\w./*-]*\w)", text):
        assert list(Path(paths.ROOT).glob(name)), name
