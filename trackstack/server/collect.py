"""The scheduled task that removes what was deleted long ago: runs, models, experiments, artifacts.

MLflow's delete only marks, and its ``mlflow gc`` removes for good; this is that command, item by
item, so that one artifact that can't be reached doesn't keep all the others. Two things differ.
``mlflow-artifacts:`` addresses lead straight to the store behind the server, so the task needs no
server and no client's credentials. And what is not removed within the hour waits for the next day.

It may run twice at once or end half-way: an item is removed after its artifacts, and what is gone
already is no error.
"""

import io
import os
import posixpath
import time
from collections.abc import Callable, Iterable
from contextlib import closing, redirect_stdout
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import psycopg2

from trackstack.core import server_environment as names
from trackstack.server.credentials import keep_logged_in
from trackstack.server.environment import Database, Reader
from trackstack.server.problem import FAILED, UNKNOWN_SCHEMA, Refusal
from trackstack.server.revisions import current_revision, installed_revisions
from trackstack.server.serve import store_uri

BUDGET_SECONDS = 3600.0
_DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True)
class _Settings:
    """What the environment asks of a collection."""

    database: Database
    destination: str
    days: int


@dataclass
class _Outcome:
    """What was removed, and what was not."""

    removed: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    left: int = 0

    def sentence(self, days: int) -> str:
        """All of it in one."""
        *some, last = [f"{n} {kind}{'' if n == 1 else 's'}" for kind, n in self.removed.items()]
        said = f"Removed {', '.join(some)} and {last} deleted {days} days ago or earlier"
        if self.failures:
            count, first = len(self.failures), self.failures[0]
            said += f"; {count} could not be removed, the first because of {first}"
        if self.left:
            said += f"; {self.left} are left for the next time"
        return f"{said}."


def collect() -> int:
    """Remove what was deleted long enough ago; return the exit code."""
    settings = _read_environment()
    _refuse_another_schema(settings.database)
    os.environ["PGAPPNAME"] = "trackstack collect"
    outcome = _collect(settings, time.monotonic() + BUDGET_SECONDS)
    print(outcome.sentence(settings.days), flush=True)
    return FAILED if outcome.failures else 0


def _read_environment() -> _Settings:
    reader = Reader()
    destination = reader.text("MLFLOW_ARTIFACTS_DESTINATION")
    days = reader.number(names.DELETED_RUNS_DAYS)
    database = reader.database()
    login = reader.login()
    reader.close("collect")
    keep_logged_in(database, login)
    return _Settings(database, destination, days)


def _refuse_another_schema(database: Database) -> None:
    """MLflow's store would bring an older schema up to date without asking; migrate asks."""
    head = installed_revisions().head
    try:
        with (
            closing(
                psycopg2.connect(
                    host=database.host,
                    port=database.port,
                    dbname=database.name,
                    user=database.user,
                    application_name="trackstack collect",
                    connect_timeout=10,
                )
            ) as connection,
            connection.cursor() as cursor,
        ):
            found = current_revision(cursor)
    except psycopg2.Error as error:
        said = str(error).strip().splitlines()[0].rstrip(".")
        raise Refusal(f"The database can't be asked for what was deleted: {said}.") from error
    if found != head:
        raise Refusal(
            f"The database's schema is at revision {found or 'none'} and this image needs {head}:"
            " nothing was removed, the migration of the tracking tasks comes first.",
            UNKNOWN_SCHEMA,
        )


def _collect(settings: _Settings, deadline: float) -> _Outcome:
    # MLflow is 245 MB: imported once all that may refuse has spoken.
    from mlflow.cli import _gc_tracking_resources  # noqa: PLC0415
    from mlflow.entities import ViewType  # noqa: PLC0415
    from mlflow.store.artifact import artifact_repository_registry as registry  # noqa: PLC0415
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # noqa: PLC0415

    def behind_the_server(uri: str, *_: Any, **__: Any) -> Any:
        return registry.get_artifact_repository(artifact_place(settings.destination, uri))

    registry._artifact_repository_registry.register(  # noqa: SLF001 - pinned version, held by a test
        "mlflow-artifacts", behind_the_server
    )
    store = SqlAlchemyStore(store_uri(settings.database), "mlflow-artifacts:/")
    age = settings.days * _DAY_MS
    before = round(time.time() * 1000) - age
    outcome = _Outcome()

    def remove(**what: Any) -> None:
        chosen = {"run_ids": [], "experiment_ids": None, "logged_model_ids": [], **what}
        with redirect_stdout(io.StringIO()):  # a line for each item
            _gc_tracking_resources(
                backend_store=store,
                older_than=f"{settings.days}d",
                time_delta=age,
                skip_experiments=not chosen["experiment_ids"],
                skip_logged_models=not chosen["logged_model_ids"],
                ignore_not_found=True,
                **chosen,
            )

    def remove_experiment(experiment_id: str) -> None:
        place = store.get_experiment(experiment_id).artifact_location
        remove(experiment_ids=[experiment_id])
        if urlsplit(place).path == f"/{experiment_id}":  # its own: traces lie there, too
            registry.get_artifact_repository(place).delete_artifacts()

    def experiments() -> list[str]:
        found, token = [], None
        while True:
            page = store.search_experiments(
                view_type=ViewType.DELETED_ONLY,
                filter_string=f"last_update_time < {before}",
                page_token=token,
            )
            found += [one.experiment_id for one in page]
            token = page.token
            if not token:
                return found

    runs = store._get_deleted_runs(older_than=age)  # noqa: SLF001 - what `mlflow gc` asks
    models = store._get_deleted_logged_models(older_than=age)  # noqa: SLF001
    each = _Each(outcome, deadline)
    each.do("run", runs, lambda one: remove(run_ids=[one]))
    each.do("model", models, lambda one: remove(logged_model_ids=[one]))
    each.do("experiment", experiments(), remove_experiment)
    return outcome


@dataclass(frozen=True)
class _Each:
    """Does one thing after the other until the time is over; a failure stops only its own."""

    outcome: _Outcome
    deadline: float

    def do(self, kind: str, items: Iterable[str], remove: Callable[[str], None]) -> None:
        self.outcome.removed[kind] = 0
        for item in items:
            if time.monotonic() > self.deadline:
                self.outcome.left += 1
                continue
            try:
                remove(item)
            except Exception as error:  # noqa: BLE001 - any: the next item may well go
                said = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
                self.outcome.failures.append(f"{kind} {item}: {said}")
            else:
                self.outcome.removed[kind] += 1


def artifact_place(destination: str, uri: str) -> str:
    """Where an ``mlflow-artifacts:`` address leads without the server: below the destination."""
    below = posixpath.normpath("/" + urlsplit(uri).path.lstrip("/")).lstrip("/")
    return f"{destination.rstrip('/')}/{below}" if below else destination
