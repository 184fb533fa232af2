# ruff: noqa: E501 - a sentence is one line, as people read it
import json
from pathlib import Path

import pytest
import yaml

from trackstack.core.setting_rules import RULES
from trackstack.core.settings import Settings, SettingsError, kind_of

ROOT = Path(__file__).parents[2]
IMAGE = "registry.example.com/trackstack@sha256:" + "a" * 64
VPC = {"vpc_id": "vpc-0123456789abcdef0"}
SUBNETS = '["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]'
ENDPOINT = {"artifact_endpoint": "https://minio.example.com:9000"}
KEYS = {"artifact_access_key_id": "AK", "artifact_secret_access_key": "SK"}
PROVIDER = "arn:aws:iam::123456789012:oidc-provider/"
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/0123"


def sentences(raw: dict[str, str], stack: str = "dev") -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        Settings.from_config({"image": IMAGE, **raw}, stack)
    return caught.value.sentences


def test_a_stack_has_to_say_nothing() -> None:
    settings = Settings.from_config({}, "dev")
    assert settings.image == "", "the stack builds it"
    assert settings.internal
    assert settings.tls == "generated"
    assert not settings.expendable
    assert settings.database_backup_days == 7
    assert settings.allow_schema_upgrade == ""


def test_settings_are_what_pulumi_hands_over_as_text() -> None:
    settings = Settings.from_config(
        {
            "image": IMAGE,
            "zones": "3",
            "internal": "false",
            "allowed_cidrs": '["198.51.100.0/24"]',
            "tags": '{"cost-center": "42"}',
            "account_ids": '["123456789012"]',
        },
        "dev",
    )
    assert settings.zones == 3
    assert not settings.internal
    assert settings.allowed_cidrs == ("198.51.100.0/24",)
    assert settings.tags == {"cost-center": "42"}
    assert settings.account_ids == ("123456789012",)


