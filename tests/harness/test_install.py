"""What `scripts/up` says when what is installed already is in its way."""

import pytest

from techshop import helm, install
from techshop.errors import Failure


def failing(tail: str):
    def upgrade(*_: object, **__: object) -> None:
        raise Failure("helm failed", tail=tail)

    return upgrade


def test_another_environment_is_named_and_how_to_remove_it(monkeypatch: pytest.MonkeyPatch) -> None:
    tail = "redis.persistence.size: the volumes of this release have 1Gi, and a StatefulSet can't change that to 5Gi"
    monkeypatch.setattr(helm, "upgrade", failing(tail))
    with pytest.raises(Failure, match="another environment than prod is installed") as failure:
        install._install("prod")
    assert "techshop down" in failure.value.advice


def test_any_other_failure_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helm, "upgrade", failing("timed out"))
    with pytest.raises(Failure, match="helm failed"):
        install._install("prod")
