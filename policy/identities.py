"""Identities: who may do what, and who may become whom."""

import re
from collections.abc import Iterator

from policy.documents import Statement, statements
from policy.reading import Resource, listed, text
from policy.rule import CRITICAL, HIGH, MANDATORY, Config, Rules

RULES = Rules()

_GRANTS = (
    "aws:iam/policy:Policy",
    "aws:iam/rolePolicy:RolePolicy",
    "aws:iam/userPolicy:UserPolicy",
    "aws:iam/groupPolicy:GroupPolicy",
)
_ROLE = "aws:iam/role:Role"
_ATTACHMENTS = (
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
    "aws:iam/userPolicyAttachment:UserPolicyAttachment",
    "aws:iam/groupPolicyAttachment:GroupPolicyAttachment",
    "aws:iam/policyAttachment:PolicyAttachment",
)
# An endpoint's policy is not among them: it narrows what others grant and opens nothing.
_SHARED = {
    "aws:s3/bucketPolicy:BucketPolicy": "policy",
    "aws:sns/topicPolicy:TopicPolicy": "policy",
    "aws:sns/topic:Topic": "policy",
    "aws:sqs/queuePolicy:QueuePolicy": "policy",
    "aws:sqs/queue:Queue": "policy",
    "aws:ecr/repositoryPolicy:RepositoryPolicy": "policy",
    "aws:secretsmanager/secretPolicy:SecretPolicy": "policy",
    "aws:kms/key:Key": "policy",
    "aws:kms/keyPolicy:KeyPolicy": "policy",
}
_NARROWS = (
    "aws:sourcearn",
    "aws:sourceaccount",
    "aws:sourceip",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalorgid",
    "aws:sourceorgid",
    "kms:calleraccount",
)

# Actions that AWS grants on "*" only, by its Service Authorization Reference
# (https://docs.aws.amazon.com/service-authorization/latest/reference/): there is nothing to name.
_NOTHING_TO_NAME = (
    "application-autoscaling:Describe",
    "ce:Get",
    "cloudwatch:DescribeAlarmsForMetric",
    "cloudwatch:GetMetric",
    "cloudwatch:ListMetrics",
    "cloudwatch:PutMetricData",
    "ec2:Describe",
    "ecr:GetAuthorizationToken",
    "ecs:DescribeTaskDefinition",
    "ecs:DeregisterTaskDefinition",
    "ecs:ListTaskDefinitions",
    "ecs:ListClusters",
    "elasticloadbalancing:Describe",
    "iam:ListOpenIDConnectProviders",
    "kms:ListAliases",
    "kms:ListKeys",
    "logs:DescribeLogGroups",
    "logs:DescribeQueries",
    "logs:StopQuery",
    "logs:GetQueryResults",
    "rds:DescribeDBEngineVersions",
    "route53:GetChange",
    "route53:ListHostedZones",
    "s3:ListAllMyBuckets",
    "secretsmanager:GetRandomPassword",
    "secretsmanager:ListSecrets",
    "ssm:DescribeParameters",
    "ssmmessages:",  # the four of ECS exec
    "sts:GetCallerIdentity",
    "tag:Get",
    "xray:Put",
)
_BROAD_POLICIES = re.compile(r"/(AdministratorAccess|PowerUserAccess|IAMFullAccess|\w*FullAccess)$")
_EVERY_KIND = re.compile(r"[a-z-]+[:/]\*")
"""The last part of an ARN that names a kind of thing and none of them: ``secret:*``, ``role/*``."""


def _allowed(it: Resource) -> Iterator[Statement]:
    documents = [it.get("policy")]
    if it.type == _ROLE:
        documents = [
            one.get("policy") for one in listed(it.get("inlinePolicies")) if isinstance(one, dict)
        ]
    for document in documents:
        yield from (one for one in statements(document) if one.allows)


