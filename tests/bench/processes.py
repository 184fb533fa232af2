"""Memory of process trees, and stock MLflow servers to compare with."""

import contextlib
import os
import socket
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from tests.live.stacks import clean_environment

MIB = 1 << 20


@dataclass(frozen=True)
class Memory:
    """Resident memory of some processes, in MiB."""

    processes: int
    rss: float
    """Shared pages counted once for each process."""
    pss: float
    """Shared pages counted once altogether; 0 where the system doesn't tell."""


def tree(pid: int) -> list[psutil.Process]:
    """A process and all below it."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def memory(*pids: int) -> Memory:
    """Memory of whole trees."""
    count, rss, pss = 0, 0.0, 0.0
    for process in {one for pid in pids for one in tree(pid)}:
        with contextlib.suppress(psutil.Error):
            told = process.memory_full_info()
            count += 1
            rss += told.rss / MIB
            pss += getattr(told, "pss", 0) / MIB
    return Memory(count, rss, pss)


def settle(*pids: int, seconds: float = 60) -> None:
    """Wait until trees that have just been started are idle, or for so long."""
    deadline = time.monotonic() + seconds
    calm = 0
    while calm < 2 and time.monotonic() < deadline:
        before = _cpu_seconds(pids)
        time.sleep(1)
        calm = calm + 1 if _cpu_seconds(pids) - before < 0.3 else 0


def _cpu_seconds(pids: tuple[int, ...]) -> float:
    used = 0.0
    for process in {one for pid in pids for one in tree(pid)}:
        with contextlib.suppress(psutil.Error):
            used += sum(process.cpu_times()[:2])
    return used


class Peaks:
    """Highest RSS of every single process of named trees, sampled in a thread."""

    def __init__(self, pids: Callable[[], Mapping[str, int]]) -> None:
        self._named = dict(pids())
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.before: dict[str, float] = {}
        self.highest: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._sample()
        self.before = dict(self.highest)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            self._sample()

    def _sample(self) -> None:
        for name, pid in self._named.items():
            for process in tree(pid):
                with contextlib.suppress(psutil.Error):
                    rss = process.memory_info().rss / MIB
                    self.highest[name] = max(self.highest.get(name, 0.0), rss)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def stock_server(folder: Path, store: str = "") -> Iterator[tuple[str, int]]:
    """``mlflow server`` with its defaults: URI and pid; all its processes end with the block.

    Args:
        folder: where it runs and keeps its files.
        store: backend store, by environment so that no password is in argv. Default: MLflow's
            own, SQLite in ``folder``.
    """
    folder.mkdir(parents=True)
    port = free_port()
    environment = clean_environment() | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    if store:
        environment["MLFLOW_BACKEND_STORE_URI"] = store
    program = Path(sysconfig.get_path("scripts")) / "mlflow"
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [program, "server", "--port", str(port)],
            cwd=folder,
            env=environment | {"PATH": f"{program.parent}:{os.environ['PATH']}"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        uri = f"http://127.0.0.1:{port}"
        try:
            wait_for(uri, server, folder / "server.log")
            yield uri, server.pid
        finally:
            whole = tree(server.pid)
            server.terminate()
            _, left = psutil.wait_procs(whole, timeout=15)
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            server.wait()


def wait_for(uri: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 300  # 20 s alone, minutes on a busy machine
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{uri}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(f"mlflow server does not come up: {log.read_text()[-2000:]}")


def say(text: str) -> None:
    """Progress, beside the table that goes to stdout."""
    print(text, file=sys.stderr, flush=True)