ALONE = [
    (
        {"access": "ldap"},
        "access: 'ldap' is not known; write 'none', 'basic' or 'oidc'.",
    ),
    (
        {"oidc_issuer": "http://login.example.com"},
        "oidc_issuer: 'http://login.example.com' is no https address without a query; write an address such as https://login.example.com/authorize.",
    ),
    (
        {"oidc_token_endpoint": "https://me:secret@login.example.com/token"},
        "oidc_token_endpoint: 'https://…@login.example.com/token' is no https address without a query; write an address such as https://login.example.com/authorize.",
    ),
    (
        {"oidc_client_id": "ml flow"},
        "oidc_client_id: 'ml flow' is not valid; write the client's id as the provider shows it.",
    ),
    (
        {"oidc_scope": "email"},
        "oidc_scope: 'email' is no list of scopes with openid; write such as openid email.",
    ),
    (
        {"oidc_email_domains": '["@example.com"]'},
        "oidc_email_domains: '@example.com' is not valid; write lowercase domains without an @, such as example.com.",
    ),
    (
        {"admin_password_serial": "-1"},
        "admin_password_serial: -1 is out of bounds; write a number from 0 to 9999.",
    ),
    (
        {"region": "virginia"},
        "region: 'virginia' is not valid; write a region's code, such as eu-central-1.",
    ),
    (
        {"account_ids": '["12"]'},
        "account_ids: '12' is not valid; write an account's 12 digits in quotes.",
    ),
    (
        {"assume_role": "deployer"},
        "assume_role: 'deployer' is not valid; write a role's ARN, such as arn:aws:iam::123456789012:role/deployer.",
    ),
    (
        {"permissions_boundary": "b"},
        "permissions_boundary: 'b' is not valid; write a policy's ARN, such as arn:aws:iam::123456789012:policy/boundary.",
    ),
    (
        {"owner": "a<b"},
        "owner: 'a<b' is no tag value; write at most 256 letters, digits, spaces and any of . : / = + - @ _.",
    ),
    (
        {"tags": '{"aws:x": "1"}'},
        "tags: 'aws:x' is no tag key; write 1 to 128 characters that don't begin with aws:.",
    ),
    ({"tags": '["a"]'}, "tags: '[\"a\"]' is not a map of texts; write one `key: value` a line."),
    (
        {"vpc_cidr": "10.20.0.0"},
        "vpc_cidr: the subnets don't fit in 10.20.0.0, as a balancer needs a /27 in each zone; write a /24 or larger.",
    ),
    ({"vpc_cidr": "ten"}, "vpc_cidr: 'ten' is no IPv4 range; write one such as 10.20.0.0/16."),
    (
        {"vpc_cidr": "10.20.1.0/16"},
        "vpc_cidr: '10.20.1.0/16' has bits set beyond its length; write 10.20.0.0/16.",
    ),
    (
        {"vpc_cidr": "10.20.0.0/26"},
        "vpc_cidr: the subnets don't fit in 10.20.0.0/26, as a balancer needs a /27 in each zone; write a /24 or larger.",
    ),
    (
        {"vpc_cidr": "10.0.0.0/8"},
        "vpc_cidr: 10.0.0.0/8 is larger than AWS's largest VPC; write a /16 or smaller.",
    ),
    (
        {"vpc_cidr": "8.8.0.0/16"},
        "vpc_cidr: 8.8.0.0/16 is a public range, whose owner could not be reached any more; write a part of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16.",
    ),
    (
        {"zones": "1"},
        "zones: 1 is out of bounds, as RDS and the balancer each need 2 zones; write a number from 2 to 4.",
    ),
    (
        {"zones": "two"},
        "zones: 'two' is not a whole number; write one without quotes or units, such as 2.",
    ),
    ({"egress": "proxy"}, "egress: 'proxy' is not known; write 'public', 'nat' or 'nat_per_zone'."),
    (
        {"vpc_id": "main"},
        "vpc_id: 'main' is not valid; write a VPC's id, such as vpc-0123456789abcdef0.",
    ),
    (
        {"public_subnet_ids": '["a"]'},
        "public_subnet_ids: 'a' is not valid; write subnets' ids, such as subnet-0123456789abcdef0.",
    ),
    (
        {"public_subnet_ids": "subnet-1"},
        "public_subnet_ids: 'subnet-1' is not a list; write one entry a line, each after a dash.",
    ),
    ({"internal": "yes"}, "internal: 'yes' is neither true nor false; write one of the two."),
    (
        {"domain": "https://a.b"},
        "domain: 'https://a.b' is not valid; write a lowercase host name without https://, such as mlflow.example.com.",
    ),
    (
        {"certificate_arn": "x"},
        "certificate_arn: 'x' is not valid; write the certificate's ARN, such as arn:aws:acm:us-east-1:123456789012:certificate/….",
    ),
    (
        {"allowed_cidrs": '["10.0.0.1/8"]'},
        "allowed_cidrs: '10.0.0.1/8' has bits set beyond its length; write 10.0.0.0/8.",
    ),
    (
        {"artifact_bucket": "My_Bucket"},
        "artifact_bucket: 'My_Bucket' is no bucket name; write 3 to 63 lowercase letters, digits and hyphens, without S3's reserved beginnings and endings.",
    ),
    (
        {"artifact_endpoint": "http://user:secret@minio"},
        "artifact_endpoint: 'http://…@minio' is not valid; write the server's address alone, such as https://minio.example.com:9000.",
    ),
    (
        {"artifact_prefix": "/runs"},
        "artifact_prefix: '/runs' is no prefix; write one without a slash at either end, such as runs.",
    ),
    (
        {"artifact_noncurrent_days": "0"},
        "artifact_noncurrent_days: 0 is out of bounds; write a number from 1 to 3650.",
    ),
    (
        {"largest_artifact_gib": "91"},
        "largest_artifact_gib: 91 is out of bounds, as a task's disk is 20 GiB and twice the largest artifact; write a number from 1 to 90.",
    ),
    (
        {"largest_artifact_minutes": "67"},
        "largest_artifact_minutes: 67 is out of bounds, as a balancer waits 4,000 seconds at most; write a number from 1 to 66.",
    ),
    (
        {"postgres_major": "9"},
        "postgres_major: 9 is out of bounds, as RDS and MLflow support no other; write a number from 14 to 18.",
    ),
    (
        {"database_instance_class": "t4g.micro"},
        "database_instance_class: 't4g.micro' is not among the known instance classes; write one such as db.t4g.micro, of the families db.m6g, db.m6i, db.m7g, db.m7i, db.r6g, db.r6i, db.r7g, db.r7i, db.t3, db.t4g.",
    ),
    (
        {"database_storage_gib": "5"},
        "database_storage_gib: 5 is out of bounds, as gp3 volumes begin at 20; write a number from 20 to 65536.",
    ),
    (
        {"database_backup_days": "0"},
        "database_backup_days: 0 is out of bounds, as runs could not be restored without a backup; write a number from 1 to 35.",
    ),
    (
        {"image": "trackstack:latest"},
        "image: 'trackstack:latest' may change under a running stack; write the image by digest: registry/repository@sha256:<64 hexadecimal digits>.",
    ),
    (
        {"allow_schema_upgrade": "true"},
        "allow_schema_upgrade: 'true' is not valid; write the 12 hexadecimal digits that the migration's log names.",
    ),
    (
        {"log_retention_days": "31"},
        "log_retention_days: CloudWatch does not offer 31 days; write 30, the nearest it does.",
    ),
    (
        {"alarm_emails": '["ml-platform"]'},
        "alarm_emails: 'ml-platform' is not valid; write an e-mail address, such as ml-platform@example.com.",
    ),
    (
        {"monthly_budget_usd": "-1"},
        "monthly_budget_usd: -1 is out of bounds; write a number from 0 to 1000000.",
    ),
    *(
        (
            {"github_repositories": f'["{wrong}"]'},
            f"github_repositories: '{wrong}' is not valid; write one repository and branch as GitHub's sub claim does after repo:, such as org/repo:ref:refs/heads/main or org/repo:environment:prod, without wildcards.",
        )
        for wrong in (
            "org/*",
            "org/*:ref:refs/heads/main",
            "*",
            "org/repo",
            "org/repo:*",
            "org/repo:ref:refs/heads/*",
            "repo:org/repo:ref:refs/heads/main",
            "org/repo:environment:p?d",
        )
    ),
    (
        {"gitlab_projects": '["group/*:ref_type:branch:ref:main"]'},
        "gitlab_projects: 'group/*:ref_type:branch:ref:main' is not valid; write one project and branch as GitLab's sub claim does after project_path:, such as group/project:ref_type:branch:ref:main, without wildcards.",
    ),
    (
        {"github_oidc_provider_arn": "github"},
        "github_oidc_provider_arn: 'github' is not valid; write the provider's ARN, such as arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com.",
    ),
    (
        {"gitlab_url": "http://gitlab.example.com/"},
        "gitlab_url: 'http://gitlab.example.com/' is not valid; write GitLab's address alone, such as https://gitlab.example.com.",
    ),
    ({"reigon": "us-east-1"}, "reigon: there is no such setting; did you mean region?"),
    (
        {"experiments": '["churn"]'},
        """experiments: '["churn"]' is not a map; write one `name:` a line, with what belongs to it below.""",
    ),
    (
        {"experiments": '{"churn": {"tag": {}}}'},
        "experiments: 'churn' is more than tags and permissions; write those, or {} for neither.",
    ),
    (
        {"experiments": '{" churn": {}}'},
        "experiments: ' churn' is no name; write 1 to 500 characters, no space at an end.",
    ),
    (
        {"experiments": '{"churn": {"tags": ["team"]}}'},
        "experiments: the tags of 'churn' are no map; write one `key: value` a line.",
    ),
    (
        {"experiments": '{"churn": {"tags": {"year": 2026}}}'},
        "experiments: the tag 'year' of 'churn' is no text; write at most 5000 characters, a number in quotes.",
    ),
    (
        {"experiments": '{"churn": {"tags": {"a,b": "x"}}}'},
        "experiments: 'a,b' of 'churn' is no tag key; write at most 250 letters, digits, spaces and any of _ . : / -.",
    ),
    (
        {"experiments": '{"churn": {"tags": {"trackstack.x": "x"}}}'},
        "experiments: the tag 'trackstack.x' of 'churn' is trackstack's own; choose another key.",
    ),
    (
        {"experiments": '{"churn": {"permissions": ["ada"]}}'},
        "experiments: the permissions of 'churn' are no map; write one `user: permission` a line.",
    ),
    (
        {"experiments": '{"churn": {"permissions": {"ada": "write"}}}'},
        "experiments: 'write' is no permission of 'ada' on 'churn'; write one of read, edit, manage, none.",
    ),
    (
        {"experiments": '{"churn": {"permissions": {"a:b": "read"}}}'},
        "experiments: 'a:b' on 'churn' can't log in; write a user's name, without a colon.",
    ),
    (
        {"experiment_name_pattern": "{team}{model}"},
        "experiment_name_pattern: where {team} ends can't be seen; write a character such as - or / after it.",
    ),
    ({"qqq": "1"}, "qqq: there is no such setting; Pulumi.yaml lists the keys there are."),
    (
        {"database_monitoring_seconds": "20"},
        "database_monitoring_seconds: RDS does not offer 20 seconds; write 0, 1, 5, 10, 15, 30 or 60.",
    ),
    (
        {"database_restores": '["yesterday at noon"]'},
        "database_restores: 'yesterday at noon' is neither a time nor a snapshot; write a UTC time such as 2026-11-20T10:00:00Z, or a snapshot's name or ARN.",
    ),
    (
        {"database_restores": '["2026-02-30T10:00:00Z"]', "keep_former_database": "true"},
        "database_restores: '2026-02-30T10:00:00Z' is neither a time nor a snapshot; write a UTC time such as 2026-11-20T10:00:00Z, or a snapshot's name or ARN.",
    ),
    (
        {"artifact_bucket": "theirs", "artifact_kms_key_arn": "alias/theirs"},
        "artifact_kms_key_arn: 'alias/theirs' is not valid; write a key's ARN, such as arn:aws:kms:us-east-1:123456789012:key/…, not its alias.",
    ),
]


