"""The server to adopt into, by MLflow's own client; what is asked of it can be asked again.

MLflow's client tries a failed call again for minutes, and a create whose answer was lost makes a
second run. So it is told not to: a call is tried again here, and before a create is, the server is
asked whether it did the first one.
"""

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from trackstack.client.adopt.errors import AwayError, UsageError
from trackstack.client.adopt.records import Experiment, Model, Run, Source
from trackstack.client.errors import ClientError
from trackstack.core.relay import ID_TAG, is_model_id, is_run_id

URI = "MLFLOW_TRACKING_URI"
FROM_TAG = "trackstack.adopted_from"
"""Machine and path of the store that a run was moved from."""
SOURCE_TAG = "trackstack.adopted_run"
"""Id that a run (or logged model) had there: ids are unique in the world, so a store that was moved
or copied isn't moved twice."""
DONE_TAG = "trackstack.adopted"
"""Set once all of a run was compared: a digest of what the store held then."""
OURS = {ID_TAG, FROM_TAG, SOURCE_TAG, DONE_TAG}

_PAUSES = (0.5, 1, 2, 4)
_AGAIN = {408, 429, 500, 502, 503, 504}
_DENIED = {401, 403}
_FAILED = re.compile(r"failed with (exception|timeout|error code (\d{3}))")
_PARENT = "mlflow.parentRunId"
_PAGE = 200
_HISTORY_PAGE = 10_000


@dataclass
class Known:
    """A run that the server has from this store, or from a copy of it."""

    id: str
    experiment_id: str
    digest: str = ""
    deleted: bool = False


