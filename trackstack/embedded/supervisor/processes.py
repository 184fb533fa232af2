"""Which processes are ours, and how to end them: by birth, never by a bare number.

A pid is reused, a pid together with the moment of its birth is not. A group outlives its
leader, and the kernel doesn't hand out a pid while a group carries its number, so a leaderless
group is still the one that was started.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

_LINUX = sys.platform == "linux"
_TICK_SECONDS = 0.05


@dataclass(frozen=True)
class Process:
    """A living process, as the kernel shows it."""

    pid: int
    pgid: int
    birth: str


@dataclass(frozen=True)
class Group:
    """A process group that we started, named by its leader."""

    pgid: int
    birth: str
    stop_signal: int = signal.SIGTERM


def birth(pid: int) -> str | None:
    """Tell a process from every other that ever had its pid; None when it isn't alive."""
    process = _look_up(pid)
    return process.birth if process else None


def identity() -> str:
    """Tell this process from every other: pid and birth."""
    return f"{os.getpid()} {birth(os.getpid())}"


def members(group: Group) -> list[Process]:
    """Give the living processes of a group, none if its number belongs to another by now."""
    try:
        os.killpg(group.pgid, 0)
    except ProcessLookupError:
        return []
    except PermissionError:
        pass
    leader = _look_up(group.pgid)
    if leader and leader.birth != group.birth:
        return []
    return [process for process in table() if process.pgid == group.pgid]


def kill(group: Group) -> None:
    """End what is left of a group at once."""
    if members(group):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group.pgid, signal.SIGKILL)


def end(groups: Iterable[Group], grace_seconds: float) -> None:
    """Stop groups, the last one first: a signal to each leader, SIGKILL after the grace."""
    living = [group for group in groups if members(group)]
    for group in reversed(living):
        if birth(group.pgid) == group.birth:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(group.pgid, group.stop_signal)
    deadline = time.monotonic() + grace_seconds
    while living := [group for group in living if members(group)]:
        for group in reversed(living):
            if time.monotonic() > deadline or birth(group.pgid) is None:
                kill(group)
        if time.monotonic() > deadline + grace_seconds:
            return  # stuck in the kernel: nothing a signal could do
        time.sleep(_TICK_SECONDS)


def end_writers(is_ours: Callable[[str], bool]) -> None:
    """Kill every process whose output goes to one of our log files (Linux only).

    Finds what no list knows any more: the workers of a leader that died together with the
    supervisor and its guardian, or everything after the list itself was lost.
    """
    for _ in range(40):
        writers = [process.pid for process in table() if any(map(is_ours, _outputs(process.pid)))]
        if not writers:
            return
        for pid in writers:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_TICK_SECONDS)


def table() -> list[Process]:
    """Give every living process; zombies are dead."""
    if not _LINUX:
        import psutil  # noqa: PLC0415 - /proc is exact and costs no memory; macOS has none

        found = map(_look_up, psutil.pids())
    else:
        found = map(_look_up, (int(n) for n in os.listdir("/proc") if n.isdigit()))  # noqa: PTH208
    return [process for process in found if process]


def _look_up(pid: int) -> Process | None:
    if not _LINUX:
        import psutil  # noqa: PLC0415

        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return Process(pid, os.getpgid(pid), repr(process.create_time()))
        except (psutil.Error, OSError):
            return None
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name may hold anything, ")" included: what follows the last one is regular.
    fields = text[text.rindex(b")") + 2 :].split()
    state, pgid, start_ticks = fields[0], int(fields[2]), int(fields[19])
    if state in (b"Z", b"X"):
        return None
    # Ticks since boot don't move when somebody sets the clock; the boot tells days apart.
    return Process(pid, pgid, f"{_boot()}/{start_ticks}")


_boots: list[str] = []


def _boot() -> str:
    if not _boots:
        _boots.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
    return _boots[0]


def _outputs(pid: int) -> list[str]:
    links = []
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            links.append(os.readlink(f"/proc/{pid}/fd/{descriptor}"))  # noqa: PTH115 - may be "pipe:[1]"
    return links if _LINUX else []
