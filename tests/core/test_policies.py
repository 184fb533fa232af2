import json
from typing import Any

import pytest

from trackstack.core import policies

BUCKET = "arn:aws:s3:::runs-1234567"
USER = "arn:aws:rds-db:us-east-1:123456789012:dbuser:db-ABC/mlflow"


def statements(document: str) -> list[dict[str, Any]]:
    parsed = json.loads(document)
    assert parsed["Version"] == "2012-10-17"
    return parsed["Statement"]


def granted(document: str) -> set[tuple[str, str]]:
    """Every (action, resource) that the document allows."""
    pairs = set()
    for statement in statements(document):
        assert statement["Effect"] == "Allow"
        actions, resources = statement["Action"], statement["Resource"]
        for action in [actions] if isinstance(actions, str) else actions:
            for resource in [resources] if isinstance(resources, str) else resources:
                pairs.add((action, resource))
    return pairs


def test_plain_http_and_old_tls_are_refused_on_the_bucket_and_its_objects() -> None:
    for statement in statements(policies.tls_only(BUCKET)):
        assert statement["Effect"] == "Deny"
        assert statement["Principal"] == "*"
        assert statement["Resource"] == [BUCKET, f"{BUCKET}/*"]


def test_a_log_delivery_names_its_own_account_and_prefix() -> None:
    allowed = [
        s
        for s in statements(policies.receive_logs(BUCKET, "cn-north-1", "123456789012"))
        if s["Effect"] == "Allow"
    ]
    assert {s["Sid"]: s["Condition"]["ArnLike"]["aws:SourceArn"] for s in allowed} == {
        "BalancerLogs": "arn:aws-cn:elasticloadbalancing:cn-north-1:123456789012:loadbalancer/*",
        "BucketLogs": "arn:aws-cn:s3:::*",
        "NetworkLogs": "arn:aws-cn:logs:cn-north-1:123456789012:*",
        "NetworkLogsLook": "arn:aws-cn:logs:cn-north-1:123456789012:*",
    }
    for statement in allowed:
        # Elastic Load Balancing's page names the ARN alone, which holds the account.
        if statement["Sid"] != "BalancerLogs":
            same = statement["Condition"]["StringEquals"]["aws:SourceAccount"]
            assert same == "123456789012"
        assert not any("*" in action for action in statement["Action"])


def test_a_task_reaches_nothing_outside_its_prefix() -> None:
    for action, resource in granted(policies.keep_artifacts(BUCKET, "runs")):
        assert resource == (BUCKET if action == "s3:ListBucket" else f"{BUCKET}/runs/*")
    listing = statements(policies.keep_artifacts(BUCKET, "runs"))[0]
    assert listing["Condition"] == {"StringLike": {"s3:prefix": ["runs", "runs/*"]}}


def test_tracking_logs_in_as_one_database_user() -> None:
    grants = granted(policies.track_runs(BUCKET, "runs", USER))
    assert ("rds-db:connect", USER) in grants
    assert {r for a, r in grants if a.startswith("rds")} == {USER}


def test_a_foreign_bucket_needs_no_grant() -> None:
    assert granted(policies.track_runs("", "runs", USER)) == {("rds-db:connect", USER)}


def test_no_policy_of_a_task_has_a_wildcard_action() -> None:
    for document in (
        policies.keep_artifacts(BUCKET, "runs"),
        policies.track_runs(BUCKET, "runs", USER),
        policies.start_tasks("arn:log", ["arn:secret"], "arn:repository"),
    ):
        assert not any("*" in action for action, _ in granted(document))


def test_a_shell_talks_to_session_manager_and_to_nothing_else() -> None:
    assert {action for action, _ in granted(policies.answer_a_shell())} == {
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
    }