@RULES.about(*_GRANTS, _ROLE, level=MANDATORY, severity=HIGH)
def wildcard_action(it: Resource, _: Config) -> Iterator[str]:
    """Every grant names its actions."""
    for one in _allowed(it):
        if one.all_but_actions:
            yield f"{one} allows all but some actions (NotAction): name those that are needed."
        broad = [action for action in one.actions if "*" in action]
        if broad:
            yield f"{one} allows {', '.join(broad)}: name the actions that are needed."


@RULES.about(*_GRANTS, _ROLE, level=MANDATORY, severity=HIGH)
def wildcard_resource(it: Resource, _: Config) -> Iterator[str]:
    """Every grant names what it is about, where AWS lets it."""
    for one in _allowed(it):
        nameable = [a for a in one.actions if not a.startswith(_NOTHING_TO_NAME)]
        broad = [arn for arn in one.resources if _everything(arn)]
        if one.all_but_resources:
            yield f"{one} is about all but some resources (NotResource): name those it is about."
        elif broad and nameable:
            yield f"{one} allows {', '.join(nameable)} on {', '.join(broad)}: name the ARNs."


def _everything(arn: str) -> bool:
    parts = arn.split(":", 5)
    if len(parts) < len(("arn", "partition", "service", "region", "account", "resource")):
        return arn in ("*", "arn:*")
    return parts[5] == "*" or (parts[2] != "s3" and bool(_EVERY_KIND.fullmatch(parts[5])))


@RULES.about(_ROLE, *_ATTACHMENTS, level=MANDATORY, severity=CRITICAL)
def administrator(it: Resource, _: Config) -> Iterator[str]:
    """Nobody holds one of AWS's own policies that allow everything, or all of a service."""
    for arn in (*listed(it.get("policyArn")), *listed(it.get("managedPolicyArns"))):
        found = _BROAD_POLICIES.search(text(arn))
        if found:
            yield f"it holds {found[1]}: grant the actions that are needed, on their ARNs."


@RULES.about(_ROLE, level=MANDATORY, severity=CRITICAL)
def role_open_to_everybody(it: Resource, _: Config) -> Iterator[str]:
    """A role says who may take it."""
    for one in statements(it.get("assumeRolePolicy")):
        if not one.allows:
            continue
        if one.about_everybody and not _narrowed(one):
            yield f"{one} lets every AWS account take it: name the account, service or provider."
        for provider in one.principals.get("Federated", ()):
            if ":oidc-provider/" not in provider:
                continue
            subjects = [
                value
                for key, values in one.conditions.items()
                if key.endswith(":sub")
                for value in values
            ]
            host = provider.rpartition(":oidc-provider/")[2]
            if not subjects:
                yield (
                    f"{one} lets every user of {host} take it: add a condition on {host}:sub that"
                    " names repository and branch."
                )
            elif any(_anybody(subject) for subject in subjects):
                yield f"{one} lets any repository of {host} take it: name repository and branch."


def _anybody(subject: str) -> bool:
    """Whether the part that names the repository or project is a wildcard: ``repo:*``."""
    return subject.split(":", 1)[-1].startswith("*")


@RULES.about(*_SHARED, level=MANDATORY, severity=CRITICAL)
def shared_with_everybody(it: Resource, _: Config) -> Iterator[str]:
    """No resource's own policy lets in accounts that it doesn't name."""
    for one in statements(it.get(_SHARED[it.type])):
        if one.allows and one.about_everybody and not _narrowed(one):
            yield (
                f"{one} allows {', '.join(one.actions)} to every AWS account: name the principal,"
                " or add a condition on aws:SourceAccount or aws:SourceArn."
            )


def _narrowed(one: Statement) -> bool:
    return any(key in _NARROWS and "*" not in values for key, values in one.conditions.items())


@RULES.about("aws:iam/user:User", "aws:iam/accessKey:AccessKey", level=MANDATORY, severity=HIGH)
def long_lived_credentials(it: Resource, _: Config) -> Iterator[str]:
    """Machines take roles; nobody keeps a key that never ends."""
    what = "a user" if it.type.endswith(":User") else "an access key"
    yield (
        f"it is {what}, whose credentials last until somebody remembers them: let people sign in"
        " through the identity provider and machines take a role, CI by OIDC."
    )
