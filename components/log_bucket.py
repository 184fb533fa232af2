"""The one bucket that receives the platform's access logs.

Why a component: three services of AWS write logs, each asks for its own statement in the bucket's
policy, and one that is missing stops the delivery without a word, or the deployment of the
balancer with "Access Denied for bucket". Here the statements stand together, each service may
write below its own prefix only, and old logs leave by themselves.

Encryption is by S3's own keys on purpose: a balancer can't write into a bucket whose default is a
customer's key (https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html).
The bucket doesn't log its own requests: that would be logs about logs without an end.
"""

from typing import NotRequired, TypedDict

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi_aws import s3

from components._buckets import guarded_bucket
from trackstack.core import policies

NONCURRENT_DAYS = 7
"""How long a log that was deleted or overwritten can be brought back."""


class LogBucketArgs(TypedDict):
    """What a caller decides about the logs."""

    region: str
    """The region whose services write here; a balancer accepts no other."""
    account_id: Input[str]
    """The account whose services may write here."""
    access_log_days: NotRequired[int]
    """Days that a log is kept. Default: 90."""
    expendable: NotRequired[bool]
    """Let a destroy take the logs along with the bucket. Default: they are kept."""


class LogBucket(pulumi.ComponentResource):
    """A private, versioned, TLS-only bucket that AWS's log deliveries may write to."""

    bucket: Output[str]
    """Its name, known once the services may write to it."""
    bucket_arn: Output[str]
    """Its ARN, known once the services may write to it."""

    def __init__(self, name: str, args: LogBucketArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("trackstack:index:LogBucket", name, {**args}, opts)
        region = args["region"]
        made = guarded_bucket(
            self,
            name,
            policy=(
                "writers",
                lambda arn: Output.from_input(args["account_id"]).apply(
                    lambda account: policies.receive_logs(arn, region, account)
                ),
            ),
            expendable=args.get("expendable", False),
        )
        s3.BucketLifecycleConfiguration(
            f"{name}-tidy",
            bucket=made.bucket.id,
            rules=[
                {
                    "id": "old-logs",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "expiration": {"days": args.get("access_log_days", 90)},
                    "noncurrent_version_expiration": {"noncurrent_days": NONCURRENT_DAYS},
                    "abort_incomplete_multipart_upload": {"days_after_initiation": NONCURRENT_DAYS},
                },
                {
                    "id": "delete-markers",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "expiration": {"expired_object_delete_marker": True},
                },
            ],
            opts=ResourceOptions.merge(made.opts, ResourceOptions(depends_on=[made.versions])),
        )

        self.bucket = made.name
        self.bucket_arn = made.arn
        self.register_outputs({"bucket": self.bucket, "bucket_arn": self.bucket_arn})
