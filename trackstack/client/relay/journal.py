"""What was acknowledged and is not on the server yet, on this machine's disk.

One SQLite file in WAL mode: an insert takes microseconds, and what is committed survives a kill of
the relay (a power cut may take the last moments, as the operating system's cache is the disk here).
One relay a journal, by a lock on a file beside it; files wait in a folder beside it, too.
"""

import contextlib
import fcntl
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trackstack.client.errors import ClientError
from trackstack.client.filesystems import network_file_system

_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS writes (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, lane TEXT NOT NULL, kind TEXT NOT NULL,
  method TEXT NOT NULL, path TEXT NOT NULL, body TEXT NOT NULL, needs TEXT NOT NULL,
  state INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0, problem TEXT,
  at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS waiting ON writes (state, seq);
CREATE INDEX IF NOT EXISTS lanes ON writes (lane, state, seq);
CREATE TABLE IF NOT EXISTS entities (
  local TEXT PRIMARY KEY, remote TEXT, location TEXT, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS remotes ON entities (remote);
CREATE TABLE IF NOT EXISTS documents (
  kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, at REAL NOT NULL,
  PRIMARY KEY (kind, id));
CREATE TABLE IF NOT EXISTS texts (
  of TEXT NOT NULL, what TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY (of, what, key));
CREATE TABLE IF NOT EXISTS latest (
  run TEXT NOT NULL, key TEXT NOT NULL, value REAL NOT NULL, timestamp INTEGER NOT NULL,
  step INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (run, key));
CREATE TABLE IF NOT EXISTS answers (
  id INTEGER PRIMARY KEY, asked TEXT NOT NULL, by TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS files (
  path TEXT PRIMARY KEY, spool TEXT NOT NULL, size INTEGER NOT NULL, shipped INTEGER NOT NULL);
"""
WAITING: Final = 0
SHIPPED: Final = 1
REFUSED: Final = 2
"""By the server, for good: kept for whoever wants to know."""
DEFAULT_LIMIT = 10 * 1024**3
"""Bytes of journal and spooled files together."""
RESERVE = 0.1
"""Share of the limit that files leave to metrics, params and tags."""
_LOOKS = 256
"""Writes between two looks at the size of the database."""
_TIDIED = 1000
"""Writes that are forgotten in one go."""


class FullError(Exception):
    """The journal's bound is reached."""


class BusyError(ClientError):
    """Another relay has this journal."""


@dataclass(frozen=True)
class Write:
    """Something that a client was told is done."""

    seq: int
    lane: str
    """Writes of a lane reach the server in their order."""
    kind: str
    method: str
    path: str
    body: str
    needs: tuple[str, ...]
    """Ids that the server must have been given before, and ``files:<id>``, ``all:<id>``: what
    came earlier for that id must be there, files alone or everything."""
    tries: int


@dataclass(frozen=True)
class Entity:
    """Something that was made here, or seen, and what the server calls it."""

    local: str
    remote: str | None
    """None: not made there yet; empty: the server would not make it."""
    location: str | None
    """Root of its artifacts, as the server says it."""


class Journal:
    """The file, its spool and its lock. Safe in threads; to be closed.

    Raises:
        ClientError: it lies on a network file system, where SQLite can't lock.
        BusyError: another relay has it.
    """

    def __init__(self, folder: Path, limit: int = DEFAULT_LIMIT) -> None:
        network = network_file_system(folder)
        if network is not None:
            raise ClientError(
                f"The relay's journal can't lie on a network file system, and {folder} is on"
                f" {network}: set TRACKSTACK_JOURNAL to a folder on a local disk."
            )
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        self.folder = folder
        self.spool = folder / "spool"
        self.spool.mkdir(exist_ok=True, mode=0o700)
        self._locked = lock(folder / "lock")
        self.limit = limit
        old = os.umask(0o077)
        try:
            self._database = _connect(folder / "journal.db")
            self._database.executescript(_SCHEMA)
        finally:
            os.umask(old)
        self._lock = threading.RLock()
        self._nested = 0
        self.changed = threading.Condition(self._lock)
        """Told when there is something to ship."""
        self._adds = 0
        known = {row[0] for row in self._rows("SELECT spool FROM files")}
        for file in self.spool.iterdir():
            if file.name not in known:  # half of a file, of a relay that was killed
                file.unlink()
        self._spooled = sum(file.stat().st_size for file in self.spool.iterdir())

    def close(self) -> None:
        """Let go of the file; another relay may have it then."""
        with self._lock:
            self._database.close()
            os.close(self._locked)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """All or nothing; nested ones belong to the outermost."""
        with self._lock:
            if self._nested:
                yield
                return
            self._nested = 1
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            else:
                self._database.execute("COMMIT")
                self.changed.notify_all()
            finally:
                self._nested = 0

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        with self._lock:
            return self._database.execute(statement, values).fetchall()

    def _run(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        with self.writing():
            return self._database.execute(statement, values)

    # --- what is to be shipped ---------------------------------------------------------------

    def add(
        self,
        lane: str,
        kind: str,
        request: tuple[str, str],
        body: str = "",
        needs: Iterable[str] = (),
    ) -> int:
        """Write down a write, whose request is a method and a path; its number.

        FullError when not even the reserve has room.
        """
        self._adds += 1
        if self._adds % _LOOKS == 1 and self._spooled + self.size() > self.limit:
            self._adds = 0  # the next one looks again
            raise FullError(
                f"The relay's journal in {self.folder} has reached its bound of {self.limit} bytes:"
                " nothing more can be logged until the server is back."
            )
        made = self._run(
            "INSERT INTO writes (lane, kind, method, path, body, needs, at) VALUES (?,?,?,?,?,?,?)",
            (lane, kind, *request, body, " ".join(needs), time.time()),
        )
        return made.lastrowid or 0

    def of_lane(self, lane: str, kinds: Sequence[str]) -> list[Write]:
        """What is known of a lane, shipped or not, in its order."""
        marks = ",".join("?" * len(kinds))
        rows = self._rows(
            "SELECT seq, lane, kind, method, path, body, needs, tries FROM writes"  # noqa: S608
            f" WHERE lane = ? AND kind IN ({marks}) AND state < 2 ORDER BY seq",
            (lane, *kinds),
        )
        return [_write(row) for row in rows]

    def lanes(self) -> list[str]:
        """Lanes in which something waits, the longest waiting first."""
        rows = self._rows(
            "SELECT lane, min(seq) AS first FROM writes WHERE state = 0"
            " GROUP BY lane ORDER BY first"
        )
        return [row[0] for row in rows]

    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._rows("SELECT 1 FROM writes WHERE state = 0 LIMIT 1")

    def of_lane_waiting(self, lane: str, count: int) -> list[Write]:
        """The first of a lane that wait."""
        rows = self._rows(
            "SELECT seq, lane, kind, method, path, body, needs, tries FROM writes"
            " WHERE lane = ? AND state = 0 ORDER BY seq LIMIT ?",
            (lane, count),
        )
        return [_write(row) for row in rows]

    def last(self) -> int:
        """Number of the last write."""
        return int(self._rows("SELECT coalesce(max(seq), 0) FROM writes")[0][0])

    def first_waiting(self) -> int:
        """Number of the first write that waits; beyond all numbers when none does."""
        return int(
            self._rows("SELECT coalesce(min(seq), 1 << 62) FROM writes WHERE state = 0")[0][0]
        )

    def tried(self, writes: Iterable[int]) -> None:
        """Note that somebody began to ship these: the answer may get lost."""
        with self.writing():
            self._database.executemany(
                "UPDATE writes SET tries = tries + 1 WHERE seq = ?", [(seq,) for seq in writes]
            )

    def done(self, writes: Iterable[int]) -> None:
        """The server has these."""
        with self.writing():
            self._database.executemany(
                "UPDATE writes SET state = 1 WHERE seq = ?", [(seq,) for seq in writes]
            )

    def done_unless_refused(self, writes: Iterable[int]) -> None:
        """The server has these, but for what it refused of them."""
        with self.writing():
            self._database.executemany(
                "UPDATE writes SET state = 1 WHERE seq = ? AND state = 0",
                [(seq,) for seq in writes],
            )

    def refused(self, seq: int, problem: str, body: str | None = None) -> None:
        """The server will never take this; ``body`` is what is left of it.

        A file that another one has replaced meanwhile is nobody's loss.
        """
        self._run(
            "UPDATE writes SET state = 2, problem = ?, body = coalesce(?, body)"
            " WHERE seq = ? AND state = 0",
            (problem, body, seq),
        )

    def count(self, state: int) -> int:
        """How many writes wait (`WAITING`), or were refused (`REFUSED`)."""
        found = self._rows("SELECT count(*) FROM writes WHERE state = ?", (state,))
        return int(found[0][0])

    def refusals(self) -> list[tuple[str, str, str]]:
        """Lane, path and reason of what the server will never take."""
        rows = self._rows("SELECT lane, path, problem FROM writes WHERE state = 2 ORDER BY seq")
        return [(row[0], row[1], row[2]) for row in rows]

    def forget_refused(self) -> None:
        """What the server will never take is nobody's concern any more."""
        with self.writing():
            self._run(
                "UPDATE files SET shipped = 1 WHERE spool IN"
                " (SELECT body FROM writes WHERE state = 2 AND kind = 'file')"
            )
            self._run("DELETE FROM writes WHERE state = 2")

    def blocks(self, need: str, before: int) -> bool:
        """Whether a need of a write isn't met yet."""
        what, _, subject = need.rpartition(":")
        if not what:
            entity = self.entity(need)
            return entity is not None and entity.remote is None
        only = " AND kind = 'file'" if what == "files" else ""
        found = self._rows(
            "SELECT 1 FROM writes WHERE state = 0 AND seq < ?"  # noqa: S608 - two constants
            f" AND (lane = ? OR lane LIKE ?){only} LIMIT 1",
            (before, subject, f"{subject}/%"),
        )
        return bool(found)

    def size(self) -> int:
        """Bytes of the database, without what is free in it."""
        ((pages, free, page),) = self._rows(
            "SELECT p.page_count, f.freelist_count, s.page_size FROM pragma_page_count() p,"
            " pragma_freelist_count() f, pragma_page_size() s"
        )
        return int((pages - free) * page)

    def tidy(self) -> None:
        """Forget what is shipped of runs that have ended.

        Ids stay for ever. A run that goes on keeps its points, as it may be asked for its curves,
        unless they take up half the reserve.
        """
        if self.size() > self.limit * RESERVE / 2:
            self._run(
                "INSERT OR REPLACE INTO texts SELECT DISTINCT lane, 'about', 'tidied', 'yes'"
                " FROM writes WHERE state = 1 AND kind IN ('metric', 'batch')"
            )
            self._delete("state = 1")
        self._delete(
            "state = 1 AND (kind NOT IN ('metric', 'batch') OR lane NOT IN"
            " (SELECT id FROM documents WHERE kind = 'run'"
            " AND json_extract(body, '$.status') IN ('RUNNING', 'SCHEDULED')))"
        )
        for row in self._rows("SELECT path, spool FROM files WHERE shipped = 1"):
            waiting = self._rows(
                "SELECT 1 FROM writes WHERE kind = 'file' AND state = 0 AND body = ?", (row[1],)
            )
            if not waiting:
                self._unspool(row[0], row[1])

    def _delete(self, where: str) -> None:
        """A few at a time: whoever logs meanwhile waits for none of it."""
        few = f"SELECT seq FROM writes WHERE {where} LIMIT {_TIDIED}"  # noqa: S608 - our own words
        while self._run(f"DELETE FROM writes WHERE seq IN ({few})").rowcount:  # noqa: S608
            pass

    # --- ids and what is known of things -------------------------------------------------------

    def entity(self, local: str) -> Entity | None:
        """What is known of an id that a client was given."""
        rows = self._rows("SELECT local, remote, location FROM entities WHERE local = ?", (local,))
        return Entity(*rows[0]) if rows else None

    def put_entity(
        self, local: str, remote: str | None = None, location: str | None = None
    ) -> None:
        """Remember an id, for ever; what is None leaves what was known."""
        self._run(
            "INSERT INTO entities VALUES (?,?,?,?) ON CONFLICT (local) DO UPDATE SET"
            " remote = coalesce(excluded.remote, remote),"
            " location = coalesce(excluded.location, location)",
            (local, remote, location, time.time()),
        )

    def renamed(self, ids: Iterable[str]) -> dict[str, str]:
        """Those of our ids that the server gave another name, and its names."""
        rows = self._rows(
            "SELECT local, remote FROM entities WHERE remote NOT IN (local, '')"
            " AND local IN (SELECT value FROM json_each(?))",
            (json.dumps(list(ids)),),
        )
        return {row[0]: row[1] for row in rows}

    def known_as(self, ids: Iterable[str]) -> dict[str, str]:
        """Those of the server's ids that have another name here, and our names."""
        rows = self._rows(
            "SELECT remote, local FROM entities WHERE remote != local"
            " AND remote IN (SELECT value FROM json_each(?))",
            (json.dumps(list(ids)),),
        )
        return {row[0]: row[1] for row in rows}

    def document(self, kind: str, key: str) -> tuple[dict[str, Any], float] | None:
        """A run, experiment, … as a client would be told, and since when it is known."""
        rows = self._rows("SELECT body, at FROM documents WHERE kind = ? AND id = ?", (kind, key))
        return (json.loads(rows[0][0]), rows[0][1]) if rows else None

    def documents(self, kind: str) -> dict[str, dict[str, Any]]:
        """All of a kind."""
        rows = self._rows("SELECT id, body FROM documents WHERE kind = ?", (kind,))
        return {row[0]: json.loads(row[1]) for row in rows}

    def put_document(self, kind: str, key: str, body: dict[str, Any]) -> None:
        """Remember it."""
        self._run(
            "INSERT OR REPLACE INTO documents VALUES (?,?,?,?)",
            (kind, key, json.dumps(body), time.time()),
        )

    def drop_experiment(self, key: str) -> None:
        """Forget an experiment by its id and by its name: it changed."""
        self._run(
            "DELETE FROM documents WHERE kind IN ('experiment', 'experiment-name')"
            " AND json_extract(body, '$.experiment_id') = ?",
            (key,),
        )

    def texts(self, of: str, what: str) -> dict[str, str]:
        """Params or tags by their keys."""
        rows = self._rows("SELECT key, value FROM texts WHERE of = ? AND what = ?", (of, what))
        return {row[0]: row[1] for row in rows}

    def put_text(self, of: str, what: str, key: str, value: str) -> None:
        """Set a param or a tag."""
        self._run("INSERT OR REPLACE INTO texts VALUES (?,?,?,?)", (of, what, key, value))

    def drop_text(self, of: str, what: str, key: str) -> None:
        """Take a tag away."""
        self._run("DELETE FROM texts WHERE of = ? AND what = ? AND key = ?", (of, what, key))

    def put_latest(self, run: str, point: dict[str, Any]) -> None:
        """Keep a point if it is its metric's last: MLflow's order is step, time, value."""
        value = _ordered(point["value"])
        self._run(
            "INSERT INTO latest VALUES (?,?,?,?,?,?) ON CONFLICT (run, key) DO UPDATE SET"
            " value = excluded.value, timestamp = excluded.timestamp, step = excluded.step,"
            " body = excluded.body WHERE (excluded.step, excluded.timestamp, excluded.value)"
            " >= (step, timestamp, value)",
            (run, point["key"], value, point["timestamp"], point["step"], json.dumps(point)),
        )

    def latest(self, run: str) -> list[dict[str, Any]]:
        """The last point of each metric."""
        rows = self._rows("SELECT body FROM latest WHERE run = ? ORDER BY key", (run,))
        return [json.loads(row[0]) for row in rows]

    # --- answers that may not have arrived --------------------------------------------------------

    def answered(self, asked: str, by: str) -> str | None:
        """What another process than ``by`` wrote down as the answer and may not have sent."""
        rows = self._rows("SELECT id, body FROM answers WHERE asked = ? AND by != ?", (asked, by))
        return rows[0][1] if rows else None

    def put_answer(self, asked: str, by: str, body: str) -> int:
        """Keep an answer until it is sent; its number."""
        made = self._run("INSERT INTO answers (asked, by, body) VALUES (?,?,?)", (asked, by, body))
        return made.lastrowid or 0

    def sent(self, answer: int) -> None:
        """It arrived, as far as this machine can tell."""
        self._run("DELETE FROM answers WHERE id = ?", (answer,))

    # --- files -----------------------------------------------------------------------------------

    def room(self, size: int) -> None:
        """Raise FullError if a file of that size would not leave the reserve."""
        if self._spooled + size > self.limit * (1 - RESERVE):
            raise FullError(
                f"The relay's journal in {self.folder} holds {self._spooled} bytes of files that"
                f" wait for the server; its bound is {self.limit} bytes, a tenth of it kept for"
                " metrics."
            )

    def put_file(self, path: str, spool: Path, size: int) -> None:
        """A file is readable under its path from now on; one that waited there before is not."""
        with self.writing():
            for row in self._rows("SELECT spool FROM files WHERE path = ?", (path,)):
                self._run("UPDATE writes SET state = 1 WHERE kind = 'file' AND body = ?", (row[0],))
                self._unspool(path, row[0])
            self._run("INSERT INTO files VALUES (?,?,?,0)", (path, spool.name, size))
            self._spooled += size

    def file(self, path: str) -> Path | None:
        """Where a file's content lies here."""
        rows = self._rows("SELECT spool FROM files WHERE path = ?", (path,))
        return self.spool / rows[0][0] if rows else None

    def files(self, below: str) -> dict[str, int]:
        """Sizes of the files below a path, by path."""
        rows = self._rows(
            "SELECT path, size FROM files WHERE substr(path, 1, ?) = ?",
            (len(below) + 1, f"{below}/"),
        )
        return {row[0]: row[1] for row in rows}

    def file_shipped(self, spool: str) -> None:
        """The server has it; it stays readable here until `tidy`."""
        self._run("UPDATE files SET shipped = 1 WHERE spool = ?", (spool,))

    def _unspool(self, path: str, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            size = (self.spool / name).stat().st_size
            (self.spool / name).unlink()
            self._spooled -= size
        self._run("DELETE FROM files WHERE path = ? AND spool = ?", (path, name))

    def about(self, name: str) -> str | None:
        """A fact about the journal itself."""
        rows = self._rows("SELECT value FROM about WHERE name = ?", (name,))
        return rows[0][0] if rows else None

    def set_about(self, name: str, value: str) -> None:
        """Remember it. Never a credential."""
        self._run("INSERT OR REPLACE INTO about VALUES (?,?)", (name, value))


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute("PRAGMA journal_size_limit = 67108864")
    return database


def read_only(folder: Path) -> sqlite3.Connection:
    """A journal for reading, whoever has it."""
    return sqlite3.connect(f"{(folder / 'journal.db').as_uri()}?mode=ro", uri=True)


def lock(path: Path) -> int:
    """Lock a file; its descriptor. BusyError when another process has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise BusyError(f"Another relay has the journal in {path.parent}.") from None
    return descriptor


def _write(row: Sequence[Any]) -> Write:
    seq, lane, kind, method, path, body, needs, tries = row
    return Write(seq, lane, kind, method, path, body, tuple(needs.split()), tries)


def _ordered(value: Any) -> float:
    """For comparing; SQLite has no NaN."""
    number = float(value)
    return number if number == number else float("-inf")  # noqa: PLR0124 - NaN
