"""One process of the stack: started, probed, restarted, stopped.

A child knows its own spec and nothing of the others; when it may start or has to stop is the
daemon's decision.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from trackstack.embedded.specs import ExitReady, ProcessSpec
from trackstack.embedded.state import (
    StackState,
    StateError,
    nobody,
    reachable_path,
    write_private,
)
from trackstack.embedded.supervisor import processes
from trackstack.embedded.supervisor.guardian import Guardian
from trackstack.embedded.supervisor.observed import ObservedProcess, ProcessState
from trackstack.embedded.supervisor.probe import Probe
from trackstack.embedded.supervisor.processes import Group

_FIRST_BACKOFF_SECONDS = 0.2
_LONGEST_BACKOFF_SECONDS = 10.0
_STEADY_SECONDS = 30.0
"""Ready for so long: the next crash is a new story."""
_PROBE_SECONDS = 0.1
_SLOW_PROBE_SECONDS = 0.5
_PATIENCE_SECONDS = 10.0
_LAST_LINE_BYTES = 4096
_SHORTEST_SECRET = 4
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class Child:
    """A spec and the process that runs it, if one does."""

    def __init__(
        self, spec: ProcessSpec, state: StackState, guardian: Guardian, log: Callable[[str], None]
    ) -> None:
        self.spec = spec
        self.digest = spec.digest()
        self.state: ProcessState = "waiting"
        self.group: Group | None = None
        self._stack = state
        self._guardian = guardian
        self._log = log
        self._popen: subprocess.Popen[bytes] | None = None
        self._probe: Probe | None = None
        self._next_probe = 0.0
        self._deadline = 0.0
        self._entered = time.monotonic()
        self._since = time.time()
        self._attempts = 0
        self._failures = 0
        self._exit_code: int | None = None
        self._problem = ""
        self._log_start = 0
        self._secrets: list[str] = []

    @property
    def done(self) -> bool:
        """Tell whether what comes after it may start."""
        return self.state in ("ready", "exited")

    @property
    def gone(self) -> bool:
        """Tell whether nothing of it runs."""
        return self._popen is None and self.group is None

    @property
    def wants_start(self) -> bool:
        """Tell whether it is time for an attempt, if what comes before it is ready."""
        if not self.gone:
            return False
        if self.state in ("backing-off", "failed"):
            return time.monotonic() >= self._deadline
        return self.state == "waiting"

    def observed(self, *, leaving: bool) -> ObservedProcess:
        """Give the child as the state file shows it; who is to leave is not ready any more."""
        return ObservedProcess(
            name=self.spec.name,
            service=self.spec.service,
            urn=self.spec.urn,
            state="stopping" if leaving and self.state != "stopped" else self.state,
            digest=self.digest,
            since=round(self._since, 3),
            pid=self.group.pgid if self.group else None,
            birth=self.group.birth if self.group else "",
            stop_signal=_signal(self.spec),
            restarts=max(0, self._attempts - 1),
            failures=self._failures,
            exit_code=self._exit_code,
            one_shot=isinstance(self.spec.ready, ExitReady),
            problem=self._problem,
        )

    # --- starting ----------------------------------------------------------------------

    def start(self) -> None:
        """Make one attempt; whatever prevents it is this child's problem alone."""
        self._attempts += 1
        try:
            self._popen = self._spawn()
        except (OSError, StateError, ValueError, LookupError, subprocess.SubprocessError) as reason:
            self._fail("failed", f"can't be started: {reason}")
            return
        pid = self._popen.pid
        # Alive or a zombie of ours: until it is reaped the number can't be another's.
        self.group = Group(pid, processes.birth(pid) or "", _signal(self.spec))
        self._deadline = time.monotonic() + self.spec.ready_seconds
        self._next_probe = 0.0
        self._enter("starting")

    def _spawn(self) -> subprocess.Popen[bytes]:
        spec, user = self.spec, self._user()
        secrets = {key: self._stack.read_secret(ref) for key, ref in spec.secrets.items()}
        self._secrets = [value for value in secrets.values() if len(value) >= _SHORTEST_SECRET]
        for name, text in spec.files.items():
            _make_folder(Path(name).parent, user)
            write_private(Path(name), text, user)
        if spec.cwd:
            cwd = Path(spec.cwd)
            _make_folder(cwd, user)
        else:
            cwd = reachable_path(self._stack) if user else self._stack.run_path
        log = os.open(self.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            self._log_start = os.fstat(log).st_size
            return subprocess.Popen(
                spec.argv,
                env={**spec.environment, **secrets},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=user[0] if user else None,
                group=user[1] if user else None,
                extra_groups=[] if user else None,
                preexec_fn=self._on_birth(os.getpid()),  # noqa: PLW1509 - we have one thread
            )
        finally:
            os.close(log)

    def _on_birth(self, supervisor: int) -> Callable[[], None]:
        """Tie the new process to us, between fork and exec, when nobody else can yet.

        The guardian hears of it first. Should supervisor and guardian be killed in the same
        instant, Linux sends the leader its own stop signal: PostgreSQL shuts down instead of
        recovering, a server takes its workers along, which SIGKILL would leave behind.
        """
        number = _signal(self.spec)

        def tie() -> None:
            self._guardian.announce_self(number)
            if _libc:
                _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
            if os.getppid() != supervisor:
                os._exit(1)

        return tie

    def _user(self) -> tuple[int, int] | None:
        return nobody() if self.spec.run_as_nobody else None

    @property
    def log_file(self) -> Path:
        """Where its output goes."""
        return self._stack.logs_path / f"{self.spec.name}.log"

    # --- living ------------------------------------------------------------------------

    def step(self) -> None:
        """Look at the process once and draw the consequences."""
        if self._popen and self._popen.poll() is not None:
            self._on_exit(self._popen.returncode)
        if self.group and not self._popen:
            self._end_rest()
        elif self.state == "starting":
            self._probe_once()
        elif self.state == "stopping" and self.group and time.monotonic() > self._deadline:
            processes.kill(self.group)

    def _on_exit(self, code: int) -> None:
        was, self._popen, self._exit_code = self.state, None, code
        self._cancel_probe()
        if was == "stopping":
            return  # until the rest of its group has gone too
        if code == 0 and isinstance(self.spec.ready, ExitReady):
            self._failures, self._problem = 0, ""
            self._enter("exited")
        else:
            self._fail("backing-off", self._with_last_line(f"{_ended(code)}"))

    def _end_rest(self) -> None:
        """Kill what the leader left behind: it may hold the port the next attempt needs."""
        if self.group and processes.members(self.group):
            processes.kill(self.group)
        elif self.group:
            self._guardian.forget(self.group.pgid)
            self.group = None
            if self.state == "stopping":
                self._enter("stopped")

    def _probe_once(self) -> None:
        now = time.monotonic()
        if now > self._deadline and self._popen and self.group:
            seconds = f"{self.spec.ready_seconds:g}"
            self._problem = self._with_last_line(f"not ready after {seconds} s")
            self._log(f"{self.spec.name}: {self._problem}")
            processes.kill(self.group)
            self._deadline = float("inf")
        elif isinstance(self.spec.ready, ExitReady):
            return
        elif self._probe is None:
            if now >= self._next_probe:
                environment = dict(self.spec.environment)
                with contextlib.suppress(OSError):  # no process to be had: the next turn
                    self._probe = Probe(self.spec.ready, environment, self._user())
        elif (passed := self._probe.result()) is not None:
            self._probe = None
            waited = now - self._entered
            pause = _PROBE_SECONDS if waited < _PATIENCE_SECONDS else _SLOW_PROBE_SECONDS
            self._next_probe = now + pause
            if passed:
                self._problem = ""
                self._enter("ready")

    def _cancel_probe(self) -> None:
        if self._probe:
            self._probe.cancel()
            self._probe = None

    def _fail(self, state: ProcessState, problem: str) -> None:
        if self.state == "ready" and time.monotonic() - self._entered > _STEADY_SECONDS:
            self._failures = 0
        self._failures += 1
        pause = min(_FIRST_BACKOFF_SECONDS * 2 ** (self._failures - 1), _LONGEST_BACKOFF_SECONDS)
        self._deadline = time.monotonic() + pause
        timed_out = self.state == "starting" and self._problem.startswith("not ready after")
        self._problem = self._problem if timed_out else problem
        self._log(f"{self.spec.name}: {self._problem}; again in {pause:g} s")
        self._enter(state)

    def try_now(self) -> None:
        """Forget earlier failures: a person has run ``up`` again, perhaps after a repair."""
        if self.state in ("backing-off", "failed"):
            self._failures, self._deadline, self._exit_code = 0, 0.0, None
            self._enter("waiting" if self.gone else self.state)

    # --- stopping ----------------------------------------------------------------------

    def stop(self) -> None:
        """Ask the process to end; asking twice is harmless."""
        if self.state in ("stopping", "stopped"):
            return
        self._cancel_probe()
        if self._popen:
            self._deadline = time.monotonic() + self.spec.stop_seconds
            self._popen.send_signal(_signal(self.spec))
        self._enter("stopped" if self.gone else "stopping")

    # --- telling -----------------------------------------------------------------------

    def _enter(self, state: ProcessState) -> None:
        if state != self.state:
            self._log(f"{self.spec.name}: {state}")
        self.state, self._entered, self._since = state, time.monotonic(), time.time()

    def _with_last_line(self, what: str) -> str:
        """Add the last line that this attempt has written, without a secret in it."""
        text = b""
        with contextlib.suppress(OSError, StateError), self.log_file.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = self._log_start if self._log_start <= size else 0  # rotated meanwhile
            file.seek(max(start, size - _LAST_LINE_BYTES))
            text = file.read()
        lines = [line.strip() for line in text.decode(errors="replace").splitlines()]
        last = next((line for line in reversed(lines) if line), "")
        for secret in self._secrets:
            last = last.replace(secret, "***")
        return f"{what}: {last[:500]}" if last else what


def _ended(code: int) -> str:
    if code >= 0:
        return f"exited with {code}"
    try:
        return f"ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"


def _signal(spec: ProcessSpec) -> int:
    return int(signal.Signals[spec.stop_signal])


def _make_folder(path: Path, owner: tuple[int, int] | None) -> None:
    if not path.is_dir():
        _make_folder(path.parent, owner)
        path.mkdir(mode=0o700)
        if owner:
            os.chown(path, *owner)
