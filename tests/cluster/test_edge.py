"""The ways in through a real controller: Traefik, as a process on the control plane's node."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from certificates import Authority
from conftest import eventually

from techshop import cluster, crds, helm, recipes, shell
from techshop.release import Release
from techshop.shop import Shop

HOSTS = {"ingress": "shop.example.com", "gateway": "shop.example.org"}
CLASS = "traefik-of-a-test"
CLASSES = [
    {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": CLASS},
        "spec": {"controller": "traefik.io/ingress-controller"},
    },
    {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": {"name": CLASS},
        "spec": {"controllerName": "traefik.io/gateway-controller"},
    },
]


@pytest.fixture(scope="module")
def controller(prepared: None) -> Iterator[str]:
    """Run the controller, with the classes that it takes; return its address."""
    for crd in crds.files("gateway-api"):
        helm.kubectl("apply", "--server-side", "-f", str(crd))
    for item in CLASSES:
        helm.kubectl("apply", "-f", "-", stdin=json.dumps(item))
    (node,) = (node.name for node in cluster.nodes() if node.name.endswith("control-plane"))
    program = recipes.wheel(Path(__file__).with_name("traefik.txt"), "bin/traefik")
    shell.run("docker", "cp", program, f"{node}:/usr/local/bin/traefik", timeout=120)
    options = [
        *(f"--providers.kubernetes{way}" for way in HOSTS),
        "--entrypoints.web.address=:80",
        "--entrypoints.websecure.address=:443",
        "--entrypoints.websecure.http.tls=true",
    ]
    account = ("--env", "KUBECONFIG=/etc/kubernetes/admin.conf")
    shell.run("docker", "exec", "--detach", *account, node, "traefik", *options)
    yield shell.run(
        "docker", "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", node
    ).strip()
    shell.run("docker", "exec", node, "sh", "-c", "pkill -x traefik; rm /usr/local/bin/traefik")
    for item in CLASSES:
        helm.kubectl("delete", "-f", "-", stdin=json.dumps(item))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def release(make_release: Callable[..., Release], controller: str, authority: Authority) -> Release:
    return make_release(
        "dev",
        before=lambda namespace: authority.issue_for("public", namespace, *HOSTS.values()),
        certificates__existingSecret="public",
        ingress={"enabled": True, "className": CLASS, "hosts": [HOSTS["ingress"]]},
        gateway={"enabled": True, "className": CLASS, "hosts": [HOSTS["gateway"]]},
    )


@pytest.fixture(autouse=True)
def _names(controller: str, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the names lead to the controller, and trust the authority."""
    ask = socket.getaddrinfo
    known = set(HOSTS.values())
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *about, **more: ask(controller if host in known else host, *about, **more)
    )
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.folder / "ca.crt"))


@pytest.mark.parametrize("way", HOSTS)
def test_customers_order_at_https_and_what_is_for_machines_stays_inside(release: Release, way: str) -> None:
    address = f"https://{HOSTS[way]}"
    shop = eventually(lambda: Shop(address, patience=1))
    order = shop.order(shop.products()[0]["id"])
    # Drawn soon after the first start.
    picture = eventually(lambda: shop.products()[0]["picture"])
    assert shop.read_order(order["id"])["total"] == order["total"]
    for path in ("/", picture):
        requests.get(address + path, timeout=20).raise_for_status()
    for path in ("/metrics", "/ready", "/health", "/api-docs", "/picturesque"):
        assert requests.get(address + path, timeout=20).status_code == 404, path
        assert requests.get(f"{release.url}{path}", timeout=20).status_code == (200 if path[1] in "mrh" else 404)


def test_the_gateway_of_the_release_sends_clients_to_https(release: Release) -> None:
    address = f"//{HOSTS['gateway']}/api/products"

    def check() -> bool:
        answer = requests.get(f"http:{address}", timeout=20, allow_redirects=False)
        assert (answer.status_code, answer.headers.get("Location")) == (301, f"https:{address}")
        return True

    eventually(check)


def test_the_controller_says_that_it_took_the_gateway(release: Release) -> None:
    def accepted(kind: str) -> bool:
        status = release.get(kind, "techshop-edge")["status"]
        conditions = status["conditions"] if kind == "gateway" else status["parents"][0]["conditions"]
        return {"True"} == {item["status"] for item in conditions if item["type"] in {"Accepted", "ResolvedRefs"}}

    for kind in ("gateway", "httproute"):
        eventually(lambda kind=kind: accepted(kind))
