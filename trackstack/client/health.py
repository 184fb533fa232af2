"""Whether a platform works, not only answers: the database behind it and its artifact store."""

import json
import socket
import time
import urllib.error
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from trackstack.client.server import Login, Server, said
from trackstack.core.access import ADMIN_USER

_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


@dataclass(frozen=True)
class Check:
    """What one probe found."""

    name: str
    ok: bool
    detail: str
    milliseconds: float


class Platform:
    """A tracking URI to probe, as a user who may write everywhere or as nobody in particular."""

    def __init__(
        self, uri: str, certificate: str = "", login: Login | None = None, timeout: float = 10
    ) -> None:
        self._server = Server(uri, certificate, login, timeout)
        # Clients may write beside the runs, but not delete there: they would leave what they wrote.
        self._may_delete = login is None or login.username == ADMIN_USER

    def check(self) -> list[Check]:
        """Front door, database, artifact store; later ones are skipped when the first fails."""
        first = self._probe("front door", self._front_door)
        if not first.ok:
            return [first]
        database = self._probe("database", self._database)
        if not self._may_delete:
            return [first, database]
        return [first, database, self._probe("artifact store", self._artifact_store)]

    def answers(self) -> Check:
        """The front door alone."""
        return self._probe("front door", self._front_door)

    def _probe(self, name: str, probe: Callable[[], str]) -> Check:
        start = time.monotonic()
        try:
            detail, ok = probe(), True
        except urllib.error.HTTPError as error:
            detail, ok = f"{error.code} {said(error)}".strip(), False
        except (urllib.error.URLError, OSError, ValueError) as error:
            detail, ok = str(getattr(error, "reason", error)), False
        return Check(name, ok, detail, round((time.monotonic() - start) * 1000, 1))

    def _front_door(self) -> str:
        self._server.call("GET", "/health")
        return self._server.uri

    def _database(self) -> str:
        answer = self._server.call(
            "POST", "/api/2.0/mlflow/experiments/search", b'{"max_results": 1}', "application/json"
        )
        if "experiments" not in json.loads(answer):
            raise ValueError("no experiment, not even the default one")
        return "experiments can be searched"

    def _artifact_store(self) -> str:
        path = f"{_ARTIFACTS}/.trackstack/probe-{uuid.uuid4().hex}"
        text = uuid.uuid4().hex.encode()
        self._server.call("PUT", path, text, "application/octet-stream")
        try:
            if self._server.call("GET", path) != text:
                raise ValueError("what was written is not what is read")
        finally:
            self._server.call("DELETE", path)
        return "a file was written, read and deleted"


def listens(host: str, port: int, timeout: float = 2) -> str:
    """Why nothing takes connections there; "" when something does."""
    try:
        with socket.create_connection((host, port), timeout):
            return ""
    except OSError as error:
        return error.strerror or str(error)
