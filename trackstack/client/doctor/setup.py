"""A client's set-up as MLflow's client reads it: variables, credentials, versions."""

import configparser
import dataclasses
import importlib.metadata
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trackstack.client.server import Login, Token
from trackstack.core.client_settings import (
    PASSWORD,
    TOKEN,
    TRACKING_URI,
    UPSTREAM,
    USERNAME,
    of_upstream,
)


@dataclass(frozen=True)
class SetUp:
    """Where somebody trains, and with which variables."""

    folder: Path
    """The working tree."""
    environment: Mapping[str, str] = field(repr=False)
    home: Path
    timeout: float = 10
    """Seconds that a step over the network may take."""
    stacks: Mapping[str, str] = field(default_factory=dict)
    """The stacks of this machine and their tracking URIs."""
    behind_relay: bool = False
    """Whether this is what a relay ships to, not what training itself logs to."""

    @property
    def tracking_uri(self) -> str | None:
        """The variable; None when it is unset."""
        return self.environment.get(TRACKING_URI)

    def login(self) -> Login | Token | None:
        """As whom MLflow asks: a user and password go before a token, variables before the file."""
        file = configparser.ConfigParser(interpolation=None)
        try:
            file.read(self.home / ".mlflow" / "credentials", encoding="utf-8")
            kept = dict(file["mlflow"]) if "mlflow" in file else {}
        except (configparser.Error, OSError, UnicodeError):
            kept = {}
        username = self.environment.get(USERNAME) or kept.get(USERNAME.lower())
        password = self.environment.get(PASSWORD) or kept.get(PASSWORD.lower())
        if username and password:
            return Login(username, password)
        token = self.environment.get(TOKEN)
        return Token(token) if token else None

    @property
    def signs_otherwise(self) -> str:
        """The variable by which MLflow proves who it is in a way that isn't known here."""
        for name in ("MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_TRACKING_AUTH"):
            if self.environment.get(name, "").lower() not in {"", "false", "0"}:
                return name
        return ""

    def take_variables(self, uri: str = "") -> str:
        """The command that sets what a client needs: for the stack at a URI, or whichever is here.

        A stack of this machine is named where ``trackstack env`` wouldn't take it by itself.
        """
        names = [name for name, its in self.stacks.items() if its.rstrip("/") == uri.rstrip("/")]
        names = names or ([] if "dev" in self.stacks else list(self.stacks)[:1])
        which = f" --stack {shlex.quote(names[0])}" if names and names[0] != "dev" else ""
        relay = " --relay" if self.behind_relay else ""
        return f'eval "$(trackstack env{which}{relay})"'

    def upstream(self) -> "SetUp | None":
        """What the relay ships to, as if one logged there oneself; None without a relay."""
        if not self.environment.get(UPSTREAM[TRACKING_URI]):
            return None
        others = {key: value for key, value in self.environment.items() if key not in UPSTREAM}
        there = {**others, **of_upstream(self.environment)}
        return dataclasses.replace(self, environment=there, behind_relay=True)

    def stack_at(self, uri: str) -> str:
        """The stack of this machine with that tracking URI."""
        return next((n for n, its in self.stacks.items() if its.rstrip("/") == uri), "")


def set_uri(uri: str) -> str:
    """The command that sets the tracking URI."""
    return f"export {TRACKING_URI}={shlex.quote(uri)}"


def version(text: str) -> tuple[int, int]:
    """Major and minor; zeros for what is no version."""
    numbers = [*text.split(".")[:2], "0", "0"]
    return (_number(numbers[0]), _number(numbers[1]))


def _number(text: str) -> int:
    digits = "".join(one for one in text if one.isdecimal())
    return int(digits) if digits else 0


def installed_mlflow() -> str:
    """The version of MLflow beside us, which isn't imported; empty when there is none."""
    for name in ("mlflow", "mlflow-skinny"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""
