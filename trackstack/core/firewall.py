"""Which managed rules guard the front door, and which only count because MLflow trips over them.

A firewall that blocks a training job is worse than none: the client doesn't repeat a 403, so what
it logged is gone. Hence each rule that MLflow's own traffic matches counts instead of blocking,
with its reason here. The rules are those of AWS's "Managed Rules rule groups list"; a balancer
shows the firewall the first 8 KiB of a body. A name that AWS no longer has does nothing
(API_RuleActionOverride), so a list that is a little old is no error.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RuleGroup:
    """A group of managed rules; those that aren't counted block."""

    name: str
    """AWS's name of it."""
    capacity: int
    """Web ACL capacity units that it takes; 1,500 are in the price."""
    guards: str
    """What it keeps out."""
    counted: Mapping[str, str] = field(default_factory=dict)
    """Rule to the reason why it must not block."""


_ARTIFACT = "an uploaded artifact may hold any bytes, as may parameters, tags and traces"

RULE_GROUPS: tuple[RuleGroup, ...] = (
    RuleGroup(
        "AWSManagedRulesAmazonIpReputationList",
        25,
        "addresses that Amazon has seen attacking or scouting",
    ),
    RuleGroup(
        "AWSManagedRulesKnownBadInputsRuleSet",
        200,
        "Log4j look-ups, Java deserialization, paths and methods of known exploits",
        {
            "JavaDeserializationRCE_BODY": f"{_ARTIFACT}: a Spark model is serialized Java",
            "Log4JRCE_BODY": _ARTIFACT,
            "ReactJSRCE_BODY": _ARTIFACT,
        },
    ),
    RuleGroup(
        "AWSManagedRulesCommonRuleSet",
        700,
        "path traversal, cross-site scripting, requests for instance metadata, scanners",
        {
            "SizeRestrictions_BODY": "log_batch and every artifact are larger than 8 KiB",
            "SizeRestrictions_QUERYSTRING": "a search's filter and page token pass 2 KiB",
            "SizeRestrictions_URIPATH": "an artifact's path may have 1,024 bytes of its own",
            "SizeRestrictions_Cookie_HEADER": "a sign-in at the balancer makes cookies to 16 KiB",
            "NoUserAgent_HEADER": "small clients, such as Python's http.client, send none",
            "RestrictedExtensions_URIPATH": "artifacts are called train.log or config.ini",
            "RestrictedExtensions_QUERYARGUMENTS": "get-artifact?path=train.log, by the UI",
            "GenericLFI_BODY": "mlflow.source.name is ../train.py where the job began elsewhere",
            "GenericRFI_BODY": "parameters name services by address: http://10.0.0.1/data",
            "GenericRFI_QUERYARGUMENTS": "a search for such a parameter or source",
            "EC2MetaDataSSRF_BODY": f"{_ARTIFACT}: a trace of an agent names the address",
            "CrossSiteScripting_BODY": f"{_ARTIFACT}: a figure is HTML with a script",
        },
    ),
)
"""In the order in which a request meets them."""

LEFT_OUT: Mapping[str, str] = {
    "AWSManagedRulesSQLiRuleSet": (
        "a search is a filter such as metrics.x > 1 AND tags.`a` = 'b', in bodies and query"
        " strings alike: what would be left of the group guards nothing here, and MLflow binds"
        " its parameters"
    ),
    "AWSManagedRulesAnonymousIpList": (
        "it blocks hosting providers, and CI runners and training machines live there"
    ),
    "a rate limit": (
        "one office or one cluster is one address, and a training loop that logs fast is no attack"
    ),
}
"""Managed protection that isn't used, and why."""

INCLUDED_CAPACITY = 1500
"""Web ACL capacity units without a surcharge (AWS WAF pricing, November 2026)."""
