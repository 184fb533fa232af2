"""The naming standard of experiments: a pattern with placeholders, such as ``{team}/{model}``.

A placeholder says by its name what it takes: ``…version`` a version (1, 1.2, 1.2.0-rc.1),
``…date`` a date (2026-11-20), ``…number`` or ``…id`` digits, any other one word of letters, digits,
``_``, ``.`` and ``-``. A word never holds the character that comes after its placeholder, so a name
can be read in one way only, and in one pass.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

STANDARD_TAG = "trackstack.experiment_name_pattern"
"""Tag of the experiment ``Default`` by which a server tells its clients the standard: whoever has
no more than a tracking URI can read it."""
DEFAULT_EXPERIMENT = "Default"
"""MLflow makes it by itself; no standard holds for it."""
NAME_LENGTH = 500
"""MLflow's limit (``mlflow.utils.validation``)."""

_WORD_CHARACTERS = "_.-"
_VERSION_IN_TEXT = re.compile(r"\d+(?:\.\d+)*(?:-[0-9A-Za-z]+(?:\.[0-9A-Za-z]+)*)?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_EXAMPLES = {"version": "1.0", "date": "2026-11-20", "number": "7"}


@dataclass(frozen=True)
class _Part:
    """A literal text, or a placeholder when it has a kind."""

    text: str
    kind: str = ""
    after: str = ""
    """The character that comes after a placeholder; empty at the end."""

    @cached_property
    def expression(self) -> re.Pattern[str]:
        if not self.kind:
            return re.compile(re.escape(self.text))
        if self.kind == "number":
            return re.compile(r"\d+")
        if self.kind == "date":
            return _DATE
        if self.kind == "version":
            dots = "" if self.after == "." else r"(?:\.\d+)*"
            suffix = r"(?:-[0-9A-Za-z]+" + (r"(?:\.[0-9A-Za-z]+)*" if dots else "") + ")?"
            return re.compile(r"\d+" + dots + ("" if self.after == "-" else suffix))
        inner = "".join(re.escape(one) for one in _WORD_CHARACTERS if one != self.after)
        return re.compile(rf"[A-Za-z0-9]+(?:[{inner}]+[A-Za-z0-9]+)*")

    @property
    def wanted(self) -> str:
        """What has to stand there, in words."""
        if not self.kind:
            return repr(self.text)
        what = {
            "number": "digits",
            "date": "a date such as 2026-11-20",
            "version": "a version such as 1.2.0",
        }.get(self.kind, "letters or digits")
        return f"{what} for {{{self.text}}}"


class Standard:
    """A pattern that names are held against; ValueError with the rest of a sentence for a bad one.

    Args:
        pattern: literal text and ``{placeholders}``, such as ``{team}-{model}/v{model_version}``.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._parts = tuple(_parts(pattern))

    @property
    def placeholders(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(part.text for part in self._parts if part.kind)

    @property
    def example(self) -> str:
        """A name that keeps the standard."""
        return "".join(
            _EXAMPLES.get(part.kind, part.text.replace("_", "")) if part.kind else part.text
            for part in self._parts
        )

    def match(self, name: str) -> dict[str, str] | None:
        """What stands for each placeholder; None when the name breaks the standard."""
        found, at, broken = self._read(name)
        return found if broken is None and at == len(name) else None

    def why_not(self, name: str) -> str:
        """The rest of a sentence on where the name leaves the standard; empty when it keeps it."""
        if not 0 < len(name) <= NAME_LENGTH:
            return f"it has {len(name)} characters, and MLflow takes 1 to {NAME_LENGTH}"
        _, at, broken = self._read(name)
        if broken is None and at == len(name):
            return ""
        where = f"after {name[:at]!r}" if at else "at its beginning"
        if broken is None:
            return f"{where} it goes on with {name[at:]!r}, and {self.pattern} ends there"
        instead = f"stands {name[at:]!r}" if name[at:] else "is nothing"
        return f"{where} {instead} instead of {broken.wanted}"

    def suggest(self, name: str) -> str:
        """A name made of what the wrong one says; empty when it doesn't say enough."""
        rest = name
        values: dict[str, str] = {}
        for kind, expression in (("date", _DATE), ("version", _VERSION_IN_TEXT)):
            for part in (one for one in self._parts if one.kind == kind):
                found = list(expression.finditer(rest))
                if not found:
                    return ""
                # A version stands at the end of a name, mostly.
                values[part.text] = found[-1][0]
                before = re.sub(r"(?i)(?<![a-z])v(ersion)?[\s_.-]*$", "", rest[: found[-1].start()])
                rest = f"{before} {rest[found[-1].end() :]}"
        for literal in (one.text for one in self._parts if not one.kind):
            # What the standard writes by itself is no word of the name's own.
            for own in re.findall(r"[A-Za-z0-9]{2,}", literal):
                rest = re.sub(rf"(?i)(?<![a-z0-9]){own}(?![a-z0-9])", " ", rest)
        words = re.findall(r"[A-Za-z0-9]+", rest)
        free = [one for one in self._parts if one.kind in {"word", "number"}]
        if len(words) < len(free) or (words and not free):
            return ""
        for position, part in enumerate(free):
            last = position == len(free) - 1
            joined = "_".join(words[position:]) if last else words[position]
            values[part.text] = joined
        made = "".join(values[part.text] if part.kind else part.text for part in self._parts)
        return made if made != name and self.match(made) is not None else ""

    def sentence(self, name: str) -> str:
        """What is wrong with a name and what would be right; empty when nothing is."""
        why = self.why_not(name)
        if not why:
            return ""
        right = self.suggest(name)
        do = f"write {right!r}" if right else f"write one such as {self.example!r}"
        return f"{name!r} breaks the standard {self.pattern}: {why}; {do}."

    def breaking(self, names: Iterable[str]) -> dict[str, str]:
        """Each name that breaks the standard, with its sentence; ``Default`` is MLflow's own."""
        told = ((name, self.sentence(name)) for name in names if name != DEFAULT_EXPERIMENT)
        return {name: sentence for name, sentence in told if sentence}

    def _read(self, name: str) -> tuple[dict[str, str], int, _Part | None]:
        """Placeholders found, how far the name was read, and the part that isn't there."""
        at = 0
        found: dict[str, str] = {}
        for part in self._parts:
            here = part.expression.match(name, at)
            if here is None:
                return found, at, part
            if part.kind:
                found[part.text] = here[0]
            at = here.end()
        return found, at, None


def _parts(pattern: str) -> Iterator[_Part]:
    right = "write literal text and placeholders such as {team}-{model}/v{model_version}"
    if not pattern or len(pattern) > NAME_LENGTH:
        msg = f"{pattern!r} is no pattern; {right}."
        raise ValueError(msg)
    tokens = re.findall(r"\{([^{}]*)\}|([^{}]+)|([{}])", pattern)
    names: set[str] = set()
    for index, (name, literal, brace) in enumerate(tokens):
        if brace:
            msg = f"{pattern!r} has a lone {brace!r}; {right}."
            raise ValueError(msg)
        if literal:
            yield _Part(literal)
            continue
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            msg = f"{{{name}}} is no placeholder; name it by lowercase letters, digits and _."
            raise ValueError(msg)
        if name in names:
            msg = f"{{{name}}} stands in it twice; name each placeholder once."
            raise ValueError(msg)
        names.add(name)
        following = tokens[index + 1][1][:1] if index + 1 < len(tokens) else ""
        if (index + 1 < len(tokens) and not following) or following.isalnum():
            msg = f"where {{{name}}} ends can't be seen; write a character such as - or / after it."
            raise ValueError(msg)
        yield _Part(name, _kind(name), following)
    if not names:
        msg = f"{pattern!r} has no placeholder, so it would allow one name alone; {right}."
        raise ValueError(msg)


def _kind(name: str) -> str:
    last = name.rpartition("_")[2]
    return {"version": "version", "date": "date", "number": "number", "id": "number"}.get(
        last, "word"
    )
