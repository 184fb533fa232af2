"""The supervisor itself: one thread, one loop, from the wanted set to what runs.

Every turn it looks whether something has changed (a signal wakes it, five times a second it
looks anyway), lets each child make a step, starts and stops what the order allows, and writes
down what is different from before.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from pathlib import Path

from trackstack.embedded.specs import ProcessSpec
from trackstack.embedded.state import FileLock, StackState, StateError
from trackstack.embedded.supervisor import processes
from trackstack.embedded.supervisor.child import Child
from trackstack.embedded.supervisor.guardian import Guardian
from trackstack.embedded.supervisor.leftovers import recover
from trackstack.embedded.supervisor.observed import Observed
from trackstack.embedded.supervisor.plan import WantedError, in_order, touched

_IDLE_SECONDS = 0.2
_BUSY_SECONDS = 0.05
_ROTATION_SECONDS = 2.0
_LONGEST_LOG_BYTES = 10 * 2**20
_COPY_BYTES = 2**20

_Mark = tuple[int, int, int]


class Daemon:
    """Keeps the wanted processes of one stack running."""

    def __init__(self, state: StackState, lock: FileLock) -> None:
        self._state = state
        self._lock = lock
        self._guardian = Guardian()
        self._children: dict[str, Child] = {}
        """In the order of starting."""
        self._wanted: dict[str, ProcessSpec] = {}
        self._outdated: set[str] = set()
        """Children that have to stop before their wanted spec, if there is one, may start."""
        self._generation = 0
        self._problem = ""
        self._ending = False
        self._since = time.time()
        self._wanted_mark: _Mark | None = None
        self._written: Observed | None = None
        self._written_mark: _Mark | None = None
        self._unwritable = False
        self._identity = processes.identity()
        self._next_rotation = 0.0

    def run(self) -> None:
        """Work until told to end, then stop everything."""
        wakeup, alarm = os.pipe()
        for end in (wakeup, alarm):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._end())
        recover(self._state)
        self._tell_damage()
        while True:
            self._turn()
            if self._ending and all(c.state == "stopped" for c in self._children.values()):
                break
            busy = any(not c.done for c in self._children.values()) or self._outdated
            select.select([wakeup], [], [], _BUSY_SECONDS if busy else _IDLE_SECONDS)
            self._drain(wakeup)
        self._guardian.dismiss()

    def _end(self) -> None:
        self._ending = True

    @staticmethod
    def _drain(wakeup: int) -> None:
        try:
            while os.read(wakeup, 1024):
                pass
        except BlockingIOError:
            pass

    def _turn(self) -> None:
        self._keep_guardian()
        self._look_after_lock()
        if not self._ending:
            self._read_wanted()
        for child in self._children.values():
            child.step()
        if self._ending:
            self._outdated = set(self._children)
        self._stop_outdated()
        if not self._ending:
            self._replace_stopped()
            self._start_waiting()
        if self._lock.intact():
            self._publish()
            self._rotate_logs()

    # --- wanted ------------------------------------------------------------------------

    def _read_wanted(self) -> None:
        mark = _mark(self._state.path / "wanted.json")
        if mark == self._wanted_mark and mark is not None:
            return
        data = self._state.read_json("wanted.json")
        self._wanted_mark = _mark(self._state.path / "wanted.json")
        self._tell_damage()
        if data is None:
            return  # what runs goes on
        try:
            self._generation = generation = int(data["generation"])
            wanted = in_order(ProcessSpec.from_json(spec) for spec in data["processes"])
            for spec in wanted.values():
                signal.Signals[spec.stop_signal]
        except WantedError as reason:
            self._problem = str(reason)
            return
        except (KeyError, TypeError, ValueError, AttributeError) as reason:
            self._problem = f"wanted.json holds something else than processes: {reason!r}"
            return
        self._problem = ""
        self._wanted = wanted
        for child in self._children.values():
            child.try_now()
        # What is on its way out already stays so; its successor is what is wanted now.
        self._outdated |= touched({n: c.spec for n, c in self._children.items()}, wanted)
        self._log(f"generation {generation}: {len(wanted)} wanted, {len(self._outdated)} to stop")

    # --- order -------------------------------------------------------------------------

    def _stop_outdated(self) -> None:
        for name in self._outdated:
            holders = (c for n, c in self._children.items() if n in self._outdated and not c.gone)
            if not any(name in holder.spec.after for holder in holders):
                self._children[name].stop()

    def _replace_stopped(self) -> None:
        for name in [n for n in self._outdated if self._children[n].state == "stopped"]:
            self._outdated.discard(name)
            del self._children[name]
        for name, spec in self._wanted.items():
            if name not in self._children:
                self._children[name] = Child(spec, self._state, self._guardian, self._log)
        order = list(self._wanted)
        self._children = dict(
            sorted(
                self._children.items(),
                key=lambda item: order.index(item[0]) if item[0] in order else -1,
            )
        )

    def _start_waiting(self) -> None:
        for name, child in self._children.items():
            if name not in self._outdated and child.wants_start and self._may_start(child):
                child.start()

    def _may_start(self, child: Child) -> bool:
        before = child.spec.after
        return all(
            name in self._children and name not in self._outdated and self._children[name].done
            for name in before
        )

    # --- files -------------------------------------------------------------------------

    def _publish(self) -> None:
        pid, _, birth = self._identity.partition(" ")
        now = Observed(
            pid=int(pid),
            birth=birth,
            since=round(self._since, 3),
            generation=self._generation,
            problem=self._problem,
            processes={
                name: child.observed(leaving=name in self._outdated)
                for name, child in self._children.items()
            },
        )
        path = self._state.path / "observed.json"
        if now == self._written and _mark(path) == self._written_mark:
            return
        try:
            self._state.write_json("observed.json", now.to_json())
        except StateError as reason:
            # A full disk mustn't end the stack; the next turn tries again.
            if not self._unwritable:
                self._log(str(reason))
            self._unwritable, self._written = True, None
        else:
            self._unwritable, self._written, self._written_mark = False, now, _mark(path)

    def _keep_guardian(self) -> None:
        try:
            groups = [child.group for child in self._children.values() if child.group]
            if self._guardian.ensure(groups):
                self._log(f"guardian: pid {self._guardian.pid}")
        except OSError as reason:
            self._log(f"no guardian can be started: {reason}")

    def _look_after_lock(self) -> None:
        if not self._lock.intact():
            if not self._ending:
                self._log("the state folder was deleted: ending")
            self._ending = True
        elif self._lock.signature() != self._identity:
            with contextlib.suppress(OSError):
                self._lock.sign(self._identity)

    def _rotate_logs(self) -> None:
        if time.monotonic() < self._next_rotation:
            return
        self._next_rotation = time.monotonic() + _ROTATION_SECONDS
        try:
            for log in self._state.logs_path.glob("*.log"):
                if log.stat().st_size > _LONGEST_LOG_BYTES:
                    rotate(log)
        except (OSError, StateError) as reason:
            self._log(f"logs can't be rotated: {reason}")

    def _tell_damage(self) -> None:
        while self._state.damaged:
            self._log(str(self._state.damaged.pop(0)))

    @staticmethod
    def _log(sentence: str) -> None:
        line = f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {sentence}\n"
        with contextlib.suppress(OSError):  # a full disk mustn't end the stack
            os.write(2, line.encode())


def rotate(log: Path) -> None:
    """Move a log's content aside, keeping two generations; its writers notice nothing.

    They hold the file open for appending, so it is copied and emptied, not renamed. A line
    written in the milliseconds between is lost.
    """
    first, second = log.with_name(f"{log.name}.1"), log.with_name(f"{log.name}.2")
    if first.exists():
        first.replace(second)
    descriptor = os.open(first, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with log.open("rb") as source, open(descriptor, "wb") as target:  # noqa: PTH123
        while chunk := source.read(_COPY_BYTES):
            target.write(chunk)
    os.truncate(log, 0)


def _mark(path: Path) -> _Mark | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
