"""Which stores a path holds."""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from trackstack.client.adopt.database import DatabaseSource
from trackstack.client.adopt.errors import UsageError
from trackstack.client.adopt.filestore import FileSource
from trackstack.client.adopt.records import Source
from trackstack.client.strays import find_strays


def find(path: Path) -> list[Path]:
    """The stores at a path: itself, or those below it.

    Raises:
        UsageError: there is none.
    """
    path = path.expanduser().resolve()
    if not path.exists():
        raise UsageError(f"There is no {path}.")
    found = find_strays(path).strays
    for one in found:
        if one.problem:
            raise UsageError(f"{one.path} can't be read: {one.problem}.")
    if not found:
        raise UsageError(
            f"{path} holds no MLflow store: neither experiments (mlruns) nor a SQLite file that"
            " MLflow wrote (mlflow.db)."
        )
    return [one.path for one in found]


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Source]:
    """A store to read, by one adopt at a time: two would make runs twice on a foreign server."""
    folder = path if path.is_dir() else path.parent
    guard = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"Another `trackstack adopt` is at work on {path}.") from None
        with tempfile.TemporaryDirectory(prefix="trackstack-adopt-") as scratch:
            kind = FileSource if path.is_dir() else DatabaseSource
            source = kind(path, Path(scratch))
            try:
                yield source
            finally:
                source.close()
    finally:
        os.close(guard)
