"""What Pulumi's names are in Terraform, for the types that the stacks use.

A test holds the table against the real provider's schema where Terraform is installed.
"""

TYPES = {
    "acm/certificate": "acm_certificate",
    "acm/certificateValidation": "acm_certificate_validation",
    "appautoscaling/policy": "appautoscaling_policy",
    "appautoscaling/target": "appautoscaling_target",
    "budgets/budget": "budgets_budget",
    "cloudwatch/compositeAlarm": "cloudwatch_composite_alarm",
    "cloudwatch/dashboard": "cloudwatch_dashboard",
    "cloudwatch/eventRule": "cloudwatch_event_rule",
    "cloudwatch/eventTarget": "cloudwatch_event_target",
    "cloudwatch/logGroup": "cloudwatch_log_group",
    "cloudwatch/logMetricFilter": "cloudwatch_log_metric_filter",
    "cloudwatch/metricAlarm": "cloudwatch_metric_alarm",
    "cloudwatch/queryDefinition": "cloudwatch_query_definition",
    "ec2/defaultSecurityGroup": "default_security_group",
    "ec2/eip": "eip",
    "ec2/flowLog": "flow_log",
    "ec2/internetGateway": "internet_gateway",
    "ec2/natGateway": "nat_gateway",
    "ec2/route": "route",
    "ec2/routeTable": "route_table",
    "ec2/routeTableAssociation": "route_table_association",
    "ec2/securityGroup": "security_group",
    "ec2/subnet": "subnet",
    "ec2/vpc": "vpc",
    "ec2/vpcEndpoint": "vpc_endpoint",
    "ecr/lifecyclePolicy": "ecr_lifecycle_policy",
    "ecr/repository": "ecr_repository",
    "ecr/repositoryPolicy": "ecr_repository_policy",
    "ecs/cluster": "ecs_cluster",
    "ecs/clusterCapacityProviders": "ecs_cluster_capacity_providers",
    "ecs/service": "ecs_service",
    "ecs/taskDefinition": "ecs_task_definition",
    "iam/openIdConnectProvider": "iam_openid_connect_provider",
    "iam/policy": "iam_policy",
    "iam/role": "iam_role",
    "iam/rolePolicy": "iam_role_policy",
    "iam/rolePolicyAttachment": "iam_role_policy_attachment",
    "kms/alias": "kms_alias",
    "kms/key": "kms_key",
    "kms/keyPolicy": "kms_key_policy",
    "lb/listener": "lb_listener",
    "lb/listenerRule": "lb_listener_rule",
    "lb/loadBalancer": "lb",
    "lb/targetGroup": "lb_target_group",
    "rds/eventSubscription": "db_event_subscription",
    "rds/instance": "db_instance",
    "rds/parameterGroup": "db_parameter_group",
    "rds/subnetGroup": "db_subnet_group",
    "route53/record": "route53_record",
    "s3/bucket": "s3_bucket",
    "s3/bucketLifecycleConfiguration": "s3_bucket_lifecycle_configuration",
    "s3/bucketLogging": "s3_bucket_logging",
    "s3/bucketNotification": "s3_bucket_notification",
    "s3/bucketOwnershipControls": "s3_bucket_ownership_controls",
    "s3/bucketPolicy": "s3_bucket_policy",
    "s3/bucketPublicAccessBlock": "s3_bucket_public_access_block",
    "s3/bucketReplicationConfig": "s3_bucket_replication_configuration",
    "s3/bucketServerSideEncryptionConfiguration": "s3_bucket_server_side_encryption_configuration",
    "s3/bucketVersioning": "s3_bucket_versioning",
    "s3/bucketIntelligentTieringConfiguration": "s3_bucket_intelligent_tiering_configuration",
    "scheduler/schedule": "scheduler_schedule",
    "scheduler/scheduleGroup": "scheduler_schedule_group",
    "secretsmanager/secret": "secretsmanager_secret",
    "secretsmanager/secretRotation": "secretsmanager_secret_rotation",
    "secretsmanager/secretVersion": "secretsmanager_secret_version",
    "secretsmanager/secretPolicy": "secretsmanager_secret_policy",
    "sns/topic": "sns_topic",
    "sns/topicPolicy": "sns_topic_policy",
    "sns/topicSubscription": "sns_topic_subscription",
    "sqs/queue": "sqs_queue",
    "ssm/parameter": "ssm_parameter",
    "vpc/securityGroupEgressRule": "vpc_security_group_egress_rule",
    "vpc/securityGroupIngressRule": "vpc_security_group_ingress_rule",
    "wafv2/webAcl": "wafv2_web_acl",
    "wafv2/webAclAssociation": "wafv2_web_acl_association",
    "wafv2/webAclLoggingConfiguration": "wafv2_web_acl_logging_configuration",
}
"""Pulumi's ``aws:<this>:<Class>`` → Terraform's ``aws_<this>``."""


def terraform_type(kind: str) -> str:
    """``aws:kms/key:Key`` → ``aws_kms_key``; empty for a type that is not in the table."""
    found = TYPES.get(kind.removeprefix("aws:").rpartition(":")[0])
    return f"aws_{found}" if found else ""


MAPS = frozenset({"tags", "dimensions", "variables", "parameters", "dockerLabels"})
"""Properties that are maps there, too; every other object is a block that Pulumi flattened."""

BLOCKS: dict[tuple[str, str], str] = {
    ("aws_route53_record", "aliases"): "alias",
}
"""(type, Pulumi's plural) → the block's name, where no rule gives it."""
