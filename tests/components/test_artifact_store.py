import json
from typing import Any

from components.artifact_store import ArtifactStore
from tests.components.recorder import Declared, declare, platform
from trackstack.embedded.record import Secret


def store(**more: Any) -> Declared:
    return declare(lambda: ArtifactStore("runs", {"region": "us-east-1", **more}))


def test_destroying_the_stack_keeps_the_runs_unless_asked() -> None:
    bucket = store().one(":Bucket")
    assert bucket.options.protect
    assert not bucket.inputs["forceDestroy"]

    bucket = store(expendable=True).one(":Bucket")
    assert not bucket.options.protect
    assert bucket.inputs["forceDestroy"]


def test_a_destroy_that_is_refused_half_way_leaves_the_bucket_its_guards() -> None:
    made = [one for one in store().recording.resources if one.type.startswith("aws:s3/")]
    assert len(made) == 8
    assert all(one.options.protect for one in made)
    expendable = store(expendable=True).recording.resources
    assert not any(one.options.protect for one in expendable)


def test_an_overwritten_artifact_can_be_brought_back() -> None:
    declared = store(noncurrent_days=90)
    assert declared.one(":BucketVersioning").inputs["versioningConfiguration"] == {
        "status": "Enabled"
    }
    rules = {r["id"]: r for r in declared.one(":BucketLifecycleConfiguration").inputs["rules"]}
    assert rules["noncurrent-versions"]["noncurrentVersionExpiration"] == {"noncurrentDays": 90}
    assert rules["abandoned-uploads"]["abortIncompleteMultipartUpload"] == {
        "daysAfterInitiation": 7
    }


def test_nobody_reaches_the_bucket_in_the_clear_or_in_public() -> None:
    declared = store()
    assert all(
        declared.one(":BucketPublicAccessBlock").inputs[key]
        for key in (
            "blockPublicAcls",
            "blockPublicPolicy",
            "ignorePublicAcls",
            "restrictPublicBuckets",
        )
    )
    statements = declared.policy(declared.one(":BucketPolicy"))
    assert {s["Effect"] for s in statements} == {"Deny"}
    assert {"Bool": {"aws:SecureTransport": "false"}} in [s["Condition"] for s in statements]
    assert declared.one(":BucketOwnershipControls").inputs["rule"] == {
        "objectOwnership": "BucketOwnerEnforced"
    }


def test_artifacts_are_encrypted_by_the_bucket_and_not_by_each_upload() -> None:
    declared = store()
    (rule,) = declared.one(":BucketServerSideEncryptionConfiguration").inputs["rules"]
    assert rule["applyServerSideEncryptionByDefault"] == {"sseAlgorithm": "AES256"}


def test_the_destination_is_the_own_bucket_and_the_prefix() -> None:
    declared = store(prefix="team/runs")
    outputs = declared.outputs("ArtifactStore")
    bucket = declared.one(":Bucket").outputs["bucket"]
    assert outputs["destination"] == f"s3://{bucket}/team/runs"
    assert outputs["bucket_arn"] == f"arn:aws:s3:::{bucket}"
    assert outputs["endpoint_url"] == outputs["credentials_secret_arn"] == ""


def test_an_existing_bucket_is_left_as_it_is() -> None:
    declared = store(existing_bucket="theirs")
    assert declared.made() == []
    assert declared.outputs("ArtifactStore")["bucket_arn"] == "arn:aws:s3:::theirs"
    assert declared.outputs("ArtifactStore")["destination"] == "s3://theirs/runs"


def test_credentials_of_another_server_go_into_a_secret_and_stay_one() -> None:
    endpoint = {
        "url": "https://minio.example.com:9000",
        "access_key_id": "AK",
        "secret_access_key": "SK",
    }
    declared = store(existing_bucket="theirs", endpoint=endpoint)
    version = declared.one(":SecretVersion")
    kept = version.inputs["secretString"]
    assert isinstance(kept, Secret)
    assert json.loads(kept.value) == {"access_key_id": "AK", "secret_access_key": "SK"}
    outputs = declared.outputs("ArtifactStore")
    assert outputs["bucket_arn"] == ""
    assert outputs["endpoint_url"] == "https://minio.example.com:9000"
    secret = declared.one(":Secret")
    assert outputs["credentials_secret_arn"] in {secret.outputs["arn"], secret.id}


def test_tiering_is_asked_for_and_costs_nothing_when_a_model_is_loaded_again() -> None:
    rules = {r["id"] for r in store().one(":BucketLifecycleConfiguration").inputs["rules"]}
    assert rules == {"abandoned-uploads", "noncurrent-versions"}
    declared = store(tiering_days=30)
    rule = declared.one(":BucketLifecycleConfiguration").inputs["rules"][-1]
    assert rule["transitions"] == [{"days": 30, "storageClass": "INTELLIGENT_TIERING"}]


def test_every_request_is_logged_below_the_bucket_s_own_name() -> None:
    assert store().all(":BucketLogging") == []
    declared = store(log_bucket="the-logs")
    logging = declared.one(":BucketLogging")
    bucket = declared.one(":Bucket").outputs["bucket"]
    assert logging.inputs["targetBucket"] == "the-logs"
    assert logging.inputs["targetPrefix"] == f"buckets/{bucket}/"
    assert logging.options.protect


def test_an_artifact_can_be_reacted_to() -> None:
    assert store().one(":BucketNotification").inputs["eventbridge"]


def test_who_is_handed_the_bucket_gets_it_guarded() -> None:
    declared = platform()
    role = declared.one(":RolePolicy", "mlflow-server-artifacts-task")
    waits = {urn.rpartition("::")[2] for urn in role.dependencies}
    assert waits >= {
        "mlflow-artifacts-private",
        "mlflow-artifacts-versions",
        "mlflow-artifacts-encrypted",
        "mlflow-artifacts-tls-only",
    }


KEY = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"


def test_an_adopted_bucket_is_granted_let_through_and_its_key_too() -> None:
    declared = platform(artifact_bucket="theirs", artifact_kms_key_arn=KEY, customer_key="true")
    for service in ("tracking", "artifacts"):
        statements = declared.policy(declared.one(":RolePolicy", f"mlflow-server-{service}-task"))
        granted = {s["Sid"]: s["Resource"] for s in statements}
        assert granted["ListArtifacts"] == "arn:aws:s3:::theirs"
        assert granted["KeepArtifacts"] == "arn:aws:s3:::theirs/runs/*"
        assert granted["EncryptArtifacts"] == KEY  # and not the stack's
    (let_through,) = [
        s for s in declared.policy(declared.one(":VpcEndpoint")) if s["Sid"] == "Artifacts"
    ]
    assert let_through["Resource"] == ["arn:aws:s3:::theirs", "arn:aws:s3:::theirs/*"]
    assert not [r for r in declared.made() if r.startswith("mlflow-artifacts")]
