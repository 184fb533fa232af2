"""A client's settings, written once: into a shell's profile, a user's systemd, or a CI job's file.

What is written stands between two marks, so that another join replaces it and ``--undo`` takes
out exactly it. Files that know no comments have no marks: there a line is ours by its name.
"""

import hashlib
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from trackstack.client.changes import Change, is_for_others, read
from trackstack.client.environment import render
from trackstack.client.errors import ClientError
from trackstack.core import client_settings as names

_BEGIN = "# >>> trackstack join >>>"
_BEGIN_AFTER_HALF_A_LINE = "# >>> trackstack join (the line above had no end) >>>"
_END = "# <<< trackstack join <<<"
_BLOCK = re.compile(
    rf"\n{re.escape(_BEGIN_AFTER_HALF_A_LINE)}\n(.*?)^{re.escape(_END)}\n"
    rf"|^{re.escape(_BEGIN)}\n(.*?)^{re.escape(_END)}\n",
    re.MULTILINE | re.DOTALL,
)
_NOTE = "# Written by `trackstack join`, which replaces it; `trackstack join --undo` removes it."
_OURS = frozenset(
    {*names.UPSTREAM, *names.UPSTREAM.values(), names.RETRIES, names.TIMEOUT},
)
"""Names whose lines are ours where there are no marks."""

SHELLS = ("bash", "zsh", "fish")
PLACES = (*SHELLS, "systemd", "dotenv", "github", "gitlab")
_FORMS = {"bash": "shell", "zsh": "shell", "systemd": "environment.d"}
_UNMARKED = frozenset({"github", "gitlab"})


class JoinError(ClientError):
    """It can't be joined as asked."""

    exit_code = 2


@dataclass(frozen=True)
class Place:
    """A file that gets settings, and where what must stay secret goes instead."""

    kind: str
    path: Path
    credentials: Path | None
    """A file for its owner only; None: the settings' own file has to be that."""

    @staticmethod
    def find(kind: str, file: Path | None, environment: Mapping[str, str], folder: Path) -> "Place":
        """The place of a kind: the file given, or the usual one.

        Args:
            kind: one of ``PLACES``; "" for the shell that runs.
            file: instead of the usual one.
            environment: whose HOME, SHELL and such decide.
            folder: where credentials of shells go.

        Raises:
            JoinError: there is no such kind, or no usual file of it.
        """
        kind = kind or Path(environment.get("SHELL", "")).name
        if kind not in PLACES:
            raise JoinError(
                f"There is no place {kind!r} to write settings to: say --into with one of"
                f" {', '.join(PLACES)}."
            )
        path = file.absolute() if file else _usual(kind, environment)
        if kind == "systemd":
            return Place(kind, path, path.with_name(f"{path.stem}-credentials.conf"))
        if kind in SHELLS:
            mark = hashlib.sha256(str(path).encode()).hexdigest()[:8]
            return Place(kind, path, folder / f"{kind}-{mark}")
        return Place(kind, path, None)

    @property
    def form(self) -> str:
        """The words it is written in."""
        return _FORMS.get(self.kind, self.kind)

    @property
    def hint(self) -> str:
        """What to do so that it holds now."""
        if self.kind in SHELLS:
            return f"New shells have it; in this one: source {shlex.quote(str(self.path))}"
        if self.kind == "systemd":
            return "Services started after `systemctl --user daemon-reload` have it."
        return ""


