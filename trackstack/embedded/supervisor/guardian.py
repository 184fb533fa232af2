"""The guardian: ends every process of a stack whose supervisor was killed.

It knows groups and nothing else. The supervisor holds one end of a pipe and never closes it;
when the kernel does, the supervisor is dead, however it died. Each child announces itself on
that pipe between fork and exec, so there is no moment in which a process exists and the
guardian can't hear of it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterable

from trackstack.embedded.supervisor import processes
from trackstack.embedded.supervisor.processes import Group

_GRACE_SECONDS = 5.0
_MAX_DESCRIPTORS = 65_536
_MANY_GROUPS = 200


class Guardian:
    """The supervisor's end: keeps a guardian alive and told."""

    def __init__(self) -> None:
        self.pid = 0
        self._pipe = -1

    def ensure(self, groups: Iterable[Group]) -> bool:
        """Make a guardian unless one lives, and tell it these groups; True when made."""
        if self.pid and os.waitpid(self.pid, os.WNOHANG) == (0, 0):
            return False
        if self._pipe >= 0:
            os.close(self._pipe)
        read_end, self._pipe = os.pipe()
        self.pid = fork(lambda: _watch(read_end), keep=(read_end,))
        os.close(read_end)
        # A stopped guardian mustn't stop the supervisor: 64 KiB hold 3,000 messages.
        os.set_blocking(self._pipe, False)
        for group in groups:
            self._tell(f"+ {group.pgid} {int(group.stop_signal)}")
        return True

    def announce_self(self, stop_signal: int) -> None:
        """Announce the calling process, a child on its way to exec."""
        self._tell(f"+ {os.getpid()} {int(stop_signal)}")

    def forget(self, pgid: int) -> None:
        """Say that no process of this group is left."""
        self._tell(f"- {pgid} 0")

    def dismiss(self) -> None:
        """Let the guardian go: nothing runs any more."""
        os.close(self._pipe)
        os.waitpid(self.pid, 0)

    def _tell(self, message: str) -> None:
        # A dead guardian is replaced, and its successor is told everything.
        with contextlib.suppress(BrokenPipeError, BlockingIOError):
            os.write(self._pipe, f"{message}\n".encode())


def fork(work: Callable[[], int], keep: tuple[int, ...] = ()) -> int:
    """Run ``work`` in a copy of this process that holds nothing of ours, and give its pid.

    Neither the supervisor's lock nor its pipe may live on in the copy: who holds them counts
    as alive. Safe because the supervisor has one thread.
    """
    if pid := os.fork():
        return pid
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        low = 3
        for descriptor in (*sorted(keep), _MAX_DESCRIPTORS):
            os.closerange(low, descriptor)
            low = descriptor + 1
        code = work()
    except BaseException as error:  # noqa: BLE001 - nobody above us is left to tell
        os.write(2, f"{error!r}\n".encode())
    finally:
        os._exit(code)


def _watch(pipe: int) -> int:
    os.setsid()
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # it ends when the supervisor does, not before
    groups: dict[int, Group] = {}
    with open(pipe, encoding="ascii") as messages:
        for message in messages:
            sign, number, stop_signal = message.split()
            pgid = int(number)
            groups.pop(pgid, None)
            if sign == "+" and (birth := processes.birth(pgid)):
                groups[pgid] = Group(pgid, birth, int(stop_signal))
            if len(groups) > _MANY_GROUPS:  # a program that can't be started never takes leave
                groups = {g.pgid: g for g in groups.values() if processes.members(g)}
    processes.end(groups.values(), _GRACE_SECONDS)
    return 0
