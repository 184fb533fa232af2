"""What a client exports: how soon a real one fails, and what it tells a relay's port."""

import contextlib
import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from trackstack.client import environment
from trackstack.client.server import Login
from trackstack.core import client_settings

SERVER = {
    "MLFLOW_TRACKING_URI": "https://mlflow.example.com",
    "MLFLOW_TRACKING_SERVER_CERT_PATH": "/certificates/ours.pem",
    "MLFLOW_TRACKING_USERNAME": "client",
    "MLFLOW_TRACKING_PASSWORD": "secret",
}
UPLOAD = """
import os
from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository
with open("weights.bin", "wb") as file:
    file.truncate(64_000_000)  # more than the kernel holds on the way
MlflowArtifactsRepository("mlflow-artifacts:/1").log_artifact("weights.bin")
"""


class Away(http.server.BaseHTTPRequestHandler):
    """A server whose database is away, and which is slow to take files and to answer."""

    asked: list[str]
    seconds_to_read = seconds_of_silence = 0.0

    def answer(self) -> None:
        type(self).asked.append(f"{self.command} {self.path.rpartition('/')[2]}")
        left = int(self.headers.get("Content-Length") or 0)
        part = left // 10 or 1
        while left > 0:
            left -= len(self.rfile.read(min(part, left)))
            time.sleep(self.seconds_to_read / 10)
        time.sleep(self.seconds_of_silence)
        with contextlib.suppress(BrokenPipeError):  # its client has given up
            self.send_response(200 if self.command == "PUT" else 503)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

    do_GET = do_POST = do_PUT = answer  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def away() -> Iterator[Callable[..., tuple[str, list[str]]]]:
    """``away(read=, silence=)``: URI of such a server, and what it is asked."""
    running = []

    def start(read: float = 0, silence: float = 0) -> tuple[str, list[str]]:
        told = {"asked": [], "seconds_to_read": read, "seconds_of_silence": silence}
        handler = type("Handler", (Away,), told)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running.append(server)
        return f"http://127.0.0.1:{server.server_port}", told["asked"]

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def python(code: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**clean, **variables},
    )


def test_mlflows_client_knows_these_settings_and_takes_them(tmp_path: Path) -> None:
    code = (
        "from mlflow import environment_variables as e\n"
        "print(e.MLFLOW_HTTP_REQUEST_MAX_RETRIES.get(), e.MLFLOW_HTTP_REQUEST_TIMEOUT.get())"
    )
    assert python(code, tmp_path).stdout == "7 120\n"
    assert python(code, tmp_path, **client_settings.failing_fast()).stdout == "3 20\n"


def test_a_503_is_tried_four_times_and_then_an_error(
    away: Callable[..., tuple[str, list[str]]], tmp_path: Path
) -> None:
    uri, asked = away()
    settings = {**client_settings.failing_fast(), "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0"}
    settings |= {"MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0", "MLFLOW_TRACKING_URI": uri}
    code = "import mlflow; mlflow.MlflowClient().create_run('1')"
    done = python(code, tmp_path, **settings)
    assert "too many 503 error responses" in done.stderr
    assert asked == ["POST create"] * 4


@pytest.mark.parametrize(("read", "silence", "arrives"), [(2.5, 0, True), (0, 2.5, False)])
def test_the_timeout_is_for_silence_and_not_for_an_upload(
    away: Callable[..., tuple[str, list[str]]],
    tmp_path: Path,
    read: float,
    silence: float,
    arrives: bool,
) -> None:
    uri, _ = away(read, silence)
    settings = {**client_settings.failing_fast(1), client_settings.RETRIES: "0"}
    done = python(UPLOAD, tmp_path, **settings, MLFLOW_TRACKING_URI=uri)
    assert (done.returncode == 0) == arrives, done.stderr
    assert ("timed out" in done.stderr.lower()) != arrives


