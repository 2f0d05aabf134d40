"""A client of a bucket, with one pair of keys, as tests need it."""

from dataclasses import dataclass
from xml.etree import ElementTree

import requests
from requests_aws4auth import AWS4Auth


class Denied(Exception):
    """The keys don't open what was asked for."""


@dataclass(frozen=True)
class Bucket:
    """A bucket behind an address, such as ``http://127.0.0.1:8333``."""

    address: str
    name: str
    access_key: str
    secret_key: str

    def put(self, key: str, body: bytes) -> None:
        """Write an object."""
        self.call("PUT", key, body)

    def get(self, key: str) -> bytes:
        """Read an object."""
        return self.call("GET", key)

    def delete(self, key: str) -> None:
        """Delete an object."""
        self.call("DELETE", key)

    def list(self) -> list[str]:
        """Return the keys of all objects, up to a thousand."""
        found = ElementTree.fromstring(self.call("GET", "?list-type=2"))
        return [str(key.text) for key in found.iter("{http://s3.amazonaws.com/doc/2006-03-01/}Key")]

    def call(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Send a signed request, the path within the bucket, and return the answer's body.

        Raises:
            Denied: the keys aren't known, or not enough.
            requests.RequestException: there is no answer, or another one than expected.
        """
        signature = AWS4Auth(self.access_key, self.secret_key, "us-east-1", "s3")
        url = f"{self.address}/{self.name}/{path}"
        answer = requests.request(method, url, data=body, auth=signature, timeout=60)
        if answer.status_code == requests.codes.forbidden:
            raise Denied(answer.text)
        answer.raise_for_status()
        return answer.content
