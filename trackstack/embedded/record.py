"""What a program registered: typed, plain and independent of the protocol it arrived by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


class _Unknown:
    """The value of an output that only the real provider could tell (one instance)."""

    def __repr__(self) -> str:
        return "<unknown>"

    def __bool__(self) -> bool:
        return False


UNKNOWN: Final = _Unknown()


@dataclass(frozen=True)
class Secret:
    """A value the program marked secret; its text never shows it."""

    value: Any

    def __repr__(self) -> str:
        return "<secret>"


@dataclass(frozen=True)
class Options:
    """Resource options that change what an engine would do with a resource."""

    protect: bool = False
    retain_on_delete: bool = False
    delete_before_replace: bool = False
    ignore_changes: tuple[str, ...] = ()
    replace_on_changes: tuple[str, ...] = ()
    additional_secret_outputs: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    provider: str = ""


@dataclass(frozen=True)
class Registered:
    """One resource as the program declared it, and what the host answered."""

    urn: str
    type: str
    name: str
    custom: bool
    parent: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    id: str = ""
    dependencies: tuple[str, ...] = ()
    property_dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    options: Options = field(default_factory=Options)
    source: str = ""
    """``file:line`` in the program, where the protocol told it."""


@dataclass(frozen=True)
class Recording:
    """A whole evaluation: every registration in order, and the stack's outputs."""

    project: str
    stack: str
    resources: tuple[Registered, ...]
    outputs: Mapping[str, Any]
    component_outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """URN of a component to what it registered by ``register_outputs``."""
    invokes: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    warnings: tuple[str, ...] = ()

    def of_type(self, *types: str) -> tuple[Registered, ...]:
        """The resources of these types by URN: registration has another order in every run."""
        found = (one for one in self.resources if one.type in types)
        return tuple(sorted(found, key=lambda one: one.urn))

    def by_urn(self, urn: str) -> Registered:
        """The resource with this URN; KeyError when the program has none."""
        for r in self.resources:
            if r.urn == urn:
                return r
        raise KeyError(urn)
