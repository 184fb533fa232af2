from typing import Any

from components.backend_store import BackendStore
from tests.components.recorder import Declared, declare


def backend(**more: Any) -> Declared:
    return declare(
        lambda: BackendStore(
            "backend", {"vpc_id": "vpc-1", "subnet_ids": ["subnet-1", "subnet-2"], **more}
        )
    )


def test_destroying_the_stack_keeps_the_database_unless_asked() -> None:
    database = backend().one("rds/instance:Instance")
    assert database.options.protect
    assert database.inputs["deletionProtection"]
    assert not database.inputs["skipFinalSnapshot"]
    assert not database.inputs["deleteAutomatedBackups"]

    database = backend(expendable=True).one("rds/instance:Instance")
    assert not database.options.protect
    assert not database.inputs["deletionProtection"]
    assert database.inputs["skipFinalSnapshot"]


def test_pulumi_never_sees_a_password() -> None:
    database = backend().one("rds/instance:Instance")
    assert database.inputs["manageMasterUserPassword"]
    assert not any("password" in key.lower() for key in database.inputs if "manage" not in key)


def test_servers_may_log_in_without_a_password() -> None:
    database = backend().one("rds/instance:Instance")
    assert database.inputs["iamDatabaseAuthenticationEnabled"]


def parameters(declared: Declared) -> dict[str, tuple[str, str]]:
    return {
        p["name"]: (p["value"], p["applyMethod"])
        for p in declared.one(":ParameterGroup").inputs["parameters"]
    }


def test_connections_without_tls_are_refused() -> None:
    declared = backend()
    group = declared.one(":ParameterGroup")
    assert group.inputs["family"] == "postgres18"
    assert parameters(declared)["rds.force_ssl"] == ("1", "pending-reboot")
    database = declared.one("rds/instance:Instance")
    assert database.inputs["parameterGroupName"] == group.outputs["name"]
    assert database.inputs["caCertIdentifier"] == "rds-ca-rsa2048-g1"


def test_schema_changes_and_slow_statements_are_logged_and_nothing_that_people_log() -> None:
    found = parameters(backend())
    assert found["log_statement"] == ("ddl", "immediate")
    assert found["log_min_duration_statement"] == ("1000", "immediate")


def test_the_logs_end_are_encrypted_and_there_before_rds_would_make_them() -> None:
    declared = backend(log_retention_days=90, kms_key_arn="arn:key")
    database = declared.one("rds/instance:Instance")
    assert database.inputs["enabledCloudwatchLogsExports"] == ["postgresql", "upgrade"]
    for kind in ("postgresql", "upgrade"):
        log = declared.one(":LogGroup", f"backend-{kind}-log")
        identifier = database.inputs["identifier"]
        assert log.inputs["name"] == f"/aws/rds/instance/{identifier}/{kind}"
        assert log.inputs["retentionInDays"] == 90
        assert log.inputs["kmsKeyId"] == "arn:key"
        assert log.urn in database.dependencies


def test_the_disk_grows_until_the_limit_and_not_when_told_so() -> None:
    assert backend().one("rds/instance:Instance").inputs["maxAllocatedStorage"] == 100
    database = backend(max_storage_gib=0).one("rds/instance:Instance")
    assert database.inputs["maxAllocatedStorage"] == 0


def test_what_the_database_waits_for_can_be_seen_without_a_charge() -> None:
    database = backend(kms_key_arn="arn:key").one("rds/instance:Instance")
    assert database.inputs["performanceInsightsEnabled"]
    assert database.inputs["performanceInsightsRetentionPeriod"] == 7  # longer ones are billed
    assert database.inputs["databaseInsightsMode"] == "standard"
    assert database.inputs["performanceInsightsKmsKeyId"] == "arn:key"


def test_enhanced_monitoring_may_write_into_its_one_log_group() -> None:
    assert backend().all("iam/role:Role") == []
    assert backend().one("rds/instance:Instance").inputs["monitoringInterval"] == 0
    declared = backend(
        monitoring={"seconds": 60, "region": "us-east-1", "account_id": "123456789012"}
    )
    database = declared.one("rds/instance:Instance")
    role = declared.one("iam/role:Role")
    assert database.inputs["monitoringInterval"] == 60
    assert database.inputs["monitoringRoleArn"] == role.outputs["arn"]
    group = "arn:aws:logs:us-east-1:123456789012:log-group:RDSOSMetrics"
    for statement in declared.policy(declared.one(":RolePolicy")):
        assert not any("*" in action for action in statement["Action"])
        resources = statement["Resource"]
        for resource in [resources] if isinstance(resources, str) else resources:
            assert resource.startswith(group)
    (trust,) = declared.policy(role, "assumeRolePolicy")
    assert trust["Principal"] == {"Service": "monitoring.rds.amazonaws.com"}
    assert trust["Condition"]["ArnLike"] == {
        "aws:SourceArn": "arn:aws:rds:us-east-1:123456789012:db:backend-*"
    }


