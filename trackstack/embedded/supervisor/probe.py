"""Readiness probes, each a short-lived process of its own.

A probe may hang as long as the server it asks. In a process it can hang alone: the supervisor
keeps one thread, which is what makes its forks safe, and TLS is loaded only where it is spoken.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from trackstack.embedded.specs import CommandReady, HttpReady, TcpReady
from trackstack.embedded.supervisor.guardian import fork

_TIMEOUT_SECONDS = 5.0
_BAD_STATUS = 400
_LOOPBACK = "127.0.0.1"


class Probe:
    """One attempt to find out whether a process is ready."""

    def __init__(
        self,
        ready: HttpReady | TcpReady | CommandReady,
        environment: dict[str, str],
        user: tuple[int, int] | None,
    ) -> None:
        self._deadline = time.monotonic() + _TIMEOUT_SECONDS
        self._pid = fork(_check(ready, environment, user))

    def result(self) -> bool | None:
        """Give the answer, or None as long as there is none."""
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid:
            return status == 0
        if time.monotonic() > self._deadline:
            self.cancel()
            return False
        return None

    def cancel(self) -> None:
        """End a probe that nobody waits for any more."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


def _check(
    ready: HttpReady | TcpReady | CommandReady,
    environment: dict[str, str],
    user: tuple[int, int] | None,
) -> Callable[[], int]:
    match ready:
        case HttpReady():
            return lambda: _http(ready)
        case TcpReady():
            return lambda: _tcp(ready)
        case CommandReady():
            return lambda: _command(ready, environment, user)


def _http(ready: HttpReady) -> int:
    url = urlsplit(ready.url)
    host = url.hostname or _LOOPBACK
    port = url.port or (443 if url.scheme == "https" else 80)
    connection = http.client.HTTPConnection(host, port)
    try:
        connection.sock = socket.create_connection((host, port), _TIMEOUT_SECONDS)
        if url.scheme == "https":
            import ssl  # noqa: PLC0415 - 5 MB, and only in this short-lived process

            # Whether it answers is the question here, not whether it is trusted.
            context = ssl._create_unverified_context()  # noqa: S323, SLF001
            # The server picks its certificate by this name.
            name = ready.host_header.partition(":")[0] or host
            connection.sock = context.wrap_socket(connection.sock, server_hostname=name)
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        headers = {"Host": ready.host_header} if ready.host_header else {}
        connection.request("GET", target, headers=headers)
        return 0 if connection.getresponse().status < _BAD_STATUS else 1
    except (OSError, http.client.HTTPException):
        return 1


def _tcp(ready: TcpReady) -> int:
    with socket.socket() as probe:
        probe.settimeout(_TIMEOUT_SECONDS)
        return 1 if probe.connect_ex((_LOOPBACK, ready.port)) else 0


def _command(ready: CommandReady, environment: dict[str, str], user: tuple[int, int] | None) -> int:
    quiet = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(quiet, descriptor)
    if user:
        os.setgroups([])
        os.setgid(user[1])
        os.setuid(user[0])
    try:
        os.execvpe(ready.argv[0], ready.argv, environment)  # noqa: S606 - an argv list
    except OSError:
        return 127
