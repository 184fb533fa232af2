"""The converter: what Terraform would call it, and what refers to what."""

import json
from collections.abc import Callable
from typing import Any

import pulumi_aws
import pytest
from pulumi import Output, ResourceOptions
from pulumi_aws import ecs, glacier, kms, lb, s3

from tests.scanner.plan import plan_of
from trackstack.embedded.record import Recording

Record = Callable[..., Recording]


def by_aws() -> ResourceOptions:
    return ResourceOptions(provider=pulumi_aws.Provider("aws", region="eu-west-1"))


def resource(plan: Any, part: str, address: str) -> Any:
    holder = {"values": "planned_values", "expressions": "configuration"}[part]
    (found,) = [
        one
        for one in plan.document[holder]["root_module"]["resources"]
        if one["address"] == address
    ]
    return found[part]


@pytest.mark.parametrize("stack", ["dev", "staging", "prod"])
def test_every_aws_resource_of_a_stack_is_rendered_or_listed(
    evaluate: Callable[[str], Recording], stack: str
) -> None:
    recording = evaluate(stack)
    declared = {one.urn for one in recording.resources if one.type.startswith("aws:")}
    plan = plan_of(recording)
    rendered = {one.urn for one in plan.resources.values()}
    assert rendered | set(plan.not_rendered) == declared
    assert not rendered & set(plan.not_rendered)
    assert len(rendered) >= 0.95 * len(declared), plan.not_rendered
    json.dumps(plan.document)


def test_a_type_that_the_table_lacks_is_listed(record: Record) -> None:
    def program() -> None:
        opts = by_aws()
        glacier.Vault("ice", name="ice", opts=opts)

    plan = plan_of(record(program))
    assert plan.resources == {}
    assert [urn.rpartition("::")[2] for urn in plan.not_rendered] == ["ice"]


def test_names_blocks_and_maps_are_terraforms(record: Record) -> None:
    def program() -> None:
        opts = by_aws()
        lb.TargetGroup(
            "servers",
            target_type="ip",
            vpc_id="vpc-1",
            port=5000,
            protocol="HTTP",
            health_check={"path": "/health", "healthy_threshold": 2},
            tags={"costCentre": "ml"},
            opts=opts,
        )
        s3.BucketLifecycleConfiguration(
            "tidy",
            bucket="b",
            rules=[
                {
                    "id": "old",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "transitions": [{"days": 30, "storage_class": "INTELLIGENT_TIERING"}],
                }
            ],
            opts=opts,
        )

    plan = plan_of(record(program))
    assert resource(plan, "values", "aws_lb_target_group.servers") == {
        "target_type": "ip",
        "vpc_id": "vpc-1",
        "port": 5000,
        "protocol": "HTTP",
        "health_check": [{"path": "/health", "healthy_threshold": 2}],
        "tags": {"costCentre": "ml"},
    }
    assert resource(plan, "values", "aws_s3_bucket_lifecycle_configuration.tidy")["rule"] == [
        {
            "id": "old",
            "status": "Enabled",
            "filter": [{"prefix": ""}],
            "transition": [{"days": 30, "storage_class": "INTELLIGENT_TIERING"}],
        }
    ]


def test_what_another_resource_tells_is_a_reference_also_inside_a_block(record: Record) -> None:
    def program() -> None:
        opts = by_aws()
        key = kms.Key("key", description="a key", opts=opts)
        bucket = s3.Bucket("bucket", opts=opts)
        s3.BucketServerSideEncryptionConfiguration(
            "encrypted",
            bucket=bucket.id,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {
                        "sse_algorithm": "aws:kms",
                        "kms_master_key_id": key.arn,
                    }
                }
            ],
            opts=opts,
        )
        s3.BucketPolicy("policy", bucket=bucket.id, policy=Output.json_dumps([key.arn]), opts=opts)

    plan = plan_of(record(program))
    address = "aws_s3_bucket_server_side_encryption_configuration.encrypted"
    values, told = (resource(plan, part, address) for part in ("values", "expressions"))
    inner = "apply_server_side_encryption_by_default"
    assert "bucket" not in values
    assert values["rule"] == [{inner: [{"sse_algorithm": "aws:kms"}]}]
    assert told["bucket"]["references"][1] == "aws_s3_bucket.bucket"
    assert told["rule"][0][inner][0]["kms_master_key_id"] == {
        "references": ["aws_kms_key.key.arn", "aws_kms_key.key"]
    }
    # A document is told: what stands in it is what a check is about.
    assert json.loads(resource(plan, "values", "aws_s3_bucket_policy.policy")["policy"])[0]


def test_a_secret_is_not_a_reason_to_skip_a_property(record: Record) -> None:
    def program() -> None:
        opts = by_aws()
        ecs.Cluster("cluster", name=Output.secret("hidden"), opts=opts)

    plan = plan_of(record(program))
    assert resource(plan, "values", "aws_ecs_cluster.cluster") == {"name": "hidden"}
