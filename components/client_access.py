"""What a client must know, in one place that a role can be allowed to read.

Why a component: a CI job should learn the tracking URI, and the certificate that goes with it,
without seeing the stack's state. One SSM parameter under a name that can be guessed holds both,
and its name is the promise: ``/<project>/<stack>/client``. There is no secret in it.
"""

from typing import Any, NotRequired, TypedDict

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi_aws import ssm


class ClientAccessArgs(TypedDict):
    """What clients are told."""

    environment: Input[dict[str, str]]
    """Variables that a client exports; no secret among them."""
    certificate_pem: Input[str]
    """What clients must trust; empty when a public authority signed the platform's certificate."""
    tunnel: NotRequired[Input[dict[str, str]]]
    """What `trackstack tunnel` needs. Default: the stack has none."""
    credentials_secret_arn: NotRequired[Input[str]]
    """Secret with `username` and `password` for clients. Default: they need none."""


class ClientAccess(pulumi.ComponentResource):
    """The SSM parameter that ``trackstack env --from ssm`` reads."""

    parameter_name: Output[str]
    """Name of the parameter: ``/<project>/<stack>/client``."""
    parameter_arn: Output[str]
    """Allow a role to read it with this."""

    def __init__(
        self, name: str, args: ClientAccessArgs, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("trackstack:index:ClientAccess", name, {**args}, opts)

        told = Output.all(
            args["environment"],
            args["certificate_pem"],
            args.get("tunnel", {}),
            args.get("credentials_secret_arn", ""),
        ).apply(_told)
        parameter = ssm.Parameter(
            f"{name}-settings",
            name=f"/{pulumi.get_project()}/{pulumi.get_stack()}/client",
            description="How a client reaches MLflow",
            type="String",
            value=Output.json_dumps(told),
            opts=ResourceOptions(parent=self),
        )

        self.parameter_name = parameter.name
        self.parameter_arn = parameter.arn
        self.register_outputs(
            {"parameter_name": self.parameter_name, "parameter_arn": self.parameter_arn}
        )


def _told(known: list[Any]) -> dict[str, Any]:
    environment, certificate, tunnel, secret_arn = known
    return {
        **environment,
        "certificate": certificate,
        **({"tunnel": tunnel} if tunnel else {}),
        **({"credentials_secret_arn": secret_arn} if secret_arn else {}),
    }
