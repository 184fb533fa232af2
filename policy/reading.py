"""Resources as rules read them: plain values, and a word for what nobody knows yet.

pulumi-policy raises when a rule touches a value that a preview can't know, and reports the rule as
one that couldn't run. A rule that looks at several properties would be lost with the first; here an
unknown is a value of its own, and every question about it is answered in favour of the resource.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pulumi_policy.proxy import UnknownValueError


class _Unknown:
    """A value that only the deployment will tell (one instance)."""

    def __repr__(self) -> str:
        return "<unknown>"

    def __bool__(self) -> bool:
        return False


UNKNOWN: Final = _Unknown()


def plain(value: Any) -> Any:
    """The value without pulumi-policy's proxies; unknowns, at any depth, are ``UNKNOWN``."""
    if isinstance(value, Mapping):
        return {key: _item(value, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_item(value, index) for index in range(len(value))]
    return value


def _item(value: Any, key: Any) -> Any:
    try:
        return plain(value[key])
    except UnknownValueError:
        return UNKNOWN


@dataclass(frozen=True)
class Resource:
    """One resource, as an engine or ``trackstack preview`` tells of it."""

    type: str
    name: str
    urn: str
    props: Mapping[str, Any]
    protect: bool = False
    provider: Mapping[str, Any] | None = None
    """Inputs of its provider; None where none is known."""
    depends: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Property to the URNs that its value comes from; only rules over a whole stack have it."""

    @property
    def stack(self) -> str:
        """Name of the stack, which every URN begins with."""
        return self.urn.removeprefix("urn:pulumi:").partition("::")[0]

    def get(self, key: str) -> Any:
        """A property's value, ``UNKNOWN``, or None where it was left out."""
        return self.props.get(key)

    def text(self, key: str) -> str:
        """A property's text; empty where it is unknown or was left out."""
        return text(self.props.get(key))

    def off(self, key: str) -> bool:
        """Whether it is certain that this switch is not on."""
        return off(self.props.get(key))


@dataclass(frozen=True)
class Stack:
    """All resources of a stack, and how they point at each other."""

    resources: tuple[Resource, ...]

    def of(self, *types: str) -> Iterator[Resource]:
        """The resources of these types."""
        return (one for one in self.resources if one.type in types)

    def pointing_at(self, target: Resource, key: str, *types: str) -> list[Resource]:
        """The resources of these types whose property ``key`` is, or comes from, the target."""
        return [one for one in self.of(*types) if _points(one, key, target)]


def _points(one: Resource, key: str, target: Resource) -> bool:
    if target.urn in one.depends.get(key, ()):
        return True
    named = {target.text(name) for name in ("id", "arn", "bucket", "name")} - {""}
    return one.text(key) in named


def text(value: Any) -> str:
    """A known text; else empty."""
    return value if isinstance(value, str) else ""


def off(value: Any) -> bool:
    """Whether it is certain that a switch is not on; left out counts as off."""
    return value is not UNKNOWN and value is not True and value != "true"


def on(value: Any) -> bool:
    """Whether it is certain that a switch is on."""
    return value is True or value == "true"


def number(value: Any) -> int | None:
    """A known whole number; the protocol carries every number as a float."""
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def listed(value: Any) -> list[Any]:
    """A list of what is written as one value or as several; empty where it is unknown."""
    if value is None or value is UNKNOWN:
        return []
    return list(value) if isinstance(value, list) else [value]


def structure(value: Any) -> Any:
    """What a JSON text says, or the value itself; ``UNKNOWN`` where it can't be read."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return UNKNOWN
