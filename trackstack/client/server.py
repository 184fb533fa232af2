"""A platform's REST API with nothing but the standard library."""

import base64
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

from trackstack.client.errors import ClientError


@dataclass(frozen=True)
class Login:
    """A user and the password; the password is in no representation."""

    username: str
    password: str = field(repr=False)

    @staticmethod
    def from_secret(text: str) -> "Login":
        """Read what the stack keeps in Secrets Manager; ClientError when it is something else."""
        try:
            found = json.loads(text)
            return Login(str(found["username"]), str(found["password"]))
        except (ValueError, KeyError, TypeError):
            raise ClientError("The secret holds no JSON with username and password.") from None

    @property
    def header(self) -> str:
        """Value of the ``Authorization`` header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True)
class Token:
    """What proves who one is where there are no passwords; it is in no representation."""

    value: str = field(repr=False)

    @property
    def header(self) -> str:
        """Value of the ``Authorization`` header."""
        return f"Bearer {self.value}"


@dataclass(frozen=True)
class Reply:
    """An answer of any status."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        """The body's JSON; None when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def said(self) -> str:
        """What the server gave as the reason, on one line."""
        told, text = self.json, self.body.decode("utf-8", "replace").lstrip()
        if isinstance(told, dict):
            text = str(told.get("message") or told.get("detail") or "")
        # MLflow calls its own plain sentences HTML.
        return "" if text.startswith("<") else " ".join(text.split())[:300]


class _Stay(urllib.request.HTTPRedirectHandler):
    """Makes a redirect an answer like any other."""

    def redirect_request(self, *args: Any) -> None:
        """Nowhere."""


class Server:
    """A tracking URI, and as whom it is asked.

    Args:
        uri: where it is.
        certificate: PEM to trust instead of this machine's authorities.
        login: as whom; nobody in particular by default.
        timeout: seconds for each step of a call.
        context: what to trust instead of both.
    """

    def __init__(
        self,
        uri: str,
        certificate: str = "",
        login: Login | Token | None = None,
        timeout: float = 10,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.uri = uri.rstrip("/")
        self._timeout = timeout
        self._login = login
        if not self.uri.startswith(("http://", "https://")):
            raise ClientError(
                f"The tracking URI {uri!r} is not an address of a server: it must begin with"
                " http:// or https://."
            )
        self._context = context or ssl.create_default_context(cadata=certificate or None)

    def call(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> bytes:
        """The answer's body.

        Raises:
            urllib.error.URLError, OSError: no answer, or one that is an error.
        """
        with urllib.request.urlopen(  # noqa: S310 - the scheme was checked
            self._request(method, path, body, kind), timeout=self._timeout, context=self._context
        ) as answer:
            content: bytes = answer.read()
            return content

    def reply(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> Reply:
        """The answer, whatever its status; a redirect is one, too.

        Raises:
            urllib.error.URLError, OSError, http.client.HTTPException: no answer.
        """
        opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=self._context), _Stay()
        )
        try:
            answer = opener.open(self._request(method, path, body, kind), timeout=self._timeout)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return Reply(answer.status, answer.headers, answer.read())

    def _request(
        self, method: str, path: str, body: bytes | None, kind: str
    ) -> urllib.request.Request:
        headers = {"Content-Type": kind} if kind else {}
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            self.uri + path, data=body, method=method, headers=headers
        )
        if self._login is not None:
            # Not among the headers that follow a redirect to somebody else's server.
            request.add_unredirected_header("Authorization", self._login.header)
        return request

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The answer's JSON; errors as those of ``call``, and ValueError for another content."""
        text = None if body is None else json.dumps(body).encode()
        answer = self.call(method, path, text, "application/json")
        found: dict[str, Any] = json.loads(answer) if answer else {}
        return found


def said(error: urllib.error.HTTPError) -> str:
    """What the server gave as the reason."""
    text = error.read(2000).decode("utf-8", "replace")
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)
