"""What whoever runs ``pulumi up`` must be allowed: a table from resource type to AWS's actions.

A deployer with administrator's rights can read every run and take every role. These policies let
one make, change and destroy what the program declares, and little else: by name where AWS's ARNs
carry it (the program's resources begin with ``mlflow-``), by the tag ``project`` elsewhere. A test
compares the table with what the stacks register, so that a new kind of resource can't be forgotten.
Source of the actions: AWS's Service Authorization Reference and the calls of
terraform-provider-aws, which pulumi-aws is made from.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from trackstack.core.policies import partition_of

SIZE_MAX = 6144
"""Characters without white space that IAM takes in a managed policy; a role may have ten."""

# Scopes: how far the actions of a statement reach.
ANY = "any"
"""AWS lets nobody restrict these: mostly what lists or describes."""
TAGGED = "tagged"
"""Resources that carry the project's tag already."""
TAGGING = "tagging"
"""Requests that give the project's tag to what they make."""

_TAG_SCOPES: Mapping[str, dict[str, Any]] = {
    ANY: {},
    TAGGED: {"StringEquals": {"aws:ResourceTag/project": "{project}"}},
    TAGGING: {"StringEquals": {"aws:RequestTag/project": "{project}"}},
}
_NAMED: Mapping[str, tuple[str, ...]] = {
    "buckets": ("arn:{p}:s3:::{name}-*",),
    "database": (
        "arn:{p}:rds:{region}:{account}:db:{name}-*",
        "arn:{p}:rds:{region}:{account}:pg:{name}-*",
        "arn:{p}:rds:{region}:{account}:subgrp:{name}-*",
        "arn:{p}:rds:{region}:{account}:snapshot:{name}-*",
    ),
    "roles": ("arn:{p}:iam::{account}:role/{name}-*",),
    "identity": ("arn:{p}:iam::{account}:oidc-provider/*",),
    "cluster": (
        "arn:{p}:ecs:{region}:{account}:cluster/{name}-*",
        "arn:{p}:ecs:{region}:{account}:service/{name}-*/*",
        "arn:{p}:ecs:{region}:{account}:task-definition/{name}-*:*",
    ),
    "balancer": (
        "arn:{p}:elasticloadbalancing:{region}:{account}:loadbalancer/app/{name}-*",
        "arn:{p}:elasticloadbalancing:{region}:{account}:targetgroup/{name}-*",
        "arn:{p}:elasticloadbalancing:{region}:{account}:listener/app/{name}-*",
        "arn:{p}:elasticloadbalancing:{region}:{account}:listener-rule/app/{name}-*",
    ),
    "logs": (
        "arn:{p}:logs:{region}:{account}:log-group:{name}-*",
        "arn:{p}:logs:{region}:{account}:log-group:aws-waf-logs-{name}-*",
    ),
    "alarms": ("arn:{p}:cloudwatch:{region}:{account}:alarm:{name}-*",),
    "dashboards": ("arn:{p}:cloudwatch::{account}:dashboard/{project}-*",),
    "topics": ("arn:{p}:sns:{region}:{account}:{name}-*",),
    "budgets": ("arn:{p}:budgets::{account}:budget/{name}-*",),
    "parameters": ("arn:{p}:ssm:{region}:{account}:parameter/{project}/*",),
    "secrets": ("arn:{p}:secretsmanager:{region}:{account}:secret:{name}-*",),
    "rds secrets": ("arn:{p}:secretsmanager:{region}:{account}:secret:rds!*",),
    "aliases": (
        "arn:{p}:kms:{region}:{account}:alias/{name}-*",
        "arn:{p}:kms:{region}:{account}:key/*",
    ),
    "images": ("arn:{p}:ecr:{region}:{account}:repository/{name}-*",),
    "schedules": ("arn:{p}:scheduler:{region}:{account}:schedule/*/{name}-*",),
    "firewall": (
        "arn:{p}:wafv2:{region}:{account}:regional/webacl/{name}-*",
        "arn:{p}:wafv2:{region}:{account}:regional/managedruleset/*",
        "arn:{p}:elasticloadbalancing:{region}:{account}:loadbalancer/app/{name}-*",
    ),
    "certificates": ("arn:{p}:acm:{region}:{account}:certificate/*",),
    "zones": ("arn:{p}:route53:::hostedzone/*", "arn:{p}:route53:::change/*"),
    "scaling": ("arn:{p}:application-autoscaling:{region}:{account}:scalable-target/*",),
}

