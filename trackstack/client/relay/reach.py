"""Whether the server is there: one place that knows, so that no client waits to find out."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO

from trackstack.client.relay.upstream import ANSWER_SECONDS, Answer, AwayError, Upstream

PROBE_PATH = "/api/2.0/mlflow/experiments/search?max_results=1"
"""Asks the database, which ``/health`` doesn't."""
PROBE_SECONDS = 3.0
FIRST_SECONDS = 1.0
"""How long the first client waits to learn whether the server is there."""
LONGEST_PAUSE = 30.0
"""Seconds between two tries of a server that is away."""
_AWAY = frozenset({502, 503, 504})
_CREDENTIALS = frozenset({401, 403})


@dataclass(frozen=True)
class Away:
    """Since when, and why."""

    since: float
    reason: str


class Reach:
    """The server, and what is known of it. Safe in threads."""

    def __init__(self, upstream: Upstream, tell: Callable[[str], None]) -> None:
        self._upstream = upstream
        self._tell = tell
        self._lock = threading.Lock()
        self._known = threading.Event()
        self._back = threading.Event()
        self._pause = 0.5
        self._away: Away | None = None
        self._ended = threading.Event()

    @property
    def uri(self) -> str:
        """Of the server."""
        return self._upstream.address.uri

    @property
    def away(self) -> Away | None:
        """None: it answers, as far as is known. The first question waits for the first probe."""
        if not self._known.is_set():
            self._known.wait(FIRST_SECONDS)
            if not self._known.is_set():
                self._lost("no answer in time")
        return self._away

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | IO[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        seconds: float = ANSWER_SECONDS,
        into: IO[bytes] | None = None,
    ) -> Answer:
        """Ask the server unless it is known to be away.

        Raises:
            AwayError: it is, or just turned out to be.
        """
        away = self.away
        if away is not None:
            raise AwayError(away.reason)
        try:
            answer = self._upstream.ask(method, path, body, headers, seconds=seconds, into=into)
        except AwayError as problem:
            self._lost(str(problem))
            raise
        # A redirect leads to a page for signing in, or to another address than was given.
        if answer.status in _AWAY or 300 <= answer.status < 400:  # noqa: PLR2004
            self._lost(f"it answers {answer.status}")
            raise AwayError(f"it answers {answer.status}")
        if answer.status == 401:  # noqa: PLR2004
            self._lost("it refuses the credentials (401)")
            raise AwayError("it refuses the credentials (401)")
        return answer

    def watch(self) -> None:
        """Probe while the server is away, until `end`; the first time at once."""
        while not self._ended.is_set():
            if self._away is not None or not self._known.is_set():
                self._probe()
            if self._away is None:
                self._pause = 0.5
                self._ended.wait(0.2)
            else:
                self._ended.wait(self._pause)
                self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def wait(self, seconds: float) -> bool:
        """Wait for the server to be there; whether it is."""
        return self._back.wait(seconds)

    def end(self) -> None:
        """Let `watch` return."""
        self._ended.set()

    def _probe(self) -> None:
        try:
            answer = self._upstream.ask("GET", PROBE_PATH, seconds=PROBE_SECONDS)
        except AwayError as problem:
            self._lost(str(problem))
            return
        if answer.status in _CREDENTIALS:
            self._lost(f"it refuses the credentials ({answer.status})")
        elif not answer.ok:
            self._lost(f"it answers {answer.status}")
        else:
            self._found()

    def _lost(self, reason: str) -> None:
        with self._lock:
            first = self._away is None
            self._away = Away(time.time() if self._away is None else self._away.since, reason)
            self._known.set()
            self._back.clear()
        if first:
            self._tell(
                f"the tracking server {self.uri} is away ({reason}); logging goes on and is kept"
                " on this machine until it is back."
            )

    def _found(self) -> None:
        with self._lock:
            before = self._away
            self._away = None
            self._known.set()
            self._back.set()
        if before is not None:
            self._tell(
                f"the tracking server is back after {time.time() - before.since:.0f} s;"
                " what was kept is shipped."
            )
