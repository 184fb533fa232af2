"""Ownership: whose it is, and which stack pays for it."""

from collections.abc import Iterator
from typing import Any

from policy.reading import UNKNOWN, Resource, structure
from policy.rule import LOW, MANDATORY, Config, Rules, listing

RULES = Rules()

# What costs money, holds data or grants something; other types can't have tags, or need none.
_OWNED = (
    "aws:cloudwatch/logGroup:LogGroup",
    "aws:cloudwatch/metricAlarm:MetricAlarm",
    "aws:ec2/eip:Eip",
    "aws:ec2/instance:Instance",
    "aws:ec2/natGateway:NatGateway",
    "aws:ec2/securityGroup:SecurityGroup",
    "aws:ec2/vpc:Vpc",
    "aws:ec2/vpcEndpoint:VpcEndpoint",
    "aws:ecr/repository:Repository",
    "aws:ecs/cluster:Cluster",
    "aws:ecs/service:Service",
    "aws:ecs/taskDefinition:TaskDefinition",
    "aws:efs/fileSystem:FileSystem",
    "aws:iam/role:Role",
    "aws:kms/key:Key",
    "aws:lambda/function:Function",
    "aws:lb/loadBalancer:LoadBalancer",
    "aws:rds/cluster:Cluster",
    "aws:rds/instance:Instance",
    "aws:s3/bucket:Bucket",
    "aws:s3/bucketV2:BucketV2",
    "aws:secretsmanager/secret:Secret",
    "aws:sns/topic:Topic",
    "aws:sqs/queue:Queue",
    "aws:wafv2/webAcl:WebAcl",
)


@RULES.about(
    *_OWNED,
    level=MANDATORY,
    severity=LOW,
    config={"tags": listing("Tags that everything must carry.", "owner", "project", "stack")},
)
def tags_missing(it: Resource, config: Config) -> Iterator[str]:
    """Everything says whose it is, by its own tags or by its provider's."""
    tags = {**_defaults(it), **_map(it.get("tags"))}
    if it.get("tags") is UNKNOWN or UNKNOWN in tags:
        return
    missing = [name for name in config["tags"] if tags.get(name, "") == ""]
    if missing:
        yield (
            f"it lacks the tags {', '.join(missing)}: put them into the provider's default_tags, so"
            " that nothing is left out."
        )


def _defaults(it: Resource) -> dict[Any, Any]:
    """The provider's default tags; a provider's inputs are JSON texts."""
    given = structure((it.provider or {}).get("defaultTags"))
    if given is UNKNOWN:
        return {UNKNOWN: ""}
    return _map(given.get("tags")) if isinstance(given, dict) else {}


def _map(value: Any) -> dict[Any, Any]:
    return {UNKNOWN: ""} if value is UNKNOWN else dict(value) if isinstance(value, dict) else {}
