"""One run: moved, and compared with what its store holds."""

import itertools
import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from trackstack.client.adopt import files
from trackstack.client.adopt.points import Fingerprint, fingerprint
from trackstack.client.adopt.records import Point, Run, Source
from trackstack.client.adopt.server import DONE_TAG, OURS, Known, Target

_BATCH, _FEW = 1000, 100
_NAMED = 5  # differences that are told one by one
_MODEL_FILE = "MLmodel"


@dataclass(frozen=True)
class Outcome:
    """What became of one run (or logged model)."""

    id: str
    target: str
    what: str
    """``moved``, ``completed`` (it was there in part), ``there`` (whole, from before)."""
    problems: tuple[str, ...] = ()
    points: int = 0
    delete: bool = False
    """It is deleted in its store and not yet here."""

    @property
    def verified(self) -> bool:
        """Whether both sides were compared, now or before, and found equal."""
        return not self.problems


@dataclass(frozen=True)
class Wanted:
    """What a run is to be here."""

    prints: dict[str, Fingerprint]
    sizes: dict[str, int]
    tags: dict[str, str]
    ids: dict[str, str]
    """Ids of the run and its logged models: there, here."""


def bring(run: Run, source: Source, target: Target, *, again: bool) -> Outcome:
    """Move a run as far as it isn't there, and compare.

    Args:
        run: of ``source``.
        source: where it is.
        target: where to.
        again: compare also what was compared before.
    """
    prints = {key: fingerprint(source.points(run, key)) for key in source.metric_keys(run)}
    points = sum(one.distinct for one in prints.values())
    with tempfile.TemporaryDirectory() as scratch:
        own = files.Files(run.artifacts, Path(scratch), target.call)
        sizes = own.sizes()
        digest = _digest(run, prints, sizes)
        known = target.runs.get(run.id)
        what = "there" if known and known.digest else "completed" if known else "moved"
        if known and known.digest == digest and not again:
            return Outcome(run.id, known.id, what, (), points, _to_delete(run, known))
        if known and known.deleted and not run.deleted:
            problem = "it was deleted on the server after it was moved"
            return Outcome(run.id, known.id, what, (problem,), points)
        ids, problems = _models(run, source, target)
        known = target.ensure_run(run, source)
        ids[run.id] = known.id
        tags = expected_tags(run, source, target, ids)
        if known.digest != digest and not known.deleted:
            _send(run, source, target, known, tags)
            _relate(run, target, known, ids)
            place = target.call(target.store.get_run, known.id).info.artifact_uri
            send_files(own, sizes, place, target, ids)
            _end(run, target, known)
            what = "completed" if what == "there" else what
        problems += differences(run, Wanted(prints, sizes, tags, ids), target, known)
    if not problems and known.digest != digest:
        target.call(target.client.set_tag, known.id, DONE_TAG, digest)
        known.digest = digest
    return Outcome(run.id, known.id, what, tuple(problems), points, _to_delete(run, known))


def _to_delete(run: Run, known: Known) -> bool:
    return run.deleted and not known.deleted


def _digest(run: Run, prints: dict[str, Fingerprint], sizes: dict[str, int]) -> str:
    told = {key: value for key, value in vars(run).items() if key not in {"artifacts", "datasets"}}
    told["datasets"] = sorted(map(_dataset, run.datasets))
    text = json.dumps([told, prints, sizes], sort_keys=True)
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _dataset(one: Any) -> list[str]:
    context = sorted(f"{tag.key}={tag.value}" for tag in one.tags or [])
    found = one.dataset
    return [found.name, found.digest, found.source_type, found.source, *context]


def _models(run: Run, source: Source, target: Target) -> tuple[dict[str, str], list[str]]:
    """Logged models that the run made or used: theirs ids here, and what is amiss."""
    ids, problems = {}, []
    for model_id in (*run.models_out, *run.models_in):
        model = source.model(model_id)
        if model is None or model.experiment_id not in target.experiments:
            problems.append(f"its logged model {model_id} is not in the store")
        else:
            ids[model_id] = target.ensure_model(model, source).id
    return ids, problems


def expected_tags(run: Run, source: Source, target: Target, ids: dict[str, str]) -> dict[str, str]:
    """A run's tags as they are to be, with the ids of runs and models that are others here."""
    tags = {key: value for key, value in run.tags.items() if key not in OURS}
    tags = {key: _translated(value, ids) for key, value in tags.items()}
    if run.name:
        tags["mlflow.runName"] = run.name
    return tags | target.parent(run, source, (run.id,))


def _translated(text: str, ids: dict[str, str]) -> str:
    for before, here in ids.items():
        if before != here:
            text = text.replace(before, here)
    return text


def batches(
    params: dict[str, str], tags: dict[str, str], points: Iterable[tuple[str, Point]]
) -> Iterator[tuple[list[tuple[str, str]], list[tuple[str, str]], list[tuple[str, Point]]]]:
    """Requests of at most 100 params, 100 tags and 1000 entries altogether."""
    some_params, some_tags, rest = iter(params.items()), iter(tags.items()), iter(points)
    while True:
        few = list(itertools.islice(some_params, _FEW))
        more = list(itertools.islice(some_tags, _FEW))
        many = list(itertools.islice(rest, _BATCH - len(few) - len(more)))
        if not (few or more or many):
            return
        yield few, more, many


