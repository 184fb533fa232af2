from tests.components.recorder import platform

REPLICA = {"artifact_replica_region": "us-west-2"}


def test_nothing_is_copied_unless_asked() -> None:
    assert platform().all(":BucketReplicationConfig") == []
    assert len(platform().all("providers:aws")) == 1


def test_the_copy_has_the_guards_of_the_first_in_a_region_of_its_own() -> None:
    declared = platform(**REPLICA)
    there = declared.one("providers:aws", "aws-replica")
    assert there.inputs["region"] == "us-west-2"
    first, copy = (
        {
            (r.type, r.name.removeprefix(prefix)): r
            for r in declared.recording.resources
            if r.name.startswith(prefix) and r.type.startswith("aws:s3/")
        }
        for prefix in ("mlflow-artifacts-", "mlflow-replica-")
    )
    log = {("aws:s3/bucketLogging:BucketLogging", "requests")}  # a log stays in its region
    assert set(copy) == set(first) - log
    for one in copy.values():
        assert one.options.protect
        assert one.options.provider.startswith(there.urn)


def test_the_rule_copies_everything_and_follows_deletions() -> None:
    declared = platform(**REPLICA)
    config = declared.one(":BucketReplicationConfig")
    assert config.inputs["bucket"] == declared.outputs_of("mlflow-artifacts")["bucket"]
    (rule,) = config.inputs["rules"]
    assert rule["status"] == "Enabled"
    assert rule["filter"] == {"prefix": ""}
    assert rule["deleteMarkerReplication"] == {"status": "Enabled"}
    arn = declared.outputs_of("mlflow-replica")["bucket_arn"]
    assert rule["destination"] == {"bucket": arn}


def test_s3_refuses_a_rule_on_a_bucket_without_versions_so_it_waits_for_them() -> None:
    rule = platform(**REPLICA).one(":BucketReplicationConfig")
    waits = {urn.rpartition("::")[2] for urn in rule.dependencies}
    assert {"mlflow-artifacts-versions", "mlflow-replica-versions"} <= waits


def test_a_copy_is_encrypted_with_the_key_of_its_own_region() -> None:
    declared = platform(**REPLICA, customer_key="true")
    here = declared.outputs_of("mlflow-encryption")["key_arn"]
    there = declared.outputs_of("mlflow-replica-encryption")["key_arn"]
    assert here != there
    (rule,) = declared.one(":BucketReplicationConfig").inputs["rules"]
    assert rule["sourceSelectionCriteria"] == {"sseKmsEncryptedObjects": {"status": "Enabled"}}
    assert rule["destination"]["encryptionConfiguration"] == {"replicaKmsKeyId": there}
    granted = {
        s["Sid"]: (s["Action"], s["Resource"])
        for s in declared.policy(declared.one(":RolePolicy", "mlflow-replication-copy"))
    }
    assert granted["Decrypt"] == ("kms:Decrypt", here)
    assert granted["Encrypt"] == (["kms:Encrypt", "kms:GenerateDataKey"], there)
