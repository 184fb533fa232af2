"""The key that everything of one stack is encrypted with.

Why a component: a key without rotation, or one that anybody with ``kms:*`` may use for anything, is
a checkbox and no protection; one that is deleted takes every run and every backup along. Here the
policy lets the account administer it, AWS's services use it for whom IAM allows to, and nobody
decrypt with it directly; and a destroy leaves it be unless the runs were declared expendable.
"""

from typing import NotRequired, TypedDict

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi_aws import kms

from trackstack.core import policies

LONGEST_DELETION_DAYS = 30
SHORTEST_DELETION_DAYS = 7


class EncryptionKeyArgs(TypedDict):
    """What a caller decides about the key."""

    region: str
    """The region whose services may use it."""
    account_id: Input[str]
    """The account that administers it."""
    log_groups: NotRequired[list[str]]
    """Names of the log groups that it may encrypt; `*` stands for any text. Default: none."""
    topics: NotRequired[list[str]]
    """Names of the SNS topics that alarms may reach through it, likewise. Default: none."""
    expendable: NotRequired[bool]
    """Let a destroy take it along, and with it all that it encrypted. Default: it is kept."""


class EncryptionKey(pulumi.ComponentResource):
    """A symmetric key that AWS rotates every year and that only this account's services use."""

    key_arn: Output[str]
    """What other resources are encrypted with; known once the key has its policy."""

    def __init__(
        self, name: str, args: EncryptionKeyArgs, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("trackstack:index:EncryptionKey", name, {**args}, opts)
        expendable = args.get("expendable", False)
        region = args["region"]
        kept = ResourceOptions(parent=self, protect=not expendable)
        key = kms.Key(
            f"{name}-key",
            description=f"{pulumi.get_project()} {pulumi.get_stack()}: bucket, database and logs",
            enable_key_rotation=True,
            deletion_window_in_days=SHORTEST_DELETION_DAYS if expendable else LONGEST_DELETION_DAYS,
            policy=Output.from_input(args["account_id"]).apply(
                lambda account: policies.encryption_key(
                    policies.partition_of(region),
                    region,
                    account,
                    args.get("log_groups", []),
                    args.get("topics", []),
                )
            ),
            opts=kept,
        )
        kms.Alias(
            f"{name}-alias",
            name=f"alias/{pulumi.get_project()}-{pulumi.get_stack()}",
            target_key_id=key.key_id,
            opts=kept,
        )
        self.key_arn = key.arn
        self.register_outputs({"key_arn": self.key_arn})
