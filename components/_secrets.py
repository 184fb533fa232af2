"""A value in Secrets Manager, which nobody is told of before it is there."""

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi_aws import secretsmanager


def secret(
    parent: pulumi.ComponentResource,
    name: str,
    description: str,
    value: Input[str],
    *,
    key: Input[str] | None,
    recovery_days: int | None = None,
) -> Output[str]:
    """The ARN of a new secret, known once its value is kept.

    Args:
        parent: whose children secret and value are.
        name: what both are called.
        description: for people.
        value: a secret, even when the caller forgot to say so.
        key: the KMS key that encrypts. None: AWS's own.
        recovery_days: how long a deleted one can be brought back, 0 or 7 to 30. None: AWS's 30.
    """
    child = ResourceOptions(parent=parent)
    made = secretsmanager.Secret(
        name,
        description=description,
        kms_key_id=key,
        recovery_window_in_days=recovery_days,
        opts=child,
    )
    version = secretsmanager.SecretVersion(
        name, secret_id=made.id, secret_string=Output.secret(value), opts=child
    )
    # A task started before the value exists fails: who takes the ARN waits for both.
    return Output.all(made.arn, version.id).apply(lambda both: str(both[0]))
