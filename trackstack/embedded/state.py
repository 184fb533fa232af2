"""What a stack remembers between two commands: one owner-only folder of small files.

Ports and secrets can't be computed again, so each lives in a file of its own with a second
copy beside it; everything else can, so damage to it costs a sentence and a repeated ``up``.
Every file is replaced whole: a reader never sees half of one, only a disk or a person can
leave one behind. What processes write (data, logs) lies in the same folder; what PostgreSQL
writes when we are root lies where ``nobody`` gets to (``reachable_path``).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import pwd
import re
import socket
import stat
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

from trackstack.embedded.errors import ConvergeError

SUMMARY = "stack.json"
"""What the last whole ``up`` left: outputs, and the digests that the next one compares with."""
SIGN_IN_PASSWORD = "sign-in/password"  # noqa: S105 - the name of a stored secret
"""What the page that plays the identity provider asks for."""
_LOOPBACK = "127.0.0.1"
# Below Linux's (32768+) and macOS's (49152+) range for outgoing connections, so that a port
# saved today isn't some browser's end of a connection tomorrow.
_PORTS = range(20_000, 30_000)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LONGEST_FILE_NAME = 240
_REACHABLE_ROOT = Path("/var/lib/trackstack")


class StateError(ConvergeError):
    """Something about the saved state that a person has to know, in one sentence."""


class StateDamaged(UserWarning):
    """A file that couldn't be read was moved aside; the text says what was used instead."""


