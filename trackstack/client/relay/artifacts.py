"""Files: spooled, readable at once, shipped beside the metrics."""

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlencode

from trackstack.client.relay.api import ApiError, Desk
from trackstack.client.relay.journal import FullError
from trackstack.client.relay.upstream import AwayError

ROOT = "/api/2.0/mlflow-artifacts/artifacts"
_SUBJECT = re.compile(r"(?:^|/)((?:m-|tr-)?[0-9a-f]{32})/artifacts(?:/|$)")
"""Whose files they are: a run's, a model's, a trace's."""
_CHUNK = 1 << 20


class Artifacts:
    """What is below `ROOT`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._journal = desk.journal

    def put(self, path: str, chunks: Iterator[bytes], size: int | None) -> None:
        """Spool a file; ApiError 507 when the journal's bound is reached."""
        checked_path(path)
        try:
            self._journal.room(size or 0)
        except FullError as problem:
            raise ApiError(507, "RESOURCE_LIMIT_EXCEEDED", str(problem)) from None
        descriptor, name = tempfile.mkstemp(dir=self._journal.spool, prefix="new-")
        spooled = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                total = 0
                for chunk in chunks:
                    total += len(chunk)
                    if size is None:
                        self._journal.room(total)
                    file.write(chunk)
            self._keep(path, spooled, total)
        except FullError as problem:
            spooled.unlink()
            raise ApiError(507, "RESOURCE_LIMIT_EXCEEDED", str(problem)) from None
        except BaseException:
            spooled.unlink(missing_ok=True)
            raise

    def get(self, path: str) -> IO[bytes]:
        """A file's content: from here, or through here."""
        spooled = self._journal.file(path)
        if spooled is not None:
            return spooled.open("rb")
        into = tempfile.TemporaryFile(dir=self._journal.spool)  # noqa: SIM115 - the caller's
        try:
            where = self._desk.outward(f"{ROOT}/{quote(path)}")
            answer = self._desk.reach.ask("GET", where, into=into)
        except AwayError:
            into.close()
            raise self._desk.refuse("Reading a file that was not logged here") from None
        if not answer.ok:
            into.close()
            raise ApiError.of(answer)
        into.seek(0)
        return into

    def listed(self, path: str) -> dict[str, Any]:
        """The files below a path, here and there."""
        found = {one["path"]: one for one in self._remote(path)}
        for file, size in self._journal.files(path).items():
            name, _, rest = file[len(path) :].lstrip("/").partition("/")
            found[name] = (
                {"path": name, "is_dir": True}
                if rest
                else {"path": name, "is_dir": False, "file_size": size}
            )
        return {"files": sorted(found.values(), key=lambda one: str(one["path"]))}

    def _remote(self, path: str) -> list[dict[str, Any]]:
        if self._desk.unmade(path):
            return []
        try:
            found = self._desk.fetch("GET", f"{ROOT}?{urlencode({'path': path})}")
        except AwayError:
            if self._journal.files(path) or self._journal.entity(_subject(path) or "") is not None:
                return []
            raise self._desk.refuse("Listing files that were not logged here") from None
        files: list[dict[str, Any]] = found.get("files", [])
        return files

    def _keep(self, path: str, spooled: Path, size: int) -> None:
        subject = _subject(path)
        with self._journal.writing():
            self._journal.put_file(path, spooled, size)
            # A lane for each file: none waits for another one.
            lane = f"{subject}/{path}" if subject else f"file/{path}"
            self._journal.add(lane, "file", ("PUT", path), spooled.name, self._desk.unmade(path))


def checked_path(path: str) -> None:
    """Refuse what would climb out of its folder."""
    if not path or path.startswith("/") or ".." in path.split("/"):
        raise ApiError.invalid(f"Invalid path: {path}")


def _subject(path: str) -> str | None:
    found = _SUBJECT.search(path)
    return found[1] if found else None


def placed(path: str, location: str | None) -> str | None:
    """Where the server wants a file.

    Args:
        path: as the client said it, in the server's ids.
        location: root of the artifacts of its run or model, as the server says it.

    Returns:
        A path below `ROOT`; None when the server doesn't carry files of this place.
    """
    if location is None:
        return path
    scheme, _, rest = location.partition(":")
    if scheme != "mlflow-artifacts":
        return None
    found = _SUBJECT.search(path)
    if found is None:
        return path
    root = (
        rest.removeprefix("//").lstrip("/")
        if not rest.startswith("//")
        else rest[2:].partition("/")[2]
    )
    return f"{root.rstrip('/')}/{path[found.end() :]}"
