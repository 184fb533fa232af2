"""Keeps a stack's processes running, for as long as the machine runs or until told to stop.

One daemon a stack, which outlives the shell that started it. The command line writes what it
wants to ``wanted.json`` and reads what is from ``observed.json``; signals only make it quicker.
This module is the command line's side; ``daemon`` is the other.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from trackstack.embedded.errors import ConvergeError
from trackstack.embedded.specs import ProcessSpec
from trackstack.embedded.state import FileLock, StackState
from trackstack.embedded.supervisor import processes
from trackstack.embedded.supervisor.leftovers import read_observed, recover
from trackstack.embedded.supervisor.observed import Observed, ObservedProcess, ProcessState
from trackstack.embedded.supervisor.plan import WantedError, in_order

__all__ = [
    "Observed",
    "ObservedProcess",
    "ProcessState",
    "SupervisorError",
    "WantedError",
    "observe",
    "start",
    "stop",
    "submit",
    "wait_ready",
]

_LOOK_SECONDS = 0.1
_START_SECONDS = 30.0
_PACKAGE_ROOT = Path(__file__).parents[3]


class SupervisorError(ConvergeError):
    """The supervisor can't do what was asked, in one sentence."""


def submit(state: StackState, specs: Iterable[ProcessSpec]) -> int:
    """Say what is to run from now on, start the supervisor if need be; give the generation.

    An equal set changes nothing that runs, but what is failing is tried again at once.
    """
    ordered = in_order(specs)
    before = state.read_json("wanted.json") or {}
    known = before.get("generation", 0)
    generation = 1 + max(known if isinstance(known, int) else 0, read_observed(state).generation)
    state.write_json(
        "wanted.json",
        {"generation": generation, "processes": [spec.to_json() for spec in ordered.values()]},
    )
    os.kill(start(state), signal.SIGHUP)
    return generation


def start(state: StackState) -> int:
    """Make sure that the stack's supervisor runs and give its pid."""
    deadline = time.monotonic() + _START_SECONDS
    while (pid := _living(state)) is None:
        if time.monotonic() > deadline:
            raise SupervisorError(f"no supervisor has started: see {state.logs_path}")
        _launch(state)
        if _living(state) is None:  # another command has the lock, to clean up
            time.sleep(_LOOK_SECONDS)
    return pid


def _launch(state: StackState) -> None:
    log, folder = state.logs_path / "supervisor.log", str(state.path.absolute())
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        # It ends as soon as the daemon, its child, holds the lock.
        launched = subprocess.run(
            [
                sys.executable,
                "-P",
                "-m",
                "trackstack.embedded.supervisor",
                folder,
            ],
            cwd="/",
            # Nothing of this shell: it may hold credentials, and the daemon lives for months.
            env={"PYTHONPATH": str(_PACKAGE_ROOT), "LC_ALL": "C.UTF-8", "PATH": os.defpath},
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            timeout=_START_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SupervisorError(f"the supervisor doesn't start: see {log}") from None
    finally:
        os.close(descriptor)
    if launched.returncode:
        last = log.read_text(errors="replace").strip().rpartition("\n")[2]
        raise SupervisorError(f"the supervisor doesn't start: {last or launched.returncode}")


def stop(state: StackState, timeout: float = 90.0) -> None:
    """Stop every process of the stack and the supervisor, in reverse order of starting.

    When the timeout passes they are killed. Without a supervisor, what it left is ended.
    """
    if (pid := _living(state)) is not None:
        identity = processes.birth(pid)
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + timeout
        while identity and processes.birth(pid) == identity:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)  # the guardian ends the rest
                deadline = float("inf")
            time.sleep(_LOOK_SECONDS / 2)
    lock = FileLock(state.path / "supervisor.lock")
    if state.path.is_dir() and lock.acquire():
        try:
            recover(state)
        finally:
            lock.release()


def observe(state: StackState) -> Observed:
    """Tell what runs now; without a supervisor, which of its processes are still there."""
    observed = read_observed(state)
    living = _living(state)
    if living is not None and living == observed.pid:
        return replace(observed, alive=True)
    # Written by a supervisor that is no more; a new one, if it lives, is about to end what
    # the old one left and has accepted no generation yet.
    then = {
        name: process
        if process.pid and processes.birth(process.pid) == process.birth
        else replace(process, state="stopped", pid=None, birth="")
        for name, process in observed.processes.items()
    }
    if living is None:
        return replace(observed, alive=False, processes=then)
    return replace(observed, alive=True, pid=living, generation=0, processes=then)


def wait_ready(
    state: StackState,
    generation: int,
    timeout: float,
    on_change: Callable[[Observed], None] = lambda _: None,
) -> Observed:
    """Wait until this generation is ready, and give what is then, or what is in the way.

    Returns early when a process is ``failing``, when the wanted set was refused, or when the
    supervisor has died. ``on_change`` sees every difference on the way.
    """
    deadline = time.monotonic() + timeout
    shown = None
    while True:
        observed = observe(state)
        if observed != shown:
            on_change(observed)
            shown = observed
        current = observed.generation >= generation
        if not observed.alive and not current and time.monotonic() < deadline:
            start(state)  # ``submit`` met a supervisor that was just dying
            continue
        if (
            (current and observed.ready)
            or (current and any(p.failing for p in observed.processes.values()))
            or (current and observed.problem)
            or not observed.alive
            or time.monotonic() > deadline
        ):
            return observed
        time.sleep(_LOOK_SECONDS)


def _living(state: StackState) -> int | None:
    """Give the supervisor's pid if it lives; either of two files is enough to know it."""
    observed = read_observed(state)
    signed, _, signed_birth = FileLock(state.path / "supervisor.lock").signature().partition(" ")
    claims = [(observed.pid, observed.birth)]
    if signed.isdecimal():
        claims.append((int(signed), signed_birth))
    return next((pid for pid, born in claims if pid and processes.birth(pid) == born), None)
