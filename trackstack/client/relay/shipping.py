"""Carries what was written down to the server: in order where it matters, together where it can.

Writes of a lane (a run's, a model's, a file's) go one after another, lanes beside one another.
Points, params and tags of a run that wait together go as one batch. A create whose answer was lost
is looked for by its reserved tag before it is sent again, so a run is there once.
"""

import base64
import concurrent.futures
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from trackstack.client.relay.api import API, replaced
from trackstack.client.relay.artifacts import ROOT, placed
from trackstack.client.relay.journal import Journal, Write
from trackstack.client.relay.reach import Reach
from trackstack.client.relay.runs import with_id_tag
from trackstack.client.relay.upstream import Answer, AwayError
from trackstack.core.filters import quoted
from trackstack.core.logging_rules import MAX_ENTRIES, MAX_PARAMS, MAX_TAGS
from trackstack.core.relay import ID_TAG

LINGER_SECONDS = 0.3
"""How long the first of several writes waits for the others: of 2,505 batches it makes 48."""
REFUSED_TAG = "trackstack.refused"
"""Of a run: how many of its writes the server would not take, and why the last."""
_FILE_SECONDS = 600.0
_BATCHED = frozenset({"metric", "param", "tag", "batch"})
_TOO_LARGE = 413
"""A proxy's word, too, and for good."""
_STRANGE_TRIES = 8
"""How often something is tried, for minutes, that is answered as MLflow never answers: an old
server that doesn't know the route says so by a page."""
_LATER = frozenset({401, 403, 408, 425, 429})
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0
_TEXT_BYTES = 1_000_000
"""Larger files are passed on as they are: MLmodel and its like are smaller."""
_METADATA_WORKERS, _FILE_WORKERS = 4, 3
_TIDY_SECONDS = 30.0


class _LaterError(Exception):
    """Not now: the server is there and wouldn't take it yet; what it answered."""


class _StrangeError(_LaterError):
    """An answer that is not MLflow's: a proxy's, or of a server of another kind."""


