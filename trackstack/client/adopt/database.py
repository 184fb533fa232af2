"""A stray ``mlflow.db``: SQLite, read from a copy that MLflow's own migration brings up to date.

The copy is taken by SQLite's own backup, which waits for writers and sees what lies in a journal.
The file itself is opened read-only: nobody's older MLflow finds a schema that it doesn't know.
"""

import contextlib
import logging
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from trackstack.client.adopt import registry_reader
from trackstack.client.adopt.errors import UsageError
from trackstack.client.adopt.files import local_folder
from trackstack.client.adopt.filestore import prune
from trackstack.client.adopt.records import (
    Experiment,
    Model,
    ModelPoint,
    Point,
    Registered,
    Run,
    Source,
)
from trackstack.client.errors import ClientError
from trackstack.client.filesystems import network_file_system

_WAL = b"\2"  # byte 18 of a file whose writers keep a journal ahead of it
_TABLES = {
    "trace_info": "traces",
    "evaluation_datasets": "evaluation datasets",
    "scorers": "scorers",
    "webhooks": "webhooks",
    "issues": "issues",
    "label_schemas": "label schemas",
}
"""What adopt doesn't move; a table that this MLflow doesn't have is no matter."""
_MOVED = frozenset((
    *("experiments", "experiment_tags", "runs", "params", "tags", "metrics", "latest_metrics"),
    *("datasets", "inputs", "input_tags", "logged_models", "logged_model_metrics"),
    *("logged_model_params", "logged_model_tags", "registered_models", "registered_model_tags"),
    *("registered_model_aliases", "model_versions", "model_version_tags"),
))  # fmt: skip
_NOTHING_OF_ITS_OWN = frozenset((
    *("alembic_version", "sqlite_sequence", "workspaces", "job_locks", "scheduler_leases"),
    *("trace_tags", "trace_request_metadata", "trace_metrics", "spans", "span_metrics"),
    *("assessments", "sql_assessment_daily_rollups", "sql_span_cost_daily_rollups"),
    *("sql_trace_metric_daily_rollups", "sql_trace_rollup_rebuild_queue", "entity_associations"),
    *("evaluation_dataset_records", "evaluation_dataset_tags", "scorer_versions"),
    *("webhook_events",),
))  # fmt: skip
"""MLflow's bookkeeping, and parts of what stands above."""


