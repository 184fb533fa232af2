"""A bucket that is private, encrypted and versioned before anybody is told its name."""

from collections.abc import Callable
from dataclasses import dataclass

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi_aws import s3


@dataclass(frozen=True)
class GuardedBucket:
    """A bucket and what guards it."""

    bucket: s3.Bucket
    versions: s3.BucketVersioning
    """A lifecycle of versions waits for them."""
    opts: ResourceOptions
    """Of the guards, and of whatever else is declared on the bucket."""
    name: Output[str]
    """Known once all guards stand."""
    arn: Output[str]
    """Known likewise."""


def guarded_bucket(
    parent: pulumi.ComponentResource,
    name: str,
    *,
    policy: tuple[str, Callable[[str], Input[str]]],
    key: Input[str] | None = None,
    expendable: bool = False,
) -> GuardedBucket:
    """A bucket with all that keeps its content from strangers and from accidents.

    Args:
        parent: whose children they are.
        name: the component's name.
        policy: what its policy is called, and the policy by the bucket's ARN.
        key: the KMS key that encrypts. None: S3's own.
        expendable: whether a destroy may take the content along.
    """
    # The guards, too: `pulumi destroy --skip-preview` is refused only when it comes to what is
    # protected, and would by then have left the content in a bucket without them.
    kept = ResourceOptions(parent=parent, protect=not expendable)
    bucket = s3.Bucket(f"{name}-bucket", force_destroy=expendable, opts=kept)
    private = s3.BucketPublicAccessBlock(
        f"{name}-private",
        bucket=bucket.id,
        block_public_acls=True,
        block_public_policy=True,
        ignore_public_acls=True,
        restrict_public_buckets=True,
        opts=kept,
    )
    owned = s3.BucketOwnershipControls(
        f"{name}-owned",
        bucket=bucket.id,
        rule={"object_ownership": "BucketOwnerEnforced"},
        opts=kept,
    )
    encrypted = s3.BucketServerSideEncryptionConfiguration(
        f"{name}-encrypted", bucket=bucket.id, rules=[_encryption(key)], opts=kept
    )
    versions = s3.BucketVersioning(
        f"{name}-versions",
        bucket=bucket.id,
        versioning_configuration={"status": "Enabled"},
        opts=kept,
    )
    called, statements = policy
    allowed = s3.BucketPolicy(
        f"{name}-{called}",
        bucket=bucket.id,
        policy=bucket.arn.apply(statements),
        # Two at once on one bucket: "OperationAborted: A conflicting conditional operation".
        opts=ResourceOptions.merge(kept, ResourceOptions(depends_on=[private])),
    )
    # Who is told the name waits: the first object is guarded like the last, and a balancer tries a
    # write before it takes a bucket for its logs.
    guards = (private, owned, encrypted, versions, allowed)
    ready = Output.all(bucket.bucket, bucket.arn, *[guard.id for guard in guards])
    return GuardedBucket(
        bucket=bucket,
        versions=versions,
        opts=kept,
        name=ready.apply(lambda v: str(v[0])),
        arn=ready.apply(lambda v: str(v[1])),
    )


def _encryption(key: Input[str] | None) -> s3.BucketServerSideEncryptionConfigurationRuleArgsDict:
    if key is None:
        return {"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}
    return {
        "apply_server_side_encryption_by_default": {
            "sse_algorithm": "aws:kms",
            "kms_master_key_id": key,
        },
        # One call to KMS for many objects: without it each file of a model is billed as one.
        "bucket_key_enabled": True,
    }
