"""Process 1 of a server container: credential, MLflow, signals, exit status.

It stays itself, small (no mlflow, and boto3 only for RDS tokens), because somebody has to renew the
token while MLflow serves.

Exit status: 0 after a stop that was asked for, else MLflow's own (128 + n when signal n ended it).
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from trackstack.core import server_environment as names
from trackstack.server.auth.configuration import auth_configuration
from trackstack.server.auth.environment import Access, read_access
from trackstack.server.auth.users import wait_for_users
from trackstack.server.credentials import keep_logged_in, write_owner_only
from trackstack.server.environment import Database, Login, Reader
from trackstack.server.problem import FAILED, Refusal

_GRACEFUL_SECONDS = 110
_KEEP_ALIVE_SECONDS = 75
_STOP_MARGIN_SECONDS = 8
"""ECS kills after 120 s; what still runs then was going to be cut anyway."""
_NOT_FOR_MLFLOW = (
    names.DATABASE_PASSWORD,
    names.MASTER_USER,
    names.MASTER_PASSWORD,
    names.ADMIN_PASSWORD,
    names.CLIENT_PASSWORD,
    "PGPASSWORD",  # libpq would prefer it to the file
)
_STORES = ("MLFLOW_BACKEND_STORE_URI", "MLFLOW_REGISTRY_STORE_URI")
_DATABASE = (
    names.PASSWORD_FILE,
    names.DATABASE_HOST,
    names.DATABASE_PORT,
    names.DATABASE_NAME,
    names.DATABASE_USER,
)


@dataclass(frozen=True)
class _Settings:
    """What the environment asks of a server."""

    artifacts_only: bool
    database: Database | None
    """None: an artifacts-only server that asks nobody, and has nothing to do with the database."""
    login: Login | None
    """None together with the database."""
    graceful_seconds: int
    keep_alive_seconds: int
    access: Access | None
    """None: whoever gets here may do everything."""


def serve() -> int:
    """Serve until told to stop; return the exit status."""
    settings = _read_environment()
    if settings.database is not None and settings.login is not None:
        keep_logged_in(settings.database, settings.login)
    _prepare_access(settings)
    child = _Child(settings.graceful_seconds + _STOP_MARGIN_SECONDS)
    child.start(_child_environment(os.environ, settings))
    return child.wait()


def _read_environment() -> _Settings:
    reader = Reader()
    reader.text("MLFLOW_HOST")  # MLflow's default is loopback: unreachable in a container
    reader.number("MLFLOW_PORT")
    reader.text("MLFLOW_ARTIFACTS_DESTINATION")
    artifacts_only = reader.flag("MLFLOW_ARTIFACTS_ONLY")
    access = read_access(reader)
    asks = bool(access) or not artifacts_only
    settings = _Settings(
        artifacts_only=artifacts_only,
        access=access,
        database=reader.database() if asks else None,
        login=reader.login() if asks else None,
        graceful_seconds=reader.number(names.GRACEFUL_SECONDS, _GRACEFUL_SECONDS),
        keep_alive_seconds=reader.number(names.KEEP_ALIVE_SECONDS, _KEEP_ALIVE_SECONDS),
    )
    reader.close("serve")
    return settings


def _prepare_access(settings: _Settings) -> None:
    """Write what MLflow's auth app reads, and let it start only on tables that are there."""
    if settings.access is None or settings.database is None or settings.login is None:
        return
    text = auth_configuration(settings.access, store_uri(settings.database))
    write_owner_only(_auth_file(settings.login), text)
    if settings.artifacts_only:
        # No migration runs beside it, and its auth app would make the tables itself: a race.
        wait_for_users()


def _auth_file(login: Login) -> Path:
    return login.file.with_name("auth.ini")


def _child_environment(environment: Mapping[str, str], settings: _Settings) -> dict[str, str]:
    """Return what MLflow gets: the given environment, our defaults, and no secret."""
    ours = {
        # Eight more processes, for what a tracking server isn't used for.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PGAPPNAME": "mlflow",
        **environment,
    }
    ours["MLFLOW_UVICORN_OPTS"] = " ".join(
        (
            # Without them more than one worker costs 41 ms a response.
            "--loop uvloop --http httptools",
            "--log-level warning",
            f"--timeout-keep-alive {settings.keep_alive_seconds}",
            f"--timeout-graceful-shutdown {settings.graceful_seconds}",
            # A worker that reads a large artifact may be silent for longer than the default of 5 s.
            "--timeout-worker-healthcheck 15",
            environment.get("MLFLOW_UVICORN_OPTS", ""),
        )
    ).strip()
    for name in _NOT_FOR_MLFLOW:
        ours.pop(name, None)
    if settings.access is not None and settings.login is not None:
        ours["MLFLOW_AUTH_CONFIG_PATH"] = str(_auth_file(settings.login))
        # A route that MLflow can't judge is refused; its default, but not to be left to that.
        ours["MLFLOW_BASIC_AUTH_FAIL_CLOSED"] = "true"
    if settings.artifacts_only or settings.database is None:
        for name in _STORES if settings.database else (*_STORES, *_DATABASE):
            ours.pop(name, None)
        ours["MLFLOW_ARTIFACTS_ONLY"] = "true"
    else:
        ours.pop("MLFLOW_ARTIFACTS_ONLY", None)  # "false" would be one more way to say it
        ours["MLFLOW_BACKEND_STORE_URI"] = store_uri(settings.database)
    return ours


def store_uri(database: Database) -> str:
    """The store's address; no password, and the driver by name.

    SQLAlchemy 2.1 takes a bare ``postgresql://`` for psycopg 3.
    """
    host = f"[{database.host}]" if ":" in database.host else database.host
    user, name = quote(database.user, safe=""), quote(database.name, safe="")
    return f"postgresql+psycopg2://{user}@{host}:{database.port}/{name}"


class _Child:
    """The one process below: started from the main thread, told to stop once, reaped."""

    def __init__(self, stop_seconds: float) -> None:
        self._stop_seconds = stop_seconds
        self._pid: int | None = None
        self._stopping = False

    def start(self, environment: Mapping[str, str]) -> None:
        # Before the start: a signal in between must not be lost.
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        command = [sys.executable, "-m", "trackstack.server.launch", str(os.getpid())]
        try:
            self._pid = subprocess.Popen(command, env=environment).pid
        except OSError as error:
            raise Refusal(f"MLflow can't be started: {error.strerror}.", FAILED) from error
        if self._stopping:
            self._send(signal.SIGTERM)

    def wait(self) -> int:
        """Return the exit status; orphans that process 1 inherits are reaped on the way."""
        ended = None
        while ended != self._pid:
            ended, raw = os.waitpid(-1, 0)
        self._pid = None
        status = os.waitstatus_to_exitcode(raw)
        if self._stopping and status in {0, -signal.SIGTERM, -signal.SIGINT}:
            return 0
        if not self._stopping:
            print(f"MLflow ended by itself ({_described(status)}).", file=sys.stderr, flush=True)
        return status if status >= 0 else 128 - status

    def _stop(self, *_: object) -> None:
        # SIGTERM for either signal: a terminal sends Ctrl-C to the whole group, and the second
        # SIGINT is uvicorn's word for dropping the requests under way.
        if not self._stopping:
            last_word = threading.Timer(self._stop_seconds, self._send, (signal.SIGKILL,))
            last_word.daemon = True
            last_word.start()
        self._stopping = True
        self._send(signal.SIGTERM)

    def _send(self, number: signal.Signals) -> None:
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)


def _described(status: int) -> str:
    return f"status {status}" if status >= 0 else signal.Signals(-status).name