def test_a_major_upgrade_is_asked_for_and_then_happens_at_once() -> None:
    database = backend().one("rds/instance:Instance")
    assert not database.inputs["allowMajorVersionUpgrade"]
    assert not database.inputs["applyImmediately"]
    # The former parameter group can only go once the instance has left it.
    database = backend(allow_major_upgrade=True).one("rds/instance:Instance")
    assert database.inputs["allowMajorVersionUpgrade"]
    assert database.inputs["applyImmediately"]


def test_no_setting_replaces_a_database_that_exists() -> None:
    # Every input that terraform-provider-aws replaces an instance for, or RDS refuses to change.
    replacing = {"identifier", "kmsKeyId", "snapshotIdentifier", "restoreToPointInTime"}
    refused = {"masterUserSecretKmsKeyId", "performanceInsightsKmsKeyId"}
    ignored = {*backend().one("rds/instance:Instance").options.ignore_changes}
    assert replacing | refused <= ignored


def test_another_vpc_is_refused_before_anything_is_made_in_it() -> None:
    declared = backend()
    assert declared.one(":SecurityGroup").options.protect
    assert declared.one(":SubnetGroup").options.protect
    assert not backend(expendable=True).one(":SecurityGroup").options.protect


def test_a_restore_is_a_second_database_beside_the_first_and_the_one_that_is_used() -> None:
    declared = backend(restores=["2026-11-20T10:00:00Z"])
    former = declared.one("rds/instance:Instance", "backend-postgres")
    restored = declared.one("rds/instance:Instance", "backend-restored-1-postgres")
    before = backend().one("rds/instance:Instance")
    unique = {"identifier", "finalSnapshotIdentifier"}  # random here
    assert {**former.inputs, **dict.fromkeys(unique)} == {
        **before.inputs,
        **dict.fromkeys(unique),
    }
    assert former.options == before.options
    assert restored.inputs["restoreToPointInTime"] == {
        "restoreTime": "2026-11-20T10:00:00Z",
        "sourceDbInstanceIdentifier": former.outputs["identifier"],
    }
    assert restored.options.protect
    assert declared.outputs("BackendStore")["resource_id"] == restored.outputs["resourceId"]
    assert all(former.inputs[key] != restored.inputs[key] for key in unique)
    assert restored.inputs["manageMasterUserPassword"]  # a secret of its own


def test_a_snapshot_brings_back_what_no_instance_has_any_more() -> None:
    declared = backend(restores=["rds:backend-2026-11-20-03-00"], keep_former=False)
    restored = declared.one("rds/instance:Instance")
    assert restored.inputs["snapshotIdentifier"] == "rds:backend-2026-11-20-03-00"
    assert (
        "kmsKeyId"
        not in backend(restores=["a"], keep_former=False, kms_key_arn="arn:key")
        .one("rds/instance:Instance")
        .inputs
    )


def test_a_restore_to_a_time_without_the_former_never_makes_an_empty_database() -> None:
    declared = backend(restores=["2026-11-20T10:00:00Z"], keep_former=False)
    restored = declared.one("rds/instance:Instance")
    assert restored.inputs["restoreToPointInTime"] == {"restoreTime": "2026-11-20T10:00:00Z"}


def test_a_second_restore_follows_the_first() -> None:
    declared = backend(restores=["2026-11-20T10:00:00Z", "2026-11-21T10:00:00Z"])
    names = [one.name for one in declared.all("rds/instance:Instance")]
    assert sorted(names) == ["backend-restored-1-postgres", "backend-restored-2-postgres"]
    first, second = (declared.one("rds/instance:Instance", name) for name in sorted(names))
    assert second.inputs["restoreToPointInTime"] == {
        "restoreTime": "2026-11-21T10:00:00Z",
        "sourceDbInstanceIdentifier": first.outputs["identifier"],
    }


def test_the_disk_is_encrypted_and_the_instance_private() -> None:
    database = backend().one("rds/instance:Instance")
    assert database.inputs["storageEncrypted"]
    assert database.inputs["storageType"] == "gp3"
    assert database.inputs["publiclyAccessible"] is False


def test_there_is_a_backup_even_when_nobody_asks() -> None:
    assert backend().one("rds/instance:Instance").inputs["backupRetentionPeriod"] == 7


def test_the_major_version_is_ours_and_the_minor_aws_s() -> None:
    database = backend().one("rds/instance:Instance")
    assert database.inputs["engineVersion"] == "18"
    assert database.inputs["autoMinorVersionUpgrade"]


def test_nobody_reaches_the_database_until_a_rule_is_added() -> None:
    declared = backend()
    group = declared.one(":SecurityGroup")
    assert "ingress" not in group.inputs
    assert "egress" not in group.inputs
    assert declared.all("GroupIngressRule") == []
    assert declared.outputs("BackendStore")["security_group_id"] == group.id


def test_a_second_stack_can_be_destroyed_too() -> None:
    database = backend().one("rds/instance:Instance")
    snapshot = database.property_dependencies["finalSnapshotIdentifier"]
    assert [urn.rpartition("::")[2] for urn in snapshot] == ["backend-last-snapshot"]
