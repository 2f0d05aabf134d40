"""What an operator gets wrong on a running set: each mistake ends in a sentence that says so, and loses nothing."""

import pytest
from conftest import eventually

from techshop.release import Release
from techshop.shop import Shop


@pytest.fixture(scope="module")
def release(prod: Release) -> Release:
    return prod


def logs(release: Release, pod: str, container: str = "reconciler") -> str:
    return release.kubectl("logs", pod, "-c", container, "--tail=-1")


def test_a_member_with_another_keyfile_says_so_and_comes_back_with_the_right_one(release: Release) -> None:
    shop = Shop(release.url)
    order = shop.order(shop.products()[0]["id"])
    keyfile = release.secret("mongodb")["keyfile"]
    odd = next(pod for pod in release.pods("mongodb") if pod != release.primary())

    release.set_secret("mongodb", keyfile="another" * 20)
    release.kubectl("delete", "pod", odd, "--wait")
    eventually(lambda: "it started with another keyfile than this one" in logs(release, odd), seconds=180)
    primary = str(release.primary())
    sentence = 'the Secret\'s "keyfile" is not the one that mongod started with: put the one before back'
    eventually(lambda: sentence in logs(release, primary), seconds=180)
    shop.order(shop.products()[0]["id"])

    release.set_secret("mongodb", keyfile=keyfile)
    release.kubectl("delete", "pod", odd, "--wait")
    eventually(lambda: sorted(release.states().values()) == ["PRIMARY", "SECONDARY", "SECONDARY"], seconds=180)
    assert shop.read_order(order["id"])["id"] == order["id"]


@pytest.mark.parametrize("part", ["mongodb", "redis"])
def test_an_empty_password_is_named_and_changes_nothing(release: Release, part: str) -> None:
    before = release.secret(part)["app-password"]
    pods = release.pods(part)
    release.set_secret(part, app_password="")
    sentence = 'the Secret\'s "app-password" is empty: write a password there'
    eventually(lambda: any(sentence in logs(release, pod) for pod in pods), seconds=180)
    release.set_secret(part, app_password=before)
    shop = Shop(release.url)
    shop.order(shop.products()[0]["id"])
