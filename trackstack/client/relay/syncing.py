"""``trackstack sync``: what relays left behind goes to its server, now."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from trackstack.client.relay import place
from trackstack.client.relay.journal import WAITING, BusyError, Journal, read_only
from trackstack.client.relay.reach import Reach
from trackstack.client.relay.shipping import Shipper
from trackstack.client.relay.upstream import Address, Upstream

HELD = "a relay has it and ships it"
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Left:
    """What a journal holds."""

    folder: Path
    server: str
    waiting: int
    refused: list[tuple[str, str, str]]
    """Whose write, its path, and what the server said."""
    note: str = ""
    """Why it was left alone, or why it did not get on."""

    @property
    def lines(self) -> str:
        """For people."""
        text = f"{self.folder}: {self.waiting} writes wait"
        text += f", {self.note}.\n" if self.note else ".\n"
        for whose, path, problem in self.refused:
            text += f"  refused: {path} of {whose}: {problem}\n"
        return text

    @property
    def plain(self) -> dict[str, object]:
        """For scripts."""
        names = ("whose", "path", "problem")
        return {
            "folder": str(self.folder),
            "server": self.server,
            "waiting": self.waiting,
            "refused": [dict(zip(names, one, strict=True)) for one in self.refused],
            "note": self.note,
        }


def kept(environment: Mapping[str, str]) -> Iterator[Left]:
    """What every journal of this user holds; nothing is shipped."""
    for folder in place.folders(place.root(environment)):
        with contextlib.closing(read_only(folder)) as database:
            ((waiting,),) = database.execute("SELECT count(*) FROM writes WHERE state = 0")
            refused = database.execute(
                "SELECT lane, path, problem FROM writes WHERE state = 2 ORDER BY seq"
            ).fetchall()
            about = dict(database.execute("SELECT name, value FROM about"))
        if waiting or refused:
            note = HELD if place.held(folder) else ""
            yield Left(folder, about.get("server", ""), waiting, refused, note)


def sync(
    environment: Mapping[str, str],
    progress: Callable[[Path, int], None],
    tell: Callable[[str], None],
    *,
    patience: float = 10.0,
    forget: bool = False,
) -> Iterator[Left]:
    """Ship what every journal of the server of ``MLFLOW_TRACKING_URI`` holds; what is left of each.

    Args:
        environment: MLflow's variables, and the journals' place.
        progress: told a journal and how much it holds, again and again.
        tell: told when the server goes away or comes back.
        patience: seconds without progress, the server being away or taking nothing, before a
            journal is left as it is.
        forget: what was refused for good is told this once more and then forgotten.

    Raises:
        ClientError: no server is named.
    """
    address = Address.of(environment)
    for folder in place.folders(place.root(environment)):
        try:
            claim = place.claim(folder)
        except BusyError:
            yield Left(folder, "", 0, [], HELD)
            continue
        try:
            journal = Journal(folder, place.limit(environment))
            try:
                server = journal.about("server") or ""
                if server == address.uri:
                    note = _ship(journal, address, progress, tell, patience)
                else:
                    note = f"it is for {server}: set MLFLOW_TRACKING_URI to that"
                yield _left(journal, note if journal.count(WAITING) else "")
                if forget and server == address.uri:
                    journal.forget_refused()
                    journal.tidy()
            finally:
                journal.close()
        finally:
            claim.release()


def _ship(
    journal: Journal,
    address: Address,
    progress: Callable[[Path, int], None],
    tell: Callable[[str], None],
    patience: float,
) -> str:
    if not journal.count(WAITING):
        journal.tidy()
        return ""
    upstream = Upstream(address)
    reach = Reach(upstream, tell)
    shipper = Shipper(journal, reach)
    threads = [threading.Thread(target=work) for work in (reach.watch, shipper.run)]
    for thread in threads:
        thread.start()
    last, moved = journal.count(WAITING), time.monotonic()
    try:
        while waiting := journal.count(WAITING):
            progress(journal.folder, waiting)
            if waiting != last:
                last, moved = waiting, time.monotonic()
            if time.monotonic() - moved > patience:
                if (away := reach.away) is not None:
                    return f"the server is away ({away.reason})"
                if why := shipper.stuck():
                    return f"the server does not take them now ({why})"
            time.sleep(_POLL_SECONDS)
        progress(journal.folder, 0)
        journal.tidy()
        return ""
    finally:
        reach.end()
        shipper.end()
        for thread in threads:
            thread.join()
        upstream.close()


def _left(journal: Journal, note: str = "") -> Left:
    server = journal.about("server") or ""
    return Left(journal.folder, server, journal.count(WAITING), journal.refusals(), note)
