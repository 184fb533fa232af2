"""The firewall in front of the balancer, for a platform that the internet can reach.

Why a component: AWS's managed rules as they come block MLflow itself. An artifact is larger than
8 KiB, `train.log` has a forbidden extension, a search filter looks like SQL and a figure like
cross-site scripting. Here those rules count instead of blocking, each for a reason that is
written down (`trackstack.core.firewall`); everything else of the groups blocks. What it finds is
logged, the credentials in the request are not.

Price in us-east-1, November 2026: $5 the ACL, $1 a rule group, $0.60 a million requests; $8.60 a
month with a million requests.
"""

from typing import NotRequired, TypedDict

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi_aws import cloudwatch, wafv2

from trackstack.core.firewall import RULE_GROUPS, RuleGroup

SECRET_HEADERS = ("authorization", "cookie")
"""What a client signs in with; it must not end in a log."""


class WebFirewallArgs(TypedDict):
    """What a caller decides about the firewall."""

    balancer_arn: Input[str]
    """The load balancer it stands in front of."""
    log_retention_days: NotRequired[int]
    """Days that what it blocked and counted is kept. Default: 30."""
    kms_key_arn: NotRequired[Input[str]]
    """Key that its log is encrypted with. Default, or empty: one of AWS's."""


class WebFirewall(pulumi.ComponentResource):
    """AWS's managed rules in front of a balancer, without those that MLflow's traffic trips."""

    web_acl_arn: Output[str]
    """The ACL, known once the balancer is behind it."""
    log_group_name: Output[str]
    """Where each blocked or counted request is told, without its credentials."""

    def __init__(
        self, name: str, args: WebFirewallArgs, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("trackstack:index:WebFirewall", name, {**args}, opts)
        child = ResourceOptions(parent=self)
        acl = wafv2.WebAcl(
            f"{name}-rules",
            description="MLflow balancer",
            scope="REGIONAL",
            default_action={"allow": {}},
            rules=[_rule(priority, group) for priority, group in enumerate(RULE_GROUPS)],
            visibility_config=_visible(name),
            opts=child,
        )
        # WAF takes no log group whose name begins otherwise.
        log = cloudwatch.LogGroup(
            f"{name}-log",
            name_prefix=f"aws-waf-logs-{name}-",
            retention_in_days=args.get("log_retention_days", 30),
            kms_key_id=args.get("kms_key_arn") or None,
            opts=child,
        )
        wafv2.WebAclLoggingConfiguration(
            f"{name}-logging",
            resource_arn=acl.arn,
            log_destination_configs=[log.arn],
            logging_filter={
                "default_behavior": "DROP",
                "filters": [
                    {
                        "behavior": "KEEP",
                        "requirement": "MEETS_ANY",
                        "conditions": [
                            {"action_condition": {"action": action}}
                            for action in ("BLOCK", "COUNT", "EXCLUDED_AS_COUNT")
                        ],
                    }
                ],
            },
            redacted_fields=[{"single_header": {"name": header}} for header in SECRET_HEADERS],
            opts=child,
        )
        guarded = wafv2.WebAclAssociation(
            f"{name}-guarded",
            resource_arn=args["balancer_arn"],
            web_acl_arn=acl.arn,
            opts=child,
        )
        self.web_acl_arn = Output.all(acl.arn, guarded.id).apply(lambda v: str(v[0]))
        self.log_group_name = log.name
        self.register_outputs(
            {"web_acl_arn": self.web_acl_arn, "log_group_name": self.log_group_name}
        )


def _rule(priority: int, group: RuleGroup) -> dict[str, object]:
    return {
        "name": group.name,
        "priority": priority,
        "override_action": {"none": {}},
        "statement": {
            "managed_rule_group_statement": {
                "vendor_name": "AWS",
                "name": group.name,
                "rule_action_overrides": [
                    {"name": rule, "action_to_use": {"count": {}}} for rule in group.counted
                ],
            }
        },
        "visibility_config": _visible(group.name),
    }


def _visible(metric: str) -> dict[str, object]:
    """Metrics, but no samples: those hold each header as it came, credentials included."""
    return {
        "cloudwatch_metrics_enabled": True,
        "metric_name": metric,
        "sampled_requests_enabled": False,
    }