@pytest.mark.parametrize(("raw", "sentence"), ALONE, ids=lambda v: str(v)[:40])
def test_a_wrong_setting_is_told_in_one_sentence(raw: dict[str, str], sentence: str) -> None:
    assert sentences(raw) == (sentence,)


OIDC = {
    "access": "oidc",
    "tls": "domain",
    "domain": "mlflow.example.com",
    "hosted_zone": "example.com",
    "egress": "nat",
    "oidc_issuer": "https://login.example.com",
    "oidc_client_id": "mlflow",
    "oidc_client_secret": "secret",
    "oidc_authorization_endpoint": "https://login.example.com/authorize",
    "oidc_token_endpoint": "https://login.example.com/token",
    "oidc_user_info_endpoint": "https://login.example.com/userinfo",
}


def without(key: str) -> dict[str, str]:
    return {name: value for name, value in OIDC.items() if name != key}


TOGETHER = [
    (
        {"experiments": '{"churn": {"permissions": {"ada": "read"}}}'},
        "experiments: 'churn' has permissions, and access: none has no users; leave them out, or write access: basic.",
    ),
    (
        {"experiments": '{"1.2": {}}', "experiment_name_pattern": "v{model_version}"},
        "experiments: '1.2' breaks the standard v{model_version}: at its beginning stands '1.2' instead of 'v'; write 'v1.2'.",
    ),
    (
        {"allowed_cidrs": '["0.0.0.0/0"]'},
        "allowed_cidrs: 0.0.0.0/0 lets the whole internet read and write runs, as access: none asks nobody to sign in; write the ranges that your people and machines come from, or access: basic.",
    ),
    (
        {"access": "basic", "tls": "plaintext"},
        "access: basic would send passwords in the clear with tls: plaintext; write tls: generated, domain or certificate.",
    ),
    (
        {**OIDC, "tls": "generated", "domain": "", "hosted_zone": ""},
        "access: an identity provider sends people back to a name, and tls: generated has none; write tls: domain or tls: certificate.",
    ),
    *(
        (
            without(key),
            f"{key}: missing, and access: oidc needs it; write what the identity provider's discovery document says.",
        )
        for key in (
            "oidc_issuer",
            "oidc_authorization_endpoint",
            "oidc_token_endpoint",
            "oidc_user_info_endpoint",
        )
    ),
    (
        without("oidc_client_id"),
        "oidc_client_id: missing, and access: oidc needs it; write the client's id as the provider shows it.",
    ),
    (
        without("oidc_client_secret"),
        "oidc_client_secret: missing, and access: oidc needs it; set it with `pulumi config set --secret oidc_client_secret`.",
    ),
    (
        {"access": "basic", "oidc_client_id": "mlflow"},
        "oidc_client_id: only for access: oidc; leave it out beside access: basic.",
    ),
    (
        {**OIDC, "oidc_user_claim": "sub", "oidc_email_domains": '["example.com"]'},
        "oidc_email_domains: oidc_user_claim: sub tells no address; write oidc_user_claim: email, or leave oidc_email_domains out.",
    ),
    (
        {**OIDC, "egress": "public"},
        "egress: an internal balancer has no way out to the identity provider with public; write nat, or internal: false.",
    ),
    (
        {**OIDC, "region": "cn-north-1"},
        "access: balancers of cn-north-1 don't publish what they sign with; write access: basic.",
    ),
    (
        {"default_permission": "read"},
        "default_permission: access: none has no users; leave it out, or write access: basic.",
    ),
    (
        {"admin_password_serial": "1"},
        "admin_password_serial: access: none has no users; leave it out, or write access: basic.",
    ),
    (
        {"access": "basic", "artifacts_tasks": "6"},
        "database_instance_class: db.t4g.micro holds 72 connections, but 1 tracking task with 1 worker each may open 114 during a deployment; write db.t4g.small, or fewer tracking_tasks or workers.",
    ),
    (
        {
            **VPC,
            "vpc_cidr": "10.9.0.0/16",
            "private_subnet_ids": SUBNETS,
            "public_subnet_ids": SUBNETS,
        },
        "vpc_cidr: only for a VPC of the stack's own; leave it out beside vpc_id.",
    ),
    (
        {**VPC, "zones": "3", "private_subnet_ids": SUBNETS, "public_subnet_ids": SUBNETS},
        "zones: only for a VPC of the stack's own; leave it out beside vpc_id.",
    ),
    (
        {**VPC, "flow_logs": "true", "private_subnet_ids": SUBNETS, "public_subnet_ids": SUBNETS},
        "flow_logs: only for a VPC of the stack's own; leave it out beside vpc_id.",
    ),
    (
        {"private_subnet_ids": SUBNETS},
        "private_subnet_ids: only for an existing VPC; add its vpc_id or leave private_subnet_ids out.",
    ),
    (
        {**VPC, "public_subnet_ids": SUBNETS},
        "private_subnet_ids: the database needs subnets in 2 zones; write 2 or more private subnets of the VPC.",
    ),
    (
        {**VPC, "private_subnet_ids": SUBNETS},
        "public_subnet_ids: egress: public needs subnets in 2 zones; write 2 or more public subnets of the VPC.",
    ),
    (
        {
            **VPC,
            "private_subnet_ids": SUBNETS,
            "egress": "nat",
            "internal": "false",
            "allowed_cidrs": '["10.0.0.0/8"]',
        },
        "public_subnet_ids: internal: false needs subnets in 2 zones; write 2 or more public subnets of the VPC.",
    ),
    (
        {**VPC, "private_subnet_ids": SUBNETS, "egress": "nat_per_zone"},
        "egress: nat_per_zone makes gateways in a VPC of the stack's own; write nat beside vpc_id, for private subnets that have a way out.",
    ),
    (
        {"tls": "plaintext", "internal": "false", "allowed_cidrs": '["10.0.0.0/8"]'},
        "tls: plaintext would send runs over the internet in the clear; write domain, certificate or generated, or internal: true.",
    ),
    (
        {"internal": "false"},
        "allowed_cidrs: missing, and internal: false lets nobody in without them; write the ranges that your people and machines come from.",
    ),
    (
        {"tls": "domain", "hosted_zone": "example.com"},
        "domain: missing, and tls: domain needs it; write the platform's host name.",
    ),
    (
        {"tls": "domain", "domain": "mlflow.example.com"},
        "hosted_zone: missing, and tls: domain proves the domain's ownership there; write the Route 53 zone, such as example.com.",
    ),
    (
        {"domain": "mlflow.example.com"},
        "domain: tls: generated answers to the balancer's own name; leave domain out, or write tls: domain or tls: certificate.",
    ),
    (
        {"hosted_zone": "example.com"},
        "hosted_zone: tls: generated writes no records; leave hosted_zone out.",
    ),
    (
        {"tls": "domain", "domain": "mlflow.example.com", "hosted_zone": "example.org"},
        "domain: mlflow.example.com is not in the zone example.org; write a name that ends in .example.org, or another hosted_zone.",
    ),
    (
        {"tls": "domain", "domain": "notexample.com", "hosted_zone": "example.com"},
        "domain: notexample.com is not in the zone example.com; write a name that ends in .example.com, or another hosted_zone.",
    ),
    (
        {"tls": "certificate", "domain": "mlflow.example.com"},
        "certificate_arn: missing, and tls: certificate needs it; write the ARN of the ACM certificate.",
    ),
    (
        {"certificate_arn": CERTIFICATE},
        "certificate_arn: not used by tls: generated; leave it out or write tls: certificate.",
    ),
    (
        {
            "tls": "certificate",
            "domain": "mlflow.example.com",
            "certificate_arn": CERTIFICATE,
            "region": "eu-central-1",
        },
        "certificate_arn: lies in another region than the balancer; write a certificate of eu-central-1.",
    ),
    (
        {**ENDPOINT, **KEYS},
        "artifact_bucket: missing, and the stack makes none on an artifact_endpoint; write the name of a bucket there.",
    ),
    (
        {**ENDPOINT, "artifact_bucket": "runs", "artifact_access_key_id": "AK"},
        "artifact_secret_access_key: missing, and artifact_endpoint needs it; set it with `pulumi config set --secret artifact_secret_access_key`.",
    ),
    (
        {"artifact_access_key_id": "AK"},
        "artifact_access_key_id: only for an artifact_endpoint; S3 itself is reached by the task's role.",
    ),
    (
        {"artifact_bucket": "runs", "artifact_noncurrent_days": "90"},
        "artifact_noncurrent_days: the lifecycle of an existing bucket is its owner's; leave it out beside artifact_bucket.",
    ),
    (
        {"artifacts": "together", "artifacts_tasks": "2"},
        "artifacts_tasks: artifacts: together has no such service; leave it out or write artifacts: separate.",
    ),
    (
        {"tracking_cpu": "500"},
        "tracking_cpu: Fargate has no task of 500; write one of 256, 512, 1024, 2048, 4096, 8192, 16384.",
    ),
    (
        {"tracking_cpu": "1024"},
        "tracking_memory_mib: Fargate does not sell 1024 with tracking_cpu 1024; write 2048 to 8192 in steps of 1024.",
    ),
    (
        {"artifacts_cpu": "256", "artifacts_memory_mib": "4096"},
        "artifacts_memory_mib: Fargate does not sell 4096 with artifacts_cpu 256; write 512, 1024, 2048.",
    ),
    (
        {"tracking_cpu": "256", "tracking_memory_mib": "512"},
        "tracking_memory_mib: 512 is too little for 1 worker, as MLflow takes 600 then; write 1024.",
    ),
    (
        {"alarm_emails": '["ml@example.com"]'},
        "alarm_emails: nothing would write to them; write alarms: true or a monthly_budget_usd, or leave them out.",
    ),
    (
        {"monthly_budget_usd": "200"},
        "alarm_emails: missing, and monthly_budget_usd would tell nobody; write who is told that the month becomes expensive.",
    ),
    (
        {
            "monthly_budget_usd": "200",
            "alarm_emails": json.dumps([f"{n}@example.com" for n in range(11)]),
        },
        "alarm_emails: AWS Budgets writes to 10 addresses at most; write a mailing list's.",
    ),
    (
        {"github_oidc_provider_arn": PROVIDER + "token.actions.githubusercontent.com"},
        "github_oidc_provider_arn: used by github_repositories alone; write those, or leave it out.",
    ),
    (
        {
            "github_repositories": '["org/repo:pull_request"]',
            "github_oidc_provider_arn": PROVIDER + "gitlab.com",
        },
        "github_oidc_provider_arn: vouches for somebody else; write the ARN that ends in /token.actions.githubusercontent.com.",
    ),
    (
        {"gitlab_url": "https://gitlab.example.com"},
        "gitlab_url: used by gitlab_projects alone; write those, or leave it out.",
    ),
    (
        {
            "gitlab_projects": '["group/project:ref_type:branch:ref:main"]',
            "gitlab_url": "https://gitlab.example.com",
            "gitlab_oidc_provider_arn": PROVIDER + "gitlab.com",
        },
        "gitlab_oidc_provider_arn: vouches for somebody else; write the ARN that ends in /gitlab.example.com.",
    ),
    (
        {"tracking_tasks": "3"},
        "database_instance_class: db.t4g.micro holds 72 connections, but 3 tracking tasks with 1 worker each may open 180 during a deployment; write db.t4g.small, or fewer tracking_tasks or workers.",
    ),
    (
        {"tracking_tasks_max": "3"},
        "database_instance_class: db.t4g.micro holds 72 connections, but 3 tracking tasks with 1 worker each may open 180 during a deployment; write db.t4g.small, or fewer tracking_tasks_max or workers.",
    ),
    (
        {"artifacts_tasks": "3", "artifacts_tasks_max": "2"},
        "artifacts_tasks_max: 2 is less than artifacts_tasks, which is the least; write 3 or more, or leave it out.",
    ),
    (
        {"artifacts": "together", "artifacts_tasks_max": "2"},
        "artifacts_tasks_max: artifacts: together has no such service; leave it out or write artifacts: separate.",
    ),
    (
        {"database_storage_gib": "95"},
        "database_max_storage_gib: 100 leaves 95 GiB no room, as RDS asks for 10 % at least; write 105 or more, or 0 for a disk that doesn't grow.",
    ),
    (
        {"keep_former_database": "false"},
        "keep_former_database: false would leave no database, as none was restored; leave it out or write database_restores.",
    ),
    (
        {"artifact_bucket": "theirs", "artifact_tiering_days": "30"},
        "artifact_tiering_days: the lifecycle of an existing bucket is its owner's; leave it out beside artifact_bucket.",
    ),
    (
        {"artifact_bucket": "theirs", "artifact_replica_region": "us-west-2"},
        "artifact_replica_region: the replication of an existing bucket is its owner's; leave it out beside artifact_bucket.",
    ),
    (
        {"artifact_replica_region": "us-east-1"},
        "artifact_replica_region: us-east-1 is the first region already; write another one, or leave it out.",
    ),
    (
        {"artifact_replica_region": "cn-north-1"},
        "artifact_replica_region: S3 copies nothing between us-east-1 and cn-north-1; write a region of the same partition.",
    ),
    (
        {"artifact_kms_key_arn": "arn:aws:kms:us-east-1:123456789012:key/0"},
        "artifact_kms_key_arn: only for an existing artifact_bucket on S3; the stack's own bucket takes customer_key.",
    ),
    (
        {
            "artifact_bucket": "theirs",
            "artifact_kms_key_arn": "arn:aws:kms:eu-west-1:123456789012:key/0",
        },
        "artifact_kms_key_arn: lies in another region than the stack; write a bucket and its key in us-east-1.",
    ),
]


