"""The gate before every route: whoever brings no credentials gets no further.

MLflow asks for credentials route by route, in two middlewares that know of different routes. Here
it is the other way round: a short list of paths is open, and everything else, also what a later
MLflow adds, is asked first. MLflow's own checks behind it decide what the user may do.
"""

import json
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from anyio.to_thread import run_sync

from trackstack.core.access import is_open

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

ATTESTED_HEADER = "x-trackstack-attested"
_NAME = ATTESTED_HEADER.encode()
_PROOF = secrets.token_hex(32)
"""Known to this process alone: what the gate writes can't be sent by anybody else."""


@dataclass(frozen=True)
class Refused:
    """Why somebody doesn't get in."""

    sentence: str
    status: int = 401


class Gate:
    """An ASGI application around another one."""

    def __init__(
        self, app: AsgiApp, identify: Callable[[Scope], str | Refused], *, asks_browsers: bool
    ) -> None:
        self._app = app
        self._identify = identify
        self._asks_browsers = asks_browsers
        """Whether a browser should ask its user for a password."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] == "websocket":  # MLflow has none
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = [(key, value) for key, value in scope["headers"] if key.lower() != _NAME]
        scope = {**scope, "headers": headers}
        if not is_open(scope["path"]):
            # In a thread: a password that is not remembered takes tens of milliseconds.
            found = await run_sync(self._identify, scope)
            if isinstance(found, Refused):
                await self._refuse(found, dict(headers), send)
                return
            attested = (_NAME, f"{_PROOF} {quote(found)}".encode("ascii"))
            scope["headers"] = [*headers, attested]
        await self._app(scope, receive, send)

    async def _refuse(self, refused: Refused, headers: dict[bytes, bytes], send: Send) -> None:
        if b"text/html" in headers.get(b"accept", b""):
            kind, body = "text/plain; charset=utf-8", f"{refused.sentence}\n"
        else:
            kind = "application/json"
            code = "UNAUTHENTICATED" if refused.status == 401 else "PERMISSION_DENIED"  # noqa: PLR2004
            body = json.dumps({"error_code": code, "message": refused.sentence})
        answer = [
            (b"content-type", kind.encode()),
            (b"content-length", str(len(body.encode())).encode()),
            (b"cache-control", b"no-store"),
        ]
        is_browser = b"sec-fetch-mode" in headers
        if refused.status == 401 and (self._asks_browsers or not is_browser):  # noqa: PLR2004
            answer.append((b"www-authenticate", b'Basic realm="mlflow"'))
        start = {"type": "http.response.start", "status": refused.status, "headers": answer}
        await send(start)
        await send({"type": "http.response.body", "body": body.encode()})


def attested_user(header: str | None) -> str | None:
    """Return whom the gate of this process let in, by the header it wrote; None for any other."""
    proof, _, name = (header or "").partition(" ")
    return unquote(name) if secrets.compare_digest(proof.encode(), _PROOF.encode()) else None
