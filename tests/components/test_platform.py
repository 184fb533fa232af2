"""The whole program: what is wired, looked up, tagged and promised."""

import json
from collections.abc import Callable
from typing import Any

import pulumi
import pytest

from infra.settings import read_settings
from tests.components.recorder import platform
from trackstack.core.outputs import OUTPUT_NAMES
from trackstack.embedded.host import PreviewHost, StackAnswers
from trackstack.embedded.monitor import record

DOMAIN = {
    "internal": "false",
    "tls": "domain",
    "domain": "mlflow.example.com",
    "hosted_zone": "example.com",
    "allowed_cidrs": '["198.51.100.0/24"]',
}
EXISTING = {
    "vpc_id": "vpc-0123456789abcdef0",
    "egress": "nat",
    "private_subnet_ids": '["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]',
}


def test_the_outputs_are_the_promised_ones() -> None:
    outputs = platform(**DOMAIN).recording.outputs
    assert set(outputs) == set(OUTPUT_NAMES)
    assert outputs["tracking_uri"] == "https://mlflow.example.com"
    assert outputs["client_environment"] == {"MLFLOW_TRACKING_URI": "https://mlflow.example.com"}
    assert set(outputs["services"]) == {"tracking", "artifacts"}


def test_clients_read_the_uri_and_the_certificate_under_a_name_they_can_guess() -> None:
    parameter = platform(**DOMAIN).one("ssm/parameter:Parameter")
    assert parameter.inputs["name"] == "/mlflow-platform/test/client"
    assert parameter.inputs["type"] == "String"
    # The provider keeps every parameter's value secret.
    assert json.loads(parameter.inputs["value"].value) == {
        "MLFLOW_TRACKING_URI": "https://mlflow.example.com",
        "certificate": "",
    }


def test_everything_on_aws_goes_through_the_tagged_provider() -> None:
    declared = platform(owner="ml-platform", tags='{"cost-center": "42"}')
    provider = declared.one("pulumi:providers:aws")
    assert json.loads(provider.inputs["defaultTags"]) == {
        "tags": {
            "project": "mlflow-platform",
            "stack": "test",
            "owner": "ml-platform",
            "cost-center": "42",
        }
    }
    for resource in declared.recording.resources:
        if resource.type.startswith("aws:"):
            assert resource.options.provider.startswith(provider.urn), resource.name


def test_the_provider_is_bound_to_its_region_account_and_role() -> None:
    role = "arn:aws:iam::123456789012:role/deployer"
    provider = platform(
        region="eu-central-1", account_ids='["123456789012"]', assume_role=role
    ).one("pulumi:providers:aws")
    assert provider.inputs["region"] == "eu-central-1"
    assert json.loads(provider.inputs["allowedAccountIds"]) == ["123456789012"]
    assert json.loads(provider.inputs["assumeRoles"]) == [{"roleArn": role}]


def test_inside_the_vpc_may_connect_where_nobody_was_named() -> None:
    rule = platform(vpc_cidr="10.50.0.0/16").one(
        "GroupIngressRule", "mlflow-door-from-10.50.0.0-16"
    )
    assert rule.inputs["cidrIpv4"] == "10.50.0.0/16"


def test_an_existing_vpc_is_asked_for_its_range() -> None:
    declared = platform(**EXISTING)
    assert declared.all(":Vpc") == []
    assert "aws:ec2/getVpc:getVpc" in [token for token, _ in declared.recording.invokes]


def test_a_balancer_stands_in_public_subnets_only_when_the_internet_may_come() -> None:
    def subnets(**raw: str) -> tuple[list[str], Any]:
        declared = platform(**raw)
        outputs = declared.outputs("Network")
        return declared.one(":LoadBalancer").inputs["subnets"], outputs

    inside, outputs = subnets()
    assert inside == outputs["private_subnet_ids"]
    outside, outputs = subnets(internal="false", allowed_cidrs='["198.51.100.0/24"]')
    assert outside == outputs["public_subnet_ids"]


def test_expendable_lets_everything_go_and_nothing_else_does() -> None:
    protected = [one for one in platform().recording.resources if one.options.protect]
    # The bucket with its guards, and the database where it is; of the rest nothing must survive.
    assert {one.type for one in protected if not one.type.startswith("aws:s3/")} == {
        "aws:rds/instance:Instance",
        "aws:rds/subnetGroup:SubnetGroup",
        "aws:ec2/securityGroup:SecurityGroup",
    }
    assert "mlflow-artifacts-bucket" in {one.name for one in protected}
    assert not any(r.options.protect for r in platform(expendable="true").recording.resources)


def test_access_logs_are_kept_unless_declined() -> None:
    bucket = platform().outputs("LogBucket")["bucket"]
    balancer = platform().one(":LoadBalancer")
    for logs in ("accessLogs", "connectionLogs"):
        assert balancer.inputs[logs] == {"bucket": bucket, "prefix": "balancer", "enabled": True}
    assert "accessLogs" not in platform(access_logs="false").one(":LoadBalancer").inputs


def test_a_given_image_is_run_as_it_is_and_another_one_is_built() -> None:
    given = platform()
    assert given.all("ecr/repository:Repository") == []
    built = platform(image="")
    (image,) = {c["image"] for c in built.containers("mlflow-server-tracking").values()}
    assert image == built.outputs("ImageRepository")["image"]
    start = json.dumps(built.policy(built.one(":RolePolicy", "mlflow-server-tracking-start")))
    repository = built.one("ecr/repository:Repository").outputs["repositoryUrl"]
    name = repository.partition("/")[2]
    assert f':repository/{name}"' in start


def test_a_foreign_store_needs_no_bucket_of_ours() -> None:
    declared = platform(
        artifact_endpoint="http://minio.internal:9000",
        artifact_bucket="runs",
        artifact_access_key_id="AKVALUE",
        artifact_secret_access_key="SKVALUE",
    )
    assert [one.name for one in declared.all("s3/bucket:Bucket")] == ["mlflow-logs-bucket"]
    assert "AKVALUE" not in repr(declared.recording.resources)
    (serve,) = declared.containers("mlflow-server-artifacts").values()
    assert {s["name"] for s in serve["secrets"]} == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert "SKVALUE" not in repr(declared.recording.outputs)


@pytest.mark.parametrize("raw", [{}, DOMAIN, EXISTING], ids=["default", "domain", "existing"])
def test_names_fit_where_aws_is_short_of_room(raw: dict[str, str]) -> None:
    declared = platform(**raw)
    for kind, most in ((":LoadBalancer", 32), (":TargetGroup", 32), ("iam/role:Role", 64)):
        for resource in declared.all(kind):
            assert len(resource.name) + len("-1234567") <= most, resource.name


def run_settings(config: dict[str, str]) -> None:
    program: Callable[[], None] = lambda: read_settings() and None  # noqa: E731
    record(program, StackAnswers(PreviewHost()), config=config, stack="dev")


def test_a_wrong_stack_file_ends_the_program_with_its_sentences() -> None:
    with pytest.raises(pulumi.RunError) as caught:
        run_settings({"mlflow-platform:zonse": "3", "aws:region": "us-east-1"})
    assert str(caught.value) == "zonse: there is no such setting; did you mean zones?"


def test_a_key_in_the_clear_is_refused_before_anything_is_declared() -> None:
    with pytest.raises(pulumi.RunError, match="artifact_access_key_id: in the clear; `pulumi"):
        run_settings({"mlflow-platform:artifact_access_key_id": "AKVALUE"})
