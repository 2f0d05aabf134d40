"""The commands of the documentation, to be tried as they stand there."""

import os
import re

from techshop import paths, shell


def commands(name: str, namespace: str, section: str = "") -> list[str]:
    """Return the commands of a page or its section, one to each indented line, for a release in another namespace."""
    text = (paths.ROOT / f"docs/{name}.md").read_text()
    if section:
        text = text.partition(f"## {section}\n")[2].partition("\n## ")[0]
    found = [line.strip() for line in text.splitlines() if re.match(r" {4}\S", line)]
    return [command.replace("-n techshop ", f"-n {namespace} ") for command in found]


def run(command: str) -> str:
    """Run one on the project's cluster and return what it prints."""
    environment = {"KUBECONFIG": str(paths.KUBECONFIG), "PATH": f"{paths.BIN}:{os.environ['PATH']}"}
    return shell.run("bash", "-euo", "pipefail", "-c", command, env=environment, timeout=900)
