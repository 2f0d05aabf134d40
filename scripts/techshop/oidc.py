"""Log in to a cluster as a GitHub workflow: a credential plugin of kubectl and Helm, which runs without any package.

GitHub's tokens live a few minutes, shorter than an upgrade may take; a plugin is asked again whenever one has run out.
"""

import base64
import json
import os
import sys
import urllib.parse
import urllib.request
from datetime import UTC, datetime

_SECONDS = 30


def credential(audience: str) -> dict[str, object]:
    """Ask GitHub for a token and return it as Kubernetes' ExecCredential.

    Args:
        audience: for whom the token is: what the cluster's authentication configuration names.

    Raises:
        SystemExit: this isn't a job with ``id-token: write``, or GitHub gives no token.
    """
    try:
        address, secret = (os.environ[f"ACTIONS_ID_TOKEN_REQUEST_{name}"] for name in ("URL", "TOKEN"))
    except KeyError:
        sys.exit("GitHub gives this job no token. Write `id-token: write` under the job's `permissions`.")
    request = urllib.request.Request(f"{address}&audience={urllib.parse.quote(audience, safe='')}")
    request.add_header("Authorization", f"bearer {secret}")
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            token = json.load(answer)["value"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"GitHub gives no token for {audience}: {error}. Run the job again.")
    return {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": token, "expirationTimestamp": _expiry(token)},
    }


def _expiry(token: str) -> str:
    """Read from a token when it runs out."""
    claims = token.split(".")[1]
    expires = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"]
    return datetime.fromtimestamp(expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Name the audience: oidc.py AUDIENCE")
    print(json.dumps(credential(sys.argv[1])))
