"""What can be reached from here: a container registry, upstream's releases, or only package registries."""

import functools
import os
import urllib.error
import urllib.request

_SECONDS = 3.0
_REGISTRY = "https://registry-1.docker.io/v2/"
_RELEASES = "https://dl.k8s.io/"


def registry() -> bool:
    """Say whether container images can be pulled; ``TECHSHOP_AIRGAP=1`` or ``0`` decides without asking."""
    decided = _decided()
    return _answers(_REGISTRY) if decided is None else decided


def releases() -> bool:
    """Say whether upstream's release files can be downloaded; ``TECHSHOP_AIRGAP`` decides as well."""
    decided = _decided()
    return _answers(_RELEASES) if decided is None else decided


def _decided() -> bool | None:
    value = os.environ.get("TECHSHOP_AIRGAP", "").strip().lower()
    if value in {"1", "true", "yes"}:
        return False
    if value in {"0", "false", "no"}:
        return True
    return None


@functools.cache
def _answers(url: str) -> bool:
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500  # it answered, if only to say "log in first"
    except (OSError, ValueError):
        return False
