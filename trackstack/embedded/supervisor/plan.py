"""What a new wanted set means for what runs: a pure function."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from trackstack.embedded.errors import ConvergeError
from trackstack.embedded.specs import ProcessSpec


class WantedError(ConvergeError, ValueError):
    """A wanted set that can't be run, in one sentence."""


def in_order(specs: Iterable[ProcessSpec]) -> dict[str, ProcessSpec]:
    """Give the specs by name, each behind those it comes after."""
    waiting: dict[str, ProcessSpec] = {}
    for spec in specs:
        if spec.name in waiting:
            raise WantedError(f"two processes are named {spec.name!r}")
        waiting[spec.name] = spec
    for spec in waiting.values():
        for name in spec.after:
            if name not in waiting:
                raise WantedError(f"{spec.name!r} comes after {name!r}, which doesn't exist")
    ordered: dict[str, ProcessSpec] = {}
    while waiting:
        free = [s for s in waiting.values() if all(name in ordered for name in s.after)]
        if not free:
            raise WantedError(f"these processes wait for each other: {', '.join(waiting)}")
        for spec in free:
            ordered[spec.name] = waiting.pop(spec.name)
    return ordered


def touched(running: Mapping[str, ProcessSpec], wanted: Mapping[str, ProcessSpec]) -> set[str]:
    """Name the running processes that have to stop: removed, changed, or after a changed one.

    ``wanted`` is in order. What was not named keeps its pid.
    """
    changed: set[str] = set()
    for spec in wanted.values():
        before = running.get(spec.name)
        if (
            before is None
            or before.digest() != spec.digest()
            or any(name in changed for name in spec.after)
        ):
            changed.add(spec.name)
    return {name for name in running if name in changed or name not in wanted}
