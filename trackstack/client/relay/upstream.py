"""The tracking server that a relay ships to, over connections that are kept.

Only plain HTTP of the standard library: credentials come from MLflow's own variables, are in memory
alone, and go to this server alone (a redirect is an answer like another one).
"""

import base64
import http.client
import io
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Final
from urllib.parse import urlsplit

from trackstack.client.errors import ClientError
from trackstack.core import client_settings as settings

CONNECT_SECONDS: Final = 3.0
ANSWER_SECONDS: Final = 60.0
_STALE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)
"""A kept connection that the server had closed already: nothing was done by it."""


class AwayError(Exception):
    """No answer: refused, unknown, too slow, cut off. What was asked may have been done."""


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    headers: Mapping[str, str]
    """Names in small letters."""
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether it did what it was asked."""
        return 200 <= self.status < 300  # noqa: PLR2004

    @property
    def text(self) -> str:
        """The body for a message."""
        return self.body[:2000].decode("utf-8", "replace")


@dataclass(frozen=True)
class Address:
    """Where the server is, and as whom it is asked; no representation shows a credential."""

    uri: str
    authorization: str = field(default="", repr=False)
    certificate: str = ""
    """Path of a PEM bundle; empty: the system's authorities."""
    insecure: bool = False

    @staticmethod
    def of(environment: Mapping[str, str]) -> "Address":
        """Read MLflow's own variables, or the upstream's where they are about a relay.

        Raises:
            ClientError: ``MLFLOW_TRACKING_URI`` is no address of a server.
        """
        told = settings.of_upstream(environment)
        uri = told.get(settings.TRACKING_URI, "").rstrip("/")
        parts = urlsplit(uri)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            wrong = f"is {uri!r}, which is" if uri else "is not set, so there is"
            raise ClientError(
                f"MLFLOW_TRACKING_URI {wrong} no address of a server (http://… or https://…):"
                ' `eval "$(trackstack env)"` sets it.'
            )
        user = told.get(settings.USERNAME) or parts.username
        password = told.get(settings.PASSWORD) or parts.password
        token = told.get(settings.TOKEN)
        authorization = ""
        if user and password:
            encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
            authorization = f"Basic {encoded}"
        elif token:
            authorization = f"Bearer {token}"
        host = parts.netloc.rpartition("@")[2]
        return Address(
            f"{parts.scheme}://{host}{parts.path}",
            authorization,
            told.get(settings.CERTIFICATE_PATH, ""),
            told.get(settings.INSECURE, "").lower() in {"1", "true"},
        )


@dataclass(frozen=True)
class _Question:
    method: str
    path: str
    body: bytes | IO[bytes] | None
    headers: dict[str, str]
    seconds: float
    into: IO[bytes] | None


class Upstream:
    """Asks the server; one kept connection for each thread."""

    def __init__(self, address: Address) -> None:
        self.address = address
        parts = urlsplit(address.uri)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._prefix = parts.path.rstrip("/")
        self._tls = None
        if parts.scheme == "https":
            self._tls = ssl.create_default_context(cafile=address.certificate or None)
            if address.insecure:
                self._tls.check_hostname = False
                self._tls.verify_mode = ssl.CERT_NONE
        self._kept = threading.local()
        self._open: set[http.client.HTTPConnection] = set()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | IO[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        seconds: float = ANSWER_SECONDS,
        into: IO[bytes] | None = None,
    ) -> Answer:
        """Ask once.

        Args:
            method: of HTTP.
            path: with its query, below the server's address.
            body: bytes, or a file from where it stands, sent as it is read.
            headers: more than the credentials.
            seconds: how long the server may be silent.
            into: where the body of a good answer goes instead of into the memory.

        Raises:
            AwayError: no answer.
        """
        told = {**(headers or {})}
        if self.address.authorization:
            told["Authorization"] = self.address.authorization
        if body is not None and not isinstance(body, bytes):
            told["Content-Length"] = str(_length(body))
        question = _Question(method, path, body, told, seconds, into)
        fresh = getattr(self._kept, "connection", None) is None
        try:
            return self._once(question)
        except _STALE as problem:
            self.drop()
            if fresh:
                raise AwayError(_reason(problem)) from None
        except (OSError, http.client.HTTPException) as problem:
            self.drop()
            raise AwayError(_reason(problem)) from None
        if body is not None and not isinstance(body, bytes):
            body.seek(0)
        try:
            return self._once(question)
        except (OSError, http.client.HTTPException) as problem:
            self.drop()
            raise AwayError(_reason(problem)) from None

    def drop(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._kept, "connection", None)
        if connection is not None:
            connection.close()
            self._open.discard(connection)
            self._kept.connection = None

    def close(self) -> None:
        """Close every thread's connection, when none asks any more."""
        for connection in list(self._open):
            connection.close()

    def _once(self, asked: "_Question") -> Answer:
        connection = getattr(self._kept, "connection", None)
        if connection is None:
            connection = self._connected()
        connection.sock.settimeout(asked.seconds)
        connection.request(asked.method, self._prefix + asked.path, asked.body, asked.headers)
        with connection.getresponse() as answer:
            content = b""
            if asked.into is not None and answer.status == http.HTTPStatus.OK:
                while chunk := answer.read(1 << 20):
                    asked.into.write(chunk)
            else:
                content = answer.read()
            found = {key.lower(): value for key, value in answer.getheaders()}
            if answer.will_close:
                self.drop()
            return Answer(answer.status, found, content)

    def _connected(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection
        if self._tls is None:
            connection = http.client.HTTPConnection(self._host, self._port, CONNECT_SECONDS)
        else:
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=CONNECT_SECONDS, context=self._tls
            )
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._kept.connection = connection
        self._open.add(connection)
        return connection


def _length(body: IO[bytes]) -> int:
    here = body.tell()
    size = body.seek(0, io.SEEK_END)
    body.seek(here)
    return size - here


def _reason(problem: Exception) -> str:
    if isinstance(problem, TimeoutError):
        return "no answer in time"
    if isinstance(problem, ConnectionRefusedError):
        return "connection refused"
    if isinstance(problem, socket.gaierror):
        return "its name is unknown"
    return str(problem) or type(problem).__name__
