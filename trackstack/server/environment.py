"""Reading the environment: every missing or senseless variable is named at once."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trackstack.core import server_environment as names
from trackstack.server.problem import MISUSED, Refusal


@dataclass(frozen=True)
class Database:
    """Where the database is and who the server is there; no secret among it."""

    host: str
    port: int
    name: str
    user: str


@dataclass(frozen=True)
class Login:
    """What the server proves itself with to the database."""

    file: Path
    """Where libpq reads it on every new connection."""
    password: str | None = field(repr=False)
    """None: RDS tokens."""
    region: str
    """The region that tokens are made for; empty with a password."""


class Reader:
    """Collects what is wrong while it reads, so that one start shows all of it."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment
        self._missing: list[str] = []
        self._wrong: list[str] = []

    def text(self, name: str) -> str:
        """Return a variable that must be there."""
        value = self._environment.get(name, "")
        if not value:
            self._missing.append(name)
        return value

    def optional(self, name: str) -> str | None:
        """Return a variable, or None when it is absent or empty."""
        return self._environment.get(name) or None

    def flag(self, name: str) -> bool:
        """Return whether a variable says yes, in MLflow's spelling."""
        value = self._environment.get(name, "").strip().lower()
        if value not in {"", "0", "1", "false", "true"}:
            self._wrong.append(f"{name} must be true or false, it is {value!r}")
        return value in {"1", "true"}

    def number(self, name: str, default: int | None = None) -> int:
        """Return a whole number above zero."""
        value = self._environment.get(name, "")
        if not value and default is not None:
            return default
        if not value:
            self._missing.append(name)
            return 0
        if not value.isdecimal() or int(value) == 0:
            self._wrong.append(f"{name} must be a whole number above 0, it is {value!r}")
            return 0
        return int(value)

    def choice(self, name: str, allowed: Iterable[str]) -> str:
        """Return a variable that has one of a few values."""
        value = self.text(name)
        options = tuple(allowed)
        if value and value not in options:
            self._wrong.append(f"{name} must be {' or '.join(options)}, it is {value!r}")
        return value

    def database(self) -> Database:
        """Return the coordinates of the database."""
        return Database(
            host=self.text(names.DATABASE_HOST),
            port=self.number(names.DATABASE_PORT),
            name=self.text(names.DATABASE_NAME),
            user=self.text(names.DATABASE_USER),
        )

    def login(self) -> Login:
        """Return what the server proves itself with to the database."""
        file = Path(self.text(names.PASSWORD_FILE))
        auth = self.choice(names.DATABASE_AUTH, ("iam", "password"))
        return Login(
            file=file,
            password=self.text(names.DATABASE_PASSWORD) if auth == "password" else None,
            region=self.text("AWS_DEFAULT_REGION") if auth == "iam" else "",
        )

    def complain(self, sentence: str) -> None:
        """Add something wrong that only several variables together show."""
        self._wrong.append(sentence)

    def close(self, command: str) -> None:
        """Refuse with one sentence when anything was missing or wrong."""
        parts = [f"it lacks {', '.join(self._missing)}"] if self._missing else []
        if parts or self._wrong:
            what = "; ".join(parts + self._wrong)
            raise Refusal(f"{command} can't start with this environment: {what}.", MISUSED)
