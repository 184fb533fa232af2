"""How to run a process, as data: what stand-ins ask for and the supervisor does.

A spec says everything that makes a running process right or wrong, so comparing two specs
tells whether a restart is needed. Secrets are named, never held: the supervisor reads their
values from owner-only files at the moment it starts the process.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class HttpReady:
    """Ready when a GET answers with a status under 400."""

    url: str
    host_header: str = ""
    kind: Literal["http"] = "http"


@dataclass(frozen=True)
class TcpReady:
    """Ready when a TCP connection to loopback opens."""

    port: int
    kind: Literal["tcp"] = "tcp"


@dataclass(frozen=True)
class CommandReady:
    """Ready when this command exits 0 (``pg_isready``); run with the process's own user."""

    argv: tuple[str, ...]
    kind: Literal["command"] = "command"


@dataclass(frozen=True)
class ExitReady:
    """A one-shot: ready when the process itself has exited with 0, and then not started again."""

    kind: Literal["exit"] = "exit"


Ready = HttpReady | TcpReady | CommandReady | ExitReady


@dataclass(frozen=True)
class ProcessSpec:
    """One process of the stack."""

    name: str
    """Unique in the stack and safe as a file name: ``backend``, ``tracking-1.serve``."""
    service: str
    """What ``trackstack logs`` filters by: ``backend``, ``tracking``, ``balancer``."""
    argv: tuple[str, ...]
    ready: Ready
    urn: str = ""
    """The resource that asked for it."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """The whole environment but for ``secrets``; nothing is inherited from the supervisor."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Variable to the name of a stored secret (``<name>`` or ``<name>#<json key>``)."""
    secrets_mark: str = ""
    """Changes when a secret's value did: a keyed hash, which tells nothing about the value."""
    cwd: str = ""
    """Working directory; made (0700) when missing. Empty: the stack's own run folder."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Absolute path to text, written owner-only before each start (a proxy's configuration)."""
    after: tuple[str, ...] = ()
    """Names of specs that must be ready first; when one of them restarts, so does this."""
    run_as_nobody: bool = False
    """When the supervisor is root, run as ``nobody`` (PostgreSQL refuses root)."""
    stop_signal: str = "SIGTERM"
    stop_seconds: float = 20.0
    """From the stop signal to SIGKILL of the group."""
    ready_seconds: float = 120.0
    """From start to ready, at the most; then the attempt counts as a crash."""

    def digest(self) -> str:
        """A hash of all that would change the running process."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Plain values for the state file; ``from_json`` reads them back."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> ProcessSpec:
        """Rebuild a spec that ``to_json`` made; KeyError or TypeError when it was not."""
        kinds = {"http": HttpReady, "tcp": TcpReady, "command": CommandReady, "exit": ExitReady}
        ready = dict(data["ready"])
        made = kinds[ready.pop("kind")](
            **{k: tuple(v) if isinstance(v, list) else v for k, v in ready.items()}
        )
        rest: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k != "ready"
        }
        return ProcessSpec(ready=made, **rest)
