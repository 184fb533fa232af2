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


@contextlib.contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[str]:
    """``mlflow server`` with one worker; its URI."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    program = Path(sysconfig.get_path("scripts")) / "mlflow"
    own = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PATH": f"{program.parent}:{os.environ['PATH']}",
    }
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    argv = [program, "server", "--port", str(port), "--workers", "1"]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            argv,
            cwd=folder,
            env=kept | own,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            uri = f"http://127.0.0.1:{port}"
            _wait_for(uri, server, folder / "server.log")
            yield uri
        finally:
            whole = tree(server.pid)
            server.terminate()
            _, left = psutil.wait_procs(whole, timeout=15)
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            server.wait()


def _wait_for(uri: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 240
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{uri}/health", timeout=5):
            return
        time.sleep(0.2)
    raise AssertionError(f"mlflow server does not come up: {log.read_text()[-2000:]}")
