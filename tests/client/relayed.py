"""A server that can be away, slow or wrong, and a relay before it."""

import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from trackstack.client.relay.supervisor import Supervisor

API = "/api/2.0/mlflow/"


class Fake:
    """As much of MLflow's server as a relay ships to: what it was sent, and how it misbehaves."""

    def __init__(self, port: int = 0) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.points: set[tuple[str, str, float, int]] = set()
        """As MLflow's tables: the same point twice is there once."""
        self.params: dict[str, dict[str, str]] = {}
        self.tags: dict[str, dict[str, str]] = {}
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.authorizations: set[str] = set()
        self.misbehaves: Callable[[str, str, dict[str, Any]], int | str | None] = lambda *_: None
        """Method, path and body → a status to answer, 0 to hang up without one, -1 to do what was
        asked and hang up, a text to answer as a page."""
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_: Any) -> None:
                pass

            def handle_any(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fake.asked.append((self.command, self.path))
                fake.authorizations.add(self.headers.get("Authorization", ""))
                is_json = self.headers.get("Content-Type") == "application/json"
                body = json.loads(content) if content and is_json else {}
                how = fake.misbehaves(self.command, self.path, body)
                if how == 0:
                    self.connection.close()
                    self.close_connection = True
                    return
                if isinstance(how, str):
                    self.send_response(200)
                    self.send_header("Content-Type", "text/html")
                    self.send_header("Content-Length", str(len(how)))
                    self.end_headers()
                    self.wfile.write(how.encode())
                    return
                status, told = (
                    fake.answer(self.command, self.path, body, content)
                    if how is None or how == -1
                    else (how, {"error_code": "OTHER", "message": "no"})
                )
                if how == -1:
                    self.connection.close()
                    self.close_connection = True
                    return
                text = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                pass

        self.server = Server(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(  # noqa: PLR0911 - one for each route
        self, method: str, path: str, body: dict[str, Any], content: bytes
    ) -> tuple[int, dict[str, Any]]:
        """Do what is asked."""
        what = path.removeprefix(API).partition("?")[0]
        run = body.get("run_id", "")
        if what == "runs/create":
            run = f"{len(self.runs):032x}"
            tags = {one["key"]: one["value"] for one in body["tags"]}
            self.tags[run], self.params[run] = tags, {}
            root = f"mlflow-artifacts:/{body['experiment_id']}/{run}/artifacts"
            self.runs[run] = {**body, "run_id": run, "status": "RUNNING", "artifact_uri": root}
            return 200, {"run": {"info": self.runs[run], "data": {}}}
        if what == "runs/get":
            run = path.rpartition("=")[2]
            tags = [{"key": key, "value": value} for key, value in self.tags[run].items()]
            return 200, {"run": {"info": self.runs[run], "data": {"tags": tags}}}
        if what == "runs/search":
            wanted = body["filter"].partition("'")[2].rstrip("'")
            found = [one for one, tags in self.tags.items() if tags.get("trackstack.id") == wanted]
            return 200, {"runs": [{"info": self.runs[one]} for one in found]}
        if what == "runs/log-batch":
            return self._batch(run, body)
        if what == "runs/update":
            self.runs[run] |= body
        elif what == "runs/delete-tag":
            self.tags[run].pop(body["key"], None)
        elif what == "experiments/get-by-name":
            return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"}
        elif what == "experiments/create":
            return 200, {"experiment_id": "7"}
        elif method == "PUT":
            self.files[path] = content
        return 200, {}

    def _batch(self, run: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        for one in body["params"]:
            if self.params[run].get(one["key"], one["value"]) != one["value"]:
                told = f"Changing param values is not allowed: {one['key']}"
                return 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": told}
        for one in body["metrics"]:
            self.points.add((run, one["key"], one["value"], one["step"]))
        self.params[run] |= {one["key"]: one["value"] for one in body["params"]}
        self.tags[run] |= {one["key"]: one["value"] for one in body["tags"]}
        return 200, {}


class Client:
    """What MLflow's client sends, without MLflow."""

    def __init__(self, uri: str, token: str) -> None:
        self.uri = uri
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(
        self, method: str, path: str, body: dict[str, Any] | bytes | None = None
    ) -> tuple[int, bytes]:
        """Status and body."""
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        request = urllib.request.Request(
            self.uri + path, data=content, headers=self.headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def post(self, what: str, **body: Any) -> dict[str, Any]:
        """A good answer of the API."""
        status, content = self.ask("POST", API + what, body)
        assert status == 200, content
        found: dict[str, Any] = json.loads(content)
        return found

    def run(self, experiment: str = "7", **more: Any) -> str:
        """A new run's id."""
        made = self.post("runs/create", experiment_id=experiment, start_time=1, **more)
        return str(made["run"]["info"]["run_id"])

    def point(self, run: str, step: int, key: str = "loss", value: float = 1.0) -> None:
        """One point of a curve."""
        self.post("runs/log-metric", run_id=run, key=key, value=value, timestamp=1, step=step)


@contextmanager
def relay(uri: str, folder: Path, **environment: str) -> Iterator[tuple[Supervisor, Client]]:
    """A relay that ships to a server, and a client that it lets in."""
    supervisor = Supervisor(
        {
            **os.environ,
            "MLFLOW_TRACKING_URI": uri,
            "TRACKSTACK_JOURNAL": str(folder / "journal"),
            **environment,
        }
    )
    try:
        supervisor.start()
        yield supervisor, Client(supervisor.uri, supervisor.admit("a training"))
    finally:
        supervisor.end()


def shipped(client: Client, seconds: float = 20, but: int = 0) -> dict[str, Any]:
    """The relay's state when nothing waits any more, or as much as is said."""
    deadline = time.monotonic() + seconds
    while True:
        found: dict[str, Any] = json.loads(client.ask("GET", "/trackstack/status")[1])
        if found["waiting"] <= but:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