@pytest.mark.parametrize(("raw", "sentence"), TOGETHER, ids=lambda v: str(v)[:60])
def test_an_impossible_combination_is_told_in_one_sentence(
    raw: dict[str, str], sentence: str
) -> None:
    assert sentences(raw) == (sentence,)


@pytest.mark.parametrize("stack", ["Dev", "1st", "my_stack", "a--b", "a-", "x" * 41])
def test_a_stack_is_called_what_aws_can_carry(stack: str) -> None:
    sentence = f"stack: {stack!r} can't be part of AWS's names; call it by at most 40 lowercase letters, digits and single hyphens, a letter first."
    assert sentences({}, stack) == (sentence,)


def test_all_errors_are_told_at_once() -> None:
    raw = {"zonse": "3", "zones": "9", "tls": "none", "internal": "false", "tracking_tasks": "3"}
    told = sentences(raw, "Dev")
    assert [s.partition(":")[0] for s in told] == [
        "stack",
        "zonse",
        "zones",
        "tls",
        "allowed_cidrs",
        "database_instance_class",
    ]
    with pytest.raises(SettingsError, match=r"stack: .*\nzonse: .*\nzones: "):
        Settings.from_config(raw, "Dev")


def test_every_rule_names_keys_that_there_are() -> None:
    for rule in RULES:
        assert set(rule.keys) <= set(Settings.model_fields)


