"""Secrets Manager and the parameter store: files that only their owner can read."""

from collections.abc import Mapping
from typing import Any

from trackstack.embedded import wire
from trackstack.embedded.record import Registered
from trackstack.embedded.standins.base import Host, Plan, known

SECRET = "aws:secretsmanager/secret:Secret"  # noqa: S105 - a type token
VERSION = "aws:secretsmanager/secretVersion:SecretVersion"
PARAMETER = "aws:ssm/parameter:Parameter"


class SecretStore:
    """What a task gets by ``valueFrom``."""

    types = (SECRET, VERSION, PARAMETER)

    def answer(self, registered: Registered, host: Host) -> Mapping[str, Any]:
        """Nothing beyond ARN and name but the version that AWS counts."""
        del host
        return {"version": 1} if registered.type == PARAMETER else {}

    def plan(self, plan: Plan) -> None:
        """Keep every value that is known, under the ARN that tasks refer to."""
        for version in plan.recording.of_type(VERSION):
            value = version.inputs.get("secretString")
            if value is not None and not wire.has_unknown(value):
                plan.store_secrets[str(known(version, "secretId"))] = str(wire.reveal(value))
        for parameter in plan.recording.of_type(PARAMETER):
            value = parameter.inputs.get("value")
            if value is not None and not wire.has_unknown(value):
                plan.store_secrets[str(parameter.outputs["arn"])] = str(wire.reveal(value))
