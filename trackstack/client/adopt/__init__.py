"""Stray runs move into the server: a file store or a SQLite file, read by MLflow's own readers.

Nothing is written into the source. A run carries its old id in a tag, by which it is found again:
adopting twice moves nothing twice, and an adoption that was interrupted goes on. Each run is
compared with its source before it counts as moved, and only then may the source be deleted.
"""

import concurrent.futures
import logging
import os
import socket
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trackstack.client.adopt import models, registry, runs, stores
from trackstack.client.adopt.errors import AwayError, UsageError
from trackstack.client.adopt.records import Experiment, Source
from trackstack.client.adopt.registry import Registry
from trackstack.client.adopt.runs import Outcome
from trackstack.client.adopt.server import URI, Target, no_retries
from trackstack.client.errors import ClientError

__all__ = ["Adopted", "AwayError", "Moved", "UsageError", "adopt"]

_WORKERS = 4
_AHEAD = 2 * _WORKERS
_PROBED = 20

Tell = Callable[[str, int], None]
"""Told the experiment and how many of its runs are done."""


@dataclass
class Moved:
    """What became of one experiment."""

    name: str
    outcomes: list[Outcome] = field(default_factory=list)
    models: list[Outcome] = field(default_factory=list)
    waiting: int = 0
    """Runs that a dry run would move."""

    def count(self, what: str) -> int:
        """Runs of one kind of outcome."""
        return sum(one.what == what and one.verified for one in self.outcomes)

    @property
    def points(self) -> int:
        """Values of metrics in all runs."""
        return sum(one.points for one in self.outcomes)


@dataclass
class Adopted:
    """What became of one store."""

    path: str
    kind: str
    experiments: list[Moved] = field(default_factory=list)
    registry: Registry = field(default_factory=Registry)
    left: list[str] = field(default_factory=list)
    """What it holds and isn't moved."""
    problems: list[str] = field(default_factory=list)
    removed: bool = False
    kept: str = ""
    """Why it wasn't removed, though that was asked for."""

    @property
    def verified(self) -> bool:
        """Whether all that is moved is the same on both sides."""
        return not (self.problems or self.registry.problems) and all(
            one.verified for each in self.experiments for one in (*each.outcomes, *each.models)
        )


def adopt(
    path: Path,
    *,
    prefix: str = "",
    dry: bool = False,
    delete: bool = False,
    confirm: Callable[[str], bool] = lambda _: True,
    tell: Tell = lambda _name, _done: None,
) -> Iterator[Adopted]:
    """Move every store at a path into the server of ``MLFLOW_TRACKING_URI``; one result each.

    Args:
        path: a store, or a folder with stores directly in it.
        prefix: what the names of experiments get in front on the server.
        dry: look, and write nothing.
        delete: compare everything again, and remove a store that is the same on both sides.
        confirm: asked before a store is removed.
        tell: progress.

    Raises:
        ClientError: nothing can be moved, or the server went away; what was moved stays.
    """
    uri = os.environ.get(URI, "").strip()
    _refuse_uri(uri)
    _need_mlflow()
    with warnings.catch_warnings(), no_retries():
        warnings.simplefilter("ignore")  # file stores, stages: it is known
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        found = stores.find(path)
        for one in found:
            with stores.opened(one) as source:
                target = Target(uri, f"{socket.gethostname()}:{one}")
                target.check()
                target.learn()
                _refuse_own(source, target)
                work = _Work(source, target, prefix, again=delete, tell=tell)
                before = source.state()
                told = work.look() if dry else work.move()
                if delete and not dry:
                    _remove(source, told, confirm, unchanged=source.state() == before)
                yield told


def _refuse_uri(uri: str) -> None:
    if not uri:
        raise UsageError(f'{URI} is not set: eval "$(trackstack env)" sets it.')
    if not uri.startswith(("http://", "https://")):
        raise UsageError(
            f"{URI} is {uri!r}, which is not an address of a server: it must begin with http:// or"
            " https://."
        )


def _need_mlflow() -> None:
    try:
        import mlflow.store.tracking.file_store  # noqa: F401, PLC0415
    except ImportError as error:
        raise ClientError(
            f"Stores are read by MLflow itself, and here is no {error.name}:"
            " pip install 'trackstack[mlflow]'."
        ) from None


def _refuse_own(source: Source, target: Target) -> None:
    """The server's own store, or a copy of it, has nothing that the server lacks."""
    own = UsageError(
        f"{source.path} is the server's own store or a copy of it: its runs are there under the"
        " same ids."
    )
    for experiment in source.experiments()[:_PROBED]:
        first = next(source.run_ids(experiment), None)
        if first and first not in target.runs and target.has_run(first):
            raise own
    for one in source.registered():
        if one.created and target.registered_at(one.name) == one.created:
            raise own


