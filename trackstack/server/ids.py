"""Runs and logged models take the id that their client chose, said in the tag ``trackstack.id``.

A relay journals a run before the server has heard of it, and sends a create again whose answer was
lost. With ids of the server's own choice the first needs a mapping kept for ever, the second leaves
a stray run. Here the id is the database's primary key: however often and from how many sides a
create arrives, there is one run, and everybody gets it as the answer. A create without the tag is
MLflow's own, statement by statement.

Not an entry point of the group ``mlflow.tracking_store``: the image holds this package as a folder
without metadata, and in a data scientist's environment, which has the metadata, it would replace
the store of whatever MLflow is installed there. So the server's own application registers it.
"""

import os
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from mlflow.entities import LoggedModel, Run, RunData, RunInputs
from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_ALREADY_EXISTS
from mlflow.server import handlers
from mlflow.server.constants import READ_REPLICA_BACKEND_STORE_URI_ENV_VAR
from mlflow.store.db.db_types import DATABASE_ENGINES
from mlflow.store.tracking.dbmodels.models import SqlLoggedModel, SqlRun
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.store.tracking.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError

from trackstack.core.relay import ID_TAG, is_model_id, is_run_id

_CHOSEN: ContextVar[str | None] = ContextVar("chosen", default=None)
"""The id for the row that this thread is about to make."""


def take_ids() -> None:
    """Let this process's server use the store below; before its first request."""
    if handlers._tracking_store is not None:  # noqa: SLF001 - pinned version, held by a test
        raise RuntimeError("MLflow has opened its store already.")
    for scheme in DATABASE_ENGINES:
        handlers._tracking_store_registry.register(scheme, _open)  # noqa: SLF001 - the same


class _TakesIds:
    """What is added to MLflow's store, which the classes below inherit from."""

    ManagedSessionMaker: Callable[..., Any]

    def create_run(
        self, experiment_id: str, user_id: str, start_time: int, tags: Any, run_name: str
    ) -> Run:
        """Create a run, or answer with the one that this very create made before."""
        create = super().create_run  # type: ignore[misc]
        chosen = _chosen(tags, is_run_id, "run", "32 lowercase hexadecimal digits")
        if chosen is None:
            return create(experiment_id, user_id, start_time, tags, run_name)
        try:
            with _choosing(chosen):
                return create(experiment_id, user_id, start_time, tags, run_name)
        except MlflowException as error:
            with self._holder(error, SqlRun, chosen) as row:
                tags = [tag.to_mlflow_entity() for tag in row.tags]
                made = {tag.key: tag.value for tag in tags}
                if not (
                    str(row.experiment_id) == experiment_id
                    and (row.start_time or 0) == (start_time or 0)
                    and made.get(ID_TAG) == chosen
                ):
                    raise _taken("run", chosen) from None
                # As a create answers: what was logged since is asked for with other rights.
                info = row.to_mlflow_entity().info
                return Run(info, RunData(tags=tags), RunInputs(dataset_inputs=[]))

    def create_logged_model(  # noqa: PLR0917 - MLflow's own signature
        self,
        experiment_id: str,
        name: str | None = None,
        source_run_id: str | None = None,
        tags: Any = None,
        params: Any = None,
        model_type: str | None = None,
    ) -> LoggedModel:
        """Create a logged model, or answer with the one that this very create made before."""
        create = super().create_logged_model  # type: ignore[misc]
        chosen = _chosen(tags, is_model_id, "model", "m- and 32 lowercase hexadecimal digits")
        if chosen is None:
            return create(experiment_id, name, source_run_id, tags, params, model_type)
        try:
            with _choosing(chosen):
                return create(experiment_id, name, source_run_id, tags, params, model_type)
        except MlflowException as error:
            with self._holder(error, SqlLoggedModel, chosen) as row:
                made = {tag.tag_key: tag.tag_value for tag in row.tags}
                if not (
                    str(row.experiment_id) == experiment_id
                    and (row.source_run_id or None) == (source_run_id or None)
                    and made.get(ID_TAG) == chosen
                ):
                    raise _taken("model", chosen) from None
                model = row.to_mlflow_entity()
                model.metrics = None  # as a create answers
                return model

    @contextmanager
    def _holder(self, error: MlflowException, kind: Any, chosen: str) -> Iterator[Any]:
        """The row that has the id; the error, if that isn't what it is about.

        In every experiment and workspace: a primary key knows no borders.
        """
        if not isinstance(error.__cause__, IntegrityError):
            raise error
        with self.ManagedSessionMaker(read_only=False) as session:  # not from a replica
            row = session.get(kind, chosen)
            if row is None:
                raise error
            yield row


class _Store(_TakesIds, SqlAlchemyStore):  # type: ignore[misc]
    pass


class _WorkspaceStore(_TakesIds, WorkspaceAwareSqlAlchemyStore):  # type: ignore[misc]
    pass


def _open(store_uri: str, artifact_uri: str) -> _TakesIds:
    """What MLflow's registry does for a database, with our classes."""
    kind = _WorkspaceStore if MLFLOW_ENABLE_WORKSPACES.get() else _Store
    replica = os.environ.get(READ_REPLICA_BACKEND_STORE_URI_ENV_VAR)
    store: _TakesIds = kind(store_uri, artifact_uri, read_db_uri=replica)
    return store


def _chosen(
    tags: Iterable[Any] | None, is_id: Callable[[str], bool], noun: str, form: str
) -> str | None:
    """The id that the client chose, if it did."""
    for tag in tags or ():
        if tag.key == ID_TAG:
            if not is_id(tag.value):
                raise MlflowException(
                    f"The tag {ID_TAG} is reserved for the id of the {noun}, {form}; it is"
                    f" {tag.value[:80]!r}.",
                    INVALID_PARAMETER_VALUE,
                )
            return str(tag.value)
    return None


def _taken(noun: str, chosen: str) -> MlflowException:
    # Nothing about who holds it: the client may not be allowed to know.
    return MlflowException(
        f"The {noun} id {chosen} is taken, and not by this request: choose another in the tag"
        f" {ID_TAG}, or leave the tag out.",
        RESOURCE_ALREADY_EXISTS,
    )


@contextmanager
def _choosing(chosen: str) -> Iterator[None]:
    token = _CHOSEN.set(chosen)
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def _renaming(key: str, location: str) -> Callable[..., None]:
    """A listener that gives a new row the chosen id, also in the address of its artifacts."""

    def rename(target: object, args: object, values: MutableMapping[str, Any]) -> None:
        del target, args
        chosen = _CHOSEN.get()
        if chosen is not None:
            values[location] = values[location].replace(values[key], chosen)
            values[key] = chosen

    return rename


event.listen(SqlRun, "init", _renaming("run_uuid", "artifact_uri"))
event.listen(SqlLoggedModel, "init", _renaming("model_id", "artifact_location"))
