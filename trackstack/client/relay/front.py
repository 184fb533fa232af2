"""The HTTP server that MLflow's client talks to: loopback, a token for each session, nobody else.

A thread for each connection; an answer waits for the journal, never for the tracking server unless
the question can't be answered without it.
"""

import contextlib
import hmac
import http.client
import json
import re
import socket
import socketserver
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from trackstack.client.relay.api import ApiError, Call, Desk, Handler
from trackstack.client.relay.artifacts import ROOT, Artifacts, checked_path
from trackstack.client.relay.journal import REFUSED, WAITING, FullError
from trackstack.client.relay.models import LoggedModels, Registry
from trackstack.client.relay.runs import Experiments, Runs
from trackstack.client.relay.traces import Traces
from trackstack.client.relay.upstream import AwayError

PENDING_SECONDS = 2.0
"""How long a question to the server waits for what was written before it."""
_PREFIX = r"/(?:ajax-)?api/2\.0/mlflow/"
CONTROL = "/trackstack/"
"""What the supervisor asks: ``status``, and ``ended`` for a training that is gone."""
_MULTIPART = "/api/2.0/mlflow-artifacts/mpu/"
_INFO = "/api/3.0/mlflow/server-info"
_CHUNK = 1 << 20
_HOSTS = frozenset({"127.0.0.1", "localhost"})
_DROPPED = frozenset(
    {
        "host",
        "authorization",
        "connection",
        "content-length",
        "transfer-encoding",
        "accept-encoding",
    }
)
"""Of a forwarded request: ours and the server's own."""


class Service:
    """Every answer, by method and path."""

    def __init__(self, desk: Desk, stuck: Callable[[], str]) -> None:
        self.desk = desk
        self.stuck = stuck
        """Why nothing is shipped although the server is there."""
        experiments = Experiments(desk)
        self.runs = Runs(desk, experiments)
        self.artifacts = Artifacts(desk)
        self.traces = Traces(desk, experiments)
        models, registry = LoggedModels(desk, experiments), Registry(desk)
        one, version = r"logged-models/(?P<model>m-[0-9a-f]{32})", "model-versions/"
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = [
            (method, re.compile(_PREFIX + path), handler)
            for method, path, handler in (
                ("POST", "runs/log-metric", self.runs.log_metric),
                ("POST", "runs/log-batch", self.runs.log_batch),
                ("POST", "runs/log-parameter", self.runs.log_param),
                ("POST", "runs/set-tag", self.runs.set_tag),
                ("POST", "runs/delete-tag", self.runs.delete_tag),
                ("POST", "runs/create", self.runs.create),
                ("POST", "runs/update", self.runs.update),
                ("POST", "runs/delete", self.runs.delete),
                ("POST", "runs/restore", self.runs.restore),
                ("POST", "experiments/(?:update|delete|restore)", experiments.change),
                ("POST", "runs/log-model", self.runs.log_model),
                ("POST", "runs/log-inputs", self.runs.log_inputs),
                ("POST", "runs/outputs", self.runs.log_outputs),
                ("GET", "runs/get", self.runs.get),
                ("GET", "metrics/get-history", self.runs.history),
                ("GET", "experiments/get-by-name", experiments.by_name),
                ("GET", "experiments/get", experiments.by_id),
                ("POST", "experiments/create", experiments.create),
                ("POST", "experiments/set-experiment-tag", experiments.set_tag),
                ("POST", "logged-models", models.create),
                ("GET", one, models.get),
                ("PATCH", one, models.finalize),
                ("POST", f"{one}/params", models.log_params),
                ("PATCH", f"{one}/tags", models.set_tags),
                ("DELETE", f"{one}/tags/(?P<key>.+)", models.delete_tag),
                ("POST", "registered-models/create", registry.create),
                ("GET", "registered-models/get", registry.get),
                ("POST", "registered-models/(?:set-tag|alias)", registry.change),
                ("PATCH", "registered-models/update", registry.change),
                ("POST", f"{version}create", registry.create_version),
                ("GET", f"{version}get", registry.get_version),
                ("GET", f"{version}get-download-uri", registry.download_uri),
                ("POST", f"{version}set-tag", registry.change),
                ("PATCH", f"{version}update", registry.change),
            )
        ]
        self._routes.append(("POST", re.compile("/api/3.0/mlflow/traces"), self.traces.start))

    def answer(self, call: Call) -> dict[str, Any] | None:
        """What is answered here; None: the server's business. ApiError for the rest."""
        for method, pattern, handler in self._routes:
            if method == call.method and (found := pattern.fullmatch(call.path)):
                call.groups = {key: unquote(value) for key, value in found.groupdict().items()}
                return handler(call)
        if call.path == _INFO:
            # No multipart: the client would send a large file past the journal.
            return {
                "store_type": "SqlStore",
                "workspaces_enabled": False,
                "multipart_uploads_enabled": False,
                "multipart_downloads_enabled": False,
            }
        return None