@dataclass
class StackState:
    """The saved state of one stack; where its processes come from is somebody else's decision.

    Opening makes nothing on the disk: the folder appears with the first thing to keep.
    """

    path: Path
    damaged: list[StateDamaged] = field(default_factory=list, compare=False)
    """What was found unreadable so far, for whoever talks to the user."""

    @classmethod
    def open(cls, project: str, stack: str) -> Self:
        """Give the stack's state below ``$TRACKSTACK_HOME``, whether anything is there or not."""
        for kind, name in (("project", project), ("stack", stack)):
            if not _NAME.fullmatch(name):
                raise StateError(
                    f"{kind} name {name!r} can't be a folder name: use letters, digits, '.', '_' "
                    "and '-', and begin with a letter or digit"
                )
        return cls(home() / project / stack)

    @classmethod
    def all(cls, project: str | None = None) -> list[Self]:
        """Give every stack that has saved something, of one project or of all."""
        found = (cls(path) for path in sorted(home().glob(f"{project or '*'}/*")))
        return [state for state in found if state.exists()]

    @property
    def project(self) -> str:
        """The Pulumi project's name."""
        return self.path.parent.name

    @property
    def stack(self) -> str:
        """The stack's name."""
        return self.path.name

    def exists(self) -> bool:
        """Tell whether an ``up`` has ever saved something here."""
        return any((self.path / n).exists() for n in ("ports.json", "wanted.json", "secrets"))

    # --- folders -----------------------------------------------------------------------

    @property
    def logs_path(self) -> Path:
        """Where every process's output goes, one file a process."""
        return self._folder("logs")

    @property
    def run_path(self) -> Path:
        """Working files of running processes; nothing here is worth keeping."""
        return self._folder("run")

    def data_path(self, urn: str, aliases: Sequence[str] = ()) -> Path:
        """Give the folder that holds a resource's data, made when new.

        It is kept by URN. A resource that was renamed with an alias finds its old folder,
        which from then on belongs to the new URN.
        """
        index = self._data_index()
        if urn not in index:
            old = next((alias for alias in aliases if alias in index), None)
            index[urn] = index.pop(old) if old else _folder_for(urn, set(index.values()))
            self.write_json("data.json", index)
        return self._folder("data", index[urn])

    def data_paths(self) -> dict[str, Path]:
        """Give every data folder by URN, those of resources that left the program included."""
        return {urn: self.path / "data" / name for urn, name in self._data_index().items()}

    def _data_index(self) -> dict[str, str]:
        index: dict[str, str] = self.read_json("data.json", _maps_to(str)) or {}
        return index

    def _folder(self, *parts: str) -> Path:
        path = self.path
        _make_private(path)
        for part in parts:
            path = path / part
            _make_private(path)
        return path

    # --- JSON files --------------------------------------------------------------------

    def read_json(
        self, name: str, valid: Callable[[Any], bool] = lambda value: isinstance(value, dict)
    ) -> Any:
        """Read an object; None when there is none, or none that can be read.

        A file cut in half is moved aside, told in ``damaged``, and its copy is used instead.
        """
        return self._read(self.path / name, valid)

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Replace the file whole, then its copy."""
        self._write(self.path / name, value)

    def _write(self, path: Path, value: Mapping[str, Any]) -> None:
        self._folder(*path.parent.relative_to(self.path).parts)
        text = json.dumps(value, indent=1, sort_keys=True) + "\n"
        write_private(path, text)
        write_private(_copy_of(path), text)

    def _read(self, path: Path, valid: Callable[[Any], bool]) -> Any:
        value, damage = _parse(path, valid)
        if value is not None:
            return value
        copy, copy_damage = _parse(_copy_of(path), valid)
        if damage:
            aside = _move_aside(path)
            outcome = "it starts empty" if copy is None else "its copy is used instead"
            self.damaged.append(
                StateDamaged(f"{path} {damage}; it was kept as {aside.name} and {outcome}")
            )
        if copy_damage:
            _move_aside(_copy_of(path))
        if copy is not None:
            with contextlib.suppress(StateError):  # a full disk mustn't cost the answer
                self._write(path, copy)
        return copy

    # --- ports -------------------------------------------------------------------------

    def saved_ports(self) -> dict[str, int]:
        """Give the ports allocated so far, by key."""
        ports: dict[str, int] = self.read_json("ports.json", _maps_to(int)) or {}
        return ports

    def set_port(self, key: str, port: int) -> None:
        """Save a port that somebody else chose."""
        self.write_json("ports.json", {**self.saved_ports(), key: port})

    def forget_port(self, key: str) -> None:
        """Let the next ``port`` choose anew, because somebody else has taken this one."""
        self.write_json("ports.json", {k: v for k, v in self.saved_ports().items() if k != key})

    def port(self, key: str, prefer: int | None = None) -> int:
        """Give the port saved under this key; the first time, choose a free one and save it.

        ``prefer`` and the few after it are tried first. No other stack of this home gets the
        port, running or not.
        """
        if (saved := self.saved_ports().get(key)) is not None:
            return saved
        _make_private(home_of(self))
        with FileLock(home_of(self) / "ports.lock").wait():
            mine = self.saved_ports()
            taken = self._ports_of_others() | set(mine.values())
            # Stable for a folder, spread over folders: a stack made anew gets its old ports, and
            # two homes that know nothing of each other seldom want the same.
            start = zlib.crc32(os.fsencode(self.path) + key.encode()) % len(_PORTS)
            row = (_PORTS[(start + step) % len(_PORTS)] for step in range(len(_PORTS)))
            first: Iterable[int] = range(prefer, prefer + 10) if prefer else ()
            candidates = (*first, *row)
            for port in candidates:
                if port not in taken and port_is_free(port):
                    self.write_json("ports.json", {**mine, key: port})
                    return port
        raise StateError(f"no free port between {_PORTS.start} and {_PORTS.stop} for {key}")

    def _ports_of_others(self) -> set[int]:
        """Read without repairing: another stack's files are its own business."""
        taken: set[int] = set()
        for path in home_of(self).glob("*/*/ports.json"):
            if path.parent == self.path:
                continue
            for file in (path, _copy_of(path)):
                value, _ = _parse(file, _maps_to(int))
                taken |= set((value or {}).values())
        return taken

    # --- secrets -----------------------------------------------------------------------

    def secret(self, name: str, make: Callable[[], str]) -> str:
        """Give a secret, made the first time and kept.

        When both of its copies are unreadable a new one is made, and ``damaged`` says so.
        """
        value = self._secret(name)
        if value is None:
            value = make()
            self.write_secret(name, value)
        return value

    def write_secret(self, name: str, value: str) -> None:
        """Keep a secret, replacing an older value."""
        # As JSON, because a bare password cut in half would look like a password.
        self._write(self._secret_path(name), {"value": value})

    def read_secret(self, ref: str) -> str:
        """Give the secret ``<name>``, or one key of a JSON secret, ``<name>#<key>``."""
        if (whole := self._secret(ref)) is not None:
            return whole
        name, mark, key = ref.rpartition("#")
        text = self._secret(name) if mark else None
        if text is None:
            raise StateError(f"the stack has no secret named {name or ref!r}")
        try:
            value = json.loads(text)[key]
        except (ValueError, KeyError, TypeError) as reason:
            # "from None": the text of a parse error quotes the secret.
            del reason
            raise StateError(f"the secret {name!r} has no key {key!r}") from None
        return value if isinstance(value, str) else json.dumps(value)

    def secret_names(self) -> list[str]:
        """Give the names of all secrets kept here."""
        files = (self.path / "secrets").glob("*")
        return sorted(unquote(f.name) for f in files if "." not in f.name)

    def _secret(self, name: str) -> str | None:
        stored = self._read(self._secret_path(name), _maps_to(str))
        return stored.get("value") if stored else None

    def _secret_path(self, name: str) -> Path:
        # Lower case and no dot: macOS's disks fold case, and ".bak" is ours.
        safe = re.sub(rb"[^a-z0-9_-]", lambda m: b"%%%02x" % m[0][0], name.encode()).decode()
        if not 0 < len(safe) <= _LONGEST_FILE_NAME:
            raise StateError(f"the secret name {name!r} is empty or too long for a file name")
        return self.path / "secrets" / safe

    # --- the whole ---------------------------------------------------------------------

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second command from changing this stack at the same time."""
        self._folder()
        lock = FileLock(self.path / "up.lock")
        if not lock.acquire():
            raise StateError(
                f"another command (pid {lock.signature() or 'unknown'}) is changing stack "
                f"{self.stack!r} right now: wait until it has finished, or end it"
            )
        lock.sign(str(os.getpid()))
        try:
            yield
        finally:
            lock.release()

    def delete_data(self) -> None:
        """Delete everything of this stack: data, secrets, ports, logs. The caller has asked."""
        supervisor = FileLock(self.path / "supervisor.lock")
        if self.path.exists() and not supervisor.acquire():
            pid = supervisor.signature().partition(" ")[0]
            raise StateError(
                f"stack {self.stack!r} is running (supervisor pid {pid or 'unknown'}): "
                "stop it before deleting its data"
            )
        for path in (_outside_path(self), self.path):
            _remove_tree(path)
        supervisor.release()
        with contextlib.suppress(OSError):  # other stacks of the project stay
            self.path.parent.rmdir()


class FileLock:
    """An flock that dies with its holder, and names it.

    Stale files don't matter: what counts is the kernel's lock, not that the file exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self, *, block: bool = False) -> bool:
        """Take the lock; False when another process has it and ``block`` is not asked for."""
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if block else fcntl.LOCK_NB))
                # A lock on a file that was deleted meanwhile excludes nobody.
                if os.path.samestat(os.fstat(descriptor), self.path.stat()):
                    self._descriptor = descriptor
                    return True
            except FileNotFoundError:
                pass
            except BlockingIOError:
                os.close(descriptor)
                return False
            os.close(descriptor)

    def sign(self, text: str) -> None:
        """Write who holds it into the file: in place, a new file would be a new lock."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text.encode(), 0)

    def release(self) -> None:
        """Give the lock back; doing so twice is harmless."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def intact(self) -> bool:
        """Tell whether the file we hold is still the one on the disk."""
        if self._descriptor is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._descriptor), self.path.stat())
        except OSError:
            return False

    def signature(self) -> str:
        """Give what the last holder wrote; it may have let go since."""
        try:
            return self.path.read_text()
        except (OSError, ValueError):
            return ""

    @contextlib.contextmanager
    def wait(self) -> Iterator[None]:
        """Hold the lock for a block, waiting for it as long as it takes."""
        self.acquire(block=True)
        try:
            yield
        finally:
            self.release()


