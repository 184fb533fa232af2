"""A file store (``mlruns/``), read by MLflow's own ``FileStore``, which must not write to it.

Its constructor makes a ``.trash`` folder, and refuses the job since MLflow 3.7 unless a variable
allows it: so it isn't called. Histories are read here, line by line: MLflow's reader holds a whole
file, and forgets the step of a value that was logged on a dataset.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trackstack.client.adopt import registry_reader
from trackstack.client.adopt.errors import UsageError
from trackstack.client.adopt.files import local_folder
from trackstack.client.adopt.records import (
    Experiment,
    Model,
    ModelPoint,
    Point,
    Registered,
    Run,
    Source,
)

_META = "meta.yaml"
_NOT_RUNS = {"tags", "datasets", "traces", "models"}
_SHORT = 2  # fields of a line from before metrics had steps


class FileSource(Source):
    """A folder of experiments."""

    kind = "file store"

    def __init__(self, path: Path, scratch: Path) -> None:
        self.path = path
        self._store = _reader(path, scratch)
        self._experiments = {
            one.name: one
            for folder in (path, path / ".trash")
            for one in _entries(folder)
            if one.name.isdigit()
        }
        self._runs = {
            one.name: one
            for experiment in self._experiments.values()
            for one in _entries(experiment)
            if one.name not in _NOT_RUNS
        }
        self._models = {
            one.name: one
            for experiment in self._experiments.values()
            for one in _entries(experiment / "models")
        }
        if self._models and not hasattr(self._store, "get_logged_model"):
            raise UsageError(
                f"{path} was written by MLflow 3, which the installed one can't read:"
                " pip install -U 'trackstack[mlflow]'."
            )

    def experiments(self) -> list[Experiment]:
        """All of them, deleted ones too."""
        found = []
        for number in self._experiments:
            one = self._store.get_experiment(number)
            found.append(
                Experiment(number, one.name, dict(one.tags or {}), one.lifecycle_stage == "deleted")
            )
        return found

    def run_ids(self, experiment: Experiment) -> Iterator[str]:
        """Every run of an experiment, deleted ones too."""
        folder = self._experiments[experiment.id]
        return (run_id for run_id, one in self._runs.items() if one.parent == folder)

    def run(self, run_id: str) -> Run | None:
        """One run; None when the store has no such run."""
        folder = self._runs.get(run_id)
        if folder is None:
            return None
        store = self._store
        info = store._get_run_info_from_dir(str(folder))  # noqa: SLF001 - get_run reads all metrics
        tags = {tag.key: tag.value for tag in store._get_all_tags(info)}  # noqa: SLF001
        inputs = store._get_all_inputs(info)  # noqa: SLF001
        outputs = store._get_all_outputs(info) if self._models else None  # noqa: SLF001
        return Run(
            id=run_id,
            experiment_id=folder.parent.name,
            name=info.run_name or tags.get("mlflow.runName", ""),
            user=info.user_id or "",
            status=info.status,
            start=info.start_time,
            end=info.end_time,
            deleted=info.lifecycle_stage == "deleted",
            params={one.key: one.value for one in store._get_all_params(info)},  # noqa: SLF001
            tags=tags,
            artifacts=local_folder(info.artifact_uri, folder / "artifacts"),
            datasets=list(inputs.dataset_inputs or []),
            models_in=[one.model_id for one in getattr(inputs, "model_inputs", None) or []],
            models_out={one.model_id: one.step for one in outputs.model_outputs} if outputs else {},
        )

    def metric_keys(self, run: Run) -> list[str]:
        """Names of a run's metrics."""
        return _names(self._runs[run.id] / "metrics")

    def points(self, run: Run, key: str) -> Iterator[Point]:
        """Every value of a metric, in any order, maybe the same one twice."""
        with (self._runs[run.id] / "metrics" / key).open(encoding="utf-8") as lines:
            for line in lines:
                parts = line.split()
                if parts:
                    yield _point(parts)

    def model_ids(self, experiment: Experiment) -> Iterator[str]:
        """Every logged model of an experiment that isn't deleted."""
        folder = self._experiments[experiment.id] / "models"
        return (name for name, one in self._models.items() if one.parent == folder)

    def model(self, model_id: str) -> Model | None:
        """One logged model; None when the store has no such model, or deleted it."""
        folder = self._models.get(model_id)
        if folder is None:
            return None
        meta = self._store._read_yaml(str(folder), _META)  # noqa: SLF001 - get_… reads its metrics
        if meta.get("lifecycle_stage") == "deleted":
            return None
        params = self._store._get_all_model_params(str(folder))  # noqa: SLF001
        tags = self._store._get_all_model_tags(str(folder))  # noqa: SLF001
        return Model(
            id=model_id,
            experiment_id=folder.parent.parent.name,
            run_id=meta.get("source_run_id") or "",
            name=meta["name"],
            kind=meta.get("model_type") or "",
            status=registry_reader.model_status(meta["status"]),
            params={one.key: one.value for one in params},
            tags={one.key: one.value for one in tags},
            artifacts=local_folder(str(meta["artifact_location"]), folder / "artifacts"),
        )

    def model_points(self, model: Model) -> Iterator[ModelPoint]:
        """The values of metrics that were logged for a model."""
        folder = self._models[model.id] / "metrics"
        for key in _names(folder):
            with (folder / key).open(encoding="utf-8") as lines:
                for line in lines:
                    stamp, value, step, run_id, *on = line.split()
                    yield ModelPoint(
                        run_id,
                        key,
                        Point(int(step), int(stamp), float(value)),
                        " ".join(on[:-1]) or None,
                        on[-1] if on else None,
                    )

    def registered(self) -> Iterator[Registered]:
        """Registered models and prompts."""
        if any(_folders(self.path / "models")):
            yield from registry_reader.registered(registry_reader.of_files(self.path))

    def left(self) -> list[str]:
        """What the store holds and adopt doesn't move, in words."""
        traces = sum(1 for one in self._experiments.values() for _ in _folders(one / "traces"))
        deleted = sum(self.model(model_id) is None for model_id in self._models)
        told = {f"{traces} traces": traces, f"{deleted} deleted logged models": deleted}
        return [text for text, count in told.items() if count]

    def state(self) -> object:
        """Something that differs once anybody has written into the store."""
        count, newest, size = 0, 0, 0
        for folder, _, names in os.walk(self.path):
            for name in names:
                told = os.lstat(os.path.join(folder, name))  # noqa: PTH118 - hot
                count, size = count + 1, size + told.st_size
                newest = max(newest, told.st_mtime_ns)
        return count, newest, size

    def remove(self) -> list[str]:
        """Delete what was moved; what is left of the path, because adopt knows nothing of it."""
        found = [self.run(run_id) for run_id in self._runs]
        places = {one.artifacts for one in found if one and one.artifacts}
        for folder in (*self._runs.values(), *self._models.values()):
            shutil.rmtree(folder)
        for experiment in self._experiments.values():
            for name in ("tags", "datasets"):
                shutil.rmtree(experiment / name, ignore_errors=True)
            (experiment / _META).unlink()
            prune(experiment)
        for one in _entries(self.path / "models"):
            shutil.rmtree(one)
        prune(self.path)
        rest = [str(self.path)] if self.path.exists() else []
        return rest + sorted(one for one in places if not one.startswith(f"{self.path}{os.sep}"))

    def close(self) -> None:
        """Nothing is open."""