class Target:
    """One server, and what it has of what is to be moved."""

    def __init__(self, uri: str, origin: str) -> None:
        import mlflow  # noqa: PLC0415 - only adopt needs it

        self.uri, self._origin, self.entities = uri, origin, mlflow.entities
        self.client = mlflow.MlflowClient(uri, uri)
        self.store = self.client._tracking_client.store  # noqa: SLF001 - keeps users and times
        self.stopped = threading.Event()
        self._why = "Stopped."
        self._creating = threading.RLock()
        self.runs: dict[str, Known] = {}
        self.models: dict[str, Known] = {}
        self.experiments: dict[str, str] = {}
        """Experiment of the source: experiment here."""

    # --- calls ----------------------------------------------------------------------------------

    def call(self, function: Callable[..., Any], *values: Any, **named: Any) -> Any:
        """Ask something that may be asked twice.

        Raises:
            AwayError: the server doesn't answer, or says no to whoever asks.
            mlflow.exceptions.MlflowException: it says no to this very request.
        """
        return self.create(lambda: None, lambda: function(*values, **named))

    def create(self, find: Callable[[], Any], make: Callable[[], Any]) -> Any:
        """Make something once, whatever becomes of the answers."""
        for pause in (*_PAUSES, None):
            if self.stopped.is_set():
                raise AwayError(self._why)
            try:
                return make()
            except Exception as error:
                again, reason = _judge(error)
                if not again:
                    raise
                if pause is None or reason.startswith("it says no"):
                    verb = "refuses this user" if pause else "does not answer"
                    self._why = (
                        f"{self.uri} {verb}: {reason}; what was moved stays, and to adopt again"
                        " goes on from there."
                    )
                    self.stopped.set()  # whoever else is at work says the same
                    raise AwayError(self._why) from None
            time.sleep(pause)
            with contextlib.suppress(AwayError):
                if (found := find()) is not None:
                    return found
        raise AssertionError

    def check(self) -> None:
        """Ask for one experiment: an address, a password or a database that is wrong shows here."""
        try:
            self.call(self.client.search_experiments, max_results=1)
        except self._refusals() as error:
            raise ClientError(f"{self.uri} says no: {_first(error)}.") from None

    @staticmethod
    def _refusals() -> tuple[type[Exception], ...]:
        from mlflow.exceptions import MlflowException  # noqa: PLC0415

        return (MlflowException,)

    # --- what is there --------------------------------------------------------------------------

    def learn(self) -> None:
        """Find every run and logged model that was adopted before, in all experiments."""
        view_all = self.entities.ViewType.ALL
        numbers = [
            one.experiment_id
            for one in self._pages(
                self.client.search_experiments, view_type=view_all, max_results=_PAGE
            )
        ]
        for start in range(0, len(numbers), _PAGE):
            some = numbers[start : start + _PAGE]
            for run in self._pages(
                self.client.search_runs,
                experiment_ids=some,
                filter_string=f"tags.`{SOURCE_TAG}` LIKE '%'",
                run_view_type=view_all,
                max_results=_PAGE,
            ):
                self._learn(run)
            if hasattr(self.client, "search_logged_models"):
                for model in self._models(some):
                    tags = dict(model.tags or {})
                    if SOURCE_TAG in tags:
                        self.models[tags[SOURCE_TAG]] = Known(
                            model.model_id, str(model.experiment_id), tags.get(DONE_TAG, "")
                        )

    def _models(self, numbers: list[str]) -> Iterator[Any]:
        try:
            yield from self._pages(
                self.client.search_logged_models, experiment_ids=numbers, max_results=50
            )
        except self._refusals():
            return  # a server older than logged models

    def _learn(self, run: Any) -> Known:
        tags = run.data.tags
        found = Known(
            run.info.run_id,
            str(run.info.experiment_id),
            tags.get(DONE_TAG, ""),
            run.info.lifecycle_stage == "deleted",
        )
        # Two only if an answer was lost and nobody looked: the one that is whole counts.
        before = self.runs.get(tags[SOURCE_TAG])
        if before is None or (found.digest and not before.digest):
            self.runs[tags[SOURCE_TAG]] = found
        return found

    def _pages(self, search: Callable[..., Any], **options: Any) -> Iterator[Any]:
        token = None
        while True:
            page = self.call(search, **options, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def has_run(self, run_id: str) -> bool:
        """Whether the server has a run of this id."""
        try:
            self.call(self.store.get_run, run_id)
        except self._refusals():
            return False
        return True

    def experiment(self, one: Experiment, prefix: str, *, whole: bool) -> None:
        """Find the experiment of that name here, or make it.

        Args:
            one: of the source.
            prefix: of its name here.
            whole: all of its runs are here already: one that was deleted for its sake stays so.

        Raises:
            UsageError: it is there, but deleted.
        """
        name = prefix + one.name
        found = self.call(self.client.get_experiment_by_name, name)
        if found is None:
            number = str(
                self.create(
                    lambda: getattr(
                        self.client.get_experiment_by_name(name), "experiment_id", None
                    ),
                    lambda: self.client.create_experiment(name, tags={FROM_TAG: self._origin}),
                )
            )
            found = self.call(self.client.get_experiment, number)
        ours = FROM_TAG in (found.tags or {})
        if found.lifecycle_stage == "deleted" and not (one.deleted and ours):
            raise UsageError(
                f"The server's experiment {name!r} is deleted and takes no runs: restore it there,"
                " or say --experiment-prefix."
            )
        if found.lifecycle_stage == "deleted" and not whole:
            self.call(self.client.restore_experiment, found.experiment_id)
        elif found.lifecycle_stage != "deleted":
            for key, value in one.tags.items():
                if key not in (found.tags or {}):
                    self.call(self.client.set_experiment_tag, found.experiment_id, key, value)
        self.experiments[one.id] = str(found.experiment_id)

    def delete_experiment(self, one: Experiment) -> None:
        """Delete here what is deleted there, if it was made here for its sake."""
        found = self.call(self.client.get_experiment, self.experiments[one.id])
        if found.lifecycle_stage != "deleted" and FROM_TAG in (found.tags or {}):
            self.call(self.client.delete_experiment, found.experiment_id)

    def delete_run(self, run_id: str) -> None:
        """Delete a run here; it can be restored."""
        self.call(self.client.delete_run, run_id)

    def registered_at(self, name: str) -> int:
        """When a registered model was made here; 0: never."""
        try:
            found = self.call(self.client.get_registered_model, name)
        except self._refusals():
            return 0
        return int(found.creation_timestamp or 0)

    # --- making ---------------------------------------------------------------------------------

    def ensure_run(self, run: Run, source: Source, chain: tuple[str, ...] = ()) -> Known:
        """The run here, made when it is absent, and its parents before it."""
        with self._creating:
            if run.id in self.runs:
                return self.runs[run.id]
            # The other tags follow in batches: these say at once whose the run is.
            first = {
                **self.parent(run, source, (*chain, run.id)),
                SOURCE_TAG: run.id,
                FROM_TAG: self._origin,
            }
            if is_run_id(run.id):
                first[ID_TAG] = run.id
            experiment = self.experiments[run.experiment_id]
            pairs = [self.entities.RunTag(key, value) for key, value in first.items()]

            def find() -> Any:
                found = self.client.search_runs(
                    [experiment], f"tags.`{SOURCE_TAG}` = '{run.id}'", max_results=1
                )
                return found[0] if found else None

            made = self.create(
                find,
                lambda: self.store.create_run(
                    experiment, run.user, run.start or 0, list(pairs), run.name
                ),
            )
            self.runs[run.id] = Known(made.info.run_id, experiment)
            return self.runs[run.id]

    def parent(self, run: Run, source: Source, chain: tuple[str, ...] = ()) -> dict[str, str]:
        """The tag that names a nested run's parent, as it is called here."""
        parent = run.tags.get(_PARENT, "")
        found = source.run(parent) if parent and parent not in chain else None
        if found is not None and found.experiment_id in self.experiments:
            parent = self.ensure_run(found, source, chain).id
        return {_PARENT: parent} if parent else {}

    def ensure_model(self, model: Model, source: Source) -> Known:
        """The logged model here, made when it is absent, and its run before it."""
        with self._creating:
            if model.id in self.models:
                return self.models[model.id]
            run = source.run(model.run_id) if model.run_id else None
            made_by = self.ensure_run(run, source).id if run else model.run_id or None
            experiment = self.experiments[model.experiment_id]
            own = {SOURCE_TAG: model.id, FROM_TAG: self._origin}
            if is_model_id(model.id):
                own[ID_TAG] = model.id
            tags = {**{k: v for k, v in model.tags.items() if k not in OURS}, **own}
            pairs = [self.entities.LoggedModelTag(key, value) for key, value in tags.items()]
            params = [
                self.entities.LoggedModelParameter(key, value)
                for key, value in model.params.items()
            ]

            def find() -> Any:
                query = f"tags.`{SOURCE_TAG}` = '{model.id}'"
                found = self.client.search_logged_models([experiment], query, max_results=1)
                return found[0] if found else None

            made = self.create(
                find,
                lambda: self.store.create_logged_model(
                    experiment, model.name, made_by, pairs, params[:100], model.kind or None
                ),
            )
            if params[100:]:
                self.call(self.store.log_logged_model_params, made.model_id, params[100:])
            self.models[model.id] = Known(made.model_id, experiment)
            return self.models[model.id]

    def history(self, run_id: str, key: str) -> Iterator[Any]:
        """Every value of a metric here, by pages."""
        token = None
        while True:
            page = self.call(
                self.store.get_metric_history, run_id, key, _HISTORY_PAGE, page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return


@contextlib.contextmanager
def no_retries() -> Iterator[None]:
    """MLflow's client of this process asks once; tried again is here."""
    name = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    before = os.environ.get(name)
    os.environ[name] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _judge(error: Exception) -> tuple[bool, str]:
    """Whether the server may answer another time (or to somebody else), and the reason."""
    import requests  # noqa: PLC0415 - MLflow brings it
    from mlflow.exceptions import MlflowException, RestException  # noqa: PLC0415

    again = _AGAIN
    if isinstance(error, RestException):  # its words: a 500 is about this very request
        status, again = error.get_http_status_code(), _AGAIN - {500}
    elif isinstance(error, requests.exceptions.RequestException):
        status = 503 if error.response is None else error.response.status_code
    elif isinstance(error, MlflowException):
        found = _FAILED.search(str(error))
        status = int(found[2] or 503) if found else 400
    else:
        return False, ""
    if status in _DENIED:
        return True, f"it says no ({status})"
    return status in again, _first(error)


def _first(error: Exception) -> str:
    """The innermost reason in few words."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    inner = re.findall(
        r"(?:Errno -?\d+\] |: )([A-Z][a-z]+ [a-z ]+(?:refused|timed out|reset[^')]*))", text
    )
    if "NameResolutionError" in text or "Failed to resolve" in text:
        return "its name is not known"
    return inner[-1] if inner else text[:200].rstrip(".")
