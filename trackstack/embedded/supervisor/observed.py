"""What the supervisor tells the world, as typed values: ``observed.json``, read and written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

ProcessState = Literal[
    "waiting",  # for what comes before it
    "starting",  # it runs, its readiness probe doesn't pass yet
    "ready",
    "exited",  # a one-shot that did its work
    "backing-off",  # it ended by itself and will be started again
    "failed",  # it could not even be started; tried again like a crash
    "stopping",
    "stopped",
]

_CRASHES_THAT_TELL = 3
_ASKS_A_HUMAN = (3, 4)


@dataclass(frozen=True)
class ObservedProcess:
    """One process as it is now."""

    name: str
    service: str
    urn: str
    state: ProcessState
    digest: str
    """Of the spec it runs, which is not the wanted one while it is being replaced."""
    since: float
    """Seconds since the epoch: when the state began."""
    pid: int | None = None
    """Also the number of its process group."""
    birth: str = ""
    """Tells this process from a later one with the same pid."""
    stop_signal: int = 15
    restarts: int = 0
    """How often it was started again after a crash, since its spec last changed."""
    failures: int = 0
    """Failed attempts in a row; 30 ready seconds make it 0 again."""
    exit_code: int | None = None
    """Of the last attempt; negative: the signal that ended it."""
    one_shot: bool = False
    problem: str = ""
    """One line for a person, with the last log line; empty when there is none."""

    @property
    def done(self) -> bool:
        """Tell whether what comes after it may start."""
        return self.state in ("ready", "exited")

    @property
    def failing(self) -> bool:
        """Tell whether waiting longer is unlikely to help."""
        if self.done or (self.exit_code is None and self.state != "failed"):
            return False
        return (
            self.state == "failed"
            or self.failures >= _CRASHES_THAT_TELL
            or (self.one_shot and self.exit_code in _ASKS_A_HUMAN)
        )


@dataclass(frozen=True)
class Observed:
    """A stack's processes, and whether anybody looks after them."""

    alive: bool = False
    """The supervisor lives; when it doesn't, ``processes`` is what it last saw."""
    pid: int | None = None
    birth: str = ""
    since: float = 0.0
    """When the supervisor started."""
    generation: int = 0
    """Of the wanted set that is being worked on."""
    problem: str = ""
    """About the whole: a wanted set that can't be read or makes no sense."""
    processes: Mapping[str, ObservedProcess] = field(default_factory=dict)
    """By name, in the order of the wanted set."""

    @property
    def ready(self) -> bool:
        """Tell whether every process is ready, or exited as it should."""
        accepted = self.alive and self.generation > 0 and not self.problem
        return accepted and all(p.done for p in self.processes.values())

    def to_json(self) -> dict[str, Any]:
        """Plain values for the state file."""
        data = asdict(self)
        del data["alive"]
        return {**data, "processes": [asdict(p) for p in self.processes.values()]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what ``to_json`` made; KeyError or TypeError when it was something else."""
        processes = [ObservedProcess(**p) for p in data["processes"]]
        return cls(**{**data, "processes": {p.name: p for p in processes}})
