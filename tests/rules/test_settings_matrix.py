"""Which setting may touch what holds data: a change elsewhere can't recreate a database or bucket.

The twin of the engine test for places without a Pulumi CLI: every setting is varied, and only the
inputs in the allow-list may differ. None of the allowed ones replaces its resource on AWS.
"""

from typing import Any

import pytest

from tests.rules.replacing import BASE, declared, replacements, unclassified
from tests.rules.settings_that_replace import REPLACED
from trackstack.core.settings import Settings
from trackstack.embedded import wire
from trackstack.embedded.record import Recording

DATA = ("aws:s3/bucket:Bucket", "aws:rds/instance:Instance")
PROTECTION = {
    "protect",
    "forceDestroy",
    "deletionProtection",
    "skipFinalSnapshot",
    "deleteAutomatedBackups",
}

# A setting: what it is changed to, and the inputs of bucket and database that may then differ.
VPC = {"vpc_id": "vpc-0a1b2c3d", "public_subnet_ids": ["subnet-0a1b2c3d", "subnet-1a1b2c3d"]}
VPC["private_subnet_ids"] = ["subnet-2a1b2c3d", "subnet-3a1b2c3d"]
MINIO = {
    "artifact_endpoint": "https://minio.example.com",
    "artifact_bucket": "kept-elsewhere",
    "artifact_access_key_id": "key",
    "artifact_secret_access_key": "secret",
}
DOMAIN = {"tls": "domain", "domain": "mlflow.example.com", "hosted_zone": "example.com"}
GIVEN = {
    "tls": "certificate",
    "domain": "mlflow.example.com",
    "certificate_arn": "arn:aws:acm:us-east-1:123456789012:certificate/"
    "00000000-0000-0000-0000-000000000000",
}
GITHUB = {"github_repositories": ["org/repo:ref:refs/heads/main"]}
GITLAB = {"gitlab_projects": ["group/project:ref_type:branch:ref:main"]}
PROVIDER = "arn:aws:iam::123456789012:oidc-provider/"
BASIC = {"access": "basic", "tls": "generated"}
OIDC = {
    **DOMAIN,
    "access": "oidc",
    "egress": "nat",
    "oidc_issuer": "https://login.example.com",
    "oidc_client_id": "mlflow",
    "oidc_client_secret": "secret",
    "oidc_authorization_endpoint": "https://login.example.com/authorize",
    "oidc_token_endpoint": "https://login.example.com/token",
    "oidc_user_info_endpoint": "https://login.example.com/userinfo",
}
GONE = "the resource itself"
NEW = "a resource beside it"
VARIATIONS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "region": ({"region": "eu-west-1"}, set()),  # another region is another stack: see its docs
    "account_ids": ({"account_ids": ["123456789012"]}, set()),
    "assume_role": ({"assume_role": "arn:aws:iam::123456789012:role/deployer"}, set()),
    "permissions_boundary": (
        {"permissions_boundary": "arn:aws:iam::123456789012:policy/bound"},
        set(),
    ),
    "owner": ({"owner": "somebody"}, set()),
    "tags": ({"tags": {"team": "ml"}}, set()),
    "vpc_cidr": ({"vpc_cidr": "10.99.0.0/16"}, set()),
    "zones": ({"zones": 3}, set()),
    "egress": ({"egress": "nat"}, set()),
    # Another VPC is another subnet group and security group: RDS moves the instance into it.
    "vpc_id": (VPC, {"vpcSecurityGroupIds", "dbSubnetGroupName"}),
    "public_subnet_ids": (VPC, {"vpcSecurityGroupIds", "dbSubnetGroupName"}),
    "private_subnet_ids": (VPC, {"vpcSecurityGroupIds", "dbSubnetGroupName"}),
    "internal": (
        {"internal": False, "tls": "generated", "allowed_cidrs": ["198.51.100.0/24"]},
        set(),
    ),
    "tls": ({"tls": "generated"}, set()),
    "domain": (DOMAIN, set()),
    "hosted_zone": (DOMAIN, set()),
    "certificate_arn": (GIVEN, set()),
    "allowed_cidrs": ({"allowed_cidrs": ["10.0.0.0/8"]}, set()),
    "access_logs": ({"access_logs": False}, set()),
    "tunnel": ({"tunnel": True}, set()),
    "waf": ({"waf": True}, set()),
    "flow_logs": ({"flow_logs": True}, set()),
    "access_log_days": ({"access_log_days": 30}, set()),
    "access": (BASIC, set()),
    "default_permission": ({**BASIC, "default_permission": "read"}, set()),
    "admin_password_serial": ({**BASIC, "admin_password_serial": 1}, set()),
    **{key: (OIDC, set()) for key in OIDC if key.startswith("oidc_")},
    "oidc_scope": ({**OIDC, "oidc_scope": "openid email profile"}, set()),
    "oidc_user_claim": ({**OIDC, "oidc_user_claim": "sub"}, set()),
    "oidc_email_domains": ({**OIDC, "oidc_email_domains": ["example.com"]}, set()),
    "artifacts": ({"artifacts": "together"}, set()),
    # Somebody else's bucket: ours is protected, so Pulumi refuses until it is let go on purpose.
    "artifact_bucket": ({"artifact_bucket": "kept-elsewhere"}, {GONE}),
    "artifact_endpoint": (MINIO, {GONE}),
    "artifact_access_key_id": (MINIO, {GONE}),
    "artifact_secret_access_key": (MINIO, {GONE}),
    "artifact_prefix": ({"artifact_prefix": "elsewhere"}, set()),
    "artifact_noncurrent_days": ({"artifact_noncurrent_days": 7}, set()),
    "artifact_tiering_days": ({"artifact_tiering_days": 30}, set()),
    "artifact_replica_region": ({"artifact_replica_region": "us-west-2"}, {NEW}),
    "artifact_kms_key_arn": (
        {
            "artifact_bucket": "kept-elsewhere",
            "artifact_kms_key_arn": "arn:aws:kms:us-east-1:123456789012:key/"
            "00000000-0000-0000-0000-000000000000",
        },
        {GONE},
    ),
    "largest_artifact_gib": ({"largest_artifact_gib": 9}, set()),
    "largest_artifact_minutes": ({"largest_artifact_minutes": 30}, set()),
    # In place, and refused by AWS without allow_major_upgrade.
    "postgres_major": ({"postgres_major": 17}, {"engineVersion"}),
    "database_instance_class": ({"database_instance_class": "db.t4g.small"}, {"instanceClass"}),
    "database_storage_gib": (
        {"database_storage_gib": 40},
        {"allocatedStorage", "maxAllocatedStorage"},
    ),
    "database_max_storage_gib": ({"database_max_storage_gib": 0}, {"maxAllocatedStorage"}),
    "database_monitoring_seconds": (
        {"database_monitoring_seconds": 60},
        {"monitoringInterval", "monitoringRoleArn"},
    ),
    # A restored database is another resource: the first is not touched.
    "database_restores": ({"database_restores": ["2026-11-20T10:00:00Z"]}, {NEW}),
    "keep_former_database": (
        {"keep_former_database": False, "database_restores": ["2026-11-20T10:00:00Z"]},
        {GONE, NEW},
    ),
    "allow_major_upgrade": (
        {"allow_major_upgrade": True},
        {"allowMajorVersionUpgrade", "applyImmediately"},
    ),
    "database_multi_az": ({"database_multi_az": True}, {"multiAz"}),
    "database_backup_days": ({"database_backup_days": 14}, {"backupRetentionPeriod"}),
    "image": ({"image": BASE["image"].replace("0" * 64, "1" * 64)}, set()),
    "architecture": ({"architecture": "x86_64"}, set()),
    # Two tasks need more connections than the smallest class has; Settings says so.
    "tracking_tasks": (
        {"tracking_tasks": 2, "database_instance_class": "db.t4g.small"},
        {"instanceClass"},
    ),
    "tracking_cpu": ({"tracking_cpu": 256, "tracking_memory_mib": 1024}, set()),
    "tracking_memory_mib": ({"tracking_memory_mib": 2048}, set()),
    "artifacts_tasks": ({"artifacts_tasks": 2}, set()),
    "artifacts_cpu": ({"artifacts_cpu": 1024, "artifacts_memory_mib": 2048}, set()),
    "artifacts_memory_mib": ({"artifacts_memory_mib": 2048}, set()),
    "workers": ({"workers": 1}, set()),
    "allow_schema_upgrade": ({"allow_schema_upgrade": "dc11669786a5"}, set()),
    "tracking_tasks_max": (
        {"tracking_tasks_max": 2, "database_instance_class": "db.t4g.small"},
        {"instanceClass"},
    ),
    "artifacts_tasks_max": ({"artifacts_tasks_max": 2}, set()),
    "spot": ({"spot": True}, set()),
    "allow_exec": ({"allow_exec": True}, set()),
    "wait_for_steady_state": ({"wait_for_steady_state": False}, set()),
    "container_insights": ({"container_insights": True}, set()),
    "deleted_runs_days": ({"deleted_runs_days": 30}, set()),
    "log_retention_days": ({"log_retention_days": 90}, set()),
    "alarms": ({"alarms": True}, set()),
    "alarm_emails": ({"alarms": True, "alarm_emails": ["ml@example.com"]}, set()),
    "monthly_budget_usd": (
        {"monthly_budget_usd": 100, "alarm_emails": ["ml@example.com"]},
        set(),
    ),
    "experiments": ({"experiments": {"churn": {"tags": {"team": "growth"}}}}, set()),
    "experiment_name_pattern": ({"experiment_name_pattern": "v{model_version}"}, set()),
    "github_repositories": (GITHUB, set()),
    "github_oidc_provider_arn": (
        {**GITHUB, "github_oidc_provider_arn": PROVIDER + "token.actions.githubusercontent.com"},
        set(),
    ),
    "gitlab_projects": (GITLAB, set()),
    "gitlab_oidc_provider_arn": (
        {**GITLAB, "gitlab_oidc_provider_arn": PROVIDER + "gitlab.com"},
        set(),
    ),
    "gitlab_url": ({**GITLAB, "gitlab_url": "https://gitlab.example.com"}, set()),
    "customer_key": ({"customer_key": True}, set()),  # a database keeps the key it was made with
    "expendable": ({"expendable": True}, PROTECTION | {"finalSnapshotIdentifier"}),
}