Grants = Mapping[str, Iterable[str]]
"""Scope to actions."""


def _ec2(make: Iterable[str], change: Iterable[str], look: Iterable[str]) -> Grants:
    return {
        TAGGING: ("ec2:CreateTags", *(f"ec2:{a}" for a in make)),
        TAGGED: ("ec2:DeleteTags", *(f"ec2:{a}" for a in change)),
        ANY: tuple(f"ec2:{a}" for a in look),
    }


def _bucket(*what: str) -> Grants:
    return {"buckets": tuple(f"s3:{verb}{name}" for name in what for verb in ("Get", "Put"))}


_RULE = _ec2(
    (),
    # A rule is made in a group of ours, and its own tag comes with the request.
    (
        "AuthorizeSecurityGroupEgress",
        "AuthorizeSecurityGroupIngress",
        "ModifySecurityGroupRules",
        "RevokeSecurityGroupEgress",
        "RevokeSecurityGroupIngress",
    ),
    ("DescribeSecurityGroupRules", "DescribeSecurityGroups"),
)
_PASS = "iam:PassRole"  # noqa: S105 - an action

NETWORK, DATA, SERVERS, WATCH = "network", "data", "servers", "watch"

TABLE: Mapping[str, tuple[str, Grants]] = {
    "aws:ec2/vpc:Vpc": (
        NETWORK,
        _ec2(
            ("CreateVpc",),
            ("DeleteVpc", "ModifyVpcAttribute"),
            ("DescribeVpcAttribute", "DescribeVpcs", "DescribeNetworkAcls", "DescribeRouteTables"),
        ),
    ),
    "aws:ec2/subnet:Subnet": (
        NETWORK,
        _ec2(
            ("CreateSubnet",),
            ("DeleteSubnet", "ModifySubnetAttribute"),
            ("DescribeSubnets", "DescribeNetworkInterfaces"),
        ),
    ),
    "aws:ec2/internetGateway:InternetGateway": (
        NETWORK,
        _ec2(
            ("CreateInternetGateway",),
            ("AttachInternetGateway", "DeleteInternetGateway", "DetachInternetGateway"),
            ("DescribeInternetGateways",),
        ),
    ),
    "aws:ec2/natGateway:NatGateway": (
        NETWORK,
        _ec2(("CreateNatGateway",), ("DeleteNatGateway",), ("DescribeNatGateways",)),
    ),
    "aws:ec2/eip:Eip": (
        NETWORK,
        _ec2(
            ("AllocateAddress",),
            ("DisassociateAddress", "ReleaseAddress"),
            ("DescribeAddresses", "DescribeAddressesAttribute"),
        ),
    ),
    "aws:ec2/routeTable:RouteTable": (
        NETWORK,
        _ec2(("CreateRouteTable",), ("DeleteRouteTable",), ("DescribeRouteTables",)),
    ),
    "aws:ec2/route:Route": (
        NETWORK,
        _ec2((), ("CreateRoute", "DeleteRoute", "ReplaceRoute"), ("DescribeRouteTables",)),
    ),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": (
        NETWORK,
        _ec2(
            (),
            ("AssociateRouteTable", "DisassociateRouteTable", "ReplaceRouteTableAssociation"),
            ("DescribeRouteTables",),
        ),
    ),
    "aws:ec2/vpcEndpoint:VpcEndpoint": (
        NETWORK,
        _ec2(
            ("CreateVpcEndpoint",),
            ("DeleteVpcEndpoints", "ModifyVpcEndpoint"),
            ("DescribePrefixLists", "DescribeVpcEndpoints"),
        ),
    ),
    "aws:ec2/securityGroup:SecurityGroup": (
        NETWORK,
        _ec2(
            ("CreateSecurityGroup",),
            ("DeleteSecurityGroup", "RevokeSecurityGroupEgress"),
            ("DescribeSecurityGroups", "DescribeNetworkInterfaces"),
        ),
    ),
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": (
        NETWORK,
        {
            TAGGING: ("ec2:CreateTags",),
            # AWS made it, untagged, and it is emptied before it gets its tag.
            ANY: (
                "ec2:DescribeSecurityGroups",
                "ec2:RevokeSecurityGroupEgress",
                "ec2:RevokeSecurityGroupIngress",
            ),
        },
    ),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": (NETWORK, _RULE),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": (NETWORK, _RULE),
    "aws:ec2/flowLog:FlowLog": (
        NETWORK,
        {
            **_ec2(("CreateFlowLogs",), ("DeleteFlowLogs",), ("DescribeFlowLogs",)),
            "roles": (_PASS,),
        },
    ),
    "aws:s3/bucket:Bucket": (
        DATA,
        {
            "buckets": (
                "s3:CreateBucket",
                "s3:DeleteBucket",
                "s3:GetAccelerateConfiguration",
                "s3:GetBucketAcl",
                "s3:GetBucketCORS",
                "s3:GetBucketLogging",
                "s3:GetBucketObjectLockConfiguration",
                "s3:GetBucketRequestPayment",
                "s3:GetBucketTagging",
                "s3:GetBucketWebsite",
                "s3:GetReplicationConfiguration",
                "s3:ListBucket",
                "s3:ListTagsForResource",
                "s3:PutBucketTagging",
                "s3:TagResource",
                "s3:UntagResource",
                # An expendable bucket is emptied before it goes.
                "s3:ListBucketVersions",
            )
        },
    ),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": (
        DATA,
        _bucket("LifecycleConfiguration"),
    ),
    "aws:s3/bucketLogging:BucketLogging": (DATA, _bucket("BucketLogging")),
    "aws:s3/bucketNotification:BucketNotification": (DATA, _bucket("BucketNotification")),
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": (
        DATA,
        _bucket("BucketOwnershipControls"),
    ),
    "aws:s3/bucketPolicy:BucketPolicy": (
        DATA,
        {"buckets": ("s3:DeleteBucketPolicy", *_bucket("BucketPolicy")["buckets"])},
    ),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": (
        DATA,
        _bucket("BucketPublicAccessBlock"),
    ),
    "aws:s3/bucketReplicationConfig:BucketReplicationConfig": (
        DATA,
        {**_bucket("ReplicationConfiguration"), "roles": (_PASS,)},
    ),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": (
        DATA,
        _bucket("EncryptionConfiguration"),
    ),
    "aws:s3/bucketVersioning:BucketVersioning": (DATA, _bucket("BucketVersioning")),
    "aws:kms/key:Key": (
        DATA,
        {
            TAGGING: ("kms:CreateKey",),
            TAGGED: (
                # AWS's services, asked by the deployer, encrypt what they make with the key.
                "kms:CreateGrant",
                "kms:Decrypt",
                "kms:DescribeKey",
                "kms:EnableKeyRotation",
                "kms:GenerateDataKey",
                "kms:GetKeyPolicy",
                "kms:GetKeyRotationStatus",
                "kms:ListResourceTags",
                "kms:PutKeyPolicy",
                "kms:ScheduleKeyDeletion",
                "kms:TagResource",
                "kms:UntagResource",
                "kms:UpdateKeyDescription",
            ),
        },
    ),
    "aws:kms/alias:Alias": (
        DATA,
        {
            "aliases": ("kms:CreateAlias", "kms:DeleteAlias", "kms:UpdateAlias"),
            ANY: ("kms:ListAliases",),
        },
    ),
    "aws:rds/instance:Instance": (
        DATA,
        {
            "database": (
                "rds:AddTagsToResource",
                "rds:CreateDBInstance",
                "rds:CreateDBSnapshot",
                "rds:DeleteDBInstance",
                "rds:ListTagsForResource",
                "rds:ModifyDBInstance",
                "rds:RebootDBInstance",
                "rds:RemoveTagsFromResource",
            ),
            ANY: ("rds:DescribeDBInstances",),
            # RDS makes the master's secret for whoever makes the instance.
            "rds secrets": ("secretsmanager:CreateSecret", "secretsmanager:TagResource"),
        },
    ),
    "aws:rds/parameterGroup:ParameterGroup": (
        DATA,
        {
            "database": (
                "rds:CreateDBParameterGroup",
                "rds:DeleteDBParameterGroup",
                "rds:DescribeDBParameters",
                "rds:ModifyDBParameterGroup",
                "rds:ResetDBParameterGroup",
            ),
            ANY: ("rds:DescribeDBParameterGroups",),
        },
    ),
    "aws:rds/subnetGroup:SubnetGroup": (
        DATA,
        {
            "database": (
                "rds:CreateDBSubnetGroup",
                "rds:DeleteDBSubnetGroup",
                "rds:ModifyDBSubnetGroup",
            ),
            ANY: ("rds:DescribeDBSubnetGroups",),
        },
    ),
    "aws:secretsmanager/secret:Secret": (
        DATA,
        {
            "secrets": (
                "secretsmanager:CreateSecret",
                "secretsmanager:DeleteSecret",
                "secretsmanager:DescribeSecret",
                "secretsmanager:GetResourcePolicy",
                "secretsmanager:TagResource",
                "secretsmanager:UntagResource",
                "secretsmanager:UpdateSecret",
            )
        },
    ),
    "aws:secretsmanager/secretVersion:SecretVersion": (
        DATA,
        {
            "secrets": (
                "secretsmanager:GetSecretValue",
                "secretsmanager:PutSecretValue",
                "secretsmanager:UpdateSecretVersionStage",
            )
        },
    ),
    "aws:ssm/parameter:Parameter": (
        DATA,
        {
            "parameters": (
                "ssm:AddTagsToResource",
                "ssm:DeleteParameter",
                "ssm:GetParameter",
                "ssm:GetParameters",
                "ssm:ListTagsForResource",
                "ssm:PutParameter",
                "ssm:RemoveTagsFromResource",
            ),
            ANY: ("ssm:DescribeParameters",),
        },
    ),
    "aws:ecr/repository:Repository": (
        DATA,
        {
            "images": (
                "ecr:CreateRepository",
                "ecr:DeleteRepository",
                "ecr:DescribeRepositories",
                "ecr:ListTagsForResource",
                "ecr:PutImageScanningConfiguration",
                "ecr:PutImageTagMutability",
                "ecr:TagResource",
                "ecr:UntagResource",
            )
        },
    ),
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": (
        DATA,
        {
            "images": (
                "ecr:DeleteLifecyclePolicy",
                "ecr:GetLifecyclePolicy",
                "ecr:PutLifecyclePolicy",
            )
        },
    ),
    "docker-build:index:Image": (
        DATA,
        {
            "images": (
                "ecr:BatchCheckLayerAvailability",
                "ecr:BatchGetImage",
                "ecr:CompleteLayerUpload",
                "ecr:GetDownloadUrlForLayer",
                "ecr:InitiateLayerUpload",
                "ecr:PutImage",
                "ecr:UploadLayerPart",
            ),
            ANY: ("ecr:GetAuthorizationToken",),
        },
    ),
    "aws:acm/certificate:Certificate": (
        SERVERS,
        {
            "certificates": (
                "acm:AddTagsToCertificate",
                "acm:DeleteCertificate",
                "acm:DescribeCertificate",
                "acm:GetCertificate",
                "acm:ImportCertificate",
                "acm:ListTagsForCertificate",
                "acm:RemoveTagsFromCertificate",
                "acm:RequestCertificate",
            )
        },
    ),
    "aws:acm/certificateValidation:CertificateValidation": (
        SERVERS,
        {"certificates": ("acm:DescribeCertificate",)},
    ),
    "aws:route53/record:Record": (
        SERVERS,
        {
            "zones": (
                "route53:ChangeResourceRecordSets",
                "route53:GetChange",
                "route53:GetHostedZone",
                "route53:ListResourceRecordSets",
            )
        },
    ),
    "aws:lb/loadBalancer:LoadBalancer": (
        SERVERS,
        {
            "balancer": (
                "elasticloadbalancing:AddTags",
                "elasticloadbalancing:CreateLoadBalancer",
                "elasticloadbalancing:DeleteLoadBalancer",
                "elasticloadbalancing:ModifyLoadBalancerAttributes",
                "elasticloadbalancing:RemoveTags",
                "elasticloadbalancing:SetIpAddressType",
                "elasticloadbalancing:SetSecurityGroups",
                "elasticloadbalancing:SetSubnets",
            ),
            ANY: (
                "ec2:DescribeAccountAttributes",
                "elasticloadbalancing:DescribeCapacityReservation",
                "elasticloadbalancing:DescribeLoadBalancerAttributes",
                "elasticloadbalancing:DescribeLoadBalancers",
                "elasticloadbalancing:DescribeTags",
            ),
        },
    ),
    "aws:lb/targetGroup:TargetGroup": (
        SERVERS,
        {
            "balancer": (
                "elasticloadbalancing:CreateTargetGroup",
                "elasticloadbalancing:DeleteTargetGroup",
                "elasticloadbalancing:ModifyTargetGroup",
                "elasticloadbalancing:ModifyTargetGroupAttributes",
            ),
            ANY: (
                "elasticloadbalancing:DescribeTargetGroupAttributes",
                "elasticloadbalancing:DescribeTargetGroups",
            ),
        },
    ),
    "aws:lb/listener:Listener": (
        SERVERS,
        {
            "balancer": (
                "elasticloadbalancing:CreateListener",
                "elasticloadbalancing:DeleteListener",
                "elasticloadbalancing:ModifyListener",
                "elasticloadbalancing:ModifyListenerAttributes",
            ),
            ANY: (
                "elasticloadbalancing:DescribeListenerAttributes",
                "elasticloadbalancing:DescribeListeners",
            ),
        },
    ),
    "aws:lb/listenerRule:ListenerRule": (
        SERVERS,
        {
            "balancer": (
                "elasticloadbalancing:CreateRule",
                "elasticloadbalancing:DeleteRule",
                "elasticloadbalancing:ModifyRule",
            ),
            ANY: ("elasticloadbalancing:DescribeRules", "elasticloadbalancing:SetRulePriorities"),
        },
    ),
    "aws:ecs/cluster:Cluster": (
        SERVERS,
        {
            "cluster": (
                "ecs:DeleteCluster",
                "ecs:DescribeClusters",
                "ecs:TagResource",
                "ecs:UntagResource",
                "ecs:UpdateCluster",
                "ecs:UpdateClusterSettings",
            ),
            TAGGING: ("ecs:CreateCluster",),
        },
    ),
    "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders": (
        SERVERS,
        {"cluster": ("ecs:PutClusterCapacityProviders",)},
    ),
    "aws:ecs/taskDefinition:TaskDefinition": (
        SERVERS,
        {
            "cluster": ("ecs:RegisterTaskDefinition",),
            ANY: ("ecs:DeregisterTaskDefinition", "ecs:DescribeTaskDefinition"),
            "roles": (_PASS,),
        },
    ),
    "aws:ecs/service:Service": (
        SERVERS,
        {
            "cluster": (
                "ecs:CreateService",
                "ecs:DeleteService",
                "ecs:DescribeServiceDeployments",
                "ecs:DescribeServices",
                "ecs:ListServiceDeployments",
                "ecs:UpdateService",
            )
        },
    ),
    "aws:iam/role:Role": (
        SERVERS,
        {
            "roles": (
                "iam:CreateRole",
                "iam:DeleteRole",
                "iam:DeleteRolePermissionsBoundary",
                "iam:GetRole",
                "iam:ListAttachedRolePolicies",
                "iam:ListInstanceProfilesForRole",
                "iam:ListRolePolicies",
                "iam:ListRoleTags",
                "iam:PutRolePermissionsBoundary",
                "iam:TagRole",
                "iam:UntagRole",
                "iam:UpdateAssumeRolePolicy",
                "iam:UpdateRole",
                "iam:UpdateRoleDescription",
            )
        },
    ),
    "aws:iam/rolePolicy:RolePolicy": (
        SERVERS,
        {"roles": ("iam:DeleteRolePolicy", "iam:GetRolePolicy", "iam:PutRolePolicy")},
    ),
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": (
        SERVERS,
        {
            "identity": (
                "iam:CreateOpenIDConnectProvider",
                "iam:DeleteOpenIDConnectProvider",
                "iam:GetOpenIDConnectProvider",
                "iam:TagOpenIDConnectProvider",
                "iam:UntagOpenIDConnectProvider",
                "iam:UpdateOpenIDConnectProviderThumbprint",
            )
        },
    ),
    "aws:appautoscaling/target:Target": (
        SERVERS,
        {
            "scaling": (
                "application-autoscaling:DeregisterScalableTarget",
                "application-autoscaling:ListTagsForResource",
                "application-autoscaling:RegisterScalableTarget",
                "application-autoscaling:TagResource",
                "application-autoscaling:UntagResource",
            ),
            ANY: ("application-autoscaling:DescribeScalableTargets",),
        },
    ),
    "aws:appautoscaling/policy:Policy": (
        SERVERS,
        {
            "scaling": (
                "application-autoscaling:DeleteScalingPolicy",
                "application-autoscaling:PutScalingPolicy",
            ),
            ANY: ("application-autoscaling:DescribeScalingPolicies",),
        },
    ),
    "aws:scheduler/schedule:Schedule": (
        SERVERS,
        {
            "schedules": (
                "scheduler:CreateSchedule",
                "scheduler:DeleteSchedule",
                "scheduler:GetSchedule",
                "scheduler:UpdateSchedule",
            ),
            "roles": (_PASS,),
        },
    ),
    "aws:wafv2/webAcl:WebAcl": (
        WATCH,
        {
            "firewall": (
                "wafv2:CreateWebACL",
                "wafv2:DeleteWebACL",
                "wafv2:GetWebACL",
                "wafv2:ListTagsForResource",
                "wafv2:TagResource",
                "wafv2:UntagResource",
                "wafv2:UpdateWebACL",
            )
        },
    ),
    "aws:wafv2/webAclAssociation:WebAclAssociation": (
        WATCH,
        {
            "firewall": (
                "elasticloadbalancing:SetWebAcl",
                "wafv2:AssociateWebACL",
                "wafv2:DisassociateWebACL",
                "wafv2:GetWebACLForResource",
            )
        },
    ),
    "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration": (
        WATCH,
        {
            "firewall": (
                "wafv2:DeleteLoggingConfiguration",
                "wafv2:GetLoggingConfiguration",
                "wafv2:PutLoggingConfiguration",
            ),
            ANY: (
                "logs:CreateLogDelivery",
                "logs:DeleteLogDelivery",
                "logs:DescribeResourcePolicies",
                "logs:PutResourcePolicy",
            ),
        },
    ),
    "aws:cloudwatch/logGroup:LogGroup": (
        WATCH,
        {
            "logs": (
                "logs:AssociateKmsKey",
                "logs:CreateLogGroup",
                "logs:DeleteLogGroup",
                "logs:DeleteRetentionPolicy",
                "logs:DisassociateKmsKey",
                "logs:ListTagsForResource",
                "logs:PutRetentionPolicy",
                "logs:TagResource",
                "logs:UntagResource",
            ),
            ANY: ("logs:DescribeLogGroups",),
        },
    ),
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": (
        WATCH,
        {"logs": ("logs:DeleteMetricFilter", "logs:DescribeMetricFilters", "logs:PutMetricFilter")},
    ),
    "aws:cloudwatch/queryDefinition:QueryDefinition": (
        WATCH,
        {
            ANY: (
                "logs:DeleteQueryDefinition",
                "logs:DescribeQueryDefinitions",
                "logs:PutQueryDefinition",
            )
        },
    ),
    "aws:cloudwatch/metricAlarm:MetricAlarm": (
        WATCH,
        {
            "alarms": (
                "cloudwatch:DeleteAlarms",
                "cloudwatch:DescribeAlarms",
                "cloudwatch:ListTagsForResource",
                "cloudwatch:PutMetricAlarm",
                "cloudwatch:TagResource",
                "cloudwatch:UntagResource",
            )
        },
    ),
    "aws:cloudwatch/dashboard:Dashboard": (
        WATCH,
        {
            "dashboards": (
                "cloudwatch:DeleteDashboards",
                "cloudwatch:GetDashboard",
                "cloudwatch:PutDashboard",
            )
        },
    ),
    "aws:sns/topic:Topic": (
        WATCH,
        {
            "topics": (
                "sns:CreateTopic",
                "sns:DeleteTopic",
                "sns:GetTopicAttributes",
                "sns:ListTagsForResource",
                "sns:SetTopicAttributes",
                "sns:TagResource",
                "sns:UntagResource",
            )
        },
    ),
    "aws:sns/topicPolicy:TopicPolicy": (
        WATCH,
        {"topics": ("sns:GetTopicAttributes", "sns:SetTopicAttributes")},
    ),
    "aws:sns/topicSubscription:TopicSubscription": (
        WATCH,
        {
            "topics": (
                "sns:GetSubscriptionAttributes",
                "sns:ListSubscriptionsByTopic",
                "sns:SetSubscriptionAttributes",
                "sns:Subscribe",
            ),
            ANY: ("sns:Unsubscribe",),
        },
    ),
    "aws:budgets/budget:Budget": (
        WATCH,
        {
            "budgets": (
                "budgets:ListTagsForResource",
                "budgets:ModifyBudget",
                "budgets:TagResource",
                "budgets:UntagResource",
                "budgets:ViewBudget",
            )
        },
    ),
}
"""Resource type to the policy that it belongs to and to what its life takes."""

