from typing import Any

import boto3
import pytest
from moto import mock_aws

from components.web_firewall import WebFirewall
from tests.components.recorder import Declared, declare, platform
from trackstack.core.firewall import RULE_GROUPS
from trackstack.embedded import wire

BALANCER = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/door/0123456789"


def firewall(**more: Any) -> Declared:
    return declare(lambda: WebFirewall("wall", {"balancer_arn": BALANCER, **more}))


def test_nobody_pays_for_a_firewall_unasked() -> None:
    assert platform().all(":WebAcl") == []
    guarded = platform(waf="true").one(":WebAclAssociation")
    assert guarded.inputs["resourceArn"] == platform(waf="true").one(":LoadBalancer").outputs["arn"]


def test_managed_rules_block_except_those_that_count() -> None:
    acl = firewall().one(":WebAcl").inputs
    assert acl["scope"] == "REGIONAL"
    assert acl["defaultAction"] == {"allow": {}}
    for group, rule in zip(RULE_GROUPS, acl["rules"], strict=True):
        statement = rule["statement"]["managedRuleGroupStatement"]
        assert statement["name"] == group.name
        assert rule["overrideAction"] == {"none": {}}, "count would switch the whole group off"
        overrides = statement.get("ruleActionOverrides", [])
        assert {one["name"] for one in overrides} == set(group.counted)
        assert all(one["actionToUse"] == {"count": {}} for one in overrides)


def test_what_it_finds_is_logged_without_the_credentials_of_who_asked() -> None:
    declared = firewall(log_retention_days=90, kms_key_arn="arn:key")
    log = declared.one(":LogGroup").inputs
    assert log["namePrefix"].startswith("aws-waf-logs-"), "WAF takes no other"
    assert (log["retentionInDays"], log["kmsKeyId"]) == (90, "arn:key")
    logging = declared.one(":WebAclLoggingConfiguration").inputs
    assert {one["singleHeader"]["name"] for one in logging["redactedFields"]} == {
        "authorization",
        "cookie",
    }
    acl = declared.one(":WebAcl").inputs
    shown = [acl["visibilityConfig"], *(rule["visibilityConfig"] for rule in acl["rules"])]
    assert not any(one["sampledRequestsEnabled"] for one in shown), "a sample holds every header"


def test_only_what_was_blocked_or_counted_is_logged() -> None:
    logging = firewall().one(":WebAclLoggingConfiguration").inputs["loggingFilter"]
    assert logging["defaultBehavior"] == "DROP"
    (kept,) = logging["filters"]
    assert kept["behavior"] == "KEEP"
    actions = {one["actionCondition"]["action"] for one in kept["conditions"]}
    assert actions == {"BLOCK", "COUNT", "EXCLUDED_AS_COUNT"}


@pytest.mark.usefixtures("aws")
def test_the_service_takes_what_is_declared() -> None:
    with mock_aws():
        client = boto3.client("wafv2", region_name="us-east-1")
        acl = wire.show(firewall().one(":WebAcl").inputs)
        made = client.create_web_acl(
            Name="wall",
            Scope=acl["scope"],
            DefaultAction={"Allow": {}},
            Rules=[_as_the_service_spells(rule) for rule in acl["rules"]],
            VisibilityConfig=_as_the_service_spells(acl["visibilityConfig"]),
        )
        assert made["Summary"]["ARN"]
        rules = client.get_web_acl(Name="wall", Scope="REGIONAL", Id=made["Summary"]["Id"])
        assert [rule["Name"] for rule in rules["WebACL"]["Rules"]] == [g.name for g in RULE_GROUPS]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")


def _as_the_service_spells(value: Any) -> Any:
    """``cloudwatchMetricsEnabled`` as ``CloudWatchMetricsEnabled``."""
    if isinstance(value, list):
        return [_as_the_service_spells(item) for item in value]
    if isinstance(value, dict):
        return {
            (key[0].upper() + key[1:]).replace("Cloudwatch", "CloudWatch"): (
                _as_the_service_spells(item)
            )
            for key, item in value.items()
        }
    return value
