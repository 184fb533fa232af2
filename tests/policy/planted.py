"""For every rule of the pack a smallest program that violates it, and one that doesn't.

Real ``pulumi_aws`` resources, so that a rule that asks for a property by a wrong name finds nothing
and fails here.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws
from pulumi import ResourceOptions
from pulumi_aws import (
    cloudwatch,
    ec2,
    ecr,
    ecs,
    iam,
    kms,
    lb,
    rds,
    s3,
    sns,
    vpc,
)

Program = Callable[[], object]
DIGEST = "registry.example/mlflow@sha256:" + "0" * 64
GITHUB = "token.actions.githubusercontent.com"
PROVIDER = f"arn:aws:iam::123456789012:oidc-provider/{GITHUB}"
TABLE = "arn:aws:dynamodb:us-east-1:123456789012:table/runs"


@dataclass(frozen=True)
class Planted:
    """What a rule must find, and what it must leave alone."""

    wrong: Program
    right: Program
    about: tuple[str, ...] = ("it",)
    """Names of the resources that the findings are about."""
    stack: str = "test"


CASES: dict[str, list[Planted]] = {}


def plant(rule: str, wrong: Program, right: Program, **more: Any) -> None:
    CASES.setdefault(rule, []).append(Planted(wrong, right, **more))


def owned(name: str = "owned", **tags: str) -> ResourceOptions:
    """Options of a resource whose provider tags it."""
    tags = tags or {"owner": "ml", "project": "mlflow", "stack": "test"}
    return ResourceOptions(
        provider=pulumi_aws.Provider(name, region="us-east-1", default_tags={"tags": tags})
    )


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


# Buckets


def bucket(
    *without: str, policy: dict[str, Any] | None = None, versions: str = "Enabled", **args: Any
) -> None:
    opts = owned()
    made = s3.Bucket("it", opts=opts, **args)
    if "block" not in without:
        s3.BucketPublicAccessBlock(
            "it-block",
            bucket=made.id,
            block_public_acls=True,
            block_public_policy="policy" not in without,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=opts,
        )
    if "tls" not in without:
        deny = {
            "Effect": "Deny",
            "Principal": {"AWS": "*"},
            "Action": ["s3:*"],
            "Condition": {"Bool": {"aws:SecureTransport": False}},
        }
        s3.BucketPolicy(
            "it-policy",
            bucket=made.id,
            policy=made.arn.apply(
                lambda arn: document({**(policy or deny), "Resource": [arn, f"{arn}/*"]})
            ),
            opts=opts,
        )
    if "encryption" not in without:
        s3.BucketServerSideEncryptionConfiguration(
            "it-encrypted",
            bucket=made.bucket,
            rules=[{"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}],
            opts=opts,
        )
    if "versions" not in without:
        s3.BucketVersioning(
            "it-versions",
            bucket=made.id,
            versioning_configuration={"status": versions},
            opts=opts,
        )


plant("bucket-public", lambda: bucket(acl="public-read"), lambda: bucket(acl="private"))
plant("bucket-public", lambda: bucket("policy"), bucket, about=("it-block",))
plant("bucket-without-access-block", lambda: bucket("block"), bucket)
plant("bucket-without-tls", lambda: bucket("tls"), bucket)
plant(
    "bucket-without-tls",
    lambda: bucket(
        policy={
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:PutObject",
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    ),
    lambda: bucket(
        policy={
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    ),
)
plant("bucket-without-encryption", lambda: bucket("encryption"), bucket)
plant("bucket-without-versions", lambda: bucket("versions"), bucket)
plant(
    "bucket-without-versions",
    lambda: bucket(versions="Suspended"),
    lambda: bucket("versions", force_destroy=True),
)


# Databases


def database(**args: Any) -> None:
    """A sound one, changed by what is given; None takes a property away."""
    sound = {
        "engine": "postgres",
        "engine_version": "18",
        "instance_class": "db.t4g.micro",
        "allocated_storage": 20,
        "username": "trackstack",
        "manage_master_user_password": True,
        "storage_encrypted": True,
        "publicly_accessible": False,
        "backup_retention_period": 7,
        "deletion_protection": True,
        "parameter_group_name": None,
    }
    opts = owned()
    opts.protect = args.pop("protect", True)
    rds.Instance("it", opts=opts, **{**sound, **args})


def cluster(**args: Any) -> None:
    sound = {
        "engine": "aurora-postgresql",
        "storage_encrypted": True,
        "manage_master_user_password": True,
        "deletion_protection": True,
    }
    opts = owned()
    opts.protect = True
    rds.Cluster("it", opts=opts, **{**sound, **args})


def parameters(family: str, value: str = "") -> None:
    told = [{"name": "rds.force_ssl", "value": value}] if value else []
    rds.ParameterGroup("it", family=family, parameters=told, opts=owned())


plant("database-public", lambda: database(publicly_accessible=True), database)
plant(
    "database-public",
    lambda: rds.ClusterInstance(
        "it",
        cluster_identifier="runs",
        engine="aurora-postgresql",
        instance_class="db.t4g.medium",
        publicly_accessible=True,
        opts=owned(),
    ),
    cluster,
)
plant("database-unencrypted", lambda: database(storage_encrypted=None), database)
plant("database-unencrypted", lambda: cluster(storage_encrypted=False), cluster)
plant(
    "database-without-tls",
    lambda: parameters("postgres18", "0"),
    lambda: parameters("postgres18"),
)
plant(
    "database-without-tls",
    lambda: parameters("postgres14"),
    lambda: parameters("postgres14", "1"),
)
plant(
    "database-without-tls",
    lambda: database(engine_version="14.9"),
    lambda: database(engine_version="14.9", parameter_group_name="tls-only"),
)
plant("database-without-backups", lambda: database(backup_retention_period=0), database)
plant("database-without-backups", lambda: database(backup_retention_period=None), cluster)
plant("database-without-backups", lambda: cluster(backup_retention_period=0), cluster)
plant(
    "database-password-given",
    lambda: database(manage_master_user_password=None, password=pulumi.Output.secret("s3cr3t")),
    database,
)
for wrong in (
    {"protect": False},
    {"deletion_protection": False},
    {"skip_final_snapshot": True},
):
    plant(
        "data-unprotected-in-production",
        lambda wrong=wrong: database(**wrong),  # type: ignore[misc]
        database,
        stack="prod",
    )
plant(
    "data-unprotected-in-production",
    lambda: s3.Bucket("it", force_destroy=True, opts=owned()),
    lambda: s3.Bucket("it", opts=ResourceOptions.merge(owned(), ResourceOptions(protect=True))),
    about=("it", "it"),  # neither protected nor kept
    stack="prod",
)


# Doors


def ingress(first: int, last: int | None = None, protocol: str = "tcp", **cidr: str) -> None:
    vpc.SecurityGroupIngressRule(
        "it",
        security_group_id="sg-1",
        ip_protocol=protocol,
        from_port=first,
        to_port=first if last is None else last,
        opts=owned(),
        **(cidr or {"cidr_ipv4": "0.0.0.0/0"}),
    )


def group(kind: Any = ec2.SecurityGroup, cidr: str = "0.0.0.0/0", port: int = 5432) -> None:
    way = {"protocol": "tcp", "from_port": port, "to_port": port, "cidr_blocks": [cidr]}
    kind("it", vpc_id="vpc-1", ingress=[way], opts=owned())


inner = {"cidr_ipv4": "10.0.0.0/8"}
plant("security-group-open", lambda: ingress(5432), lambda: ingress(5432, **inner))
plant("security-group-open", lambda: ingress(80, 443), lambda: ingress(80, 443, **inner))
plant(
    "security-group-open",
    lambda: ingress(22, cidr_ipv6="::/0"),
    lambda: ingress(22, cidr_ipv6="2001:db8::/32"),
)
plant(
    "security-group-open",
    lambda: ingress(443, protocol="-1"),
    lambda: ingress(443, protocol="-1", **inner),
)
plant("security-group-open", group, lambda: group(cidr="10.0.0.0/8"))
plant(
    "security-group-open",
    lambda: group(ec2.DefaultSecurityGroup),
    lambda: group(ec2.DefaultSecurityGroup, "10.0.0.0/8"),
)
plant(
    "security-group-open",
    lambda: old_rule("ingress"),
    lambda: old_rule("egress"),
)
plant("web-open-to-everybody", lambda: ingress(443), lambda: ingress(443, **inner))
plant("web-open-to-everybody", lambda: group(port=80), lambda: group(port=80, cidr="10.0.0.0/8"))


def old_rule(way: str) -> None:
    ec2.SecurityGroupRule(
        "it",
        security_group_id="sg-1",
        type=way,
        protocol="tcp",
        from_port=22,
        to_port=22,
        cidr_blocks=["0.0.0.0/0"],
        opts=owned(),
    )


REDIRECT = {"type": "redirect", "redirect": {"status_code": "HTTP_301", "protocol": "HTTPS"}}
FORWARD = {"type": "forward", "target_group_arn": "arn:aws:elasticloadbalancing:::targetgroup/x"}


def listener(
    action: Any = FORWARD, *, internal: bool = False, rule: Any = None, **args: Any
) -> None:
    balancer = lb.LoadBalancer("balancer", internal=internal, subnets=["a", "b"], opts=owned())
    made = lb.Listener(
        "it",
        load_balancer_arn=balancer.arn,
        port=80,
        default_actions=[action],
        **{"protocol": "HTTP", **args},
    )
    if rule:
        lb.ListenerRule(
            "rule",
            listener_arn=made.arn,
            conditions=[{"path_pattern": {"values": ["/api/*"]}}],
            actions=[rule],
        )


def https(policy: str | None = "ELBSecurityPolicy-TLS13-1-2-2021-06") -> None:
    listener(protocol="HTTPS", certificate_arn="arn:aws:acm:::certificate/x", ssl_policy=policy)


plant("listener-in-the-clear", listener, lambda: listener(REDIRECT))
plant("listener-in-the-clear", lambda: listener(internal=True), https)
plant(
    "listener-in-the-clear",
    lambda: listener(REDIRECT, rule=FORWARD),
    lambda: listener(REDIRECT, rule=REDIRECT),
    about=("rule",),
)


def plain_inside(*, expendable: bool) -> None:
    made = lb.LoadBalancer("balancer", internal=True, subnets=["a", "b"], opts=owned())
    lb.Listener(
        "http", load_balancer_arn=made.arn, port=80, protocol="HTTP", default_actions=[FORWARD]
    )
    rds.Instance(
        "data",
        instance_class="db.t4g.micro",
        deletion_protection=not expendable,
        skip_final_snapshot=expendable,
    )


plant(
    "listener-in-the-clear",
    lambda: plain_inside(expendable=False),
    lambda: plain_inside(expendable=True),
    about=("http",),
)
plant("listener-with-old-tls", lambda: https(None), https)
plant(
    "listener-with-old-tls",
    lambda: https("ELBSecurityPolicy-TLS-1-1-2017-01"),
    lambda: https("ELBSecurityPolicy-TLS13-1-3-2021-06"),
)


# Identities


def grant(**statement: Any) -> None:
    one = {"Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": TABLE, **statement}
    iam.RolePolicy(
        "it", role="trainer", policy=document({k: v for k, v in one.items() if v}), opts=owned()
    )


def role(trust: dict[str, Any] | None = None, **args: Any) -> None:
    ecs_tasks = {"Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}
    iam.Role(
        "it",
        assume_role_policy=document({"Effect": "Allow", **(trust or ecs_tasks)}),
        opts=owned(),
        **args,
    )


def oidc(subject: str | None) -> dict[str, Any]:
    condition = {f"{GITHUB}:aud": "sts.amazonaws.com"}
    told = {f"{GITHUB}:sub": subject} if subject else {}
    return {
        "Principal": {"Federated": PROVIDER},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": condition, "StringLike": told},
    }


def inline(action: str) -> None:
    told = {"Effect": "Allow", "Action": action, "Resource": TABLE}
    role(inline_policies=[{"name": "in", "policy": document(told)}])


plant("wildcard-action", lambda: grant(Action="dynamodb:*"), grant)
plant("wildcard-action", lambda: grant(Action=["dynamodb:Get*"]), lambda: grant(Action=["a:Get"]))
plant("wildcard-action", lambda: grant(Action=None, NotAction="iam:*"), grant)
plant("wildcard-action", lambda: grant(Action="*"), lambda: grant(Effect="Deny", Action="*"))
plant("wildcard-action", lambda: inline("dynamodb:*"), lambda: inline("dynamodb:GetItem"))
plant("wildcard-resource", lambda: grant(Resource="*"), grant)
plant(
    "wildcard-resource",
    lambda: grant(Action=["ecr:GetAuthorizationToken", "ecr:BatchGetImage"], Resource=["*"]),
    lambda: grant(Action="ecr:GetAuthorizationToken", Resource="*"),
)
plant(
    "wildcard-resource",
    lambda: grant(Resource="arn:aws:secretsmanager:us-east-1:123456789012:secret:*"),
    lambda: grant(Resource="arn:aws:s3:::runs/*"),
)
plant(
    "wildcard-resource",
    lambda: grant(Action="s3:GetObject", Resource="arn:aws:s3:::*"),
    lambda: grant(Action="logs:PutLogEvents", Resource="arn:aws:logs:a:1:log-group:mlflow:*"),
)
plant("wildcard-resource", lambda: grant(Resource=None, NotResource=TABLE), grant)
plant(
    "administrator",
    lambda: attach("arn:aws:iam::aws:policy/AdministratorAccess"),
    lambda: attach("arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"),
)
plant(
    "administrator",
    lambda: role(managed_policy_arns=["arn:aws:iam::aws:policy/AmazonS3FullAccess"]),
    lambda: role(managed_policy_arns=["arn:aws:iam::aws:policy/ReadOnlyAccess"]),
)


def attach(arn: str) -> None:
    iam.RolePolicyAttachment("it", role="trainer", policy_arn=arn, opts=owned())


plant(
    "role-open-to-everybody",
    lambda: role({"Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}),
    role,
)
plant("role-open-to-everybody", lambda: role(oidc(None)), lambda: role(oidc("repo:acme/x:*")))
plant(
    "role-open-to-everybody",
    lambda: role(oidc("repo:*")),
    lambda: role(oidc("repo:acme/x:ref:refs/heads/main")),
)


def topic(principal: Any, **condition: Any) -> None:
    told = {
        "Effect": "Allow",
        "Principal": principal,
        "Action": "sns:Publish",
        "Resource": "arn:aws:sns:us-east-1:123456789012:alarms",
    }
    if condition:
        told["Condition"] = condition
    sns.TopicPolicy("it", arn=told["Resource"], policy=document(told), opts=owned())


plant(
    "shared-with-everybody",
    lambda: topic("*"),
    lambda: topic({"Service": "cloudwatch.amazonaws.com"}),
)
plant(
    "shared-with-everybody",
    lambda: topic({"AWS": "*"}, StringEquals={"aws:PrincipalOrgID": "*"}),
    lambda: topic({"AWS": "*"}, StringEquals={"aws:SourceAccount": "123456789012"}),
)
plant("long-lived-credentials", lambda: iam.User("it", opts=owned()), role)
plant("long-lived-credentials", lambda: iam.AccessKey("it", user="ci", opts=owned()), role)


# Containers


def task(*environment: tuple[str, str], **container: Any) -> None:
    sound = {
        "name": "serve",
        "image": DIGEST,
        "user": "10001:10001",
        "readonlyRootFilesystem": True,
        "environment": [{"name": key, "value": value} for key, value in environment],
    }
    told = {key: value for key, value in {**sound, **container}.items() if value is not None}
    ecs.TaskDefinition(
        "it", family="mlflow", container_definitions=json.dumps([told]), opts=owned()
    )


plant("image-not-pinned", lambda: task(image="ghcr.io/mlflow/mlflow:v3.17.2"), task)
plant("image-not-pinned", lambda: task(image="mlflow@sha256:0123"), task)
plant(
    "secret-in-environment",
    lambda: task(("MLFLOW_TRACKING_PASSWORD", "hunter2")),
    lambda: task(
        ("MLFLOW_TRACKING_PASSWORD_FILE", "/run/secrets/password"), ("TOKEN_SECONDS", "9")
    ),
)
plant(
    "secret-in-environment",
    lambda: task(("MLFLOW_BACKEND_STORE_URI", "postgresql://mlflow:hunter2@db:5432/mlflow")),
    lambda: task(("MLFLOW_BACKEND_STORE_URI", "postgresql://mlflow@db:5432/mlflow")),
)
plant(
    "secret-in-environment",
    lambda: task(("KEY", "AKIA" + "A" * 16)),
    lambda: task(("DATABASE_SECRET", "arn:aws:secretsmanager:us-east-1:1:secret:x")),
)
plant("container-privileged", lambda: task(privileged=True), task)
plant(
    "container-privileged",
    lambda: task(linuxParameters={"capabilities": {"add": ["SYS_PTRACE"]}}),
    lambda: task(linuxParameters={"capabilities": {"drop": ["ALL"]}}),
)
plant("container-is-root", lambda: task(user=None), task)
plant("container-is-root", lambda: task(user="0:0"), task)
plant("container-root-writable", lambda: task(readonlyRootFilesystem=None), task)


def service(**args: Any) -> None:
    ecs.Service("it", cluster="mlflow", opts=owned(), **args)


def repository(**args: Any) -> None:
    sound = {
        "image_tag_mutability": "IMMUTABLE",
        "image_scanning_configuration": {"scan_on_push": True},
    }
    ecr.Repository("it", opts=owned(), **{**sound, **args})


plant("shell-into-tasks", lambda: service(enable_execute_command=True), service)
plant("image-tags-mutable", lambda: repository(image_tag_mutability=None), repository)
plant(
    "images-not-scanned",
    lambda: repository(image_scanning_configuration={"scan_on_push": False}),
    repository,
)
plant("images-not-scanned", lambda: repository(image_scanning_configuration=None), repository)


# What is kept, and whose it is


def log(opts: ResourceOptions | None = None, days: int | None = 30, **args: Any) -> None:
    cloudwatch.LogGroup("it", retention_in_days=days, opts=opts or owned(), **args)


def key(**args: Any) -> None:
    kms.Key("it", opts=owned(), **args)


plant("log-kept-for-ever", lambda: log(days=None), log)
plant("log-kept-for-ever", lambda: log(days=0), log)
plant("key-not-rotated", key, lambda: key(enable_key_rotation=True))
plant(
    "key-not-rotated",
    lambda: key(enable_key_rotation=False),
    lambda: key(customer_master_key_spec="RSA_2048", key_usage="SIGN_VERIFY"),
)
plant(
    "topic-unencrypted",
    lambda: sns.Topic("it", opts=owned()),
    lambda: sns.Topic("it", kms_master_key_id="alias/mlflow", opts=owned()),
)
plant(
    "tags-missing",
    lambda: log(owned(owner="ml")),
    lambda: log(owned(owner="ml"), tags={"project": "mlflow", "stack": "test"}),
)
plant("tags-missing", lambda: log(ResourceOptions()), log)
