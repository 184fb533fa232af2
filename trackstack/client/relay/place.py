"""Where journals lie: one for each server and each relay that runs at the same time."""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from trackstack.client.errors import ClientError
from trackstack.client.filesystems import network_file_system
from trackstack.client.relay.journal import DEFAULT_LIMIT, BusyError, lock

_LIMIT = "TRACKSTACK_JOURNAL_BYTES"
_MOST = 100


@dataclass(frozen=True)
class Claim:
    """A journal's folder that is this process's until it ends."""

    folder: Path
    descriptor: int

    def release(self) -> None:
        """Leave it to others."""
        os.close(self.descriptor)


def root(environment: Mapping[str, str] = os.environ) -> Path:
    """``TRACKSTACK_JOURNAL``, else the user's data directory."""
    given = environment.get("TRACKSTACK_JOURNAL")
    return Path(given) if given else Path(platformdirs.user_data_dir("trackstack")) / "journal"


def limit(environment: Mapping[str, str] = os.environ) -> int:
    """Bytes that a journal may hold; ClientError for a senseless ``TRACKSTACK_JOURNAL_BYTES``."""
    given = environment.get(_LIMIT)
    if not given:
        return DEFAULT_LIMIT
    if not given.isdecimal() or int(given) == 0:
        raise ClientError(f"{_LIMIT} must be a number of bytes above 0, it is {given!r}.")
    return int(given)


def folders(below: Path) -> Iterator[Path]:
    """Every journal there is."""
    yield from sorted(file.parent for file in below.glob("*/*/journal.db"))


def claimed(uri: str, below: Path) -> Claim:
    """The first journal for a server that no other relay has; a new one if all are taken.

    Ids that a relay gave hold for ever, so the next one takes the journal of the last.

    Raises:
        ClientError: the folder lies on a network file system.
    """
    network = network_file_system(below)
    if network is not None:
        raise ClientError(
            f"The relay's journal can't lie on a network file system, and {below} is on {network}:"
            " set TRACKSTACK_JOURNAL to a folder on a local disk."
        )
    server = hashlib.sha256(uri.encode()).hexdigest()[:12]
    for number in range(_MOST):
        try:
            return claim(below / server / str(number))
        except BusyError:
            continue
    raise BusyError(f"{_MOST} relays have a journal in {below / server}: end some of them.")


def claim(folder: Path) -> Claim:
    """Take a journal's folder; BusyError when a relay or its supervisor has it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = lock(folder / "claim")
    try:
        # A relay that outlived its supervisor still has the journal.
        os.close(lock(folder / "lock"))
    except BusyError:
        os.close(descriptor)
        raise
    return Claim(folder, descriptor)


def held(folder: Path) -> bool:
    """Whether a relay has a journal at this moment; it may have ended in the next."""
    with contextlib.suppress(BusyError):
        claim(folder).release()
        return False
    return True


def service_token(below: Path) -> str:
    """The token of this user's relay service, made the first time; only the user can read it."""
    path = below / "token"
    below.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    token = secrets.token_urlsafe(24)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{token}\n")
    return token


__all__ = ["Claim", "claim", "claimed", "folders", "held", "limit", "root"]
