"""What a supervisor that died has left running."""

from __future__ import annotations

from trackstack.embedded.state import StackState
from trackstack.embedded.supervisor import processes
from trackstack.embedded.supervisor.observed import Observed
from trackstack.embedded.supervisor.processes import Group

_GRACE_SECONDS = 8.0  # longer than the guardian takes, which may be at the same work


def read_observed(state: StackState) -> Observed:
    """Read ``observed.json``; an empty answer when there is none that makes sense."""
    try:
        return Observed.from_json(state.read_json("observed.json") or {"processes": []})
    except (KeyError, TypeError):
        return Observed()


def recover(state: StackState) -> None:
    """End every process of this stack. Only for who holds the supervisor's lock.

    Recorded processes end by pid and birth; then, on Linux, whatever still writes to one of
    the stack's logs, which no other process does.
    """
    known = read_observed(state).processes.values()
    groups = [Group(p.pid, p.birth, p.stop_signal) for p in known if p.pid]
    processes.end([g for g in groups if processes.birth(g.pgid) == g.birth], _GRACE_SECONDS)
    logs = f"{state.logs_path.resolve()}/"
    own = f"{logs}supervisor.log"
    processes.end_writers(lambda path: path.startswith(logs) and not path.startswith(own))
