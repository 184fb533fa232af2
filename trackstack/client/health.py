"""Whether a platform works, not only answers: the database behind it and its artifact store."""

import json
import ssl
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from trackstack.client.errors import ClientError

_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


@dataclass(frozen=True)
class Check:
    """What one probe found."""

    name: str
    ok: bool
    detail: str
    milliseconds: float


class Platform:
    """A tracking URI to probe with nothing but the standard library."""

    def __init__(self, uri: str, certificate: str = "", timeout: float = 10) -> None:
        self._uri = uri.rstrip("/")
        self._timeout = timeout
        if not self._uri.startswith(("http://", "https://")):
            raise ClientError(
                f"The tracking URI {uri!r} is not an address of a server: it must begin with"
                " http:// or https://."
            )
        self._context = ssl.create_default_context(cadata=certificate or None)

    def check(self) -> list[Check]:
        """Front door, database, artifact store; later ones are skipped when the first fails."""
        first = self._probe("front door", self._front_door)
        if not first.ok:
            return [first]
        return [
            first,
            self._probe("database", self._database),
            self._probe("artifact store", self._artifact_store),
        ]

    def answers(self) -> Check:
        """The front door alone."""
        return self._probe("front door", self._front_door)

    def _probe(self, name: str, probe: Callable[[], str]) -> Check:
        start = time.monotonic()
        try:
            detail, ok = probe(), True
        except urllib.error.HTTPError as error:
            detail, ok = f"{error.code} {_said(error)}".strip(), False
        except (urllib.error.URLError, OSError, ValueError) as error:
            detail, ok = str(getattr(error, "reason", error)), False
        return Check(name, ok, detail, round((time.monotonic() - start) * 1000, 1))

    def _front_door(self) -> str:
        self._call("GET", "/health")
        return self._uri

    def _database(self) -> str:
        answer = self._call(
            "POST", "/api/2.0/mlflow/experiments/search", b'{"max_results": 1}', "application/json"
        )
        if "experiments" not in json.loads(answer):
            raise ValueError("no experiment, not even the default one")
        return "experiments can be searched"

    def _artifact_store(self) -> str:
        path = f"{_ARTIFACTS}/.trackstack/probe-{uuid.uuid4().hex}"
        text = uuid.uuid4().hex.encode()
        self._call("PUT", path, text, "application/octet-stream")
        try:
            if self._call("GET", path) != text:
                raise ValueError("what was written is not what is read")
        finally:
            self._call("DELETE", path)
        return "a file was written, read and deleted"

    def _call(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> bytes:
        headers = {"Content-Type": kind} if kind else {}
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            self._uri + path, data=body, method=method, headers=headers
        )
        with urllib.request.urlopen(  # noqa: S310 - the same
            request, timeout=self._timeout, context=self._context
        ) as answer:
            content: bytes = answer.read()
            return content


def _said(error: urllib.error.HTTPError) -> str:
    text = error.read(2000).decode("utf-8", "replace")
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)