class DatabaseSource(Source):
    """One SQLite file, and the folders of artifacts that it names."""

    kind = "SQLite"

    def __init__(self, path: Path, scratch: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._copy = scratch / "copy.db"
        room = shutil.disk_usage(scratch).free
        if path.stat().st_size * 2 > room:
            raise UsageError(
                f"A copy of {path} is read, and {scratch.parent} has no room for it: set TMPDIR to"
                " a folder that has."
            )
        _take(path, self._copy)
        self._uri = f"sqlite:///{self._copy}"
        self._store = self._upgraded(scratch)

    def _upgraded(self, scratch: Path) -> Any:
        try:
            from alembic.util import CommandError  # noqa: PLC0415
            from mlflow.exceptions import MlflowException  # noqa: PLC0415
            from mlflow.store.db import utils  # noqa: PLC0415
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # noqa: PLC0415
        except ImportError as error:  # 2.16 and 3.5 beside SQLAlchemy 2.1
            raise ClientError(
                f"{self.path} is a database, and the MLflow installed here can't read one"
                f" ({error}): pip install 'sqlalchemy<2.1' 'trackstack[mlflow]'"
            ) from None
        for name in ("alembic", "mlflow.store"):
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            engine = utils.create_sqlalchemy_engine(self._uri)
            utils._upgrade_db(engine)  # noqa: SLF001 - `mlflow db upgrade` is this
            engine.dispose()
            return SqlAlchemyStore(self._uri, str(scratch / "artifacts"))
        except (CommandError, MlflowException) as error:
            raise UsageError(
                f"{self.path} can't be read by the installed MLflow, maybe because a newer one"
                f" wrote it: {str(error).splitlines()[0]}"
            ) from None

    @property
    def _database(self) -> sqlite3.Connection:
        """A connection of this thread to the copy."""
        if not hasattr(self._local, "connection"):
            opened = sqlite3.connect(self._copy, check_same_thread=False)
            self._local.connection = opened
            self._opened.append(opened)
        connection: sqlite3.Connection = self._local.connection
        return connection

    def _rows(self, statement: str, *values: object) -> sqlite3.Cursor:
        return self._database.execute(statement, values)

    def _folder(self, uri: str, *last: str) -> str:
        parts = urlsplit(uri)
        beside = self.path.parent
        proxied = [beside / "mlartifacts" / parts.path.lstrip("/")]
        moved = [beside / "mlruns" / Path(*last)]
        return local_folder(uri, *(proxied if parts.scheme == "mlflow-artifacts" else moved))

    def experiments(self) -> list[Experiment]:
        """All of them, deleted ones too."""
        tags: dict[str, dict[str, str]] = {}
        for number, key, value in self._rows(
            "SELECT experiment_id, key, value FROM experiment_tags"
        ):
            tags.setdefault(str(number), {})[key] = value or ""
        rows = self._rows("SELECT experiment_id, name, lifecycle_stage FROM experiments ORDER BY 1")
        return [
            Experiment(str(number), name, tags.get(str(number), {}), stage == "deleted")
            for number, name, stage in rows
        ]

    def run_ids(self, experiment: Experiment) -> Iterator[str]:
        """Every run of an experiment, deleted ones too."""
        rows = self._rows(
            "SELECT run_uuid FROM runs WHERE experiment_id = ? ORDER BY start_time, run_uuid",
            int(experiment.id),
        )
        return (str(row[0]) for row in rows)

    def run(self, run_id: str) -> Run | None:
        """One run; None when the store has no such run."""
        if not list(self._rows("SELECT 1 FROM runs WHERE run_uuid = ?", run_id)):
            return None
        found = self._store.get_run(run_id)
        info, inputs, outputs = found.info, found.inputs, getattr(found, "outputs", None)
        return Run(
            id=run_id,
            experiment_id=str(info.experiment_id),
            name=info.run_name or found.data.tags.get("mlflow.runName", ""),
            user=info.user_id or "",
            status=info.status,
            start=info.start_time,
            end=info.end_time,
            deleted=info.lifecycle_stage == "deleted",
            params=dict(found.data.params),
            tags={key: value or "" for key, value in found.data.tags.items()},
            artifacts=self._folder(
                info.artifact_uri or "", str(info.experiment_id), run_id, "artifacts"
            ),
            datasets=list(inputs.dataset_inputs or []) if inputs else [],
            models_in=[one.model_id for one in getattr(inputs, "model_inputs", None) or []],
            models_out={one.model_id: one.step for one in outputs.model_outputs} if outputs else {},
        )

    def metric_keys(self, run: Run) -> list[str]:
        """Names of a run's metrics."""
        rows = self._rows("SELECT DISTINCT key FROM metrics WHERE run_uuid = ? ORDER BY 1", run.id)
        return [str(row[0]) for row in rows]

    def points(self, run: Run, key: str) -> Iterator[Point]:
        """Every value of a metric, in any order, maybe the same one twice."""
        rows = self._rows(
            "SELECT step, timestamp, value, is_nan FROM metrics WHERE run_uuid = ? AND key = ?",
            run.id,
            key,
        )
        return (
            Point(step, timestamp, float("nan") if nan else float(value))
            for step, timestamp, value, nan in rows
        )

    def _has(self, table: str) -> bool:
        return bool(list(self._rows("SELECT 1 FROM sqlite_master WHERE name = ?", table)))

    def model_ids(self, experiment: Experiment) -> Iterator[str]:
        """Every logged model of an experiment that isn't deleted."""
        if not self._has("logged_models"):
            return iter(())
        rows = self._rows(
            "SELECT model_id FROM logged_models WHERE experiment_id = ?"
            " AND lifecycle_stage != 'deleted' ORDER BY creation_timestamp_ms",
            int(experiment.id),
        )
        return (str(row[0]) for row in rows)

    def model(self, model_id: str) -> Model | None:
        """One logged model; None when the store has no such model, or deleted it."""
        known = "SELECT 1 FROM logged_models WHERE model_id = ? AND lifecycle_stage != 'deleted'"
        if not self._has("logged_models") or not list(self._rows(known, model_id)):
            return None
        found = self._store.get_logged_model(model_id)
        return Model(
            id=model_id,
            experiment_id=str(found.experiment_id),
            run_id=found.source_run_id or "",
            name=found.name,
            kind=found.model_type or "",
            status=registry_reader.model_status(found.status),
            params=dict(found.params or {}),
            tags=dict(found.tags or {}),
            artifacts=self._folder(
                found.artifact_location, str(found.experiment_id), "models", model_id, "artifacts"
            ),
        )

    def model_points(self, model: Model) -> Iterator[ModelPoint]:
        """The values of metrics that were logged for a model."""
        rows = self._rows(
            "SELECT run_id, metric_name, metric_step, metric_timestamp_ms, metric_value,"
            " dataset_name, dataset_digest FROM logged_model_metrics WHERE model_id = ?",
            model.id,
        )
        for run_id, key, step, timestamp, value, dataset, digest in rows:
            yield ModelPoint(run_id, key, Point(step, timestamp, float(value)), dataset, digest)

    def registered(self) -> Iterator[Registered]:
        """Registered models and prompts."""
        if list(self._rows("SELECT 1 FROM registered_models LIMIT 1")):
            yield from registry_reader.registered(registry_reader.of_database(self._uri))

    def left(self) -> list[str]:
        """What the store holds and adopt doesn't move, in words."""
        told = []
        for table, noun in _TABLES.items():
            if self._has(table):
                (count,) = self._rows(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
                told += [f"{count} {noun}"] if count else []
        # Whatever else there is, also of tomorrow's MLflow, keeps a store from being removed.
        tables = {row[0] for row in self._rows("SELECT name FROM sqlite_master WHERE type='table'")}
        for table in sorted(tables - _MOVED - _NOTHING_OF_ITS_OWN - set(_TABLES)):
            (count,) = self._rows(f'SELECT count(*) FROM "{table}"').fetchone()  # noqa: S608
            told += [f"{count} rows of {table}"] if count else []
        if self._has("logged_models"):
            (count,) = self._rows(
                "SELECT count(*) FROM logged_models WHERE lifecycle_stage = 'deleted'"
            ).fetchone()
            told += [f"{count} deleted logged models"] if count else []
        proxied = "SELECT 1 FROM runs WHERE artifact_uri LIKE 'mlflow-artifacts:%' LIMIT 1"
        folder = self.path.parent / "mlartifacts"
        if list(self._rows(proxied)) and not folder.is_dir():
            told.append(f"artifacts that a server kept, as {folder} isn't there")
        return told

    def state(self) -> object:
        """Something that differs once anybody has written into the store."""
        told = []
        for one in self._files():
            found = one.stat()
            told.append((one.name, found.st_size, found.st_mtime_ns))
        return told

    def _files(self) -> list[Path]:
        names = [self.path.with_name(self.path.name + end) for end in ("", "-wal", "-journal")]
        return [one for one in names if one.exists()]

    def remove(self) -> list[str]:
        """Delete what was moved; what is left of the path, because adopt knows nothing of it."""
        places = []
        for experiment in self.experiments():
            for run_id in self.run_ids(experiment):
                run = self.run(run_id)
                places.append(run.artifacts if run else "")
            for model_id in self.model_ids(experiment):
                model = self.model(model_id)
                places.append(model.artifacts if model else "")
        self.close()
        for one in (*self._files(), self.path.with_name(self.path.name + "-shm")):
            one.unlink(missing_ok=True)
        left = []
        for place in places:
            # What lies elsewhere may be another store's, of which this one is a copy.
            if Path(place).is_relative_to(self.path.parent):
                shutil.rmtree(place)
                for parent in list(Path(place).parents)[:3]:
                    with contextlib.suppress(OSError):  # its run's, experiment's and root folder
                        parent.rmdir()
            elif place:
                left.append(place)
        prune(self.path.parent / "mlruns")
        return left

    def close(self) -> None:
        """Give back what reading needed."""
        for one in self._opened:
            one.close()
        self._opened.clear()
        self._local = threading.local()
        self._store.engine.dispose()


def _take(path: Path, copy: Path) -> None:
    """A copy as of one moment, without a trace beside the original."""
    beside = {end: path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal")}
    with path.open("rb") as file:
        ahead = file.read(20)[18:19] == _WAL
    # Somebody else's index is read; where there is none, SQLite would make one and leave it there.
    quiet = beside["-shm"].exists() or not beside["-wal"].exists()
    if quiet and not network_file_system(path):
        how = "immutable=1" if ahead and not beside["-wal"].exists() else "mode=ro"
        address = f"{path.as_uri()}?{how}"
        with (
            contextlib.suppress(sqlite3.OperationalError),
            contextlib.closing(sqlite3.connect(address, uri=True, timeout=60)) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
            return
    # A killed writer left a journal that only a writer may play back: the copy's reader will be.
    for end in ("", "-wal", "-journal"):
        one = path.with_name(path.name + end)
        if one.exists():
            shutil.copyfile(one, copy.with_name(copy.name + end))
