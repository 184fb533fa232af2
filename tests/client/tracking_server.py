"""A stock MLflow server on SQLite, in a folder of the test's own."""

import contextlib
import os
import socket
import subprocess
import sysconfig
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.bench.processes import tree


def free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class TrackingServer:
    """``mlflow server`` with one worker; started anew it has what it had.

    Args:
        folder: of its database and artifacts.
        port: of loopback; 0 for a free one.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        self._folder = folder
        self._port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.uri = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it; `wait` waits until it answers."""
        self._folder.mkdir(parents=True, exist_ok=True)
        program = Path(sysconfig.get_path("scripts")) / "mlflow"
        own = {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "PATH": f"{program.parent}:{os.environ['PATH']}",
        }
        kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
        with (self._folder / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                [program, "server", "--port", str(self._port), "--workers", "1"],
                cwd=self._folder,
                env=kept | own,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait(self) -> None:
        """Wait until it answers; AssertionError with its last words if it ended instead."""
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"{self.uri}/health", timeout=5),
            ):
                return
            if self._process is None or self._process.poll() is not None:
                break
            time.sleep(0.2)
        log = (self._folder / "server.log").read_text()
        raise AssertionError(f"mlflow server does not come up: {log[-2000:]}")

    def crash(self) -> None:
        """Kill it amid whatever it does, and start it anew."""
        if self._process is not None:
            for process in tree(self._process.pid):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.wait()
        self.start()

    def end(self) -> None:
        """Let it end by itself; kill it if it doesn't."""
        if self._process is not None:
            whole = tree(self._process.pid)
            self._process.terminate()
            _, left = psutil.wait_procs(whole, timeout=15)
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.wait()


@contextlib.contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[str]:
    """A server that runs meanwhile; its URI."""
    server = TrackingServer(folder, port)
    try:
        server.start()
        server.wait()
        yield server.uri
    finally:
        server.end()
