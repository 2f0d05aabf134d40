"""Point-in-time recovery on a real cluster: a mistake is undone to the second, whatever was written around it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from conftest import bucket, eventually
from test_backup import SUMS, evaluate

from techshop import restore
from techshop.errors import Failure
from techshop.release import Release
from techshop.restore import Jobs
from techshop.shop import Ledger, Shop

#: Deletes an order, and says in which second of the oplog.
DELETE = """(() => {
  const deletes = [{ q: { _id: 'ID' }, limit: 1 }];
  const { n, operationTime } = db.getSiblingDB('techshop').runCommand({ delete: 'orders', deletes });
  return n && operationTime.t;
})()"""


@pytest.fixture(scope="module")
def release(make_release: Callable[..., Release]) -> Release:
    return make_release(
        "dev",
        backup__enabled=True,
        backup__pitr={"enabled": True, "intervalSeconds": 10},
        mongodb__replicaSet__replicas=3,
    )


def stored_until(release: Release) -> int:
    """Return the second up to which the bucket has the oplog."""
    with bucket(release, "backups") as found:
        slices = [path for path in found.list() if path.endswith(".bson.gz")]
    return max((int(path.rpartition("-")[2].split(".", maxsplit=1)[0]) for path in slices), default=0)


def moment(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%SZ}"


def test_an_order_that_was_deleted_is_there_again_as_of_a_second_before(
    release: Release, record_property: Callable[[str, object], None]
) -> None:
    sums = evaluate(release, SUMS)
    Jobs(release.namespace).run("backup")
    shop = Shop(release.url)
    product = shop.products()[0]["id"]
    with Ledger(release.url) as orders:
        order = shop.order(product)
        release.kubectl("delete", "pod", *release.pods("backup-oplog"), "--force")
        time.sleep(2)
        deleted = evaluate(release, DELETE.replace("ID", order["id"]))
        assert isinstance(deleted, int) and deleted, "the order wasn't there"
        time.sleep(1)
        later = shop.order(product)
    assert orders.placed
    with pytest.raises(Failure, match="that is the last moment that can be restored with it"):
        restore.restore(release.namespace, at=moment(deleted + 86400), drop=True)
    eventually(lambda: stored_until(release) > deleted, every=1)
    record_property("seconds_until_stored", int(time.time()) - deleted)

    start = time.monotonic()
    restore.restore(release.namespace, at=moment(deleted - 1), drop=True)
    record_property("seconds_to_recover", round(time.monotonic() - start))
    shop.login()
    assert shop.read_order(order["id"])["total"] == order["total"]
    with pytest.raises(Failure, match="404"):
        shop.read_order(later["id"])
    assert evaluate(release, SUMS) == sums, "an order is there without its stock movement, or the other way"
