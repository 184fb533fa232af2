"""A stock MLflow server on SQLite, in a folder of the test's own."""

import contextlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mlflow
import psutil

from tests.bench.processes import free_port, tree, wait_for
from tests.live.stacks import clean_environment

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


class TrackingServer:
    """``mlflow server`` with one worker; started anew it has what it had.

    Args:
        folder: of its database and artifacts.
        port: of loopback; 0 for a free one.
        empty: a database to begin with, as `empty_database` makes it: migrations take seconds.
        options: of the command `mlflow server`, which is used for them.
        variables: further ones of its environment.
    """

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        empty: Path | None = None,
        options: Sequence[str] = (),
        **variables: str,
    ) -> None:
        self.folder = folder
        self._port = port or free_port()
        self._empty = empty
        self._options, self._variables = options, variables
        self._process: subprocess.Popen[bytes] | None = None
        self.uri = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it; `wait` waits until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        database = self.folder / "mlflow.db"
        if self._empty is not None and not database.exists():
            shutil.copyfile(self._empty, database)
        # What `mlflow server` starts, without its own import of all that the server imports.
        serve = [
            sys.executable,
            "-m",
            "uvicorn",
            "mlflow.server.fastapi_app:app",
            "--no-access-log",
        ]
        more = {
            "_MLFLOW_SERVER_FILE_STORE": "sqlite:///mlflow.db",
            "_MLFLOW_SERVER_REGISTRY_STORE": "sqlite:///mlflow.db",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": "./mlartifacts",
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "_MLFLOW_SGI_NAME": "uvicorn",
        }
        if self._options:
            bin_folder = sysconfig.get_path("scripts")
            serve = [f"{bin_folder}/mlflow", "server", "--workers", "1", *self._options]
            more = {"PATH": f"{bin_folder}:{os.environ['PATH']}"}
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*serve, "--port", str(self._port)],
                cwd=self.folder,
                env=clean_environment() | QUIET | more | self._variables,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait(self) -> None:
        """Until it answers; AssertionError with its last words if it ended instead."""
        assert self._process is not None
        wait_for(self.uri, self._process, self.folder / "server.log")

    def kill(self) -> None:
        """End it amid whatever it does."""
        if self._process is not None:
            for process in tree(self._process.pid):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.wait()

    def crash(self) -> None:
        """Kill it, and begin to start it anew."""
        self.kill()
        self.start()

    def client(self) -> Any:
        """MLflow's, of this server."""
        return mlflow.MlflowClient(self.uri, self.uri)


@contextlib.contextmanager
def serving(folder: Path, *options: Any, **more: Any) -> Iterator[TrackingServer]:
    """A `TrackingServer` that runs meanwhile."""
    server = TrackingServer(folder, *options, **more)
    try:
        server.start()
        server.wait()
        yield server
    finally:
        server.kill()


def empty_database(folder: Path) -> Path:
    """A database as MLflow makes it."""
    path = folder / "mlflow.db"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "mlflow", "db", "upgrade", f"sqlite:///{path}"],
        env=clean_environment() | QUIET,
        check=True,
        capture_output=True,
    )
    return path
