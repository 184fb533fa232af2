"""What stand-ins share: whom they ask, what they see, and what they hand over."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from trackstack.embedded import wire
from trackstack.embedded.errors import ProgramError
from trackstack.embedded.record import Recording, Registered
from trackstack.embedded.specs import ProcessSpec

LOOPBACK = "127.0.0.1"


class Host(Protocol):
    """What this machine has saved for the stack; asked during evaluation, starts nothing."""

    def port(self, key: str, prefer: int | None = None) -> int:
        """The loopback port of this key, the same every time."""
        ...

    def secret(self, name: str, make: Callable[[], str]) -> str | None:
        """The kept value; made the first time, or None where nothing may be made (preview)."""
        ...


class Paths(Protocol):
    """Where things lie on this machine; asked when resources become processes."""

    def data(self, registered: Registered) -> Path:
        """The folder of a data resource, kept by its URN."""
        ...

    def run(self, name: str) -> Path:
        """A folder for sockets, spools and configuration that may be lost."""
        ...

    def server_environment(self) -> Path:
        """The Python environment made from the image's lock."""
        ...

    def server_app(self) -> Path:
        """The folder that stands for the image's APP_PATH."""
        ...

    def postgres_programs(self) -> Path:
        """The folder with ``postgres``, ``initdb`` and ``pg_isready``."""
        ...


@dataclass(frozen=True)
class Row:
    """One line of what had to be translated, for ``trackstack preview``."""

    what: str
    declared: str
    here: str


@dataclass
class Plan:
    """What the stack is on this machine: filled by the stand-ins, read by ``converge``."""

    recording: Recording
    host: Host
    paths: Paths
    processes: list[ProcessSpec] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    store_secrets: dict[str, str] = field(default_factory=dict)
    """Name (an ARN, or a name of ours) to value: what tasks are given by ``valueFrom``."""
    identities: dict[str, dict[str, str]] = field(default_factory=dict)
    """URN of a data resource to what must never change under its data."""
    public_urls: dict[str, str] = field(default_factory=dict)
    """URL as clients would know it on AWS to the URL here."""
    public_hosts: dict[str, str] = field(default_factory=dict)
    """Host name as declared to the host here."""
    certificate: Path | None = None
    """The local authority that signs the balancer's certificate, once it has started."""
    preview: bool = False
    """Nothing may be made: kept values may be missing."""
    prepare: list[tuple[str, Callable[[], bool]]] = field(default_factory=list)
    """Steps before processes start: a word for the progress tree, and what does it when need be.

    The step tells whether there was anything to do.
    """

    def translated(self, what: str, declared: str, here: str) -> str:
        """Note a translation once and return what holds here."""
        row = Row(what, declared, here)
        if row not in self.rows:
            self.rows.append(row)
        return here


def need(registered: Registered, name: str) -> Any:
    """The value of an input that a stand-in can't do without.

    Raises:
        ProgramError: it is missing or unknown; the sentence names property and resource.
    """
    value = registered.inputs.get(name)
    if wire.has_unknown(value):
        raise ProgramError(
            f"{registered.type} {registered.name!r} needs {name!r} to run here, but its value"
            " comes from a resource that has no stand-in on this machine: derive it from"
            " something else, or deploy with `pulumi up`."
        )
    if value is not None:
        return wire.reveal(value)
    raise ProgramError(f"{registered.type} {registered.name!r} must say {name!r} to run here.")


def known(registered: Registered, name: str, default: Any = None) -> Any:
    """An input when it is there and known, else the default."""
    value = registered.inputs.get(name)
    if value is None or wire.has_unknown(value):
        return default
    return wire.reveal(value)


class StandIn(Protocol):
    """Plays resource types on this machine."""

    @property
    def types(self) -> Sequence[str]:
        """The type tokens it plays."""
        ...

    def answer(self, registered: Registered, host: Host) -> Mapping[str, Any]:
        """Outputs beyond the generic ones; pure."""
        ...

    def plan(self, plan: Plan) -> None:
        """Add processes, data and translations for all resources of these types."""
        ...
