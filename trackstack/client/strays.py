"""Stray MLflow stores: runs that a client logged beside the code instead of to the server.

MLflow does so without a word when ``MLFLOW_TRACKING_URI`` is unset or empty: into ``mlflow.db``
since 3.7, into ``mlruns/`` before. Nothing here imports MLflow, whose readers migrate what they
open, and nothing writes: not even the files that SQLite makes beside a database it reads.
"""

import contextlib
import datetime as dt
import os
import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from trackstack.client.filesystems import network_file_system
from trackstack.client.tree import ENTRIES, Walk

_SQLITE = (".db", ".db3", ".sqlite", ".sqlite3")
_MAGIC = b"SQLite format 3\0"
_WAL = 2
"""Byte 18 of a database with a write-ahead log."""
_META = "meta.yaml"
_RUN_ID_LENGTH = 32
_RECENT = 20
"""Runs of a file store whose metric files tell when it was written to last."""
_BUSY_SECONDS = 2


class Contents(NamedTuple):
    """How much is in a store; deleted things too, which MLflow keeps until ``mlflow gc``."""

    experiments: int = 0
    """Without the ``Default`` that MLflow makes itself, unless something is in it."""
    runs: int = 0
    models: int = 0
    registered_models: int = 0
    traces: int = 0


_NOTHING = Contents()


@dataclass(frozen=True)
class Stray:
    """One store."""

    path: Path
    """The database, or the folder of the file store."""
    kind: Literal["sqlite", "files"]
    written: dt.datetime
    """When last, in UTC."""
    holds: Contents = _NOTHING
    problem: str = ""
    """Why it couldn't be counted."""

    @property
    def empty(self) -> bool:
        """Whether nothing would be lost with it."""
        return not self.problem and not any(self.holds)


@dataclass(frozen=True)
class Search:
    """What a search found."""

    strays: tuple[Stray, ...]
    whole: bool
    """Whether every folder was looked at; else there may be more."""


def find_strays(path: Path, entries: int = ENTRIES) -> Search:
    """The stores below a folder, or the one that the path itself is.

    Links aren't followed, and version control, environments and caches are left out.
    """
    if not path.is_dir():
        return Search(tuple(_databases(path.parent, [path.name], [""])), whole=True)
    found: list[Stray] = []
    walk = Walk(path, entries)
    for folder, folders, files in walk:
        found.extend(_databases(folder, files, _SQLITE))
        if any(_is_experiment(folder / name) for name in folders if name.isdigit()):
            found.append(_file_store(folder))
            folders.clear()
    return Search(tuple(sorted(found, key=lambda stray: stray.path)), walk.whole)


def _databases(
    folder: Path, names: list[str], suffixes: tuple[str, ...] | list[str]
) -> Iterator[Stray]:
    for name in names:
        if name.endswith(tuple(suffixes)):
            stray = _database(folder / name)
            if stray is not None:
                yield stray


def _database(path: Path) -> Stray | None:
    """The store in a file; None when it is something else."""
    is_mlflow = path.name == "mlflow.db"
    try:
        told = path.stat()
        if not stat.S_ISREG(told.st_mode):  # a pipe would be waited for
            return None
        with path.open("rb") as file:
            head = file.read(20)
    except FileNotFoundError:  # gone since its folder was listed
        return None
    except OSError as error:
        unread = Stray(path, "sqlite", _utc(_mtime(path)), problem=error.strerror or str(error))
        return unread if is_mlflow else None
    if not head.startswith(_MAGIC):
        return None
    written = _utc(max(told.st_mtime, _mtime(Path(f"{path}-wal"))))
    try:
        holds = _contents(path, head)
    except sqlite3.Error as error:
        # Whose it is can't be read; another program's database is none of ours.
        return Stray(path, "sqlite", written, problem=str(error)) if is_mlflow else None
    return holds and Stray(path, "sqlite", written, holds)


def _contents(path: Path, head: bytes) -> Contents | None:
    """What a database holds; None when it isn't MLflow's."""
    if not _must_be_immutable(path, head):
        # Else somebody writes for long, or a killed writer left a journal that only a writer may
        # play back: as it lies there it can still be counted.
        with contextlib.suppress(sqlite3.OperationalError):
            return _read(path, "mode=ro")
    return _read(path, "immutable=1")


def _read(path: Path, mode: str) -> Contents | None:
    address = f"{path.absolute().as_uri()}?{mode}"
    with contextlib.closing(
        sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)
    ) as connection:
        return _count(connection)


def _must_be_immutable(path: Path, head: bytes) -> bool:
    """Whether SQLite would write, or wait for ever, although it is told to only read.

    To read a database with a write-ahead log it makes ``-wal`` and ``-shm`` and leaves them there
    (tried), and on a network file system its locks may never come.
    """
    if network_file_system(path):
        return True
    if head[18] != _WAL:
        return False
    return not (Path(f"{path}-wal").exists() and Path(f"{path}-shm").exists())


def _count(connection: sqlite3.Connection) -> Contents | None:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not {"experiments", "runs", "metrics", "params"} <= tables:
        return None

    def number(table: str, where: str = "") -> int:
        if table not in tables:  # a schema from before it
            return 0
        (found,) = connection.execute(f"SELECT count(*) FROM {table} {where}").fetchone()  # noqa: S608
        return int(found)

    inside = [one for one in ("runs", "logged_models", "trace_info") if one in tables]
    holding = " OR ".join(
        f"experiment_id IN (SELECT experiment_id FROM {one})"  # noqa: S608 - names from above
        for one in inside
    )
    return Contents(
        experiments=number("experiments", f"WHERE experiment_id != 0 OR {holding}"),
        runs=number("runs"),
        models=number("logged_models"),
        registered_models=number("registered_models"),
        traces=number("trace_info"),
    )


def _is_experiment(folder: Path) -> bool:
    try:
        with (folder / _META).open(encoding="utf-8", errors="replace") as file:
            text = file.read(4096)
    except OSError:
        return False
    return "artifact_location:" in text and "experiment_id:" in text


def _file_store(root: Path) -> Stray:
    experiments = runs = models = traces = 0
    latest: list[tuple[float, Path]] = []
    for experiment in (*_with_meta(root), *_with_meta(root / ".trash")):
        if not _is_experiment(experiment):
            continue
        its_runs = [one for one in _with_meta(experiment) if len(one.name) == _RUN_ID_LENGTH]
        its_models = len(_with_meta(experiment / "models"))
        its_traces = len(_with_meta(experiment / "traces", "trace_info.yaml"))
        latest.append((_mtime(experiment / _META), experiment))
        latest += [(max(_mtime(run / _META), _mtime(run / "metrics")), run) for run in its_runs]
        experiments += experiment.name != "0" or bool(its_runs or its_models or its_traces)
        runs, models, traces = runs + len(its_runs), models + its_models, traces + its_traces
    latest.sort(reverse=True)
    # A metric's next point changes its file alone: too many to look at in every run.
    recent = [_mtime(file) for _, run in latest[:_RECENT] for file in _files(run / "metrics")]
    written = _utc(max([*recent, *(time for time, _ in latest[:1])], default=0))
    registered = len(_with_meta(root / "models"))
    holds = Contents(experiments, runs, models, registered, traces)
    return Stray(root, "files", written, holds)


def _with_meta(folder: Path, meta: str = _META) -> list[Path]:
    """The folders in one that have such a file."""
    try:
        with os.scandir(folder) as entries:
            found = [Path(one.path) for one in entries if one.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [one for one in found if (one / meta).is_file()]


def _files(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0


def _utc(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
