from typing import Any

from components.encryption_key import EncryptionKey
from tests.components.recorder import Declared, declare, platform

ACCOUNT = "123456789012"


def key(**more: Any) -> Declared:
    args = {"region": "eu-central-1", "account_id": ACCOUNT, **more}
    return declare(lambda: EncryptionKey("encryption", args))


def test_the_key_changes_every_year_by_itself() -> None:
    assert key().one("kms/key:Key").inputs["enableKeyRotation"]


def test_destroying_the_stack_keeps_the_key_unless_asked() -> None:
    made = [*key().all("kms/key:Key"), *key().all("kms/alias:Alias")]
    assert [one.options.protect for one in made] == [True, True]
    assert made[0].inputs["deletionWindowInDays"] == 30
    made = [r for r in key(expendable=True).recording.resources if r.custom]
    assert not any(one.options.protect for one in made)
    assert made[0].inputs["deletionWindowInDays"] == 7


def test_the_key_is_found_by_the_stack_s_name() -> None:
    assert key().one("kms/alias:Alias").inputs["name"] == "alias/mlflow-platform-test"


def test_who_is_handed_the_key_gets_its_arn() -> None:
    declared = key()
    assert declared.outputs("EncryptionKey") == {
        "key_arn": declared.one("kms/key:Key").outputs["arn"]
    }


def test_a_stack_without_a_key_of_its_own_encrypts_with_aws_s() -> None:
    declared = platform()
    assert declared.all("kms/key:Key") == []
    assert "kmsKeyId" not in declared.one("rds/instance:Instance").inputs
    (rule,) = declared.one(
        ":BucketServerSideEncryptionConfiguration", "mlflow-artifacts-encrypted"
    ).inputs["rules"]
    assert rule["applyServerSideEncryptionByDefault"] == {"sseAlgorithm": "AES256"}
    assert not any("kms" in p.inputs["policy"] for p in declared.all(":RolePolicy"))


def test_one_key_encrypts_bucket_database_and_secret_and_exactly_the_tasks_may_use_it() -> None:
    declared = platform(customer_key="true")
    arn = declared.one("kms/key:Key").outputs["arn"]
    database = declared.one("rds/instance:Instance")
    assert database.inputs["kmsKeyId"] == database.inputs["masterUserSecretKmsKeyId"] == arn
    (rule,) = declared.one(
        ":BucketServerSideEncryptionConfiguration", "mlflow-artifacts-encrypted"
    ).inputs["rules"]
    assert rule == {
        "applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": arn},
        "bucketKeyEnabled": True,
    }
    granted = {
        policy.name: (statement["Action"], statement["Resource"])
        for policy in declared.all(":RolePolicy")
        for statement in declared.policy(policy)
        if "kms" in str(statement["Action"])
    }
    use = (["kms:Decrypt", "kms:GenerateDataKey"], arn)
    assert granted == {
        "mlflow-server-tracking-task": use,
        "mlflow-server-artifacts-task": use,
        "mlflow-server-tracking-start": ("kms:Decrypt", arn),
    }


def test_the_key_encrypts_the_stack_s_logs_and_topics_by_their_names() -> None:
    (logs,) = [
        s
        for s in platform(customer_key="true").policy(platform(customer_key="true").one("key:Key"))
        if s["Sid"] == "EncryptTheLogs"
    ]
    (names,) = logs["Condition"]["ArnLike"].values()
    assert {name.rpartition(":")[2] for name in names} >= {"mlflow-*", "/aws/rds/instance/mlflow-*"}