def test_a_stack_may_ask_its_clients_for_more_patience_and_they_may_want_more() -> None:
    outputs = {
        "tracking_uri": "https://mlflow.example.com",
        "client_environment": {"MLFLOW_HTTP_REQUEST_TIMEOUT": "60"},
    }
    told = environment.variables(outputs, Path("unused"))
    assert (told[client_settings.TIMEOUT], told[client_settings.RETRIES]) == ("60", "3")
    told = environment.variables(outputs, Path("unused"), timeout_seconds=90)
    assert told[client_settings.TIMEOUT] == "90"
    told = environment.variables(outputs, Path("unused"), Login("ada", "secret"))
    assert (next(iter(told)), list(told)[-1]) == (
        client_settings.TRACKING_URI,
        environment.PASSWORD,
    )


def test_a_relays_client_knows_nothing_that_its_port_may_not_be_told() -> None:
    told = client_settings.through_relay({**SERVER, **client_settings.failing_fast()}, "token")
    assert told == {
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:5551",
        "TRACKSTACK_UPSTREAM": "https://mlflow.example.com",
        "TRACKSTACK_UPSTREAM_CERTIFICATE": "/certificates/ours.pem",
        "TRACKSTACK_UPSTREAM_USERNAME": "client",
        "TRACKSTACK_UPSTREAM_PASSWORD": "secret",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
        "MLFLOW_TRACKING_TOKEN": "token",
    }


def test_a_relay_finds_its_upstream_by_either_name() -> None:
    assert client_settings.of_upstream({**SERVER, "PATH": "/bin"}) == SERVER
    joined = client_settings.through_relay(SERVER, "the relay's own")
    assert client_settings.of_upstream(joined) == SERVER
    # Without a user at the server: the relay's token stays with the relay.
    open_to_all = {"MLFLOW_TRACKING_URI": "https://mlflow.example.com"}
    joined = client_settings.through_relay(open_to_all, "the relay's own")
    assert client_settings.of_upstream(joined) == open_to_all


def test_what_a_relay_ships_as_is_a_secret_as_well() -> None:
    told = client_settings.through_relay(SERVER, "token")
    assert environment.handed_out(told, "github")[1] == ["::add-mask::secret", "::add-mask::token"]
    left = environment.handed_out(told, "gitlab")[0]
    assert not {"TRACKSTACK_UPSTREAM_PASSWORD", "MLFLOW_TRACKING_TOKEN"} & set(left)


def trackstack(*argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trackstack.cli", *argv],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200", **variables},
    )


def test_a_relay_that_is_not_there_is_not_handed_out(tmp_path: Path) -> None:
    with closing(socket.socket()) as port:
        port.bind(("127.0.0.1", 0))
        number = str(port.getsockname()[1])
        argv = ("env", "--from", "https://mlflow.example.com", "--relay", "--relay-port", number)
        done = trackstack(*argv)
        assert (done.returncode, done.stdout) == (5, "")
        assert done.stderr == (
            f"trackstack: http://127.0.0.1:{number} does not answer (Connection refused), so it is"
            " not handed out: `trackstack service relay --write` makes it a service, or say"
            " --unchecked.\n"
        )
        port.listen()  # a socket that systemd holds is enough
        who = {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "it's"}
        done = trackstack(*argv, **who, TRACKSTACK_JOURNAL=str(tmp_path / "journal"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"export MLFLOW_TRACKING_URI=http://127.0.0.1:{number}",
        "export TRACKSTACK_UPSTREAM=https://mlflow.example.com",
        "export MLFLOW_HTTP_REQUEST_MAX_RETRIES=3",
        "export TRACKSTACK_UPSTREAM_USERNAME=ada",
        """export TRACKSTACK_UPSTREAM_PASSWORD='it'"'"'s'""",
        f"export MLFLOW_TRACKING_TOKEN={(tmp_path / 'journal' / 'token').read_text().strip()}",
    ]


def test_a_password_in_a_uri_is_refused() -> None:
    done = trackstack("env", "--from", "https://ada:secret@mlflow.example.com", "--unchecked")
    assert (done.returncode, done.stdout) == (2, "")
    assert "leave user and password out of it" in done.stderr
    assert "secret" not in done.stderr
