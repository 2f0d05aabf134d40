"""Where things are: the checkout, what is made in it, and the cache beside it."""

import os
from pathlib import Path

#: The checkout.
ROOT = Path(__file__).resolve().parents[2]
#: What belongs to this checkout and can be made again: kubeconfig, logs, diagnostics, installed tools.
STATE = ROOT / ".techshop"
#: Installed command-line tools (helm, kubectl, kind and others), one file each.
BIN = STATE / "bin"
#: Logs of the steps, one file a step.
LOGS = STATE / "logs"
#: The cluster's name: TECHSHOP_CLUSTER, or techshop.
CLUSTER = os.environ.get("TECHSHOP_CLUSTER", "techshop")
#: The cluster's kubeconfig; nothing touches ``~/.kube``.
KUBECONFIG = STATE / ("kubeconfig" if CLUSTER == "techshop" else f"kubeconfig-{CLUSTER}")
#: Built parts, each under the hash of its recipe; shared by checkouts and safe to delete.
CACHE = Path(
    os.environ.get("TECHSHOP_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "techshop"
)