class _Work:
    """One store, one server."""

    def __init__(
        self, source: Source, target: Target, prefix: str, *, again: bool, tell: Tell
    ) -> None:
        self._source, self._target, self._prefix = source, target, prefix
        self._again, self._tell = again, tell
        self._told = Adopted(str(source.path), source.kind, left=source.left())

    def look(self) -> Adopted:
        """Count what there is to move."""
        for one in self._source.experiments():
            moved = Moved(self._prefix + one.name)
            for run_id in self._source.run_ids(one):
                known = self._target.runs.get(run_id)
                if known and known.digest:
                    moved.outcomes.append(Outcome(run_id, known.id, "there"))
                else:
                    moved.waiting += 1
            if moved.outcomes or moved.waiting:
                self._told.experiments.append(moved)
        self._told.registry = registry.bring(self._source, self._target, dry=True)
        return self._told

    def move(self) -> Adopted:
        """Move all of it, deleted runs last of all."""
        ready = [one for one in self._source.experiments() if self._ready(one)]
        to_delete = []
        for one in ready:
            moved = Moved(self._prefix + one.name)
            self._told.experiments.append(moved)
            for outcome in self._each(self._source.run_ids(one), self._run):
                moved.outcomes.append(outcome)
                self._tell(moved.name, len(moved.outcomes))
                to_delete += [outcome.target] if outcome.delete and outcome.verified else []
            moved.models += self._each(self._source.model_ids(one), self._model)
        self._told.registry = registry.bring(self._source, self._target, dry=False)
        for run_id in to_delete:
            self._target.delete_run(run_id)
        for one in ready:
            if one.deleted:
                self._target.delete_experiment(one)
        return self._told

    def _ready(self, one: Experiment) -> bool:
        there = [
            run_id in self._target.runs and bool(self._target.runs[run_id].digest)
            for run_id in self._source.run_ids(one)
        ]
        if not there and next(self._source.model_ids(one), None) is None:
            return False  # such as the Default that every store has
        try:
            self._target.experiment(one, self._prefix, whole=all(there))
        except UsageError as error:
            self._told.problems.append(str(error))
            return False
        return True

    def _each(self, ids: Iterable[str], do: Callable[[str], Outcome]) -> Iterator[Outcome]:
        """Several at a time, and never more of them in memory than are worked on."""
        with concurrent.futures.ThreadPoolExecutor(_WORKERS) as pool:
            running: set[concurrent.futures.Future[Outcome]] = set()
            try:
                for one in ids:
                    if len(running) >= _AHEAD:
                        done, running = concurrent.futures.wait(
                            running, return_when=concurrent.futures.FIRST_COMPLETED
                        )
                        yield from (each.result() for each in done)
                    running.add(pool.submit(do, one))
                for each in concurrent.futures.as_completed(running):
                    yield each.result()
            except BaseException:
                self._target.stopped.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _run(self, run_id: str) -> Outcome:
        def bring() -> Outcome:
            run = self._source.run(run_id)
            if run is None:
                raise FileNotFoundError(run_id)
            return runs.bring(run, self._source, self._target, again=self._again)

        return _told(run_id, bring)

    def _model(self, model_id: str) -> Outcome:
        def bring() -> Outcome:
            model = self._source.model(model_id)
            if model is None:
                return Outcome(model_id, "", "there")
            return models.bring(model, self._source, self._target, again=self._again)

        return _told(model_id, bring)


def _told(name: str, bring: Callable[[], Outcome]) -> Outcome:
    """What concerns one run stops no other."""
    try:
        return bring()
    except ClientError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever MLflow's readers and client raise
        reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        return Outcome(name, "", "failed", (reason,))


def _remove(
    source: Source, told: Adopted, confirm: Callable[[str], bool], *, unchanged: bool
) -> None:
    count = sum(len(one.outcomes) for one in told.experiments)
    if not told.verified:
        told.kept = "not everything in it was moved and verified"
    elif told.left:
        told.kept = f"it holds what isn't moved: {', '.join(told.left)}"
    elif not count and not told.registry.models:
        told.kept = "nothing was moved from it"
    elif not unchanged:
        told.kept = "somebody wrote into it meanwhile: adopt it again when nobody does"
    elif not confirm(f"Delete {source.path} with its {count} runs, all verified on the server?"):
        told.kept = "that was not confirmed"
    else:
        rest = source.remove()
        told.removed = True
        told.left = [f"{one}, which isn't all of this store" for one in rest]


def as_json(told: Adopted) -> dict[str, Any]:
    """A result for scripts: every run with its id on the server."""
    return {
        "path": told.path,
        "kind": told.kind,
        "verified": told.verified,
        "removed": told.removed,
        "kept": told.kept,
        "left": told.left,
        "problems": [*told.problems, *told.registry.problems],
        "notes": told.registry.notes,
        "registered_models": {
            "models": told.registry.models,
            "versions_moved": told.registry.moved,
            "versions_there": told.registry.there,
        },
        "experiments": [
            {
                "name": one.name,
                "to_move": one.waiting,
                "points": one.points,
                "runs": [_row(each) for each in one.outcomes],
                "models": [_row(each) for each in one.models],
            }
            for one in told.experiments
        ],
    }


def _row(one: Outcome) -> dict[str, Any]:
    return {
        "id": one.id,
        "id_there": one.target,
        "what": one.what,
        "verified": one.verified,
        "problems": list(one.problems),
    }
