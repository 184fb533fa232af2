"""Who may do what, as JSON: ARNs in, a policy document out.

Each grants one actor exactly what it does; nothing here knows how the resources are made.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

_ECR_IMAGE = re.compile(
    r"^(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/"
    r"(?P<repository>[a-z0-9._/-]+)@"
)

DATABASE_USER = "mlflow"
"""The role that the servers log in as; ``migrate`` creates it."""
BALANCER_LOGS = "balancer"
"""Where in the log bucket the balancer writes; a prefix without slashes, as it asks for."""
BUCKET_LOGS = "buckets"
"""Where S3 writes its server access logs: below ``buckets/``."""


def _document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def partition_of(region: str) -> str:
    """``aws``, ``aws-cn`` or ``aws-us-gov``: the first part of every ARN in the region."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def bucket_arn(partition: str, bucket: str) -> str:
    """The ARN of a bucket that exists already."""
    return f"arn:{partition}:s3:::{bucket}"


def repository_arn(partition: str, image: str) -> str:
    """The private ECR repository that the image comes from; empty for another registry."""
    found = _ECR_IMAGE.match(image)
    if found is None:
        return ""
    return (
        f"arn:{partition}:ecr:{found['region']}:{found['account']}:repository/{found['repository']}"
    )


def database_user_arn(partition: str, region: str, account_id: str, resource_id: str) -> str:
    """What ``rds-db:connect`` is granted on: one user of one instance."""
    return f"arn:{partition}:rds-db:{region}:{account_id}:dbuser:{resource_id}/{DATABASE_USER}"


def log_group_arn(partition: str, region: str, account_id: str, name: str) -> str:
    """The ARN of a log group, without the ``:*`` that stands for its streams."""
    return f"arn:{partition}:logs:{region}:{account_id}:log-group:{name}"


def tls_only(bucket: str) -> str:
    """Bucket policy: refuse whoever speaks to the bucket in the clear or by an old TLS."""
    return _document(*_tls_only_statements(bucket))