def joined(place: Place, variables: Mapping[str, str]) -> list[Change]:
    """What has to change so that the place hands out these variables.

    Raises:
        ClientError: the file can't be read, its marks are damaged, or it isn't the owner's only
            although a password would stand in it.
    """
    if any("\n" in value for value in variables.values()):
        raise JoinError("A value with a line break can't be written into a profile.")
    secret = {key: value for key, value in variables.items() if key in names.SECRETS}
    plain = {key: value for key, value in variables.items() if key not in secret}
    if place.credentials is None:
        plain = dict(variables)
        if secret and place.kind != "github" and is_for_others(place.path):
            raise JoinError(
                f"{place.path} can be read by others, and a password would stand in it:"
                f" chmod 600 {shlex.quote(str(place.path))}"
            )
    text = read(place.path)
    lines = render(plain, place.form).splitlines()
    if place.kind in _UNMARKED:
        kept = _of_others(text or "")
        kept += "\n" if kept and not kept.endswith("\n") else ""
        after = kept + "".join(f"{line}\n" for line in lines)
    else:
        if secret and place.kind in SHELLS:
            lines.append(_source(place))
        after = _with_block(place.path, text or "", lines)
    private = place.credentials is None and bool(secret)
    changes = [Change(place.path, text, after, private=private)]
    if place.credentials is not None:
        known = read(place.credentials)
        words = f"{render(secret, place.form)}\n" if secret else None
        changes.insert(0, Change(place.credentials, known, words, private=True))
    return changes


def undone(place: Place) -> list[Change]:
    """What has to change so that nothing of ours is left there; a file of ours alone goes.

    Raises:
        ClientError: the file can't be read, or its marks are damaged.
    """
    text = read(place.path)
    if text is None:
        after = None
    elif place.kind in _UNMARKED:
        # The job's own file stays, were it empty.
        after = _of_others(text) or (None if place.kind == "gitlab" else "")
    else:
        after = _without_block(place.path, text)
        if not after and after != text:
            after = None
    changes = [Change(place.path, text, after)]
    if place.credentials is not None:
        changes.append(Change(place.credentials, read(place.credentials), None, private=True))
    return changes


def _usual(kind: str, environment: Mapping[str, str]) -> Path:
    home = Path(environment.get("HOME") or Path.home())
    configuration = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    usual = {
        "bash": home / ".bashrc",
        "zsh": Path(environment.get("ZDOTDIR") or home) / ".zshrc",
        "fish": configuration / "fish" / "conf.d" / "trackstack.fish",
        "systemd": configuration / "environment.d" / "60-trackstack.conf",
    }
    if kind == "github" and environment.get("GITHUB_ENV"):
        return Path(environment["GITHUB_ENV"])
    if kind not in usual:
        where = "; outside of a job there is no $GITHUB_ENV" if kind == "github" else ""
        raise JoinError(f"Say which file: --into {kind} --file PATH{where}.")
    return usual[kind]


def _source(place: Place) -> str:
    file = shlex.quote(str(place.credentials))
    if place.kind == "fish":
        return f"if test -r {file}; source {file}; end"
    return f"if [ -r {file} ]; then . {file}; fi"


def _with_block(path: Path, text: str, lines: Iterable[str]) -> str:
    """The text with our block: in the place of the one it has, else at its end."""
    body = "".join(f"{line}\n" for line in (_NOTE, *lines))
    found = _only_block(path, text)
    if found is None:
        if text and not text.endswith("\n"):
            return f"{text}\n{_BEGIN_AFTER_HALF_A_LINE}\n{body}{_END}\n"
        return f"{text}{_BEGIN}\n{body}{_END}\n"
    number = 1 if found[1] is not None else 2
    return text[: found.start(number)] + body + text[found.end(number) :]


def _without_block(path: Path, text: str) -> str:
    found = _only_block(path, text)
    return text if found is None else text[: found.start()] + text[found.end() :]


def _only_block(path: Path, text: str) -> re.Match[str] | None:
    found = list(_BLOCK.finditer(text))
    marks = sum(line.startswith(_BEGIN[:20]) or line == _END for line in text.splitlines())
    if marks != 2 * len(found) or len(found) > 1:
        raise JoinError(
            f"{path} holds marks of `trackstack join` that don't belong together: remove the lines"
            f" that begin with {_BEGIN[:20]!r} and {_END[:20]!r}, and what is ours between them."
        )
    return found[0] if found else None


def _of_others(text: str) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if line.partition("=")[0] not in _OURS)