LOOK_UPS: Mapping[str, tuple[str, Grants]] = {
    "aws:index/getAvailabilityZones:getAvailabilityZones": (
        NETWORK,
        {ANY: ("ec2:DescribeAvailabilityZones",)},
    ),
    "aws:index/getCallerIdentity:getCallerIdentity": (NETWORK, {ANY: ("sts:GetCallerIdentity",)}),
    "aws:index/getRegion:getRegion": (NETWORK, {ANY: ("ec2:DescribeRegions",)}),
    "aws:ec2/getVpc:getVpc": (NETWORK, {ANY: ("ec2:DescribeVpcs", "ec2:DescribeVpcAttribute")}),
    "aws:ec2/getSubnet:getSubnet": (NETWORK, {ANY: ("ec2:DescribeSubnets",)}),
    "aws:route53/getZone:getZone": (
        SERVERS,
        {
            ANY: ("route53:ListHostedZones", "route53:ListHostedZonesByName"),
            "zones": ("route53:GetHostedZone", "route53:ListTagsForResource"),
        },
    ),
    # Asks the registry's own token, which docker-build's push needs, too.
    "aws:ecr/getAuthorizationToken:getAuthorizationToken": (
        DATA,
        {ANY: ("ecr:GetAuthorizationToken",)},
    ),
}
"""What the program asks AWS before it declares anything."""

