"""What a store holds, in plain values, and what every kind of store can be asked.

Whatever may be large (the points of a metric, the runs of an experiment) is an iterator; a run's
params and tags are small enough to be held, for as many runs as are copied at a time.
"""

import abc
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple


class Point(NamedTuple):
    """One value of a metric."""

    step: int
    timestamp: int
    value: float


class ModelPoint(NamedTuple):
    """One value of a run's metric that was logged for a model, maybe on a dataset."""

    run_id: str
    key: str
    point: Point
    dataset_name: str | None
    dataset_digest: str | None


@dataclass(frozen=True)
class Experiment:
    """A named group of runs."""

    id: str
    name: str
    tags: dict[str, str]
    deleted: bool


@dataclass(frozen=True)
class Run:
    """A run without its points."""

    id: str
    experiment_id: str
    name: str
    user: str
    status: str
    start: int | None
    end: int | None
    deleted: bool
    params: dict[str, str]
    tags: dict[str, str]
    artifacts: str
    """Where they lie: a folder, or an address that only MLflow can read; empty: nowhere."""
    datasets: list[Any] = field(default_factory=list)
    """MLflow's own ``DatasetInput``."""
    models_in: list[str] = field(default_factory=list)
    """Ids of the logged models that it used."""
    models_out: dict[str, int] = field(default_factory=dict)
    """Id of each logged model that it made, and at which step."""


@dataclass(frozen=True)
class Model:
    """A logged model of MLflow 3."""

    id: str
    experiment_id: str
    run_id: str
    name: str
    kind: str
    status: str
    params: dict[str, str]
    tags: dict[str, str]
    artifacts: str


@dataclass(frozen=True)
class Version:
    """A version of a registered model."""

    number: int
    created: int
    source: str
    run_id: str
    model_id: str
    stage: str
    description: str
    tags: dict[str, str]

    @property
    def key(self) -> str:
        """What tells it from all versions of other stores: they have no id of their own."""
        return f"{self.number}@{self.created}"


@dataclass(frozen=True)
class Registered:
    """A registered model or prompt, with its versions in the order they were made."""

    name: str
    created: int
    description: str
    tags: dict[str, str]
    aliases: dict[str, int]
    versions: list[Version]


class Source(abc.ABC):
    """A store to adopt from. Nothing below its path is ever written, but for ``remove``."""

    path: Path
    kind: str

    @abc.abstractmethod
    def experiments(self) -> list[Experiment]:
        """All of them, deleted ones too."""

    @abc.abstractmethod
    def run_ids(self, experiment: Experiment) -> Iterator[str]:
        """Every run of an experiment, deleted ones too."""

    @abc.abstractmethod
    def run(self, run_id: str) -> Run | None:
        """One run; None when the store has no such run."""

    @abc.abstractmethod
    def metric_keys(self, run: Run) -> list[str]:
        """Names of a run's metrics."""

    @abc.abstractmethod
    def points(self, run: Run, key: str) -> Iterator[Point]:
        """Every value of a metric, in any order, maybe the same one twice."""

    @abc.abstractmethod
    def model_ids(self, experiment: Experiment) -> Iterator[str]:
        """Every logged model of an experiment that isn't deleted."""

    @abc.abstractmethod
    def model(self, model_id: str) -> Model | None:
        """One logged model; None when the store has no such model, or deleted it."""

    @abc.abstractmethod
    def model_points(self, model: Model) -> Iterator[ModelPoint]:
        """The values of metrics that were logged for a model."""

    @abc.abstractmethod
    def registered(self) -> Iterator[Registered]:
        """Registered models and prompts."""

    @abc.abstractmethod
    def left(self) -> list[str]:
        """What the store holds and adopt doesn't move, in words."""

    @abc.abstractmethod
    def state(self) -> object:
        """Something that differs once anybody has written into the store."""

    @abc.abstractmethod
    def remove(self) -> list[str]:
        """Delete what was moved; what is left of the path, because adopt knows nothing of it."""

    @abc.abstractmethod
    def close(self) -> None:
        """Give back what reading needed."""
