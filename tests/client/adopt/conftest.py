"""Real stores by real MLflows, and a plain ``mlflow server`` to adopt them into."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tests.client.tracking_server import QUIET, TrackingServer, serving
from tests.live.stacks import ROOT, clean_environment
from tests.server.conftest import old_python  # noqa: F401 - a fixture of MLflow 2.16
from trackstack.cli import main

WRITER = Path(__file__).with_name("write_store.py")


@pytest.fixture
def server(tmp_path: Path, empty_database: Path) -> Iterator[TrackingServer]:
    with serving(tmp_path / "server", empty=empty_database) as made:
        yield made


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