def data(recording: Recording) -> dict[str, dict[str, Any]]:
    return {
        one.urn: {
            **wire.show(one.inputs),
            "protect": one.options.protect,
            "ignored": {*one.options.ignore_changes},
        }
        for one in recording.of_type(*DATA)
    }


def test_every_setting_is_in_the_matrix() -> None:
    assert set(VARIATIONS) == set(Settings.model_fields)


@pytest.mark.parametrize("key", VARIATIONS)
def test_a_setting_touches_of_the_data_only_what_it_is_for(key: str) -> None:
    variation, allowed = VARIATIONS[key]
    before, after = data(declared({})), data(declared(variation))
    for urn, inputs in before.items():
        if urn not in after:
            assert GONE in allowed, f"{key} takes {urn} out of the program"
            assert inputs["protect"], f"{key} would delete {urn} without being stopped"
            continue
        changed = {
            name
            for name in {*inputs, *after[urn]} - after[urn]["ignored"]
            if inputs.get(name) != after[urn].get(name)
        }
        assert changed <= allowed, f"{key} changes {changed - allowed} of {urn}"
    assert set(after) <= set(before) or NEW in allowed


@pytest.mark.parametrize("key", VARIATIONS)
def test_a_setting_replaces_what_the_table_says_and_nothing_else(key: str) -> None:
    before, after = declared({}), declared(VARIATIONS[key][0])
    told = {name.rpartition("::")[2] for name in replacements(before, after)}
    assert told == set(REPLACED.get(key, ((), ""))[0])
    assert unclassified(after) == set()
