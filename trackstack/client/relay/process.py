"""The relay itself: ``python -m trackstack.client.relay.process``, started by its supervisor.

It serves on a socket that it inherits, so that a killed relay is a pause for its clients: their
connections wait in the socket's queue for the next one.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from trackstack.client.errors import ClientError
from trackstack.client.relay import place
from trackstack.client.relay.api import Desk
from trackstack.client.relay.front import Front, Service
from trackstack.client.relay.journal import Journal
from trackstack.client.relay.reach import Reach
from trackstack.client.relay.shipping import Shipper
from trackstack.client.relay.upstream import Address, Upstream

TOKEN = "TRACKSTACK_RELAY_TOKEN"  # noqa: S105 - its variable's name
SOCKET = "TRACKSTACK_RELAY_SOCKET"
"""Number of the inherited descriptor."""
FOLDER = "TRACKSTACK_RELAY_FOLDER"
"""Of the journal that the supervisor chose."""
_SWITCH_SECONDS = 0.0005
_LAST_SECONDS = 5.0
_ORPHAN_SECONDS = 24 * 3600.0
"""How long nobody may log before a relay without a supervisor ends: an epoch may take hours."""


class Relay:
    """Journal, front and shipping together."""

    def __init__(self, journal: Journal, address: Address, listening: socket.socket) -> None:
        self.journal = journal
        self.reach = Reach(Upstream(address), _tell)
        self.shipper = Shipper(journal, self.reach)
        self.service = Service(Desk(journal, self.reach, self.shipper.flush), self.shipper.stuck)
        self.front = Front(listening, self.service, self._tokens)
        self._read: tuple[float, dict[str, str]] = (0.0, {})
        self._shipping = threading.Thread(target=self.shipper.run, daemon=True)

    def start(self) -> None:
        """Serve and ship in threads."""
        self._shipping.start()
        for work in (self.reach.watch, self.front.serve_forever):
            threading.Thread(target=work, daemon=True).start()

    def end(self) -> None:
        """Stop serving, finish what is under way, let go of the journal."""
        self.front.ending = True
        self.front.shutdown()
        self.reach.end()
        self.shipper.end()
        self._shipping.join(_LAST_SECONDS)
        self.journal.close()

    def _tokens(self) -> Mapping[str, str]:
        """Token → session; the file is the supervisor's, and owner-only."""
        path = self.journal.folder / "tokens.json"
        with contextlib.suppress(OSError, ValueError):
            changed = path.stat().st_mtime
            if changed != self._read[0]:
                self._read = (changed, json.loads(path.read_text()))
        return self._read[1]


def main() -> None:
    """Serve until the supervisor ends it."""
    sys.setswitchinterval(_SWITCH_SECONDS)  # a batch being parsed holds no client up for 5 ms
    environment = os.environ
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        address = Address.of(environment)
        journal = Journal(Path(environment[FOLDER]), place.limit(environment))
    except ClientError as problem:
        _tell(str(problem))
        sys.exit(problem.exit_code)
    listening = socket.socket(fileno=int(environment[SOCKET]))
    relay = Relay(journal, address, listening)
    relay.start()
    supervisor = os.getppid()
    while not ended.wait(0.5):
        if os.getppid() != supervisor and _is_forgotten(relay):
            break
    relay.end()


def _is_forgotten(relay: Relay) -> bool:
    """Without a supervisor it goes on for the training that may still run, and ends after it."""
    return time.monotonic() - relay.front.last_asked > _ORPHAN_SECONDS


def _tell(sentence: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"trackstack: {sentence}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    main()
