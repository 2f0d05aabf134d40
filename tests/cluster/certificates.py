"""An authority of our own and certificates of it, in Secrets as cert-manager makes them."""

import json
from pathlib import Path

from techshop import helm, shell
from techshop.release import Release

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30")


class Authority:
    """Issues certificates.

    Args:
        folder: an empty folder for its files.
    """

    def __init__(self, folder: Path) -> None:
        """Make the authority's own certificate."""
        self.folder = folder
        self._openssl("ca", "-subj", "/CN=an authority for tests")

    def issue(self, secret: str, namespace: str, *services: str) -> None:
        """Issue a certificate for the pods of headless Services, and put it into a Secret."""
        hosts = [f"{service}.{namespace}.svc.cluster.local" for service in services]
        self.issue_for(secret, namespace, *(name for host in hosts for name in (host, f"*.{host}")))

    def issue_for(self, secret: str, namespace: str, *names: str) -> None:
        """Issue a certificate for names, and put it into a Secret."""
        use = (
            "basicConstraints=critical,CA:FALSE",
            "extendedKeyUsage=serverAuth,clientAuth",
            f"subjectAltName={','.join(f'DNS:{name}' for name in names)}",
        )
        extensions = [part for extension in use for part in ("-addext", extension)]
        issuer = ("-CA", self.folder / "ca.crt", "-CAkey", self.folder / "ca.key")
        self._openssl("tls", "-subj", "/O=techshop", *issuer, *extensions)
        data = {name: (self.folder / name).read_text() for name in ("tls.crt", "tls.key", "ca.crt")}
        manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": secret},
            "type": "kubernetes.io/tls",
            "stringData": data,
        }
        helm.kubectl("--namespace", namespace, "apply", "-f", "-", stdin=json.dumps(manifest))

    def issued(self) -> str:
        """Return the serial number of the certificate that was issued last."""
        return shell.run("openssl", "x509", "-noout", "-serial", "-in", self.folder / "tls.crt").strip()

    def shown(self, release: Release, pod: str, port: int) -> str:
        """Return the serial number of the certificate that a pod shows at a port, verified."""
        ca = ("-CAfile", self.folder / "ca.crt", "-verify_return_error")
        with release.forwarded(pod, port) as address:
            answer = shell.run("openssl", "s_client", "-connect", address, *ca, stdin="", timeout=20)
        return shell.run("openssl", "x509", "-noout", "-serial", stdin=answer).strip()

    def _openssl(self, name: str, *options: str | Path) -> None:
        files = ("-keyout", self.folder / f"{name}.key", "-out", self.folder / f"{name}.crt")
        shell.run("openssl", "req", "-x509", *_KEY, *files, *options)