def _send(run: Run, source: Source, target: Target, known: Known, tags: dict[str, str]) -> None:
    kinds = target.entities
    histories = (
        (key, point) for key in source.metric_keys(run) for point in source.points(run, key)
    )
    for params, some, points in batches(run.params, tags, histories):
        target.call(
            target.store.log_batch,
            known.id,
            [kinds.Metric(key, one.value, one.timestamp, one.step) for key, one in points],
            [kinds.Param(*pair) for pair in params],
            [kinds.RunTag(*pair) for pair in some],
        )


def _relate(run: Run, target: Target, known: Known, ids: dict[str, str]) -> None:
    """Data sets and logged models; those that are there aren't sent again."""
    if run.datasets:
        target.call(target.store.log_inputs, known.id, run.datasets)
    if not (run.models_in or run.models_out):
        return
    from mlflow.entities import LoggedModelInput, LoggedModelOutput  # noqa: PLC0415 - MLflow 3

    there = target.call(target.store.get_run, known.id)
    has = {one.model_id for one in there.inputs.model_inputs or []}
    wanted = [LoggedModelInput(ids[one]) for one in run.models_in if ids.get(one, "") not in has]
    wanted = [one for one in wanted if one.model_id]
    if wanted:
        target.call(target.store.log_inputs, known.id, models=wanted)
    made = {one.model_id for one in there.outputs.model_outputs or []} if there.outputs else set()
    outputs = [
        LoggedModelOutput(ids[one], step)
        for one, step in run.models_out.items()
        if one in ids and ids[one] not in made
    ]
    if outputs:
        target.call(target.store.log_outputs, known.id, outputs)


def send_files(
    own: files.Files, sizes: dict[str, int], place: str, target: Target, ids: dict[str, str]
) -> None:
    """Upload what isn't there in its full size."""
    if not sizes:
        return
    there = files.repository(place)
    has = files.sizes(there, target.call)
    for name, size in sizes.items():
        if has.get(name) == size:
            continue
        folder = str(Path(name).parent)
        with tempfile.TemporaryDirectory() as scratch:
            path = own.path(name)
            if path.name == _MODEL_FILE and any(key != here for key, here in ids.items()):
                text = _translated(path.read_text(encoding="utf-8"), ids)
                path = Path(scratch, _MODEL_FILE)
                path.write_text(text, encoding="utf-8")
            target.call(there.log_artifact, str(path), None if folder == "." else folder)


def _end(run: Run, target: Target, known: Known) -> None:
    target.call(
        target.store.update_run_info, known.id, _status(run.status), run.end, run.name or None
    )


def _status(name: str) -> Any:
    from mlflow.entities import RunStatus  # noqa: PLC0415

    return RunStatus.from_string(name)


def differences(run: Run, wanted: Wanted, target: Target, known: Known) -> list[str]:
    """What is not the same here and there, in words; nothing when all is."""
    there = target.call(target.store.get_run, known.id)
    info = there.info
    found = []
    facts = {
        "status": (run.status, info.status),
        "start": (run.start or 0, info.start_time or 0),
        "end": (run.end or 0, info.end_time or 0),
        "user": (run.user, info.user_id or ""),
        "name": (run.name or info.run_name, info.run_name),
    }
    found += [f"{what} {a!r} is {b!r} there" for what, (a, b) in facts.items() if a != b]
    has = {key: value for key, value in there.data.tags.items() if key not in OURS}
    if not run.name:
        has.pop("mlflow.runName", None)  # the server's own idea
    found += _unlike("param", run.params, dict(there.data.params))
    found += _unlike("tag", wanted.tags, has)
    here = {
        key: fingerprint(
            Point(one.step, one.timestamp, one.value) for one in target.history(known.id, key)
        )
        for key in there.data.metrics
    }
    found += _unlike("history of", wanted.prints, here)
    listed = files.sizes(files.repository(info.artifact_uri), target.call) if wanted.sizes else {}
    found += _unlike("artifact", wanted.sizes, listed)
    inputs = there.inputs.dataset_inputs if there.inputs else []
    if sorted(map(_dataset, run.datasets)) != sorted(map(_dataset, inputs or [])):
        found.append("its datasets differ")
    if run.models_out:
        made = {one.model_id: one.step for one in there.outputs.model_outputs}
        if made != {wanted.ids.get(one, one): step for one, step in run.models_out.items()}:
            found.append("the logged models that it made differ")
    if run.models_in:
        used = {one.model_id for one in there.inputs.model_inputs or []}
        if used != {wanted.ids.get(one, one) for one in run.models_in}:
            found.append("the logged models that it used differ")
    return found


def _unlike(what: str, wanted: dict[str, Any], has: dict[str, Any]) -> list[str]:
    missing = [f"{what} {key!r} is missing there" for key in wanted if key not in has]
    more = [f"{what} {key!r} is there alone" for key in has if key not in wanted]
    other = [f"{what} {key!r} differs" for key in wanted if key in has and wanted[key] != has[key]]
    found = missing + more + other
    rest = len(found) - _NAMED
    return [*found[:_NAMED], f"and {rest} more of this kind"] if rest > 0 else found