LINKED_SERVICES = (
    "ecs.amazonaws.com",
    "ecs.application-autoscaling.amazonaws.com",
    "elasticloadbalancing.amazonaws.com",
    "rds.amazonaws.com",
)
"""Services that make a role of their own, once an account, for the first who uses them."""
PASSED_TO = (
    "ecs-tasks.amazonaws.com",
    "s3.amazonaws.com",
    "scheduler.amazonaws.com",
    "vpc-flow-logs.amazonaws.com",
)
"""Services that the stack's roles may be handed to."""


def policies(
    *, project: str, name: str, region: str, account_id: str, state_bucket: str, state_alias: str
) -> dict[str, dict[str, Any]]:
    """The deployer's policies, by what they are about; each fits a managed policy.

    Args:
        project: the Pulumi project, which is also the tag.
        name: what the program's resources begin with.
        region: of the stack.
        account_id: of the stack.
        state_bucket: where Pulumi keeps its state.
        state_alias: alias of the key of the state's secrets, from ``alias/`` on.
    """
    words = {
        "p": partition_of(region),
        "project": project,
        "name": name,
        "region": region,
        "account": account_id,
    }
    wanted: dict[str, dict[str, set[str]]] = {}
    for group, grants in (*TABLE.values(), *LOOK_UPS.values()):
        for scope, actions in grants.items():
            wanted.setdefault(group, {}).setdefault(scope, set()).update(actions)
    found = {
        group: [_statement(scope, actions - {_PASS}, words) for scope, actions in scopes.items()]
        for group, scopes in wanted.items()
    }
    found = {group: [one for one in some if one["Action"]] for group, some in found.items()}
    found[SERVERS] += [
        {
            "Sid": "HandRolesToServices",
            "Effect": "Allow",
            "Action": [_PASS],
            "Resource": _resources("roles", words),
            "Condition": {"StringEquals": {"iam:PassedToService": list(PASSED_TO)}},
        },
        {
            "Sid": "LetServicesMakeTheirRoles",
            "Effect": "Allow",
            "Action": ["iam:CreateServiceLinkedRole"],
            "Resource": [f"arn:{words['p']}:iam::{account_id}:role/aws-service-role/*"],
            "Condition": {"StringEquals": {"iam:AWSServiceName": list(LINKED_SERVICES)}},
        },
    ]
    found[DATA] += _state(words, state_bucket, state_alias)
    return {
        group: {"Version": "2012-10-17", "Statement": statements}
        for group, statements in found.items()
    }


