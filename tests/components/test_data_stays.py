"""A setting that changes may change bucket and database only in what keeps the data.

The twin of a real engine's update: every setting is changed once, and only the inputs on these
lists may differ. All others would replace the resource, or nobody has thought about them.
"""

import pytest

from tests.components.recorder import Declared, platform
from trackstack.core.settings import Settings

BUCKET = "s3/bucket:Bucket"
DATABASE = "rds/instance:Instance"
# Changed in place by AWS (Amazon RDS User Guide, "Settings for DB instances").
IN_PLACE = {
    BUCKET: {"forceDestroy"},
    DATABASE: {
        "allocatedStorage",
        "backupRetentionPeriod",
        "deleteAutomatedBackups",
        "deletionProtection",
        "instanceClass",
        "multiAz",
        "skipFinalSnapshot",
    },
}
SUBNETS = '["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]'
VPC = {
    "vpc_id": "vpc-0123456789abcdef0",
    "public_subnet_ids": SUBNETS,
    "private_subnet_ids": SUBNETS,
}
DOMAIN = {"tls": "domain", "domain": "mlflow.example.com", "hosted_zone": "example.com"}
CERTIFICATE = {
    "tls": "certificate",
    "domain": "mlflow.example.com",
    "certificate_arn": "arn:aws:acm:us-east-1:123456789012:certificate/0123",
}
OPEN = {"internal": "false", "allowed_cidrs": '["198.51.100.0/24"]'}
FOREIGN = {
    "artifact_endpoint": "https://minio.example.com",
    "artifact_bucket": "theirs",
    "artifact_access_key_id": "AK",
    "artifact_secret_access_key": "SK",
}
CHANGES: dict[str, dict[str, str]] = {
    "account_ids": {"account_ids": '["123456789012"]'},
    "assume_role": {"assume_role": "arn:aws:iam::123456789012:role/deployer"},
    "permissions_boundary": {"permissions_boundary": "arn:aws:iam::123456789012:policy/b"},
    "owner": {"owner": "ml-platform"},
    "tags": {"tags": '{"cost-center": "42"}'},
    "vpc_cidr": {"vpc_cidr": "10.99.0.0/16"},
    "zones": {"zones": "3"},
    "egress": {"egress": "nat"},
    "vpc_id": VPC,
    "public_subnet_ids": VPC,
    "private_subnet_ids": VPC,
    "internal": OPEN,
    "tls": {"tls": "plaintext"},
    "domain": DOMAIN,
    "hosted_zone": DOMAIN,
    "certificate_arn": CERTIFICATE,
    "allowed_cidrs": OPEN,
    "artifacts": {"artifacts": "together"},
    "artifact_prefix": {"artifact_prefix": "elsewhere"},
    "artifact_noncurrent_days": {"artifact_noncurrent_days": "90"},
    "largest_artifact_gib": {"largest_artifact_gib": "50"},
    "largest_artifact_minutes": {"largest_artifact_minutes": "60"},
    "database_instance_class": {"database_instance_class": "db.t4g.small"},
    "database_storage_gib": {"database_storage_gib": "50"},
    "database_multi_az": {"database_multi_az": "true"},
    "database_backup_days": {"database_backup_days": "30"},
    "image": {"image": "registry.example.com/trackstack@sha256:" + "1" * 64},
    "architecture": {"architecture": "x86_64"},
    "tracking_tasks": {"tracking_tasks": "2", "database_instance_class": "db.t4g.small"},
    "tracking_cpu": {"tracking_cpu": "1024", "tracking_memory_mib": "2048"},
    "tracking_memory_mib": {"tracking_memory_mib": "2048"},
    "artifacts_tasks": {"artifacts_tasks": "2"},
    "artifacts_cpu": {"artifacts_cpu": "1024", "artifacts_memory_mib": "2048"},
    "artifacts_memory_mib": {"artifacts_memory_mib": "2048"},
    "workers": {
        "workers": "2",
        "tracking_memory_mib": "2048",
        "database_instance_class": "db.t4g.small",
    },
    "allow_schema_upgrade": {"allow_schema_upgrade": "0123456789ab"},
    "log_retention_days": {"log_retention_days": "90"},
    "expendable": {"expendable": "true"},
}
ELSEWHERE = {
    "region": "another region is another platform",
    "postgres_major": "AWS refuses a new major unless it is asked to upgrade; so does trackstack",
    **dict.fromkeys(FOREIGN, "the own bucket leaves the program: protection refuses that"),
}


@pytest.fixture(scope="module")
def before() -> Declared:
    return platform()


def test_every_setting_is_thought_of() -> None:
    assert CHANGES.keys() | ELSEWHERE.keys() == set(Settings.model_fields)
    assert CHANGES.keys().isdisjoint(ELSEWHERE)


@pytest.mark.parametrize("key", CHANGES)
def test_a_changed_setting_keeps_the_data(before: Declared, key: str) -> None:
    after = platform(**CHANGES[key])
    for kind, in_place in IN_PLACE.items():
        was, now = before.one(kind), after.one(kind)
        assert now.urn == was.urn
        keys = {*was.inputs, *now.inputs}
        changed = {k for k in keys if was.inputs.get(k) != now.inputs.get(k)}
        # Groups and subnets follow a network that is another one: the database moves, and stays.
        if CHANGES[key] is VPC:
            changed -= {"vpcSecurityGroupIds", "dbSubnetGroupName"}
        assert changed <= in_place, changed - in_place


def test_the_own_bucket_stays_when_a_foreign_store_is_named() -> None:
    """It leaves the program, and a resource that is protected is not deleted by leaving."""
    assert platform().one(BUCKET).options.protect
    assert platform(**FOREIGN).all(BUCKET) == []
