"""The copying of every artifact into a bucket of another region.

Why a component: the rule, the role and both keys have to agree, and S3 reports a replication that
fails in no place where somebody looks. The copy is a bucket like the first, with versions of its
own; it follows deletions too, or it would keep for ever what somebody meant to delete, and brings
them back for as long as the first.
"""

from typing import NotRequired, TypedDict

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi_aws import iam, s3

from trackstack.core import policies


class ArtifactReplicationArgs(TypedDict):
    """What a caller decides about the copying."""

    bucket: Input[str]
    """Name of the versioned bucket that is copied."""
    bucket_arn: Input[str]
    """Its ARN."""
    replica_arn: Input[str]
    """ARN of the versioned bucket that it is copied to."""
    kms_key_arn: NotRequired[Input[str]]
    """Key of the first bucket. Default, or empty: S3's own."""
    replica_kms_key_arn: NotRequired[Input[str]]
    """Key of the second, in its region; needed with the first one. Default, or empty: S3's own."""
    permissions_boundary: NotRequired[str]
    """ARN of the policy that bounds the role. Default, or empty: none."""


class ArtifactReplication(pulumi.ComponentResource):
    """The rule by which S3 copies each new object; what lies there already isn't copied."""

    role_arn: Output[str]
    """Who copies."""

    def __init__(
        self, name: str, args: ArtifactReplicationArgs, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("trackstack:index:ArtifactReplication", name, {**args}, opts)
        child = ResourceOptions(parent=self)
        role = iam.Role(
            f"{name}-copy",
            description="Copies MLflow's artifacts to another region",
            assume_role_policy=policies.assumed_by_s3(),
            permissions_boundary=args.get("permissions_boundary") or None,
            opts=child,
        )
        grant = iam.RolePolicy(
            f"{name}-copy",
            role=role.id,
            policy=Output.all(
                args["bucket_arn"],
                args["replica_arn"],
                args.get("kms_key_arn", ""),
                args.get("replica_kms_key_arn", ""),
            ).apply(lambda v: policies.copy_objects(v[0], v[1], v[2], v[3])),
            opts=child,
        )
        rule: s3.BucketReplicationConfigRuleArgsDict = {
            "id": "everything",
            "status": "Enabled",
            "priority": 1,
            "filter": {"prefix": ""},
            "delete_marker_replication": {"status": "Enabled"},
            "destination": {"bucket": args["replica_arn"]},
        }
        if args.get("replica_kms_key_arn"):
            rule["source_selection_criteria"] = {"sse_kms_encrypted_objects": {"status": "Enabled"}}
            rule["destination"] = {
                "bucket": args["replica_arn"],
                "encryption_configuration": {"replica_kms_key_id": args["replica_kms_key_arn"]},
            }
        s3.BucketReplicationConfig(
            f"{name}-rule",
            bucket=args["bucket"],
            role=role.arn,
            rules=[rule],
            opts=ResourceOptions(parent=self, depends_on=[grant]),
        )
        self.role_arn = role.arn
        self.register_outputs({"role_arn": self.role_arn})