def home() -> Path:
    """Give the folder of all stacks: ``$TRACKSTACK_HOME``, or the user's data directory."""
    if chosen := os.environ.get("TRACKSTACK_HOME"):
        return Path(chosen).expanduser().absolute()
    import platformdirs  # noqa: PLC0415 - the supervisor never needs it, and stays small

    return platformdirs.user_data_path("trackstack")


def home_of(state: StackState) -> Path:
    """Give the folder of all stacks that this one lies in."""
    return state.path.parent.parent


def port_is_free(port: int) -> bool:
    """Tell whether nobody listens on this loopback port."""
    with socket.socket() as probe:
        # Else a port whose last connection closed a minute ago counts as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, port))
        except OSError:
            return False
    with socket.socket() as probe:
        # macOS lets us bind beside a listener on 0.0.0.0; connecting tells.
        probe.settimeout(0.5)
        return probe.connect_ex((_LOOPBACK, port)) != 0


def nobody() -> tuple[int, int] | None:
    """Give nobody's user and group when we are root and have to step down, else None."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def reachable_path(state: StackState) -> Path:
    """Give a folder for data of a process with ``run_as_nobody``, made and owned by its user.

    PostgreSQL refuses to run as root, and root's home is closed to everybody else. Then its
    data lies in /var/lib/trackstack, under a name made from the state folder's; where a folder
    exists already it is used, whatever the permissions around it have become since.
    """
    owner = nobody()
    if owner is None:
        return state._folder("data")  # noqa: SLF001 - the same module
    outside, inside = _outside_path(state), state.path / "nobody"
    if outside.exists() or not (inside.exists() or _traversable(home_of(state).parent)):
        root, leaf = [outside.parent], outside
    else:
        root, leaf = [home_of(state), state.path.parent, state.path], inside
    for folder in root:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)
    leaf.mkdir(exist_ok=True)
    os.chown(leaf, *owner)
    leaf.chmod(0o700)
    return leaf


def _outside_path(state: StackState) -> Path:
    digest = hashlib.sha256(os.fsencode(state.path.absolute())).hexdigest()
    return _REACHABLE_ROOT / digest[:12]


def _traversable(path: Path) -> bool:
    for folder in (path, *path.parents):
        try:
            if not folder.stat().st_mode & stat.S_IXOTH:
                return False
        except FileNotFoundError:
            return False
    return True


def write_private(path: Path, text: str, owner: tuple[int, int] | None = None) -> None:
    """Replace a file whole, readable by its owner only; a crash leaves the old or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600
        )
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
            os.fchmod(descriptor, 0o600)
            if owner:
                os.fchown(descriptor, *owner)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise StateError(f"{path} can't be written: {error.strerror or error}") from error