def test_starting_a_task_reads_exactly_its_secrets_log_and_repository() -> None:
    grants = granted(policies.start_tasks("arn:log", ["arn:secret"], "arn:repository"))
    by_resource: dict[str, set[str]] = {}
    for action, resource in grants:
        by_resource.setdefault(resource, set()).add(action)
    assert by_resource == {
        "arn:log:*": {"logs:CreateLogStream", "logs:PutLogEvents"},
        "arn:secret": {"secretsmanager:GetSecretValue"},
        "*": {"ecr:GetAuthorizationToken"},
        "arn:repository": {
            "ecr:BatchCheckLayerAvailability",
            "ecr:BatchGetImage",
            "ecr:GetDownloadUrlForLayer",
        },
    }


def test_an_image_of_another_registry_needs_no_grant() -> None:
    document = policies.start_tasks(
        "arn:log", [], policies.repository_arn("aws", "ghcr.io/x@sha256:0")
    )
    assert {action.split(":")[0] for action, _ in granted(document)} == {"logs"}


def test_the_repository_is_read_from_the_image() -> None:
    image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/team/trackstack@sha256:" + "0" * 64
    assert (
        policies.repository_arn("aws", image)
        == "arn:aws:ecr:eu-central-1:123456789012:repository/team/trackstack"
    )


def test_only_this_account_s_tasks_may_take_a_role() -> None:
    (statement,) = statements(policies.assumed_by_tasks("aws", "us-east-1", "123456789012"))
    assert statement["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": "123456789012"}


def test_the_s3_endpoint_lets_artifacts_and_image_layers_through() -> None:
    resources = [r for _, r in granted(policies.s3_endpoint("aws", "us-east-1", BUCKET))]
    assert "arn:aws:s3:::prod-us-east-1-starport-layer-bucket/*" in resources
    assert f"{BUCKET}/*" in resources
    assert len(statements(policies.s3_endpoint("aws", "us-east-1", ""))) == 1


@pytest.mark.parametrize(
    ("region", "partition"),
    [("us-east-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")],
)
def test_arns_begin_with_the_region_s_partition(region: str, partition: str) -> None:
    assert policies.partition_of(region) == partition


KEY = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
ROOT = {"AWS": "arn:aws:iam::123456789012:root"}


def key_policy(**more: Any) -> dict[str, dict[str, Any]]:
    document = policies.encryption_key("aws", "us-east-1", "123456789012", **more)
    return {statement["Sid"]: statement for statement in statements(document)}


def test_the_account_administers_its_key_and_can_t_lock_itself_out() -> None:
    administer = key_policy()["AdministerByIam"]
    assert administer["Principal"] == ROOT
    assert "Condition" not in administer
    # CreateKey refuses a policy after which its caller could not write another one.
    assert {"kms:PutKeyPolicy", "kms:DescribeKey", "kms:ScheduleKeyDeletion"} <= {
        *administer["Action"]
    }
    assert not {*administer["Action"]} & {*policies.KEY_USE, "kms:CreateGrant"}


def test_nobody_reads_with_the_key_but_through_a_service_of_the_region() -> None:
    found = key_policy(log_groups=["mlflow-*"], topics=["mlflow-*"])
    for name, statement in found.items():
        assert statement["Effect"] == "Allow"
        assert not any("*" in action for action in statement["Action"])
        if name == "AdministerByIam":
            continue
        assert statement["Condition"], name
        if statement["Principal"] == ROOT:
            via = statement["Condition"]["StringEquals"]["kms:ViaService"]
            assert {"s3.us-east-1.amazonaws.com", "rds.us-east-1.amazonaws.com"} <= {*via}
            assert all(service.endswith(".us-east-1.amazonaws.com") for service in via)
    assert found["LendToServices"]["Condition"]["Bool"] == {"kms:GrantIsForAWSResource": "true"}


def test_the_key_encrypts_exactly_the_stack_s_logs_and_topics() -> None:
    found = key_policy(log_groups=["mlflow-*"], topics=["mlflow-alarms-*"])
    assert found["EncryptTheLogs"]["Principal"] == {"Service": "logs.us-east-1.amazonaws.com"}
    assert found["EncryptTheLogs"]["Condition"] == {
        "ArnLike": {
            "kms:EncryptionContext:aws:logs:arn": [
                "arn:aws:logs:us-east-1:123456789012:log-group:mlflow-*"
            ]
        }
    }
    assert found["PublishToTopics"]["Condition"] == {
        "ArnLike": {
            "kms:EncryptionContext:aws:sns:topicArn": [
                "arn:aws:sns:us-east-1:123456789012:mlflow-alarms-*"
            ]
        }
    }
    assert {"EncryptTheLogs", "PublishToTopics"}.isdisjoint(key_policy())


