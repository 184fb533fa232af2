"""Puts the evaluating half together: the monitor's answers from stand-ins and saved values."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trackstack.embedded import answers
from trackstack.embedded.monitor import Answer
from trackstack.embedded.project import Configuration, Project
from trackstack.embedded.record import Registered
from trackstack.embedded.standins import STAND_INS
from trackstack.embedded.standins.bucket import TYPE as BUCKET
from trackstack.embedded.standins.database import TYPE as DATABASE
from trackstack.embedded.state import StackState

_KEPT_NAMES = (BUCKET, DATABASE)


@dataclass(frozen=True)
class LiveHost:
    """Ports, secrets and names that are made once and kept: for ``up``."""

    state: StackState
    front_port: int | None = None
    """The port that the user chose for the front door; None: the saved one."""
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    """Registrations are answered by several threads; the state is one folder."""

    def port(self, key: str, prefer: int | None = None) -> int:
        """The saved port, allocated the first time."""
        with self._turn:
            if self.front_port and key.startswith("listener:"):
                saved = self.state.saved_ports()
                # Of several listeners the first is the front door; the others keep theirs.
                if key == next((k for k in saved if k.startswith("listener:")), key):
                    self.state.set_port(key, self.front_port)
            return self.state.port(key, prefer)

    def secret(self, name: str, make: Callable[[], str]) -> str | None:
        """The saved value, made the first time."""
        with self._turn:
            return self.state.secret(name, make)

    def name(self, registered: Registered, computed: str) -> str:
        """The physical name under which data was first stored; an alias keeps it."""
        with self._turn:
            kept = self.state.read_json("names.json") or {}
            for urn in (registered.urn, *registered.options.aliases):
                if urn in kept:
                    computed = kept[urn]
                    break
            if kept.get(registered.urn) != computed:
                self.state.write_json("names.json", {**kept, registered.urn: computed})
            return computed


@dataclass(frozen=True)
class PreviewHost:
    """What is saved, and nothing new: for ``preview`` and tests."""

    state: StackState | None = None

    def port(self, key: str, prefer: int | None = None) -> int:
        """The saved port, or what would be tried first."""
        saved = self.state.saved_ports() if self.state else {}
        return saved.get(key) or prefer or _shape_of_port(key)

    def secret(self, name: str, make: Callable[[], str]) -> str | None:
        """The saved value, or None: a preview makes no secret."""
        del make
        if self.state is None or name not in self.state.secret_names():
            return None
        return self.state.read_secret(name)

    def name(self, registered: Registered, computed: str) -> str:
        """The saved name, or the computed one."""
        kept = (self.state.read_json("names.json") or {}) if self.state else {}
        for urn in (registered.urn, *registered.options.aliases):
            if urn in kept:
                return str(kept[urn])
        return computed


def _shape_of_port(key: str) -> int:
    return 20_000 + int(answers.digits(key, 6), 16) % 10_000


class StackAnswers:
    """Answers of every type: the generic ones, then those of its stand-in."""

    def __init__(self, host: LiveHost | PreviewHost, region: str = answers.DEFAULT_REGION) -> None:
        self._host, self._region = host, region

    def resource(self, registered: Registered) -> Answer:
        """Id and outputs of a registration."""
        if registered.type in _KEPT_NAMES:
            key, computed = answers.physical_name(registered)
            if key not in registered.inputs:
                named = {**registered.inputs, key: self._host.name(registered, computed)}
                registered = replace(registered, inputs=named)
        answer = answers.generic(registered, self._region)
        played = STAND_INS.get(registered.type)
        if played is None:
            return answer
        return Answer(answer.id, {**answer.outputs, **played.answer(registered, self._host)})

    def look_up(self, token: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """The result of a provider function."""
        return answers.look_up(token, args, self._region)


def region_of(project: Project, configuration: Configuration) -> str:
    """The region that the stack's configuration names."""
    for key in (f"{project.name}:region", "aws:region"):
        if configuration.values.get(key):
            return configuration.values[key]
    return answers.DEFAULT_REGION
