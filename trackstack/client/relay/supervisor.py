"""Holds the relay's socket and brings a killed relay back: a crash is a pause, nothing more."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trackstack.client.errors import ClientError
from trackstack.client.relay import place
from trackstack.client.relay.front import CONTROL
from trackstack.client.relay.journal import Journal
from trackstack.client.relay.process import FOLDER, SOCKET
from trackstack.client.relay.upstream import Address

_BACKLOG = 128
_START_SECONDS = 10.0
_PAUSE_SECONDS = 0.02
_STEADY_SECONDS = 5.0
_AT_ONCE = 10
"""How often a relay that keeps dying is started again without a longer pause: calls wait for it."""
_DOUBLINGS = 8
"""After that: up to 5 s."""


class Supervisor:
    """A relay on a port of loopback, kept alive until it is ended.

    Raises:
        ClientError: no server is named, or the journal can't be had.
    """

    def __init__(self, environment: Mapping[str, str], given: socket.socket | None = None) -> None:
        self._environment = environment
        self.address = Address.of(environment)
        place.limit(environment)
        self._claim = place.claimed(self.address.uri, place.root(environment))
        self.folder = self._claim.folder
        self._socket = given or listening(0)
        self.port: int = self._socket.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._tokens: dict[str, str] = {}

    @property
    def uri(self) -> str:
        """What clients are told."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the relay and wait until it serves; ClientError with its own words if not."""
        self._check()
        self._spawn()
        threading.Thread(target=self._keep, daemon=True).start()
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=1):  # noqa: S310
                    return
            except OSError:
                time.sleep(0.01)
        self.end()
        raise ClientError(f"The relay did not start within {_START_SECONDS:.0f} s.")

    def admit(self, session: str, token: str = "") -> str:
        """Let a training in; its token."""
        token = token or secrets.token_urlsafe(24)
        self._tokens[token] = session
        path = self.folder / "tokens.json"
        temporary = path.with_suffix(".new")
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(self._tokens))
        temporary.replace(path)
        return token

    def ask(self, what: str, token: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the relay of its state, or tell it that a training ended."""
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{self.uri}{CONTROL}{what}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            found: dict[str, Any] = json.loads(answer.read())
            return found

    def kill(self) -> None:
        """For tests: what a crash does."""
        with self._lock:
            if self._process is not None:
                self._process.send_signal(signal.SIGKILL)

    def end(self) -> None:
        """End the relay; what it wrote down stays."""
        self._ended.set()
        with self._lock:
            process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        (self.folder / "tokens.json").unlink(missing_ok=True)
        self._socket.close()
        self._claim.release()

    def _check(self) -> None:
        """Open the journal once, for whatever is wrong with it to be told here."""
        journal = Journal(self.folder, place.limit(self._environment))
        journal.set_about("server", self.address.uri)
        journal.close()

    def _spawn(self) -> None:
        with self._lock:
            if self._ended.is_set():
                return
            descriptor = self._socket.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "trackstack.client.relay.process"],
                env={
                    **self._environment,
                    SOCKET: str(descriptor),
                    FOLDER: str(self.folder),
                    "PYTHONPATH": os.pathsep.join(_path(self._environment)),
                },
                pass_fds=[descriptor],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is the training's; the relay ships its last words
            )

    def _keep(self) -> None:
        deaths = 0
        while not self._ended.is_set():
            with self._lock:
                process = self._process
            if process is None:
                return
            begun = time.monotonic()
            process.wait()
            deaths = 1 if time.monotonic() - begun > _STEADY_SECONDS else deaths + 1
            doublings = min(max(deaths - _AT_ONCE, 0), _DOUBLINGS)
            if self._ended.wait(_PAUSE_SECONDS * 2**doublings):
                return
            self._spawn()


def listening(port: int) -> socket.socket:
    """Listen on a port of loopback, 0 for any; ClientError when it is taken."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(("127.0.0.1", port))
    except OSError as problem:
        made.close()
        raise ClientError(
            f"Port {port} of this machine can't be used ({problem.strerror}): name another one by"
            " --port."
        ) from None
    made.listen(_BACKLOG)
    return made


def handed_over(environment: Mapping[str, str]) -> socket.socket | None:
    """The socket that systemd listens on for us (``sd_listen_fds(3)``); None without one."""
    if environment.get("LISTEN_PID") != str(os.getpid()) or environment.get("LISTEN_FDS") != "1":
        return None
    return socket.socket(fileno=3)


def _path(environment: Mapping[str, str]) -> list[str]:
    """The relay is this very package, wherever the training's own path leads."""
    here = str(Path(__file__).parents[3])
    given = environment.get("PYTHONPATH", "")
    return [here, given] if given else [here]


__all__ = ["Supervisor"]