def test_a_task_may_use_exactly_the_bucket_s_key() -> None:
    for document in (
        policies.keep_artifacts(BUCKET, "runs", KEY),
        policies.track_runs(BUCKET, "runs", USER, KEY),
    ):
        keys = {pair for pair in granted(document) if pair[0].startswith("kms:")}
        assert keys == {("kms:Decrypt", KEY), ("kms:GenerateDataKey", KEY)}
    # A bucket that AWS doesn't hold is not encrypted with it.
    assert granted(policies.track_runs("", "runs", USER, KEY)) == {("rds-db:connect", USER)}


def test_starting_a_task_decrypts_its_secrets_and_only_where_there_are_any() -> None:
    grants = granted(policies.start_tasks("arn:log", ["arn:secret"], "", KEY))
    assert {pair for pair in grants if pair[0].startswith("kms:")} == {("kms:Decrypt", KEY)}
    assert not any("kms" in a for a, _ in granted(policies.start_tasks("arn:log", [], "", KEY)))


COPY = "arn:aws:s3:::copy-1234567"


def test_replication_reads_the_first_bucket_and_writes_the_second_and_nothing_else() -> None:
    assert granted(policies.copy_objects(BUCKET, COPY)) == {
        ("s3:GetReplicationConfiguration", BUCKET),
        ("s3:ListBucket", BUCKET),
        ("s3:GetObjectVersionAcl", f"{BUCKET}/*"),
        ("s3:GetObjectVersionForReplication", f"{BUCKET}/*"),
        ("s3:GetObjectVersionTagging", f"{BUCKET}/*"),
        ("s3:ReplicateDelete", f"{COPY}/*"),
        ("s3:ReplicateObject", f"{COPY}/*"),
        ("s3:ReplicateTags", f"{COPY}/*"),
    }
    (trust,) = statements(policies.assumed_by_s3())
    assert trust["Principal"] == {"Service": "s3.amazonaws.com"}


def test_everything_that_stores_is_granted_by_exact_name() -> None:
    group = "arn:aws:logs:us-east-1:123456789012:log-group:RDSOSMetrics"
    account = ("aws", "us-east-1", "123456789012")
    allowed = {
        *granted(policies.keep_artifacts(BUCKET, "runs", KEY)),
        *granted(policies.track_runs(BUCKET, "runs", USER, KEY)),
        *granted(policies.start_tasks("arn:log", ["arn:secret"], "", KEY)),
        *granted(policies.copy_objects(BUCKET, COPY, KEY, f"{KEY}-there")),
        *granted(policies.write_database_metrics(*account)),
    }
    assert {pair for pair in allowed if not pair[0].startswith("s3:")} == {
        ("rds-db:connect", USER),
        ("kms:Decrypt", KEY),
        ("kms:GenerateDataKey", KEY),
        ("kms:Encrypt", f"{KEY}-there"),
        ("kms:GenerateDataKey", f"{KEY}-there"),
        ("secretsmanager:GetSecretValue", "arn:secret"),
        ("logs:CreateLogStream", "arn:log:*"),
        ("logs:PutLogEvents", "arn:log:*"),
        ("logs:CreateLogGroup", group),
        ("logs:CreateLogGroup", f"{group}:*"),
        ("logs:PutRetentionPolicy", group),
        ("logs:PutRetentionPolicy", f"{group}:*"),
        ("logs:CreateLogStream", f"{group}:log-stream:*"),
        ("logs:DescribeLogStreams", f"{group}:log-stream:*"),
        ("logs:GetLogEvents", f"{group}:log-stream:*"),
        ("logs:PutLogEvents", f"{group}:log-stream:*"),
    }
