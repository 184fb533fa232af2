"""``trackstack run``: a training, a relay for it, and what is left when it ends."""

import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence

from trackstack.client.errors import ClientError
from trackstack.client.relay.supervisor import Supervisor
from trackstack.core import client_settings as settings

DRAIN_SECONDS = 60.0
"""How long the end of a training waits for what it logged to be on the server."""
_LEFT_OUT = frozenset({*settings.UPSTREAM, *settings.UPSTREAM.values()})
"""The server's, which the relay uses; MLflow would prefer a user to the relay's token."""
_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
"""Exit codes of a shell."""
_POLL_SECONDS = 0.1
_ANSWER_SECONDS = 15.0
"""Longer than the longest pause before a relay that keeps failing is started again."""


def train(
    argv: Sequence[str],
    environment: Mapping[str, str],
    drain: float,
    tell: Callable[[str], None],
) -> int:
    """Run a training to its end; its exit code, a shell's for one that a signal ended.

    Raises:
        ClientError: no server is named, or the relay can't start; the training did not begin.
    """
    supervisor = Supervisor(environment)
    try:
        supervisor.start()
        session = uuid.uuid4().hex
        token = supervisor.admit(session)
        status = _run(argv, client_environment(environment, supervisor.uri, token))
        if status:
            _end_runs(supervisor, token, status)
        told = _drained(supervisor, token, drain)
        if told is not None:
            tell(told)
        return status if status >= 0 else 128 - status
    finally:
        supervisor.end()


def client_environment(environment: Mapping[str, str], uri: str, token: str) -> dict[str, str]:
    """What a client of the relay sees."""
    found = {key: value for key, value in environment.items() if key not in _LEFT_OUT}
    found[settings.TRACKING_URI] = uri
    found[settings.TOKEN] = token
    for name in ("NO_PROXY", "no_proxy"):  # a company's proxy knows no loopback of ours
        found[name] = ",".join(filter(None, (environment.get(name), "127.0.0.1")))
    return found


def _run(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """The child's return code as `subprocess` gives it."""
    try:
        process = subprocess.Popen(argv, env=environment)
    except FileNotFoundError:
        raise _CommandError(f"There is no program {argv[0]!r}.", _NOT_FOUND) from None
    except OSError as problem:
        raise _CommandError(
            f"{argv[0]} can't be run: {problem.strerror}.", _NOT_EXECUTABLE
        ) from None
    before = {number: signal.getsignal(number) for number in (*_FORWARDED, signal.SIGINT)}
    for number in _FORWARDED:
        signal.signal(number, lambda got, _: process.send_signal(got))
    # A terminal's Ctrl-C reaches the training by itself; it decides how to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _CommandError(ClientError):
    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def _end_runs(supervisor: Supervisor, token: str, status: int) -> None:
    """What a training that died left running is not running."""
    if status < 0:
        name = signal.Signals(-status).name
        killed = -status in {signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP}
        told = {"status": "KILLED" if killed else "FAILED", "why": name}
    else:
        told = {"status": "FAILED", "why": f"exit code {status}"}
    _asked(supervisor, "ended", token, told)


def _drained(supervisor: Supervisor, token: str, seconds: float) -> str | None:
    """Wait for everything to be shipped; what is to be told if it wasn't."""
    deadline = time.monotonic() + seconds
    found = _asked(supervisor, "status", token)
    try:
        while found and found["waiting"] and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            found = _asked(supervisor, "status", token)
    except KeyboardInterrupt:
        pass
    if found is None:
        return (
            "The relay does not answer any more; what was logged is kept in"
            f" {supervisor.folder}, and `trackstack sync` ships it."
        )
    parts = []
    if found["waiting"]:
        told = found["away"] or found["stuck"]
        why = f" ({told})" if told else ""
        parts.append(
            f"{found['waiting']} writes are not on the server yet{why}; they are kept in"
            f" {supervisor.folder}, and `trackstack sync` ships them."
        )
    if found["refused"]:
        parts.append(
            f"The server refused {found['refused']} writes for good: `trackstack sync` says which."
        )
    return " ".join(parts) or None


def _asked(
    supervisor: Supervisor, what: str, token: str, body: dict[str, str] | None = None
) -> dict[str, object] | None:
    """Ask a relay that may just be starting again; None when it never answers."""
    deadline = time.monotonic() + _ANSWER_SECONDS
    while time.monotonic() < deadline:
        try:
            return supervisor.ask(what, token, body)
        except (OSError, ValueError):  # not there, or not the whole of an answer
            time.sleep(_POLL_SECONDS)
    return None


__all__ = ["DRAIN_SECONDS", "client_environment", "train"]
