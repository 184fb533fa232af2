"""Every rule finds what was planted for it, and says nothing of what is right."""

from collections.abc import Callable

import pulumi_aws
import pytest
from pulumi import ResourceOptions
from pulumi_aws import ec2, ecs, iam, kms, lb, rds, s3, vpc
from pulumi_policy import Policy

from policy.pack import POLICIES
from tests.policy.planted import CASES, DIGEST, Planted, bucket, owned
from trackstack.embedded.policy_packs import Finding
from trackstack.embedded.record import Recording

Judge = Callable[[Recording], tuple[Finding, ...]]
Record = Callable[..., Recording]

EACH = [(rule, case) for rule, cases in CASES.items() for case in cases]
each = pytest.mark.parametrize(
    ("rule", "case"), EACH, ids=[f"{rule}-{n}" for n, (rule, _) in enumerate(EACH)]
)
by_policy = pytest.mark.parametrize("policy", POLICIES, ids=lambda one: one.name)


@by_policy
def test_a_rule_is_proven_by_a_planted_violation(policy: Policy) -> None:
    assert CASES.get(policy.name), f"plant a violation of {policy.name} in planted.py"


def test_no_violation_is_planted_for_a_rule_that_has_gone() -> None:
    assert set(CASES) == {one.name for one in POLICIES}


@each
def test_a_planted_violation_is_found_where_it_was_planted(
    record: Record, judge: Judge, rule: str, case: Planted
) -> None:
    found = judge(record(lambda: case.wrong() and None, stack=case.stack))
    names = [one.urn.rpartition("::")[2] for one in found if one.rule == rule]
    assert tuple(names) == case.about, found
    for one in found:
        assert_tells_what_is_wrong_and_what_would_be_right(one.sentence)


def assert_tells_what_is_wrong_and_what_would_be_right(sentence: str) -> None:
    wrong, colon, right = sentence.partition(": ")
    assert wrong, sentence
    assert colon, sentence
    assert right.endswith((".", "…")), sentence
    assert "\n" not in sentence
    assert "hunter2" not in sentence
    assert "s3cr3t" not in sentence


@each
def test_what_is_right_is_left_alone(
    record: Record, judge: Judge, rule: str, case: Planted
) -> None:
    found = judge(record(lambda: case.right() and None, stack=case.stack))
    assert [one for one in found if one.rule == rule] == []


@by_policy
def test_a_rule_says_how_grave_it_is_and_what_it_wants(policy: Policy) -> None:
    assert policy.severity is not None
    assert policy.enforcement_level is not None
    assert policy.description.endswith(".")
    assert "\n" not in policy.description


@pytest.mark.parametrize("stack", ["dev", "staging", "prod"])
def test_the_stacks_of_this_repository_are_clean(
    evaluate: Callable[[str], Recording], judge: Judge, stack: str
) -> None:
    assert judge(evaluate(stack)) == ()


def test_what_a_preview_cannot_know_is_nobodys_fault(record: Record, judge: Judge) -> None:
    def program() -> None:
        opts = owned()
        # Computed by a type that has no stand-in: unknown, as in a real preview.
        unknown = ec2.Vpc("net", cidr_block="10.0.0.0/16", opts=opts).main_route_table_id
        kept = ResourceOptions.merge(opts, ResourceOptions(protect=True))
        s3.BucketPublicAccessBlock(
            "block",
            bucket="b",
            block_public_acls=unknown,
            block_public_policy=unknown,
            ignore_public_acls=unknown,
            restrict_public_buckets=unknown,
            opts=opts,
        )
        rds.Instance(
            "data",
            instance_class="db.t4g.micro",
            engine=unknown,
            engine_version=unknown,
            publicly_accessible=unknown,
            storage_encrypted=unknown,
            backup_retention_period=unknown,
            deletion_protection=unknown,
            skip_final_snapshot=unknown,
            opts=kept,
        )
        rds.ParameterGroup("parameters", family=unknown, parameters=unknown, opts=opts)
        vpc.SecurityGroupIngressRule(
            "way", security_group_id="sg", ip_protocol=unknown, cidr_ipv4=unknown, opts=opts
        )
        ec2.SecurityGroup("group", ingress=unknown, opts=opts)
        lb.Listener(
            "listener",
            load_balancer_arn=unknown,
            protocol=unknown,
            ssl_policy=unknown,
            default_actions=[],
            opts=opts,
        )
        iam.Role("role", assume_role_policy=unknown, opts=opts)
        iam.RolePolicy("grant", role="r", policy=unknown, opts=opts)
        s3.BucketPolicy("shared", bucket="b", policy=unknown, opts=opts)
        ecs.TaskDefinition("task", family="f", container_definitions=unknown, opts=opts)
        kms.Key("key", enable_key_rotation=unknown, opts=opts)
        ecs.Cluster("tagged", tags=unknown)
        ecs.Cluster(
            "tagged-by-provider",
            opts=ResourceOptions(provider=pulumi_aws.Provider("p", default_tags={"tags": unknown})),
        )

    assert judge(record(program, stack="prod")) == ()


def test_a_bucket_is_not_covered_by_the_guards_of_another(record: Record, judge: Judge) -> None:
    def program() -> None:
        bucket()
        s3.Bucket("bare", opts=owned("other"))

    found = judge(record(program))
    assert {one.urn.rpartition("::")[2] for one in found} == {"bare"}
    assert {one.rule for one in found} == {
        "bucket-without-access-block",
        "bucket-without-tls",
        "bucket-without-encryption",
        "bucket-without-versions",
    }


def test_a_bucket_that_is_named_in_plain_is_covered_by_guards_that_name_it(
    record: Record, judge: Judge
) -> None:
    def program() -> None:
        s3.Bucket("it", bucket="runs", force_destroy=True, opts=owned())
        s3.BucketPublicAccessBlock(
            "block",
            bucket="runs",
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
        )

    assert "bucket-without-access-block" not in {one.rule for one in judge(record(program))}


def test_the_tags_of_one_provider_do_not_cover_what_goes_through_another(
    record: Record, judge: Judge
) -> None:
    def program() -> None:
        ecs.Cluster("tagged", opts=owned())
        ecs.Cluster("bare", opts=owned("other", owner="ml"))

    (found,) = judge(record(program))
    assert (found.rule, found.urn.rpartition("::")[2]) == ("tags-missing", "bare")


def test_the_pack_judges_programs_that_are_not_ours(record: Record, judge: Judge) -> None:
    def program() -> None:
        ecs.TaskDefinition(
            "other", family="f", container_definitions=f'[{{"name": "x", "image": "{DIGEST}"}}]'
        )

    assert {one.rule for one in judge(record(program))} == {
        "container-is-root",
        "container-root-writable",
        "tags-missing",
    }
