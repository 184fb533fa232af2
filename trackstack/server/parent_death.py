"""Nobody outlives process 1: a server without its parent keeps the port and serves stale code.

``kill -9`` of a parent tells its children nothing. Linux sends a signal on request
(``PR_SET_PDEATHSIG``, which survives ``exec``); elsewhere a thread looks once a second.
"""

import ctypes
import os
import signal
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1
_LOOK_SECONDS = 1.0


def end_with_parent(parent: int) -> None:
    """Let SIGTERM end this process when its parent has died; ``parent`` is the expected one."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died before the request
            os.kill(os.getpid(), signal.SIGTERM)
        return
    threading.Thread(target=_watch, args=(parent,), name="parent", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