class Front(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Serves on a socket that somebody else listens on."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self, listening: socket.socket, service: Service, tokens: Callable[[], Mapping[str, str]]
    ) -> None:
        """Serve.

        Args:
            listening: bound to loopback, and listening.
            service: answers.
            tokens: token → session of those who may ask.
        """
        super().__init__(listening.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.service = service
        self.tokens = tokens
        self.last_asked = time.monotonic()
        self.ending = False
        """Whoever asks now is hung up on: the client asks the next relay again."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error; another one is told by the thread."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 600
    wbufsize = -1
    server: Front

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's
        """Say nothing: a training's terminal is its own."""

    def handle_any(self) -> None:
        """Answer one request."""
        self.server.last_asked = time.monotonic()
        self._read = False
        try:
            self._handle()
        except ApiError as problem:
            self._drain()
            self._send(problem.status, problem.body)
        except FullError as problem:
            self._drain()
            self._send(507, ApiError(507, "RESOURCE_LIMIT_EXCEEDED", str(problem)).body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        except Exception as problem:  # noqa: BLE001 - a full disk, a fault of ours
            if self.server.ending:
                self.close_connection = True
                return
            self._drain()
            # No 500: the client would try that again for minutes, and training would wait.
            told = ApiError(400, "INTERNAL_ERROR", f"The relay failed: {problem!r}")
            self._send(told.status, told.body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any  # noqa: N815

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        if self._is_foreign():
            raise ApiError(403, "PERMISSION_DENIED", "The relay serves programs of this machine.")
        if parts.path in {"/health", "/ping"}:
            self._send(200, b"OK", "text/plain")
            return
        if parts.path == "/" and self.command == "GET":
            self._send(302, b"", headers={"Location": self.server.service.desk.reach.uri})
            return
        session = self._session()
        if session is None:
            raise ApiError(
                401,
                "UNAUTHENTICATED",
                "The relay serves whoever has its token, as MLFLOW_TRACKING_TOKEN.",
            )
        service = self.server.service
        if parts.path == "/version":
            self._send(200, service.traces.version().encode(), "text/plain")
        elif parts.path == "/v1/traces" and self.command == "POST":
            service.traces.spans(self._body(), self.headers)
            self._send(200, b"{}")
        elif parts.path.startswith(CONTROL):
            self._control(parts.path.removeprefix(CONTROL), session)
        elif parts.path.startswith(_MULTIPART):
            # The words by which MLflow's client knows to send the file whole.
            raise ApiError(
                501,
                "NOT_IMPLEMENTED",
                "Multipart upload is not supported for the current artifact repository",
            )
        elif parts.path == ROOT or parts.path.startswith(f"{ROOT}/"):
            self._artifact(parts.path[len(ROOT) + 1 :], parse_qs(parts.query))
        else:
            self._call(parts.path, parts.query, session)

    def _call(self, path: str, query: str, session: str) -> None:
        text = self._body() if self.command != "GET" else b""
        try:
            body = json.loads(text) if text else {}
        except ValueError:
            raise ApiError(400, "BAD_REQUEST", "The body is no JSON.") from None
        if not isinstance(body, dict):
            raise ApiError(400, "BAD_REQUEST", "The body is no JSON object.")
        call = Call(self.command, path, parse_qs(query), body, session)
        found = self.server.service.answer(call)
        if found is None:
            self._forward(text)
        else:
            self._send(200, json.dumps(found).encode())
            if call.sent is not None:
                call.sent()

    def _control(self, what: str, session: str) -> None:
        service = self.server.service
        told: dict[str, Any] = {}
        if what == "ended":
            body = json.loads(self._body())
            told["runs"] = service.runs.end_those_of(session, body["status"], body["why"])
        journal, away = service.desk.journal, service.desk.reach.away
        told |= {
            "waiting": journal.count(WAITING),
            "refused": journal.count(REFUSED),
            "away": None if away is None else away.reason,
            "stuck": service.stuck(),
        }
        self._send(200, json.dumps(told).encode())

    def _forward(self, body: bytes) -> None:
        desk = self.server.service.desk
        desk.flush(PENDING_SECONDS)
        headers = {key: value for key, value in self.headers.items() if key.lower() not in _DROPPED}
        content = desk.outward(body.decode("utf-8", "surrogateescape"))
        try:
            answer = desk.reach.ask(
                self.command,
                desk.outward(self.path),
                content.encode("utf-8", "surrogateescape") if body else None,
                headers,
            )
        except AwayError:
            what = urlsplit(self.path).path.partition("/mlflow/")[2] or self.path
            raise desk.refuse(f"{self.command} {what}") from None
        told = desk.inward(answer.body.decode("utf-8", "surrogateescape"))
        kind = answer.headers.get("content-type", "application/json")
        self._send(answer.status, told.encode("utf-8", "surrogateescape"), kind)

    def _artifact(self, quoted: str, query: dict[str, list[str]]) -> None:
        artifacts, path = self.server.service.artifacts, unquote(quoted)
        if not path:
            asked = next(iter(query.get("path", ())), "")
            self._send(200, json.dumps(artifacts.listed(asked)).encode())
        elif self.command == "PUT":
            length = self.headers.get("Content-Length")
            artifacts.put(path, self._chunks(), int(length) if length else None)
            self._send(200, b"{}")
        elif self.command == "GET":
            checked_path(path)
            with artifacts.get(path) as content:
                size = content.seek(0, 2)
                content.seek(0)
                self._start(200, size, "application/octet-stream")
                while chunk := content.read(_CHUNK):
                    self.wfile.write(chunk)
                self.wfile.flush()
        else:
            self._forward(self._body())

    def _is_foreign(self) -> bool:
        """A page of a browser, or a name that was made to point here."""
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        return host not in _HOSTS or "Origin" in self.headers

    def _session(self) -> str | None:
        given = self.headers.get("Authorization", "").removeprefix("Bearer ").encode()
        found = None
        for token, session in self.server.tokens().items():
            if hmac.compare_digest(token.encode(), given):
                found = session
        return found

    def _body(self) -> bytes:
        return b"".join(self._chunks())

    def _chunks(self) -> Iterator[bytes]:
        self._read = True
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self._exactly(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            chunk = self._exactly(min(left, _CHUNK))
            left -= len(chunk)
            yield chunk

    def _exactly(self, size: int) -> bytes:
        found = self.rfile.read(size)
        if len(found) < size:
            raise ConnectionResetError
        return found

    def _drain(self) -> None:
        """Read what the client still sends, or it never reads the answer."""
        if self._read:
            self.close_connection = True  # it was read half
            return
        with contextlib.suppress(OSError, ValueError):
            for _ in self._chunks():
                pass

    def _send(
        self,
        status: int,
        body: bytes,
        kind: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._start(status, len(body), kind, headers)
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def _start(
        self, status: int, size: int, kind: str, headers: Mapping[str, str] | None = None
    ) -> None:
        lines = [f"HTTP/1.1 {status} {http.client.responses.get(status, '')}"]
        lines += [f"Content-Type: {kind}", f"Content-Length: {size}"]
        lines += [f"{key}: {value}" for key, value in (headers or {}).items()]
        if self.close_connection:
            lines.append("Connection: close")
        self.wfile.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