class _RefusedError(Exception):
    """Never: the server's own words."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class _Pause:
    """Of a lane whose first write was not taken."""

    until: float
    seconds: float
    why: str


@dataclass(frozen=True)
class _Entry:
    write: Write
    kind: str
    """``metrics``, ``params`` or ``tags``."""
    body: dict[str, Any]


class Shipper:
    """Ships until it is ended; whatever was not acknowledged by the server stays in the journal."""

    def __init__(self, journal: Journal, reach: Reach) -> None:
        self._journal = journal
        self._reach = reach
        self._busy: set[str] = set()
        self._paused: dict[str, _Pause] = {}
        self._lock = threading.Lock()
        self._hurried = threading.Event()
        self._stirred = threading.Event()
        self._ended = threading.Event()
        self._metadata = concurrent.futures.ThreadPoolExecutor(_METADATA_WORKERS)
        self._files = concurrent.futures.ThreadPoolExecutor(_FILE_WORKERS)

    def run(self) -> None:
        """Ship until `end`."""
        tidied = time.monotonic()
        while not self._ended.is_set():
            self._stirred.clear()
            if time.monotonic() - tidied > _TIDY_SECONDS:
                self._journal.tidy()
                tidied = time.monotonic()
            if self._journal.is_empty():
                with self._journal.changed:
                    self._journal.changed.wait(0.5)
                if not self._hurried.is_set() and not self._journal.is_empty():
                    self._hurried.wait(LINGER_SECONDS)
            elif self._reach.away is not None:
                self._reach.wait(0.5)
            elif not self._dispatch():
                self._stirred.wait(0.05)
            elif not self._hurried.is_set():
                self._hurried.wait(LINGER_SECONDS)

    def end(self) -> None:
        """Finish what is under way."""
        self._ended.set()
        self._hurried.set()
        self._metadata.shutdown(cancel_futures=True)
        self._files.shutdown(cancel_futures=True)

    def flush(self, seconds: float) -> bool:
        """Wait for what waits now to be shipped, unless the server is away; whether it is."""
        last = self._journal.last()
        deadline = time.monotonic() + seconds
        self._hurried.set()
        try:
            while self._journal.first_waiting() <= last:
                if self._reach.away is not None or time.monotonic() > deadline:
                    return False
                time.sleep(0.01)
            return True
        finally:
            self._hurried.clear()

    def stuck(self) -> str:
        """Why nothing is under way although something waits; empty while something is."""
        with self._lock:
            pauses = [] if self._busy else list(self._paused.values())
        return pauses[0].why if pauses else ""

    def _dispatch(self) -> bool:
        """Give every lane that is free and ready to a worker; whether there was one."""
        found = False
        for lane in self._journal.lanes():
            with self._lock:
                pause = self._paused.get(lane)
                if lane in self._busy or (pause and time.monotonic() < pause.until):
                    continue
            writes = list(self._ready(lane))
            if not writes:
                continue
            found = True
            with self._lock:
                self._busy.add(lane)
            pool = self._files if writes[0].kind == "file" else self._metadata
            with contextlib.suppress(RuntimeError):  # it was ended just now
                pool.submit(self._work, lane, writes)
        return found

    def _ready(self, lane: str) -> Iterator[Write]:
        """The first writes of a lane that go together, as far as nothing they need is missing."""
        counts = {"metrics": 0, "params": 0, "tags": 0}
        for index, write in enumerate(self._journal.of_lane_waiting(lane, MAX_ENTRIES)):
            if index and write.kind not in _BATCHED:
                return
            if any(self._journal.blocks(need, write.seq) for need in write.needs):
                return
            if write.kind not in _BATCHED:
                yield write
                return
            for entry in _entries(write):
                counts[entry.kind] += 1
            if index and (
                sum(counts.values()) > MAX_ENTRIES
                or counts["params"] > MAX_PARAMS
                or counts["tags"] > MAX_TAGS
            ):
                return
            yield write

    def _work(self, lane: str, writes: list[Write]) -> None:
        try:
            self._ship(writes)
        except AwayError:
            pass  # the reach knows; everything waits for it
        except _LaterError as problem:
            self._pause(lane, str(problem))
            if isinstance(problem, _StrangeError):
                self._journal.tried([writes[0].seq])
                if writes[0].tries >= _STRANGE_TRIES:
                    self._refuse(writes[0], str(problem))
        except FileNotFoundError as problem:
            self._refuse(writes[0], f"Its file is gone: {problem}")
        # A full disk, a fault of ours: nothing is given up for it.
        except Exception as problem:  # noqa: BLE001
            self._pause(lane, f"{type(problem).__name__}: {problem}")
        else:
            with self._lock:
                self._paused.pop(lane, None)
        finally:
            with self._lock:
                self._busy.discard(lane)
            self._stirred.set()

    def _pause(self, lane: str, why: str) -> None:
        with self._lock:
            last = self._paused.get(lane)
            seconds = min(last.seconds * 2, _LONGEST_PAUSE) if last else _FIRST_PAUSE
            self._paused[lane] = _Pause(time.monotonic() + seconds, seconds, why)

    def _ship(self, writes: list[Write]) -> None:
        first = writes[0]
        missing = self._never_made(first)
        if missing is not None:
            for write in writes:
                self._refuse(write, f"{missing} was refused, and this belongs to it.")
            return
        if first.kind in _BATCHED:
            entries = [entry for write in writes for entry in _entries(write)]
            refused = list(self._ship_entries(entries))
            for write in writes:
                self._refuse_entries([one for one in refused if one[0].write is write])
            self._journal.done_unless_refused([write.seq for write in writes])
            return
        ways: dict[str, Callable[[Write], None]] = {
            "create_experiment": self._create_experiment,
            "create_run": self._create_run,
            "create_model": self._create_model,
            "create_version": self._create_version,
            "version": self._of_version,
            "file": self._file,
            "raw": self._raw,
        }
        try:
            ways.get(first.kind, self._other)(first)
        except _RefusedError as problem:
            if first.kind in {"create_experiment", "create_run", "create_model"}:
                self._journal.put_entity(_local(first), "")
            self._refuse(first, str(problem))
        else:
            self._journal.done([first.seq])

    def _never_made(self, write: Write) -> str | None:
        """What the write needs and the server would not make."""
        lane = write.lane.partition("/")[0]
        makes = write.kind.startswith("create_")
        for one in write.needs if makes else (*write.needs, lane):
            entity = self._journal.entity(one)
            if entity is not None and entity.remote == "":
                return one
        return None

    def _ship_entries(self, entries: list[_Entry]) -> Iterator[tuple[_Entry, str]]:
        """Ship a batch; what the server refuses of it, and why, is found by halving."""
        body: dict[str, Any] = {"run_id": entries[0].write.lane}
        for kind in ("metrics", "params", "tags"):
            some = [one.body for one in entries if one.kind == kind]
            # Of several values of a key the last counts, as if they had come one after another.
            unique = {one["key"]: one for one in some}.values()
            body[kind] = some if kind == "metrics" else list(unique)
        try:
            self._call("POST", f"{API}runs/log-batch", body)
        except _RefusedError as problem:
            of_run = problem.code == "RESOURCE_DOES_NOT_EXIST" or "'active' state" in str(problem)
            if len(entries) == 1 or of_run:
                yield from ((entry, str(problem)) for entry in entries)
                return
            half = len(entries) // 2
            yield from self._ship_entries(entries[:half])
            yield from self._ship_entries(entries[half:])

    def _refuse_entries(self, refused: list[tuple[_Entry, str]]) -> None:
        """Of one write: what is left of it is what was refused."""
        if not refused:
            return
        write, problem = refused[0][0].write, refused[0][1]
        if write.kind != "batch":
            self._refuse(write, problem)
            return
        left: dict[str, list[dict[str, Any]]] = {"metrics": [], "params": [], "tags": []}
        for entry, _ in refused:
            left[entry.kind].append(entry.body)
        self._refuse(write, problem, left)

    def _create_experiment(self, write: Write) -> None:
        body = json.loads(write.body)
        try:
            made = self._call(write.method, write.path, body)
            remote = str(made["experiment_id"])
        except _RefusedError as problem:
            if problem.code != "RESOURCE_ALREADY_EXISTS":
                raise
            query = urlencode({"experiment_name": body["name"]})
            found = self._call("GET", f"{API}experiments/get-by-name?{query}")
            remote = str(found["experiment"]["experiment_id"])
        self._journal.put_entity(_local(write), remote)

    def _create_run(self, write: Write) -> None:
        local, body = write.lane, json.loads(write.body)
        run = self._lost(write, f"{API}runs/search", body["experiment_id"], "runs")
        if run is None:
            run = self._call(write.method, write.path, body, tag=local)["run"]
        info = run["info"]
        self._journal.put_entity(local, info["run_id"], info.get("artifact_uri"))

    def _create_model(self, write: Write) -> None:
        local, body = write.lane, json.loads(write.body)
        model = self._lost(write, f"{API}logged-models/search", body["experiment_id"], "models")
        if model is None:
            model = self._call(write.method, write.path, body, tag=local)["model"]
        info = model["info"]
        self._journal.put_entity(local, info["model_id"], info.get("artifact_uri"))

    def _create_version(self, write: Write) -> None:
        body = json.loads(write.body)
        provisional = body.pop("provisional")
        local = f"{body['name']}/{provisional}"
        version = None
        if write.tries:
            query = urlencode({"filter": f"name={quoted(body['name'])}", "max_results": 1000})
            found = self._call("GET", f"{API}model-versions/search?{query}")
            for one in found.get("model_versions", ()):
                if {"key": ID_TAG, "value": local} in one.get("tags", ()):
                    version = one
        self._journal.tried([write.seq])
        if version is None:
            version = self._call(write.method, write.path, body, tag=local)["model_version"]
        self._journal.put_entity(local, str(version["version"]))

    def _of_version(self, write: Write) -> None:
        body = json.loads(write.body)
        entity = self._journal.entity(f"{body['name']}/{body.get('version')}")
        if entity is not None and entity.remote:
            body["version"] = entity.remote
        self._call(write.method, write.path, body)

    def _other(self, write: Write) -> None:
        self._journal.tried([write.seq])
        try:
            self._call(write.method, write.path, json.loads(write.body))
        except _RefusedError as problem:
            if not _is_done(write, problem):
                raise

    def _raw(self, write: Write) -> None:
        kept = json.loads(write.body)
        content = base64.b64decode(kept["content"])
        headers = {key: self._outward(value) for key, value in kept["headers"].items()}
        _judge(self._reach.ask(write.method, write.path, content, headers))

    def _file(self, write: Write) -> None:
        entity = self._journal.entity(write.lane.partition("/")[0])
        where = placed(self._outward(write.path), entity.location if entity else None)
        if where is None:
            raise _RefusedError(
                "", f"The server keeps these files in {entity and entity.location}, past itself."
            )
        path = f"{ROOT}/{quote(where)}"
        with (self._journal.spool / write.body).open("rb") as file:
            head = file.read(_TEXT_BYTES + 1)
            file.seek(0)
            if len(head) <= _TEXT_BYTES and (text := _text(head)) is not None:
                content = self._outward(text).encode()
                answer = self._reach.ask("PUT", path, content, seconds=_FILE_SECONDS)
            else:
                answer = self._reach.ask("PUT", path, file, seconds=_FILE_SECONDS)
        _judge(answer)
        self._journal.file_shipped(write.body)

    def _lost(self, write: Write, path: str, experiment: str, what: str) -> dict[str, Any] | None:
        """What an earlier try made, if it made something."""
        tries = write.tries
        self._journal.tried([write.seq])
        if not tries:
            return None
        found = self._call(
            "POST",
            path,
            {
                "experiment_ids": [experiment],
                "filter": f"tags.`{ID_TAG}` = '{write.lane}'",
                "max_results": 1,
                **({"run_view_type": "ALL"} if what == "runs" else {}),
            },
        )
        some: list[dict[str, Any]] = found.get(what, [])
        return some[0] if some else None

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None, tag: str = ""
    ) -> dict[str, Any]:
        text = None
        if body is not None:
            told = json.loads(self._outward(json.dumps(body)))
            # The reserved tag keeps our own name: it is what the thing is found by.
            text = json.dumps(with_id_tag(told, tag) if tag else told).encode()
        kind = {"Content-Type": "application/json"}
        answer = self._reach.ask(method, self._outward(path), text, kind)
        return _judge(answer)

    def _outward(self, text: str) -> str:
        return replaced(text, self._journal.renamed)

    def _refuse(self, write: Write, problem: str, body: dict[str, Any] | None = None) -> None:
        self._journal.refused(write.seq, problem, None if body is None else json.dumps(body))
        entity = self._journal.entity(write.lane)
        is_run = self._journal.document("run", write.lane) is not None
        if not is_run or entity is None or not entity.remote or REFUSED_TAG in write.body:
            return
        count = sum(1 for lane, _, _ in self._journal.refusals() if lane == write.lane)
        value = f"{count}: {problem}"[:5000]
        body = {"key": REFUSED_TAG, "value": value}
        self._journal.add(write.lane, "tag", ("POST", f"{API}runs/set-tag"), json.dumps(body))


def _judge(answer: Answer) -> dict[str, Any]:
    """The answer's JSON.

    A page of a proxy is no answer, neither a good one nor a bad one: MLflow's are JSON.
    """
    if answer.status in _LATER or answer.status >= 500:  # noqa: PLR2004
        raise _LaterError(_said(answer))
    try:
        told = json.loads(answer.body or b"{}")
    except ValueError:
        told = None
    if answer.status == _TOO_LARGE:
        raise _RefusedError("", _said(answer))
    if not isinstance(told, dict):
        raise _StrangeError(_said(answer))
    if not answer.ok:
        raise _RefusedError(
            str(told.get("error_code", "")), f"{answer.status}: {told.get('message', '')}"
        )
    return told


def _said(answer: Answer) -> str:
    """In one line: it may be a page."""
    return f"{answer.status}: {' '.join(answer.text.split())[:300]}"


def _is_done(write: Write, problem: _RefusedError) -> bool:
    """Whether a refusal says that the same was done before."""
    if problem.code == "RESOURCE_ALREADY_EXISTS":
        return True
    if write.method == "DELETE" or write.path.endswith("runs/delete-tag"):
        return problem.code == "RESOURCE_DOES_NOT_EXIST"
    return bool(write.tries) and "UniqueViolation" in str(problem)


def _entries(write: Write) -> list[_Entry]:
    body = json.loads(write.body)
    if write.kind != "batch":
        return [_Entry(write, f"{write.kind}s", body)]
    return [
        _Entry(write, kind, one) for kind in ("metrics", "params", "tags") for one in body[kind]
    ]


def _local(write: Write) -> str:
    return write.lane.rpartition("/")[2]


def _text(content: bytes) -> str | None:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None