def prune(folder: Path) -> None:
    """Remove a folder and those below it as far as they are empty."""
    for one in sorted(folder.rglob("*"), reverse=True) if folder.is_dir() else ():
        if one.is_dir() and not one.is_symlink():
            with contextlib.suppress(OSError):
                one.rmdir()
    with contextlib.suppress(OSError):
        folder.rmdir()


def _point(parts: list[str]) -> Point:
    """Time, value, step; then maybe the name of a dataset, in which blanks may be, and a digest."""
    step = int(parts[2]) if len(parts) > _SHORT else 0
    return Point(step, int(parts[0]), float(parts[1]))


def _folders(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        yield from sorted(one for one in folder.iterdir() if one.is_dir())


def _entries(folder: Path) -> Iterator[Path]:
    return (one for one in _folders(folder) if (one / _META).is_file())


def _names(folder: Path) -> list[str]:
    """Names below a folder; MLflow keeps a slash in a metric's name as a folder."""
    return sorted(one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file())


def _reader(path: Path, scratch: Path) -> Any:
    from mlflow.store.tracking.file_store import FileStore  # noqa: PLC0415

    class Reader(FileStore):  # type: ignore[misc]
        def __init__(self) -> None:
            super(FileStore, self).__init__()
            self.root_directory = str(path)
            self.artifact_root_uri = path.as_uri()
            trash = path / ".trash"
            self.trash_folder = str(trash if trash.is_dir() else scratch)

    return Reader()
