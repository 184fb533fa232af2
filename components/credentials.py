"""What people and servers prove themselves with, made by the stack and kept in Secrets Manager.

Why a component: a password that somebody thinks up ends in a chat, and one that a program writes
into a task definition ends in its history. Here the admin's and the clients' passwords and the key
of the UI's forms come from chance; tasks are given them by reference, and an output says where they
are, never what they are. The secret is the truth: a deployment sets the server's users to it.
"""

from typing import NotRequired, TypedDict

import pulumi
import pulumi_random as random
from pulumi import Input, Output, ResourceOptions

from components._secrets import secret
from trackstack.core.access import ADMIN_USER, CLIENT_USER

PASSWORD_LENGTH = 32
"""Letters and digits: 190 bits, and nothing that a shell or a URL would take for itself."""
RECOVERY_DAYS = 7
"""How long Secrets Manager keeps what a destroy deleted; its own least, and its name is free."""


class CredentialsArgs(TypedDict):
    """What a caller decides about the stack's own credentials."""

    serial: NotRequired[int]
    """Another number makes new passwords. Default: 0."""
    kms_key_arn: NotRequired[Input[str]]
    """Key that the secrets are encrypted with. Default, or empty: AWS's own."""
    expendable: NotRequired[bool]
    """Let a destroy delete the secrets at once. Default: they can be brought back for a week."""


class Credentials(pulumi.ComponentResource):
    """Three secrets: the admin's, the clients', and the key of the UI's forms."""

    admin_secret_arn: Output[str]
    """Secret with ``username`` and ``password`` of who may do everything."""
    client_secret_arn: Output[str]
    """Secret with ``username`` and ``password`` for jobs: let their role read this one alone."""
    session_secret_arn: Output[str]
    """Secret that all servers share."""

    def __init__(
        self, name: str, args: CredentialsArgs, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("trackstack:index:Credentials", name, {**args}, opts)
        serial = {"serial": str(args.get("serial", 0))}
        self.admin_secret_arn = self._user(name, "admin", ADMIN_USER, args, serial)
        self.client_secret_arn = self._user(name, "client", CLIENT_USER, args, serial)
        session = self._chance(f"{name}-session", serial)
        self.session_secret_arn = self._secret(
            f"{name}-session", "What MLflow signs the forms of its UI with", session.result, args
        )
        self.register_outputs(
            {
                "admin_secret_arn": self.admin_secret_arn,
                "client_secret_arn": self.client_secret_arn,
                "session_secret_arn": self.session_secret_arn,
            }
        )

    def _user(
        self, name: str, role: str, user: str, args: CredentialsArgs, serial: dict[str, str]
    ) -> Output[str]:
        password = self._chance(f"{name}-{role}", serial)
        value: Output[str] = Output.json_dumps({"username": user, "password": password.result})
        return self._secret(f"{name}-{role}", f"MLflow's user {user}", value, args)

    def _chance(self, name: str, serial: dict[str, str]) -> random.RandomPassword:
        return random.RandomPassword(
            name,
            length=PASSWORD_LENGTH,
            special=False,
            keepers=serial,
            opts=ResourceOptions(parent=self),
        )

    def _secret(
        self, name: str, description: str, value: Input[str], args: CredentialsArgs
    ) -> Output[str]:
        return secret(
            self,
            name,
            description,
            value,
            key=args.get("kms_key_arn") or None,
            recovery_days=0 if args.get("expendable", False) else RECOVERY_DAYS,
        )
