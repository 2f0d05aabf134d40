"""A customer of the shop: places orders over HTTP and remembers each one that was acknowledged."""

import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import requests

from techshop.errors import Failure


class Shop:
    """A logged-in customer.

    Args:
        url: where the storefront answers, e.g. ``http://127.0.0.1:8080``.
        patience: seconds for which a request is tried again while the shop can't be reached or says 502 to 504.

    Raises:
        Failure: the shop answered with an error, or not within ``patience``.
    """

    def __init__(self, url: str, patience: float = 60.0) -> None:
        """Register a new customer at the shop and log in."""
        self.url = url.rstrip("/")
        self.patience = patience
        #: Requests that had to be sent again, with the reason: what a client without retries would have seen.
        self.retried: list[str] = []
        self._http = requests.Session()
        self._account = {"email": f"{uuid.uuid4().hex}@example.com", "password": uuid.uuid4().hex}
        self._call("POST", "/api/register", self._account)
        self.login()

    def say(self, **headers: str) -> None:
        """Send these headers with every request from now on."""
        self._http.headers.update(headers)

    def login(self) -> None:
        """Log in, for the first time or again."""
        self._http.headers["Authorization"] = f"Bearer {self._call('POST', '/api/login', self._account)['token']}"

    def products(self) -> list[dict[str, Any]]:
        """Return the first page of the catalogue."""
        items: list[dict[str, Any]] = self._call("GET", "/api/products")["products"]
        return items

    def order(self, product: str, quantity: int = 1) -> dict[str, Any]:
        """Place an order and return it as acknowledged; sending it again can't place it twice."""
        body = {"items": [{"productId": product, "quantity": quantity}]}
        return self._call("POST", "/api/orders", body, {"Idempotency-Key": uuid.uuid4().hex})

    def read_order(self, order: str) -> dict[str, Any]:
        """Return the order with this id."""
        return self._call("GET", f"/api/orders/{order}")

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        end = time.monotonic() + self.patience
        while True:
            try:
                answer = self._http.request(method, self.url + path, json=body, headers=headers, timeout=20)
                if answer.ok:
                    result: dict[str, Any] = answer.json()
                    return result
                problem = f"{answer.status_code} {answer.text[:200]}"
                if answer.status_code not in {502, 503, 504}:
                    raise Failure(f"{method} {path} was answered with {problem}")
            except requests.RequestException as error:
                problem = str(error)
            if time.monotonic() > end:
                raise Failure(f"{method} {path} failed for {self.patience:.0f} s; the last answer: {problem}")
            self.retried.append(f"{method} {path}: {problem}")
            time.sleep(0.2)


@dataclass
class Ledger:
    """Customers that keep ordering in the background while something happens to the shop.

    Use as a context manager; afterwards :meth:`check` reads back every order that was acknowledged.
    """

    url: str
    customers: int = 2
    pause: float = 0.1
    #: Seconds for which an order is sent again before it has failed for good.
    patience: float = 60.0
    placed: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    #: Longest time in seconds between two orders acknowledged to the same customer.
    longest_gap: float = 0.0
    #: How long each acknowledged order took.
    seconds: list[float] = field(default_factory=list)

    def __enter__(self) -> "Ledger":
        """Start ordering, and wait until each customer has placed one order."""
        self._stop = threading.Event()
        self._shops = [Shop(self.url, self.patience) for _ in range(self.customers)]
        self._product = next(item["id"] for item in self._shops[0].products() if item["stock"] > 10_000)
        self._threads = [threading.Thread(target=self._order, args=(shop,), daemon=True) for shop in self._shops]
        started = [threading.Event() for _ in self._shops]
        self._started = dict(zip((id(shop) for shop in self._shops), started, strict=True))
        for thread in self._threads:
            thread.start()
        if not all(event.wait(60) for event in started):
            raise Failure(f"no order was acknowledged within 60 s: {self.errors[-1:]}")
        return self

    def __exit__(self, *_: object) -> None:
        """Stop ordering."""
        self._stop.set()
        for thread in self._threads:
            thread.join(self.patience + 30)

    @property
    def retried(self) -> list[str]:
        """Requests that had to be sent again, with the reason."""
        return [entry for shop in self._shops for entry in shop.retried]

    def check(self) -> int:
        """Read back every acknowledged order and return how many there were.

        Raises:
            Failure: an order is gone or reads differently, or an order failed for good.
        """
        if self.errors:
            raise Failure(f"{len(self.errors)} orders failed for good, the first: {self.errors[0]}")
        by_owner = {id(shop): shop for shop in self._shops}
        for order in self.placed:
            found = by_owner[order["owner"]].read_order(order["id"])
            if found["total"] != order["total"]:
                raise Failure(
                    f"order {order['id']} was acknowledged with {order['total']}, and now says {found['total']}"
                )
        return len(self.placed)

    def _order(self, shop: Shop) -> None:
        last = time.monotonic()
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                order = shop.order(self._product)
            except Failure as error:
                self.errors.append(error.what)
                continue
            self.seconds.append(time.monotonic() - began)
            self.longest_gap = max(self.longest_gap, time.monotonic() - last)
            last = time.monotonic()
            self.placed.append({"id": order["id"], "total": order["total"], "owner": id(shop)})
            self._started[id(shop)].set()
            self._stop.wait(self.pause)
