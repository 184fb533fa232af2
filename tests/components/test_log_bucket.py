from typing import Any

from components.log_bucket import LogBucket
from tests.components.recorder import Declared, declare, platform

ACCOUNT = "123456789012"


def logs(**more: Any) -> Declared:
    base = {"region": "eu-central-1", "account_id": ACCOUNT}
    return declare(lambda: LogBucket("logs", {**base, **more}))


def test_destroying_the_stack_keeps_the_logs_unless_asked() -> None:
    kept = logs().recording.resources
    assert not logs().one(":Bucket").inputs["forceDestroy"]
    assert all(one.options.protect for one in kept if one.type.startswith("aws:s3/"))

    expendable = logs(expendable=True)
    assert expendable.one(":Bucket").inputs["forceDestroy"]
    assert not any(one.options.protect for one in expendable.recording.resources)


def test_nobody_but_aws_s_log_deliveries_for_this_account_may_write() -> None:
    declared = logs()
    arn = declared.one(":Bucket").outputs["arn"]
    allowed = [s for s in declared.policy(declared.one(":BucketPolicy")) if s["Effect"] == "Allow"]
    written = {s["Principal"]["Service"]: s for s in allowed if s["Action"] == "s3:PutObject"}
    assert {service: s["Resource"] for service, s in written.items()} == {
        "logdelivery.elasticloadbalancing.amazonaws.com": f"{arn}/balancer/AWSLogs/{ACCOUNT}/*",
        "logging.s3.amazonaws.com": f"{arn}/buckets/*",
        "delivery.logs.amazonaws.com": f"{arn}/AWSLogs/{ACCOUNT}/*",
    }
    for statement in allowed:
        assert "aws:SourceArn" in statement["Condition"]["ArnLike"]
        assert ACCOUNT in str(statement["Condition"])
    assert all(
        declared.one(":BucketPublicAccessBlock").inputs[key]
        for key in (
            "blockPublicAcls",
            "blockPublicPolicy",
            "ignorePublicAcls",
            "restrictPublicBuckets",
        )
    )
    assert declared.one(":BucketOwnershipControls").inputs["rule"] == {
        "objectOwnership": "BucketOwnerEnforced"
    }


def test_nobody_reaches_the_logs_in_the_clear() -> None:
    declared = logs()
    denied = [s for s in declared.policy(declared.one(":BucketPolicy")) if s["Effect"] == "Deny"]
    assert {"Bool": {"aws:SecureTransport": "false"}} in [s["Condition"] for s in denied]
    assert {"NumericLessThan": {"s3:TlsVersion": "1.2"}} in [s["Condition"] for s in denied]


def test_logs_are_encrypted_by_s3_s_own_key_as_a_balancer_knows_no_other() -> None:
    (rule,) = logs().one(":BucketServerSideEncryptionConfiguration").inputs["rules"]
    assert rule["applyServerSideEncryptionByDefault"] == {"sseAlgorithm": "AES256"}


def test_old_logs_leave_and_a_deleted_one_can_be_brought_back_for_a_week() -> None:
    declared = logs(access_log_days=30)
    assert declared.one(":BucketVersioning").inputs["versioningConfiguration"] == {
        "status": "Enabled"
    }
    rules = {r["id"]: r for r in declared.one(":BucketLifecycleConfiguration").inputs["rules"]}
    assert rules["old-logs"]["expiration"] == {"days": 30}
    assert rules["old-logs"]["noncurrentVersionExpiration"] == {"noncurrentDays": 7}
    assert rules["delete-markers"]["expiration"] == {"expiredObjectDeleteMarker": True}
    (old, _) = logs().one(":BucketLifecycleConfiguration").inputs["rules"]
    assert old["expiration"] == {"days": 90}


def test_a_balancer_that_is_told_the_bucket_waits_until_it_may_write() -> None:
    declared = platform()
    assert declared.outputs("LogBucket") == {
        "bucket": declared.one(":Bucket", "mlflow-logs-bucket").outputs["bucket"],
        "bucket_arn": declared.one(":Bucket", "mlflow-logs-bucket").outputs["arn"],
    }
    policy = declared.one(":BucketPolicy", "mlflow-logs-writers")
    assert policy.urn in declared.one(":LoadBalancer").dependencies
