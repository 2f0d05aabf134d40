"""Milliseconds for a render of the whole chart, read into objects: the ways that tests of charts do it, side by side.

Run with ``.venv/bin/python bench/render.py [--runs N]`` on a quiet machine.
"""

import argparse
import statistics
import subprocess
import time
from collections.abc import Callable

import helm_python
import yaml

from techshop import paths

CHART = paths.ROOT / "charts/techshop"
SEED = "a-seed-for-a-bench-0123456789abcdef"
VALUES = {"global": {"secrets": {"seed": SEED}}}


def main() -> None:
    """Render in each way in turn, and print the medians beside the first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="renders in each way")
    runs = parser.parse_args().runs
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(runs):
        for name, way in WAYS.items():
            start = time.perf_counter()
            count = way()
            times[name].append(1000 * (time.perf_counter() - start))
    print(f"{count} objects, median of {runs}\n{'':38}{'ms':>8}{'a second':>10}{'ratio':>8}")
    base = statistics.median(times[next(iter(WAYS))])
    for name, measured in times.items():
        middle = statistics.median(measured)
        print(f"{name:38}{middle:8.1f}{1000 / middle:10.1f}{middle / base:8.3f}")


def _cli(helm: str, loader: type) -> Callable[[], int]:
    command = [str(paths.BIN / helm), "template", "techshop", str(CHART), "--set", f"global.secrets.seed={SEED}"]

    def render() -> int:
        text = subprocess.run([*command, "--kube-version", "1.36"], capture_output=True, text=True, check=True).stdout
        return sum(item is not None for item in yaml.load_all(text, Loader=loader))

    return render


def _in_process() -> int:
    with helm_python.Chart.load(CHART) as chart:
        rendered = chart.render(VALUES, name="techshop", namespace="default")
    texts = (text for name, text in rendered.items() if name.endswith(".yaml"))
    return sum(item is not None for text in texts for item in yaml.load_all(text, Loader=yaml.CSafeLoader))


WAYS: dict[str, Callable[[], int]] = {
    "Helm 4's command, PyYAML's own loader": _cli("helm", yaml.SafeLoader),
    "Helm 3's command, PyYAML's own loader": _cli("helm3", yaml.SafeLoader),
    "Helm 4's command, PyYAML's C loader": _cli("helm", yaml.CSafeLoader),
    "in process, PyYAML's C loader": _in_process,
}

if __name__ == "__main__":
    main()