def _make_private(path: Path) -> None:
    if not path.is_dir():
        try:
            if path.parent != path:  # mkdir(parents=True) would leave parents open to all
                _make_private(path.parent)
            path.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise StateError(f"{path} can't be made: {error.strerror or error}") from error


def _parse(path: Path, valid: Callable[[Any], bool]) -> tuple[Any, str]:
    """Give the value and what is wrong; a missing file is no damage."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, f"can't be read ({error.strerror or error})"
    except (ValueError, RecursionError):
        return None, "isn't whole"
    return (value, "") if valid(value) else (None, "doesn't hold what belongs there")


def _maps_to(kind: type) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, dict)
        and all(isinstance(v, kind) and not isinstance(v, bool) for v in value.values())
    )


def _copy_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.bak")


def _move_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    with contextlib.suppress(OSError):
        path.rename(aside)
    return aside


def _folder_for(urn: str, taken: set[str]) -> str:
    """Make a name a person recognises: ``instance-mlflow-db`` for an ``rds/instance``."""
    *_, kind, name = ["", *urn.split("::")][-2:]
    kind = kind.rpartition("$")[2].rpartition(":")[2] or "resource"
    plain = re.sub(r"[^a-z0-9_-]+", "-", f"{kind}-{name}".lower()).strip("-")[:80]
    digest = hashlib.sha256(urn.encode()).hexdigest()
    return plain if plain not in taken else f"{plain}-{digest[:8]}"


def _remove_tree(path: Path) -> None:
    import shutil  # noqa: PLC0415 - pulls in every compressor; the supervisor never deletes

    def forgive(_function: object, _path: object, info: Any) -> None:
        error = info[1] if isinstance(info, tuple) else info
        if error.errno != errno.ENOENT:
            raise StateError(f"{error.filename} can't be deleted: {error.strerror}")

    if path.exists():
        if sys.version_info >= (3, 12):
            shutil.rmtree(path, onexc=forgive)
        else:
            shutil.rmtree(path, onerror=forgive)
