"""From a bare machine to a shop that takes orders, and back."""

from pathlib import Path

from techshop import cluster, engine, helm, images, paths, reach, tools, ui
from techshop.errors import Failure
from techshop.shop import Shop

NAMESPACE = "techshop"
RELEASE = "techshop"
#: Port on every node that leads to the storefront; the cluster maps it to the machine's.
NODE_PORT = 30080
#: Worker nodes of a new cluster for an environment; 0 means that the control plane takes the pods.
WORKERS = {"dev": 0, "staging": 0, "prod": 3}


def up(environment: str = "dev", workers: int | None = None) -> None:
    """Make the cluster, provide the images, install the chart and place one order.

    Args:
        environment: "dev", "staging" or "prod": which of ``values/`` is installed.
        workers: worker nodes of the cluster; None for what the environment needs.

    Raises:
        Failure: the step that failed, why, and what to do.
    """
    tools.install(["helm", "kubectl", "kind"])
    engine.ensure()
    cluster.create(workers, default=WORKERS[environment])
    images.build()
    images.load()
    with ui.step(f"install the chart ({environment})"):
        _install(environment)
    url = cluster.url()
    with ui.step("place an order"):
        shop = Shop(url, patience=120)
        order = shop.order(shop.products()[0]["id"])
    _explain(environment, url, str(order["id"]))


def _install(environment: str) -> None:
    try:
        helm.upgrade(RELEASE, NAMESPACE, values_files(environment), values=service_values())
    except Failure as failure:
        if "the volumes of this release have" not in failure.tail:
            raise
        what = f"another environment than {environment} is installed, whose volumes are smaller or larger"
        advice = "`.venv/bin/techshop down` removes it with all its data; then run this again."
        raise Failure(what, advice) from failure


def values_files(environment: str) -> list[Path]:
    """Return the values files of an environment, with the images' other names where they were built here."""
    names = [environment] if reach.registry() else [environment, "airgap"]
    return [helm.VALUES / f"{name}.yaml" for name in names]


def service_values() -> dict[str, object]:
    """Return the values that let the machine reach the storefront in kind."""
    return {"app.service": {"type": "NodePort", "nodePort": NODE_PORT}}


def down() -> None:
    """Delete the cluster and all that is in it."""
    cluster.delete()


def _explain(environment: str, url: str, order: str) -> None:
    command = f"export KUBECONFIG={paths.KUBECONFIG} PATH={paths.BIN}:$PATH"
    ui.say(f"""
The shop is up ({environment}), and order {order} was placed.

  open it      {url}
  log in       account='{{"email": "me@example.com", "password": "a long one"}}'
               curl {url}/api/register -H 'Content-Type: application/json' -d "$account"
               curl {url}/api/login -H 'Content-Type: application/json' -d "$account"
  look inside  {command}
               kubectl -n {NAMESPACE} get pods
  remove it    .venv/bin/techshop down
""")
