"""Changes of a person's own files: shown first, then made whole, with nothing else touched."""

import contextlib
import difflib
import os
import re
import stat
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from trackstack.client.errors import ClientError
from trackstack.core.client_settings import SECRETS

_SECRET = re.compile(rf"({'|'.join(sorted(SECRETS))})(=|\s+)\S.*")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True)
class Change:
    """What becomes of one file; None stands for no file."""

    path: Path
    before: str | None
    after: str | None
    private: bool = False
    """It holds a secret: for its owner only, whatever it was before."""

    @property
    def does_something(self) -> bool:
        """Whether there is anything to write, or to close."""
        return self.before != self.after or (
            self.private and self.after is not None and is_for_others(self.path)
        )

    @property
    def diff(self) -> str:
        """What changes, as ``diff -u`` would show it; no secret's value is in it."""
        old, new = (_lines(text) for text in (self.before, self.after))
        name = str(self.path)
        names = (
            "/dev/null" if self.before is None else name,
            "/dev/null" if self.after is None else name,
        )
        text = "\n".join(difflib.unified_diff(old, new, *names, lineterm="", n=1))
        return _SECRET.sub(r"\1\2[secret]", text)

    def make(self) -> None:
        """Do it. A crash leaves the old file or the new one; a link stays a link.

        Raises:
            ClientError: the file can't be written.
        """
        target = self.path.resolve()
        try:
            if self.after is None:
                target.unlink(missing_ok=True)
            else:
                _replace(target, self.after, private=self.private)
        except OSError as error:
            raise ClientError(
                f"{self.path} can't be written: {error.strerror or error}."
            ) from error


def read(path: Path) -> str | None:
    """The file's text, byte for byte; None when there is no such file.

    Raises:
        ClientError: it is there and can't be read.
    """
    try:
        # Whatever encoding the rest of somebody's profile has, it is written back as it was.
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ClientError(f"{path} can't be read: {error.strerror or error}.") from error


def is_for_others(path: Path) -> bool:
    """Whether somebody but its owner gets at an existing file."""
    try:
        return bool(path.stat().st_mode & _OTHERS)
    except FileNotFoundError:
        return False


def shown(changes: Iterable[Change]) -> str:
    """All differences, one after the other."""
    return "\n".join(change.diff for change in changes if change.does_something)


def _lines(text: str | None) -> list[str]:
    # What isn't UTF-8 can't be printed as it is.
    return (text or "").encode("utf-8", "replace").decode("utf-8").splitlines()


def _replace(target: Path, text: str, *, private: bool) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        known = target.stat()
    except FileNotFoundError:
        known = None
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with open(  # noqa: PTH123 - a descriptor
            descriptor, "w", encoding="utf-8", errors="surrogateescape", newline=""
        ) as file:
            file.write(text)
            file.flush()
            if known is not None:
                mode = stat.S_IMODE(known.st_mode)
                os.fchmod(descriptor, mode & ~_OTHERS if private else mode)
                if (known.st_uid, known.st_gid) != (os.getuid(), os.getgid()):
                    os.fchown(descriptor, known.st_uid, known.st_gid)
            os.fsync(descriptor)
        Path(temporary).replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