def test_a_mistake_is_told_once_even_where_rules_read_the_same_key() -> None:
    assert sentences({"tracking_tasks": "many"}) == (
        "tracking_tasks: 'many' is not a whole number; write one without quotes or units, such as 2.",
    )


def test_a_secret_never_comes_into_the_settings() -> None:
    raw = {"image": IMAGE, **ENDPOINT, "artifact_bucket": "runs"}
    raw |= {"artifact_access_key_id": "AKIDVALUE", "artifact_secret_access_key": "SECRETVALUE"}
    settings = Settings.from_config(raw, "dev")
    assert settings.artifact_access_key_id is True
    assert "AKIDVALUE" not in repr(settings)
    assert "SECRETVALUE" not in settings.model_dump_json()


def test_a_secret_in_the_clear_is_refused() -> None:
    raw = {"image": IMAGE, **ENDPOINT, **KEYS, "artifact_bucket": "runs"}
    with pytest.raises(SettingsError) as caught:
        Settings.from_config(raw, "dev", encrypted={"artifact_access_key_id"})
    sentence = "artifact_secret_access_key: in the clear; `pulumi config set --secret artifact_secret_access_key` encrypts it."
    assert caught.value.sentences == (sentence,)


def test_settings_cannot_be_changed() -> None:
    settings = Settings.from_config({"image": IMAGE}, "dev")
    with pytest.raises(ValueError, match="frozen"):
        settings.zones = 3