def receive_logs(bucket: str, region: str, account_id: str) -> str:
    """Bucket policy: AWS's log deliveries for this account write, each below its own prefix.

    The statements are those of AWS's pages: enable-access-logging (Elastic Load Balancing; it
    names the source by ARN alone), enable-server-access-logging (S3) and flow-logs-s3-permissions
    (VPC). S3's source is any bucket of the account: a bucket that logs here is made after this one.
    """
    partition = partition_of(region)
    balancers = f"arn:{partition}:elasticloadbalancing:{region}:{account_id}:loadbalancer/*"
    buckets = f"arn:{partition}:s3:::*"
    deliveries = f"arn:{partition}:logs:{region}:{account_id}:*"
    return _document(
        *_tls_only_statements(bucket),
        {
            "Sid": "BalancerLogs",
            "Effect": "Allow",
            "Principal": {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"},
            "Action": "s3:PutObject",
            "Resource": f"{bucket}/{BALANCER_LOGS}/AWSLogs/{account_id}/*",
            "Condition": {"ArnLike": {"aws:SourceArn": balancers}},
        },
        {
            "Sid": "BucketLogs",
            "Effect": "Allow",
            "Principal": {"Service": "logging.s3.amazonaws.com"},
            "Action": "s3:PutObject",
            "Resource": f"{bucket}/{BUCKET_LOGS}/*",
            "Condition": {
                "ArnLike": {"aws:SourceArn": buckets},
                "StringEquals": {"aws:SourceAccount": account_id},
            },
        },
        {
            "Sid": "NetworkLogs",
            "Effect": "Allow",
            "Principal": {"Service": "delivery.logs.amazonaws.com"},
            "Action": "s3:PutObject",
            "Resource": f"{bucket}/AWSLogs/{account_id}/*",
            "Condition": {
                "ArnLike": {"aws:SourceArn": deliveries},
                "StringEquals": {
                    "aws:SourceAccount": account_id,
                    "s3:x-amz-acl": "bucket-owner-full-control",
                },
            },
        },
        {
            "Sid": "NetworkLogsLook",  # before each delivery
            "Effect": "Allow",
            "Principal": {"Service": "delivery.logs.amazonaws.com"},
            "Action": ["s3:GetBucketAcl", "s3:ListBucket"],
            "Resource": bucket,
            "Condition": {
                "ArnLike": {"aws:SourceArn": deliveries},
                "StringEquals": {"aws:SourceAccount": account_id},
            },
        },
    )


KEY_ADMINISTRATION = (
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:DeleteAlias",
    "kms:DescribeKey",
    "kms:DisableKey",
    "kms:DisableKeyRotation",
    "kms:EnableKey",
    "kms:EnableKeyRotation",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListGrants",
    "kms:ListKeyPolicies",
    "kms:ListKeyRotations",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "kms:RevokeGrant",
    "kms:RotateKeyOnDemand",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
    "kms:UpdateKeyDescription",
)
"""All that keeping a key takes, and nothing that reads with it."""
KEY_USE = (
    "kms:Decrypt",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)
SERVICES_BEHIND_THE_KEY = ("ecr", "logs", "rds", "s3", "secretsmanager", "sns", "ssm")
"""Services that use the stack's key for whoever calls them."""

PUBLISHERS = ("budgets.amazonaws.com", "cloudwatch.amazonaws.com", "events.amazonaws.com")
"""Services that publish to a topic by themselves."""


def encryption_key(
    partition: str,
    region: str,
    account_id: str,
    log_groups: Iterable[str] = (),
    topics: Iterable[str] = (),
) -> str:
    """Key policy: the account administers it, and nobody reads with it but through a service.

    In a key's own policy the resource ``*`` is that key. Naming the account grants nothing by
    itself: it lets IAM policies of the account grant, and only what stands here.

    Args:
        partition: ``aws``, ``aws-cn`` or ``aws-us-gov``.
        region: the region whose services may use the key.
        account_id: the account of the stack.
        log_groups: names of log groups to encrypt, ``*`` in them for any text.
        topics: names of SNS topics that alarms, budgets and events are published to, likewise.
    """
    account = {"AWS": f"arn:{partition}:iam::{account_id}:root"}
    via = {"kms:ViaService": [f"{s}.{region}.amazonaws.com" for s in SERVICES_BEHIND_THE_KEY]}
    statements: list[dict[str, Any]] = [
        {
            "Sid": "AdministerByIam",
            "Effect": "Allow",
            "Principal": account,
            "Action": list(KEY_ADMINISTRATION),
            "Resource": "*",
        },
        {
            "Sid": "UseThroughServices",
            "Effect": "Allow",
            "Principal": account,
            "Action": list(KEY_USE),
            "Resource": "*",
            "Condition": {"StringEquals": via},
        },
        {
            # RDS and ECR keep a grant, as they read when nobody calls them.
            "Sid": "LendToServices",
            "Effect": "Allow",
            "Principal": account,
            "Action": "kms:CreateGrant",
            "Resource": "*",
            "Condition": {"StringEquals": via, "Bool": {"kms:GrantIsForAWSResource": "true"}},
        },
    ]
    named = [f"arn:{partition}:sns:{region}:{account_id}:{topic}" for topic in topics]
    if named:
        statements.append(
            {
                # They call KMS themselves, so the account's statements don't cover them: an alarm
                # that may not use its topic's key is lost without a word.
                "Sid": "PublishToTopics",
                "Effect": "Allow",
                "Principal": {"Service": list(PUBLISHERS)},
                "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
                "Resource": "*",
                "Condition": {"ArnLike": {"kms:EncryptionContext:aws:sns:topicArn": named}},
            }
        )
    groups = [f"arn:{partition}:logs:{region}:{account_id}:log-group:{g}" for g in log_groups]
    if groups:
        statements.append(
            {
                "Sid": "EncryptTheLogs",
                "Effect": "Allow",
                "Principal": {"Service": f"logs.{region}.amazonaws.com"},
                "Action": ["kms:DescribeKey", *KEY_USE],
                "Resource": "*",
                "Condition": {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": groups}},
            }
        )
    return _document(*statements)


def assumed_by_tasks(partition: str, region: str, account_id: str) -> str:
    """Trust policy: ECS tasks of this account and region, and nobody else's."""
    return _document(
        {
            "Effect": "Allow",
            "Principal": {"Service": "ecs-tasks.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": account_id},
                "ArnLike": {"aws:SourceArn": f"arn:{partition}:ecs:{region}:{account_id}:*"},
            },
        }
    )


def assumed_by_s3() -> str:
    """Trust policy: S3, which copies for whoever may pass it this role."""
    return _document(
        {
            "Effect": "Allow",
            "Principal": {"Service": "s3.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    )


def copy_objects(source: str, target: str, key: str = "", target_key: str = "") -> str:
    """What replication does: read versions here, write copies there; an empty key is S3's own."""
    statements: list[dict[str, Any]] = [
        {
            "Sid": "ReadTheRule",
            "Effect": "Allow",
            "Action": ["s3:GetReplicationConfiguration", "s3:ListBucket"],
            "Resource": source,
        },
        {
            "Sid": "ReadVersions",
            "Effect": "Allow",
            "Action": [
                "s3:GetObjectVersionAcl",
                "s3:GetObjectVersionForReplication",
                "s3:GetObjectVersionTagging",
            ],
            "Resource": f"{source}/*",
        },
        {
            "Sid": "WriteCopies",
            "Effect": "Allow",
            "Action": ["s3:ReplicateDelete", "s3:ReplicateObject", "s3:ReplicateTags"],
            "Resource": f"{target}/*",
        },
    ]
    if key:
        statements.append(
            {"Sid": "Decrypt", "Effect": "Allow", "Action": "kms:Decrypt", "Resource": key}
        )
    if target_key:
        statements.append(
            {
                "Sid": "Encrypt",
                "Effect": "Allow",
                "Action": ["kms:Encrypt", "kms:GenerateDataKey"],
                "Resource": target_key,
            }
        )
    return _document(*statements)


def assumed_by_rds(partition: str, region: str, account_id: str, instances: str) -> str:
    """Trust policy: RDS's enhanced monitoring of these instances, ``*`` for any text."""
    source = f"arn:{partition}:rds:{region}:{account_id}:db:{instances}"
    return _document(
        {
            "Effect": "Allow",
            "Principal": {"Service": "monitoring.rds.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": account_id},
                "ArnLike": {"aws:SourceArn": source},
            },
        }
    )


def write_database_metrics(partition: str, region: str, account_id: str) -> str:
    """What enhanced monitoring does: write into the one log group that RDS has for it."""
    group = f"arn:{partition}:logs:{region}:{account_id}:log-group:RDSOSMetrics"
    return _document(
        {
            "Sid": "KeepTheGroup",
            "Effect": "Allow",
            "Action": ["logs:CreateLogGroup", "logs:PutRetentionPolicy"],
            "Resource": [group, f"{group}:*"],
        },
        {
            "Sid": "WriteMetrics",
            "Effect": "Allow",
            "Action": [
                "logs:CreateLogStream",
                "logs:DescribeLogStreams",
                "logs:GetLogEvents",
                "logs:PutLogEvents",
            ],
            "Resource": f"{group}:log-stream:*",
        },
    )


def keep_artifacts(bucket: str, prefix: str, key: str = "") -> str:
    """Task policy: read, write, list and delete below the prefix, and nowhere else.

    An empty key is S3's own, which needs no grant.
    """
    return _document(*_artifact_statements(bucket, prefix, key))


def track_runs(bucket: str, prefix: str, database_user: str, key: str = "") -> str:
    """Task policy of the tracking service: the database as one user, and the artifacts if AWS's.

    An empty bucket is one that AWS doesn't hold: its credentials come from a secret.
    """
    statements = _artifact_statements(bucket, prefix, key) if bucket else ()
    return _document(
        {
            "Sid": "LogInToTheDatabase",
            "Effect": "Allow",
            "Action": "rds-db:connect",
            "Resource": database_user,
        },
        *statements,
    )


def start_tasks(log_group: str, secrets: Iterable[str], repository: str, key: str = "") -> str:
    """Execution policy: pull the image, write the log, read exactly these secrets.

    An empty key is Secrets Manager's own, which needs no grant.
    """
    statements: list[dict[str, Any]] = [
        {
            "Sid": "WriteTheLog",
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": f"{log_group}:*",
        }
    ]
    named = sorted(secrets)
    if named:
        statements.append(
            {
                "Sid": "ReadTheSecrets",
                "Effect": "Allow",
                "Action": "secretsmanager:GetSecretValue",
                "Resource": named,
            }
        )
    if named and key:
        statements.append(
            {
                "Sid": "DecryptTheSecrets",
                "Effect": "Allow",
                "Action": "kms:Decrypt",
                "Resource": key,
            }
        )
    if repository:
        statements += [
            {
                "Sid": "LogInToTheRegistry",  # has no resource to name
                "Effect": "Allow",
                "Action": "ecr:GetAuthorizationToken",
                "Resource": "*",
            },
            {
                "Sid": "PullTheImage",
                "Effect": "Allow",
                "Action": [
                    "ecr:BatchCheckLayerAvailability",
                    "ecr:BatchGetImage",
                    "ecr:GetDownloadUrlForLayer",
                ],
                "Resource": repository,
            },
        ]
    return _document(*statements)


def assumed_by_schedules(partition: str, region: str, account_id: str) -> str:
    """Trust policy: schedules of this account's default group in this region."""
    return _document(
        {
            "Effect": "Allow",
            "Principal": {"Service": "scheduler.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {
                    "aws:SourceAccount": account_id,
                    "aws:SourceArn": (
                        f"arn:{partition}:scheduler:{region}:{account_id}:schedule-group/default"
                    ),
                }
            },
        }
    )


def run_a_task(task_definition: str, cluster: str, roles: Iterable[str]) -> str:
    """Schedule policy: start this one task in this cluster, with these roles."""
    return _document(
        {
            "Sid": "RunTheTask",
            "Effect": "Allow",
            "Action": "ecs:RunTask",
            "Resource": task_definition,
            "Condition": {"ArnEquals": {"ecs:cluster": cluster}},
        },
        {
            "Sid": "GiveItsRoles",
            "Effect": "Allow",
            "Action": "iam:PassRole",
            "Resource": sorted(roles),
            "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
        },
    )


def answer_a_shell() -> str:
    """Task policy for ECS Exec: the agent in the container talks to Session Manager.

    None of the four has a resource to name (Service Authorization Reference, "ssmmessages").
    """
    return _document(
        {
            "Sid": "AnswerSessionManager",
            "Effect": "Allow",
            "Action": [
                "ssmmessages:CreateControlChannel",
                "ssmmessages:CreateDataChannel",
                "ssmmessages:OpenControlChannel",
                "ssmmessages:OpenDataChannel",
            ],
            "Resource": "*",
        }
    )


def s3_endpoint(partition: str, region: str, bucket: str) -> str:
    """Policy of the VPC's S3 endpoint: the artifacts, and the layers that ECR keeps in S3.

    Without the second an image in ECR can't be pulled: "CannotPullContainerError … 403".
    """
    statements = [
        {
            "Sid": "ImageLayers",
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:{partition}:s3:::prod-{region}-starport-layer-bucket/*",
        }
    ]
    if bucket:
        statements.append(
            {
                "Sid": "Artifacts",
                "Effect": "Allow",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [bucket, f"{bucket}/*"],  # type: ignore[dict-item]
            }
        )
    return _document(*statements)


def told_of_alarms(topic: str, region: str, account_id: str) -> str:
    """Topic policy: this account's alarms of the region publish, and nobody does in the clear.

    Whoever subscribes is a matter of IAM in the account itself.
    """
    alarms = f"arn:{partition_of(region)}:cloudwatch:{region}:{account_id}:alarm:*"
    return _document(
        {
            "Sid": "AlarmsOfThisAccount",
            "Effect": "Allow",
            "Principal": {"Service": "cloudwatch.amazonaws.com"},
            "Action": "sns:Publish",
            "Resource": topic,
            "Condition": {
                "StringEquals": {"aws:SourceAccount": account_id},
                "ArnLike": {"aws:SourceArn": alarms},
            },
        },
        {
            "Sid": "RefusePlainHttp",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "sns:Publish",
            "Resource": topic,
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        },
    )


def assumed_by_ci(provider: str, issuer: str, audience: str, subjects: Iterable[str]) -> str:
    """Trust policy: jobs that the issuer vouches for, with exactly these audience and subjects.

    Args:
        provider: ARN of the account's OIDC provider.
        issuer: its address without ``https://``, which the condition keys begin with.
        audience: the token's ``aud``.
        subjects: the tokens' ``sub``, without wildcards.
    """
    return _document(
        {
            "Effect": "Allow",
            "Principal": {"Federated": provider},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {
                "StringEquals": {
                    f"{issuer}:aud": audience,
                    f"{issuer}:sub": sorted(subjects),
                }
            },
        }
    )


def read_client_settings(parameter: str, secrets: Iterable[str], key: str, region: str) -> str:
    """Policy of a CI job: where to log, its credentials if there are any, and nothing else.

    Args:
        parameter: ARN of the stack's client parameter.
        secrets: ARNs of the secrets with client credentials.
        key: ARN of the customer's key that encrypts them; empty for AWS's own.
        region: of the secrets, because the key may be used through Secrets Manager there only.
    """
    statements: list[dict[str, Any]] = [
        {
            "Sid": "ReadWhereToLog",
            "Effect": "Allow",
            "Action": "ssm:GetParameter",
            "Resource": parameter,
        }
    ]
    named = sorted(secrets)
    if named:
        statements.append(
            {
                "Sid": "ReadTheCredentials",
                "Effect": "Allow",
                "Action": "secretsmanager:GetSecretValue",
                "Resource": named,
            }
        )
    if named and key:
        statements.append(
            {
                "Sid": "DecryptTheCredentials",
                "Effect": "Allow",
                "Action": "kms:Decrypt",
                "Resource": key,
                "Condition": {
                    "StringEquals": {
                        "kms:ViaService": f"secretsmanager.{region}.amazonaws.com",
                        "kms:EncryptionContext:SecretARN": named,
                    }
                },
            }
        )
    return _document(*statements)


def _artifact_statements(bucket: str, prefix: str, key: str) -> list[dict[str, Any]]:
    statements: list[dict[str, Any]] = [
        {
            "Sid": "ListArtifacts",
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": bucket,
            "Condition": {"StringLike": {"s3:prefix": [prefix, f"{prefix}/*"]}},
        },
        {
            "Sid": "KeepArtifacts",
            "Effect": "Allow",
            "Action": [
                "s3:AbortMultipartUpload",
                "s3:DeleteObject",
                "s3:GetObject",
                "s3:ListMultipartUploadParts",
                "s3:PutObject",
            ],
            "Resource": f"{bucket}/{prefix}/*",
        },
    ]
    if key:
        statements.append(
            {
                # A multipart upload decrypts, too: S3 reads the parts' key again.
                "Sid": "EncryptArtifacts",
                "Effect": "Allow",
                "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
                "Resource": key,
            }
        )
    return statements


def _tls_only_statements(bucket: str) -> tuple[dict[str, Any], ...]:
    resources = [bucket, f"{bucket}/*"]
    return (
        {
            "Sid": "RefusePlainHttp",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": resources,
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        },
        {
            "Sid": "RefuseOldTls",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": resources,
            "Condition": {"NumericLessThan": {"s3:TlsVersion": "1.2"}},
        },
    )
