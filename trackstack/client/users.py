"""Who may log in: MLflow's users, asked and changed by its own REST API as the stack's admin."""

import secrets
import string
import urllib.error
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trackstack.client.errors import ClientError
from trackstack.client.server import Login, Server, said

_PATH = "/api/2.0/mlflow/users"
PASSWORD_LENGTH = 32
_ALPHABET = string.ascii_letters + string.digits


@dataclass(frozen=True)
class User:
    """Somebody who may log in."""

    name: str
    is_admin: bool


def new_password() -> str:
    """A password that nobody has to remember, without characters that a shell would take."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(PASSWORD_LENGTH))


class Users:
    """The users of one platform."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def list(self) -> list[User]:
        """All of them, by name."""
        found = self._ask("GET", "list")["users"]
        users = [User(str(one["username"]), bool(one["is_admin"])) for one in found]
        return sorted(users, key=lambda user: user.name)

    def add(self, login: Login, *, admin: bool) -> None:
        """Make a user who can log in by the login's password."""
        self._ask("POST", "create", {"username": login.username, "password": login.password})
        if admin:
            self.promote(login.username, admin=True)

    def promote(self, name: str, *, admin: bool) -> None:
        """Let a user do everything, or no longer."""
        self._ask("PATCH", "update-admin", {"username": name, "is_admin": admin})

    def rotate(self, login: Login) -> None:
        """Give a user another password; servers may take the old one for a minute more."""
        self._ask(
            "PATCH", "update-password", {"username": login.username, "password": login.password}
        )

    def remove(self, name: str) -> None:
        """Take a user away; the runs and models stay."""
        self._ask("DELETE", "delete", {"username": name})

    def _ask(self, method: str, verb: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        try:
            return self._server.ask(method, f"{_PATH}/{verb}", body)
        except urllib.error.HTTPError as error:
            # MLflow writes the statement that failed after the reason.
            reason = said(error).partition(" Error: ")[0].rstrip(".")
            raise ClientError(f"The platform says no ({error.code}): {reason}.") from None
        except (urllib.error.URLError, OSError, ValueError) as error:
            reason = str(getattr(error, "reason", "") or error)
            raise ClientError(f"{self._server.uri} does not answer: {reason}.") from None
