"""The place that holds MLflow artifacts: models, figures, data.

Why a component: a bare ``s3.Bucket`` keeps no versions and answers plain HTTP, and an artifact
overwritten or read in transit cannot be trained again. Callers get the safe bucket without asking
and decide only what differs between environments. A bucket that somebody else keeps, on S3 or on
an S3-compatible server, takes the same place.
"""

from typing import NotRequired, TypedDict

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi_aws import s3

from components._buckets import guarded_bucket
from components._secrets import secret
from trackstack.core import policies

ABANDONED_UPLOAD_DAYS = 7


class EndpointArgs(TypedDict):
    """An S3-compatible server, such as MinIO."""

    url: Input[str]
    """Its address: scheme, host and port."""
    access_key_id: Input[str]
    """Access key that may read and write the bucket; a secret."""
    secret_access_key: Input[str]
    """Its secret key; a secret."""


class ArtifactStoreArgs(TypedDict):
    """What a caller decides about the place of the artifacts."""

    region: str
    """The region, which tells the partition of an existing bucket's ARN."""
    prefix: NotRequired[str]
    """Where in the bucket artifacts lie. Default: `runs`."""
    noncurrent_days: NotRequired[int]
    """Days that an overwritten or deleted artifact can be brought back. Default: 30."""
    tiering_days: NotRequired[int]
    """Days after which an artifact costs by how often it is read. Default, or 0: never."""
    log_bucket: NotRequired[Input[str]]
    """Bucket of the same region that receives the log of all requests. Default: no log."""
    existing_bucket: NotRequired[str]
    """Name of a bucket that somebody else keeps: its encryption, versions, policy, lifecycle and
    log are theirs. Default: a bucket is made."""
    endpoint: NotRequired[EndpointArgs]
    """The S3-compatible server that holds the existing bucket. Default: S3 itself."""
    kms_key_arn: NotRequired[Input[str]]
    """Key that encrypts the bucket that is made, and the secret. Default, or empty: S3's own."""
    expendable: NotRequired[bool]
    """Let a destroy take the runs along with the bucket. Default: the runs are kept."""


class ArtifactStore(pulumi.ComponentResource):
    """A private, versioned, TLS-only bucket for run artifacts, or an existing one in its place."""

    bucket: Output[str]
    """Its name, which carries a random suffix where the bucket was made here; known once its
    guards stand."""
    bucket_arn: Output[str]
    """Grant access with this; empty for a bucket that AWS doesn't hold; known likewise."""
    destination: Output[str]
    """What ``mlflow server --artifacts-destination`` takes: ``s3://<bucket>/<prefix>``."""
    endpoint_url: Output[str]
    """Address of the S3-compatible server; empty for S3 itself."""
    credentials_secret_arn: Output[str]
    """Secret with ``access_key_id`` and ``secret_access_key`` for the endpoint; empty for S3."""

    def __init__(
        self, name: str, args: ArtifactStoreArgs, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("trackstack:index:ArtifactStore", name, {**args}, opts)
        self.endpoint_url = Output.from_input("")
        self.credentials_secret_arn = Output.from_input("")

        existing = args.get("existing_bucket", "")
        endpoint = args.get("endpoint")
        if not existing:
            self.bucket, self.bucket_arn = self._make(name, args)
        else:
            self.bucket = Output.from_input(existing)
            partition = policies.partition_of(args["region"])
            arn = "" if endpoint else policies.bucket_arn(partition, existing)
            self.bucket_arn = Output.from_input(arn)
        if endpoint:
            self.endpoint_url = Output.from_input(endpoint["url"])
            self.credentials_secret_arn = self._keep_credentials(
                name, endpoint, args.get("kms_key_arn") or None
            )
        self.destination = Output.concat("s3://", self.bucket, "/", args.get("prefix", "runs"))
        self.register_outputs(
            {
                "bucket": self.bucket,
                "bucket_arn": self.bucket_arn,
                "destination": self.destination,
                "endpoint_url": self.endpoint_url,
                "credentials_secret_arn": self.credentials_secret_arn,
            }
        )

    def _make(self, name: str, args: ArtifactStoreArgs) -> tuple[Output[str], Output[str]]:
        made = guarded_bucket(
            self,
            name,
            policy=("tls-only", policies.tls_only),
            key=args.get("kms_key_arn") or None,
            expendable=args.get("expendable", False),
        )
        bucket, kept = made.bucket, made.opts
        s3.BucketLifecycleConfiguration(
            f"{name}-tidy",
            bucket=bucket.id,
            rules=[
                {
                    "id": "abandoned-uploads",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "abort_incomplete_multipart_upload": {
                        "days_after_initiation": ABANDONED_UPLOAD_DAYS
                    },
                },
                {
                    "id": "noncurrent-versions",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "noncurrent_version_expiration": {
                        "noncurrent_days": args.get("noncurrent_days", 30)
                    },
                    "expiration": {"expired_object_delete_marker": True},
                },
                *_tiering(args.get("tiering_days", 0)),
            ],
            opts=ResourceOptions.merge(kept, ResourceOptions(depends_on=[made.versions])),
        )
        # Costs nothing, and lets a rule react to an artifact without a change here.
        s3.BucketNotification(f"{name}-events", bucket=bucket.id, eventbridge=True, opts=kept)
        if "log_bucket" in args:
            s3.BucketLogging(
                f"{name}-requests",
                bucket=bucket.id,
                target_bucket=args["log_bucket"],
                target_prefix=Output.concat(policies.BUCKET_LOGS, "/", bucket.bucket, "/"),
                opts=kept,
            )
        return made.name, made.arn

    def _keep_credentials(
        self, name: str, endpoint: EndpointArgs, key: Input[str] | None
    ) -> Output[str]:
        value: Input[str] = Output.json_dumps(
            {
                "access_key_id": endpoint["access_key_id"],
                "secret_access_key": endpoint["secret_access_key"],
            }
        )
        return secret(
            self,
            f"{name}-credentials",
            "Access to the S3-compatible server that holds MLflow's artifacts",
            value,
            key=key,
        )


def _tiering(days: int) -> list[s3.BucketLifecycleConfigurationRuleArgsDict]:
    """Let S3 bill an artifact by how often it is read; nothing below 128 KiB is moved."""
    if not days:
        return []
    # Not Standard-IA: there a model that is loaded again costs by the gigabyte, and one that is
    # deleted within 30 days costs them all.
    return [
        {
            "id": "tiering",
            "status": "Enabled",
            "filter": {"prefix": ""},
            "transitions": [{"days": days, "storage_class": "INTELLIGENT_TIERING"}],
        }
    ]