def declared() -> dict[str, dict[str, object]]:
    return yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]


def test_pulumi_yaml_declares_the_settings_and_nothing_else() -> None:
    assert list(declared()) == list(Settings.model_fields)


@pytest.mark.parametrize("key", list(Settings.model_fields))
def test_pulumi_yaml_says_what_the_settings_say(key: str) -> None:
    field, entry = Settings.model_fields[key], declared()[key]
    assert field.description
    assert entry.pop("description") == " ".join(field.description.split())
    kind = kind_of(key)
    if kind == "secret":
        # Pulumi refuses a default for `secret: true`, and without one the key would be required.
        assert entry == {"type": "string", "default": ""}
        return
    expected: dict[str, object] = {"type": kind}
    if kind == "array":
        expected["items"] = {"type": "string"}
    if not field.is_required():
        default = field.get_default(call_default_factory=True)
        expected["default"] = list(default) if isinstance(default, tuple) else default
    assert entry == expected


STACKS = sorted((ROOT / "stacks").glob("Pulumi.*.yaml"))


def stack_config(path: Path) -> dict[str, str]:
    config = yaml.safe_load(path.read_text())["config"]
    return {
        key.removeprefix("mlflow-platform:"): value if isinstance(value, str) else json.dumps(value)
        for key, value in config.items()
        if key.startswith("mlflow-platform:")
    }


