"""Real stores by real MLflows, and a plain ``mlflow server`` to adopt them into."""

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import mlflow
import pytest

from tests.bench.processes import free_port, wait_for
from tests.live.stacks import ROOT, clean_environment
from tests.server.conftest import old_python  # noqa: F401 - a fixture of MLflow 2.16
from trackstack.cli import main

WRITER = Path(__file__).with_name("write_store.py")
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_FILE_STORE": "true"}


@dataclass
class Server:
    """``mlflow server`` on SQLite in a folder of its own, to be killed and started again."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    migrated: Path = Path("none")
    """An empty database, copied: its migrations take seconds."""

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        own = self.folder / "mlflow.db"
        if self.migrated.exists() and not own.exists():
            shutil.copyfile(self.migrated, own)
        program = Path(sysconfig.get_path("scripts")) / "mlflow"
        log = self.folder / "server.log"
        more = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        path = f"{program.parent}:{os.environ['PATH']}"
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [program, "server", "--port", str(self.port), "--workers", "1"],
                cwd=self.folder,
                env=clean_environment() | QUIET | more | {"PATH": path},
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        wait_for(self.uri, self.process, log)

    def kill(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)  # its session, which is ours alone
            self.process.wait()
            self.process = None

    def client(self) -> Any:
        return mlflow.MlflowClient(self.uri, self.uri)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as MLflow makes it."""
    path = tmp_path_factory.mktemp("migrated") / "mlflow.db"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "mlflow", "db", "upgrade", f"sqlite:///{path}"],
        env=clean_environment() | QUIET,
        check=True,
        capture_output=True,
    )
    return path


@pytest.fixture
def server(tmp_path: Path, migrated: Path) -> Iterator[Server]:
    made = Server(tmp_path / "server", migrated=migrated)
    try:
        made.start()
        yield made
    finally:
        made.kill()


@dataclass(frozen=True)
class Store:
    """What the writer wrote."""

    path: Path
    made: dict[str, Any]

    @property
    def runs(self) -> dict[str, str]:
        """Run name: its id in the store."""
        return dict(self.made["runs"])

    def traces(self) -> list[tuple[str, int, bytes]]:
        """Every path below it, with the time it was written and what is in it."""
        return sorted(
            (str(one), one.lstat().st_mtime_ns, one.read_bytes() if one.is_file() else b"")
            for one in (self.path, *self.path.rglob("*"))
        )


@pytest.fixture(scope="session")
def _written(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Callable[[str], tuple[Path, dict[str, Any]]]:
    known: dict[str, tuple[Path, dict[str, Any]]] = {}

    def write(kind: str) -> tuple[Path, dict[str, Any]]:
        if kind not in known:
            form, _, version = kind.partition(" of ")
            python = request.getfixturevalue("old_python") if version else sys.executable
            folder = tmp_path_factory.mktemp("store") / "stray"
            folder.mkdir()
            uri = (
                folder.as_uri() + "/mlruns" if form == "files" else f"sqlite:///{folder}/mlflow.db"
            )
            done = subprocess.run(
                [python, WRITER, uri, "3"],
                cwd=folder,
                env=clean_environment() | QUIET,
                check=False,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr[-3000:]
            known[kind] = (folder, json.loads(done.stdout.splitlines()[-1]))
        return known[kind]

    return write


@pytest.fixture
def store(_written: Any, tmp_path: Path) -> Callable[[str], Store]:
    """``store("files")``, ``store("sqlite of 2.16")``: a copy, elsewhere than it was made."""

    def copy(kind: str) -> Store:
        folder, made = _written(kind)
        path = tmp_path / "stray"
        shutil.copytree(folder, path)
        return Store(path, made)

    return copy


def start_adopt(
    uri: str, path: Path, *more: str, environment: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "trackstack.cli", "adopt", path, *more],
        cwd=ROOT,
        env=clean_environment() | {"MLFLOW_TRACKING_URI": uri} | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def adopt(uri: str, path: Path, *more: str, code: int = 0) -> Any:
    """``trackstack adopt``: the JSON of its only store, or its sentence.

    In this process, which has imported MLflow already: that takes seconds each time.
    """
    printed, told_aside = io.StringIO(), io.StringIO()
    own = clean_environment() | {"MLFLOW_TRACKING_URI": uri}
    argv = ["trackstack", "adopt", str(path), "--json", *more]
    with (
        mock.patch.object(sys, "argv", argv),
        mock.patch.dict(os.environ, own, clear=True),
        contextlib.chdir(ROOT),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(told_aside),
        warnings.catch_warnings(action="ignore"),  # MLflow's own, which a command doesn't show
        pytest.raises(SystemExit) as ended,
    ):
        main()
    out, said = printed.getvalue(), told_aside.getvalue()
    assert (ended.value.code or 0) == code, (ended.value.code, out[-3000:], said[-3000:])
    assert "Traceback" not in said, said
    if not out:
        return said
    (told,) = json.loads(out)["stores"]
    return told


def wait_until(check: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.1)
