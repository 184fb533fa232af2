"""Experiments that a stack file declares, and what is left to do so that a platform has them.

``trackstack bootstrap`` makes them; no resource on AWS knows of them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trackstack.core.naming import NAME_LENGTH

PERMISSIONS = {"read": "READ", "edit": "EDIT", "manage": "MANAGE", "none": "DENY"}
"""The stack file's words, those of ``default_permission``, to what MLflow calls a grant."""
OWN_TAGS = "trackstack."
TAG_KEY_LENGTH = 250
TAG_VALUE_LENGTH = 5000
"""MLflow's limits for an experiment's tags, of the oldest client that we support."""
_KEYS = frozenset({"tags", "permissions"})


@dataclass(frozen=True)
class Declared:
    """One experiment as the stack file wants it."""

    name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    permissions: Mapping[str, str] = field(default_factory=dict)
    """User to one of ``PERMISSIONS``."""

    @staticmethod
    def from_config(name: str, value: Any) -> "Declared":
        """Read one entry; ValueError with the rest of a sentence when it can't be."""
        if not 0 < len(name) <= NAME_LENGTH or name != name.strip():
            msg = f"{name!r} is no name; write 1 to {NAME_LENGTH} characters, no space at an end."
            raise ValueError(msg)
        value = {} if value is None else value
        if not isinstance(value, Mapping) or not _KEYS.issuperset(value):
            msg = f"{name!r} is more than tags and permissions; write those, or {{}} for neither."
            raise ValueError(msg)
        return Declared(
            name,
            _tags(name, value.get("tags") or {}),
            _permissions(name, value.get("permissions") or {}),
        )

    def to_json(self) -> dict[str, Any]:
        """As the stack file has it."""
        return {"tags": dict(self.tags), "permissions": dict(self.permissions)}


@dataclass(frozen=True)
class Change:
    """Something that a platform lacks; applying the same one twice does no harm."""

    what: str
    """``standard``, ``create``, ``restore``, ``tag`` or ``grant``."""
    experiment: str
    key: str = ""
    """The tag's key, or the user."""
    value: str = ""
    before: str | None = None
    """What stands there now; None: nothing."""

    @property
    def sentence(self) -> str:
        """What it does, for people."""
        instead = f" instead of {self.before!r}" if self.before else ""
        if self.what == "tag":
            return f"{self.experiment}: tag {self.key}={self.value!r}{instead}"
        if self.what == "grant":
            return f"{self.experiment}: {self.key} may {_may(self.value)}{instead}"
        if self.what == "standard":
            return f"naming standard: {self.value or 'none'}{instead}"
        return f"{self.experiment}: {self.what}d"


def _may(permission: str) -> str:
    return {"none": "do nothing"}.get(permission, permission)


@dataclass(frozen=True)
class Found:
    """An experiment as the platform has it."""

    deleted: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    permissions: Mapping[str, str] = field(default_factory=dict)
    """User to MLflow's word, as far as it was granted on this experiment by name."""


def changes(declared: Declared, found: Found | None) -> list[Change]:
    """What is left to do; tags and permissions that nobody declared stay as they are."""
    name = declared.name
    todo = []
    if found is None:
        todo.append(Change("create", name))
        found = Found()
    elif found.deleted:
        todo.append(Change("restore", name))
    for key, value in declared.tags.items():
        if found.tags.get(key) != value:
            todo.append(Change("tag", name, key, value, found.tags.get(key)))
    words = {mlflow: word for word, mlflow in PERMISSIONS.items()}
    for user, permission in declared.permissions.items():
        before = found.permissions.get(user)
        if before != PERMISSIONS[permission]:
            told = words.get(before, before) if before else None
            todo.append(Change("grant", name, user, permission, told))
    return todo


def _tags(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        msg = f"the tags of {name!r} are no map; write one `key: value` a line."
        raise ValueError(msg)  # noqa: TRY004 - a wrong setting is a ValueError
    for key, text in value.items():
        if not isinstance(text, str) or len(text) > TAG_VALUE_LENGTH:
            msg = (
                f"the tag {key!r} of {name!r} is no text; write at most {TAG_VALUE_LENGTH}"
                " characters, a number in quotes."
            )
            raise ValueError(msg)
        if not re.fullmatch(r"[\w.:/ -]+", key) or len(key) > TAG_KEY_LENGTH:
            msg = (
                f"{key!r} of {name!r} is no tag key; write at most {TAG_KEY_LENGTH} letters,"
                " digits, spaces and any of _ . : / -."
            )
            raise ValueError(msg)
        if key.startswith(OWN_TAGS):
            msg = f"the tag {key!r} of {name!r} is trackstack's own; choose another key."
            raise ValueError(msg)
    return dict(value)


def _permissions(name: str, value: Any) -> dict[str, str]:
    known = ", ".join(PERMISSIONS)
    if not isinstance(value, Mapping):
        msg = f"the permissions of {name!r} are no map; write one `user: permission` a line."
        raise ValueError(msg)  # noqa: TRY004 - a wrong setting is a ValueError
    for user, permission in value.items():
        if permission not in PERMISSIONS:
            msg = f"{permission!r} is no permission of {user!r} on {name!r}; write one of {known}."
            raise ValueError(msg)
        if not user or ":" in user:
            msg = f"{user!r} on {name!r} can't log in; write a user's name, without a colon."
            raise ValueError(msg)
    return dict(value)