def looking(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The part of the policies that changes nothing: for previews and for the nightly comparison.

    It reads the state and, as a refresh does, the stack's own secrets; no run and no artifact.
    """
    anywhere: set[str] = set()
    named: list[dict[str, Any]] = []
    for policy in found.values():
        for one in policy["Statement"]:
            actions = {a for a in one["Action"] if _changes_nothing(a)}
            if one["Sid"] == "SecretsOfTheState":
                actions = {"kms:Decrypt"}
            # What only describes tells no secret, and with its ARNs the policy would not fit.
            everywhere = (
                actions
                if one["Resource"] == ["*"] and "Condition" not in one
                else {action for action in actions if _describes(action)}
            )
            anywhere |= everywhere
            if actions - everywhere:
                named.append({**one, "Action": sorted(actions - everywhere)})
    return {"Version": "2012-10-17", "Statement": [_statement(ANY, anywhere, {}), *named]}


def _describes(action: str) -> bool:
    verb = action.partition(":")[2]
    return verb.startswith(("Describe", "List")) and not verb.startswith("ListBucket")


def _changes_nothing(action: str) -> bool:
    verb = action.partition(":")[2]
    return verb.startswith(("Describe", "Get", "List", "View"))


def size(policy: Mapping[str, Any]) -> int:
    """Characters as IAM counts them."""
    return len(json.dumps(policy, separators=(",", ":")))


def _statement(scope: str, actions: Iterable[str], words: Mapping[str, str]) -> dict[str, Any]:
    statement: dict[str, Any] = {
        "Sid": "".join(part.capitalize() for part in scope.split()),
        "Effect": "Allow",
        "Action": sorted(actions),
        "Resource": _resources(scope, words),
    }
    if condition := _TAG_SCOPES.get(scope):
        statement["Condition"] = json.loads(
            json.dumps(condition).replace("{project}", words["project"])
        )
    return statement


def _resources(scope: str, words: Mapping[str, str]) -> list[str]:
    if scope in _TAG_SCOPES:
        return ["*"]
    return [template.format(**words) for template in _NAMED[scope]]


def _state(words: Mapping[str, str], bucket: str, alias: str) -> list[dict[str, Any]]:
    arn = f"arn:{words['p']}:s3:::{bucket}"
    return [
        {
            "Sid": "State",
            "Effect": "Allow",
            "Action": ["s3:DeleteObject", "s3:GetObject", "s3:ListBucket", "s3:PutObject"],
            "Resource": [arn, f"{arn}/.pulumi/*"],
        },
        {
            "Sid": "SecretsOfTheState",
            "Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"],
            "Resource": [f"arn:{words['p']}:kms:{words['region']}:{words['account']}:key/*"],
            "Condition": {"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias}},
        },
    ]
