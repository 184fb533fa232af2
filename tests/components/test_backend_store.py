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


def test_connections_without_tls_are_refused() -> None:
    declared = backend()
    group = declared.one(":ParameterGroup")
    assert group.inputs["family"] == "postgres18"
    assert group.inputs["parameters"] == [
        {"applyMethod": "pending-reboot", "name": "rds.force_ssl", "value": "1"}
    ]
    database = declared.one("rds/instance:Instance")
    assert database.inputs["parameterGroupName"] == group.outputs["name"]


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
