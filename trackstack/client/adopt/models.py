"""Logged models of MLflow 3: moved with their files and the metrics that were logged for them."""

import tempfile
from pathlib import Path

from trackstack.client.adopt import files
from trackstack.client.adopt.points import kept
from trackstack.client.adopt.records import Model, ModelPoint, Source
from trackstack.client.adopt.registry_reader import model_status
from trackstack.client.adopt.runs import Outcome, send_files
from trackstack.client.adopt.server import DONE_TAG, OURS, Known, Target

_BATCH = 500
_DONE = "yes"
_PENDING = "PENDING"


def bring(model: Model, source: Source, target: Target, *, again: bool) -> Outcome:
    """Move a logged model as far as it isn't there, and compare."""
    known = target.models.get(model.id)
    what = "there" if known and known.digest else "completed" if known else "moved"
    if known and known.digest and not again:
        return Outcome(model.id, known.id, what)
    known = target.ensure_model(model, source)
    ids = {model.id: known.id}
    if model.run_id in target.runs:
        ids[model.run_id] = target.runs[model.run_id].id
    place = target.call(target.store.get_logged_model, known.id).artifact_location
    with tempfile.TemporaryDirectory() as scratch:
        own = files.Files(model.artifacts, Path(scratch), target.call)
        sizes = own.sizes()
        if not known.digest:
            send_files(own, sizes, place, target, ids)
            _send_points(model, source, target, known)
            if model.status != _PENDING:
                _finalize(model, target, known)
    problems = _differences(model, sizes, source, target, known)
    if not problems and not known.digest:
        tag = target.entities.LoggedModelTag(DONE_TAG, _DONE)
        target.call(target.store.set_logged_model_tags, known.id, [tag])
        known.digest = _DONE
    return Outcome(model.id, known.id, what, tuple(problems))


def _finalize(model: Model, target: Target, known: Known) -> None:
    from mlflow.entities.logged_model_status import LoggedModelStatus  # noqa: PLC0415 - MLflow 3

    target.call(target.store.finalize_logged_model, known.id, LoggedModelStatus(model.status))


def _send_points(model: Model, source: Source, target: Target, known: Known) -> None:
    by_run: dict[str, list[ModelPoint]] = {}
    for one in source.model_points(model):
        some = by_run.setdefault(one.run_id, [])
        some.append(one)
        if len(some) == _BATCH:
            _log(by_run.pop(one.run_id), source, target, known)
    for some in by_run.values():
        _log(some, source, target, known)


def _log(points: list[ModelPoint], source: Source, target: Target, known: Known) -> None:
    run = source.run(points[0].run_id)
    if run is None:
        return
    metrics = [
        target.entities.Metric(
            one.key,
            one.point.value,
            one.point.timestamp,
            one.point.step,
            model_id=known.id,
            dataset_name=one.dataset_name,
            dataset_digest=one.dataset_digest,
        )
        for one in points
    ]
    target.call(target.store.log_batch, target.ensure_run(run, source).id, metrics, [], [])


def _differences(
    model: Model, sizes: dict[str, int], source: Source, target: Target, known: Known
) -> list[str]:
    there = target.call(target.store.get_logged_model, known.id)
    found = []
    if (model.name, model.kind) != (there.name, there.model_type or ""):
        found.append("its name or type differs")
    if model_status(there.status) != model.status:
        found.append(f"its status is {model_status(there.status)} there")
    if model.params != dict(there.params or {}):
        found.append("its params differ")
    wanted = {key: value for key, value in model.tags.items() if key not in OURS}
    if wanted != {key: value for key, value in (there.tags or {}).items() if key not in OURS}:
        found.append("its tags differ")
    listed = files.sizes(files.repository(there.artifact_location), target.call) if sizes else {}
    if sizes != listed:
        found.append("its files differ")
    points = {
        (one.key, one.point.step, one.point.timestamp, repr(kept(one.point.value)))
        for one in source.model_points(model)
        if source.run(one.run_id) is not None
    }
    has = {(one.key, one.step, one.timestamp, repr(kept(one.value))) for one in there.metrics or []}
    if not has <= points:  # a server tells the last of each metric
        found.append("its metrics differ")
    if {one[0] for one in points} != {one[0] for one in has}:
        found.append("some of its metrics are missing")
    return found