@pytest.mark.parametrize("path", STACKS, ids=lambda p: p.name)
def test_a_stack_file_holds_only_what_differs(path: Path) -> None:
    config = stack_config(path)
    settings = Settings.from_config(config, path.name.split(".")[1])
    for key in config.keys() - {"image"}:
        default = Settings.model_fields[key].get_default(call_default_factory=True)
        # staging names how it does TLS although that is the default: it is what staging is for
        assert getattr(settings, key) != default or (path.name, key) == (
            "Pulumi.staging.yaml",
            "tls",
        )


@pytest.mark.parametrize("path", STACKS, ids=lambda p: p.name)
def test_a_stack_knows_no_provider_but_the_tagged_one(path: Path) -> None:
    config = yaml.safe_load(path.read_text())["config"]
    assert config["pulumi:disable-default-providers"] == ["aws"]


def test_prod_survives_a_mistake_and_a_zone() -> None:
    prod = Settings.from_config(stack_config(ROOT / "stacks/Pulumi.prod.yaml"), "prod")
    assert not prod.expendable
    assert prod.database_multi_az
    assert prod.tracking_tasks >= 2
    assert prod.artifacts_tasks >= 2
    assert prod.tls == "domain"


def test_a_whole_identity_provider_and_the_whole_internet_go_together() -> None:
    raw = {"image": IMAGE, **OIDC, "internal": "false", "allowed_cidrs": '["0.0.0.0/0"]'}
    assert Settings.from_config(raw, "dev").access == "oidc"


@pytest.mark.parametrize(
    "restore",
    [
        "2026-11-20T10:00:00Z",
        "rds:mlflow-backend-postgres-1a2b3c4d-2026-11-20-03-00",
        "mlflow-backend-last-1a2b3c4d",
        "arn:aws:rds:us-east-1:123456789012:snapshot:rds:mlflow-2026-11-20-03-00",
    ],
)
def test_a_database_is_restored_to_a_time_or_from_any_snapshot(restore: str) -> None:
    raw = {"image": IMAGE, "database_restores": f'["{restore}"]'}
    assert Settings.from_config(raw, "dev").database_restores == (restore,)


def test_a_disk_that_doesn_t_grow_may_have_any_size() -> None:
    raw = {"image": IMAGE, "database_storage_gib": "500", "database_max_storage_gib": "0"}
    assert Settings.from_config(raw, "dev").database_storage_gib == 500
    assert Settings.from_config({"image": IMAGE, "database_storage_gib": "90"}, "dev")
