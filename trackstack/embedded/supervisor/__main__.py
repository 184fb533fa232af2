"""``python -m trackstack.embedded.supervisor <state folder>``: become a stack's supervisor."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from trackstack.embedded.state import FileLock, StackState
from trackstack.embedded.supervisor import processes
from trackstack.embedded.supervisor.daemon import Daemon


def main(folder: str) -> int:
    """Return as soon as a supervisor runs: this process's child, or one that was there."""
    state = StackState(Path(folder))
    read_end, write_end = os.pipe()
    if pid := os.fork():
        os.close(write_end)
        if os.read(read_end, 1):
            return 0
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(read_end)
    os.setsid()
    os.umask(0o077)
    # Whoever hears that we live may send it at once.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    lock = FileLock(state.path / "supervisor.lock")
    if not lock.acquire():
        return 0  # somebody was faster, which is as good
    lock.sign(processes.identity())
    os.write(write_end, b"1")
    os.close(write_end)
    Daemon(state, lock).run()
    return 0


sys.exit(main(sys.argv[1]))
