"""Doors: who may connect, and what can be read on the way."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from policy.buckets import BUCKETS
from policy.databases import CLUSTER, INSTANCE
from policy.reading import UNKNOWN, Resource, Stack, listed, number, off, on, text
from policy.rule import ADVISORY, CRITICAL, HIGH, MANDATORY, MEDIUM, Config, Rules

RULES = Rules()

_RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
_OLD_RULE = "aws:ec2/securityGroupRule:SecurityGroupRule"
_GROUPS = (
    "aws:ec2/securityGroup:SecurityGroup",
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
)
_BALANCERS = ("aws:lb/loadBalancer:LoadBalancer", "aws:alb/loadBalancer:LoadBalancer")
_LISTENERS = ("aws:lb/listener:Listener", "aws:alb/listener:Listener")
_LISTENER_RULES = ("aws:lb/listenerRule:ListenerRule", "aws:alb/listenerRule:ListenerRule")
_EVERYBODY = ("0.0.0.0/0", "::/0")
_WEB = (80, 443)
"""Where everybody may be meant; what answers there is another rule's concern."""
_MODERN_TLS = re.compile(r"ELBSecurityPolicy-(TLS13-1-[23]-|TLS-1-2-|FS-1-2-)")


def _open_ways(it: Resource) -> Iterator[tuple[str, int | None, int | None]]:
    """Everybody's range, first and last port of each way that is open to everybody."""
    if it.type == _OLD_RULE and it.get("type") != "ingress":
        return
    ways = listed(it.get("ingress")) if it.type in _GROUPS else [it.props]
    for way in ways:
        if not isinstance(way, Mapping):
            continue
        for cidr in _ranges(way):
            if cidr in _EVERYBODY:
                yield cidr, *_ports(way)


def _ranges(way: Mapping[str, Any]) -> Iterator[str]:
    for key in ("cidrIpv4", "cidrIpv6", "cidrBlocks", "ipv6CidrBlocks"):
        yield from (text(one) for one in listed(way.get(key)))


def _ports(way: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """First and last port; None, None is every port."""
    if way.get("ipProtocol", way.get("protocol")) in ("-1", "all"):
        return None, None
    return number(way.get("fromPort")), number(way.get("toPort"))


@RULES.about(_RULE, _OLD_RULE, *_GROUPS, level=MANDATORY, severity=CRITICAL)
def security_group_open(it: Resource, _: Config) -> Iterator[str]:
    """Nothing but the web's ports is open to everybody."""
    for cidr, first, last in _open_ways(it):
        if first is None or last is None:
            yield f"every port is open to {cidr}: name the port and who may connect."
        elif not (first == last and first in _WEB):
            ports = str(first) if first == last else f"{first}-{last}"
            yield f"port {ports} is open to {cidr}: name the ranges or the group that may connect."


@RULES.about(_RULE, _OLD_RULE, *_GROUPS, level=ADVISORY, severity=MEDIUM)
def web_open_to_everybody(it: Resource, _: Config) -> Iterator[str]:
    """Who may reach the web's ports was decided, not left open."""
    for cidr, first, last in _open_ways(it):
        if first == last and first in _WEB:
            yield (
                f"port {first} is open to {cidr}: name the ranges that people and machines come"
                " from, unless the whole internet is meant."
            )


@RULES.about(*_LISTENERS, level=MANDATORY, severity=HIGH)
def listener_with_old_tls(it: Resource, _: Config) -> Iterator[str]:
    """TLS begins at 1.2."""
    if it.get("protocol") not in ("HTTPS", "TLS") or it.get("sslPolicy") is UNKNOWN:
        return
    if not _MODERN_TLS.match(it.text("sslPolicy")):
        named = it.text("sslPolicy") or "AWS's default"
        yield (
            f"{named} still speaks TLS 1.0: set"
            " ssl_policy='ELBSecurityPolicy-TLS13-1-2-2021-06' or a later one."
        )


@RULES.across(level=MANDATORY, severity=HIGH)
def listener_in_the_clear(stack: Stack, _: Config) -> Iterator[tuple[Resource, str]]:
    """Plain HTTP only redirects; inside, it may serve what nobody would miss.

    "Inside" is a balancer that says so. "Nobody would miss" is a stack that lets a destroy take all
    its data along: then the runs are no secret worth a certificate, and a first try is cheap.
    """
    for listener in stack.of(*_LISTENERS):
        if listener.get("protocol") != "HTTP":
            continue
        behind = [
            one
            for kind in _BALANCERS
            for one in stack.of(kind)
            if listener in stack.pointing_at(one, "loadBalancerArn", *_LISTENERS)
        ]
        inside = bool(behind) and all(one.get("internal") in (True, UNKNOWN) for one in behind)
        if inside and _expendable(stack):
            continue
        serving = [listener] if _serves(listener.get("defaultActions")) else []
        serving += [
            rule
            for rule in stack.pointing_at(listener, "listenerArn", *_LISTENER_RULES)
            if _serves(rule.get("actions"))
        ]
        for one in serving:
            where = "inside, for data that must survive" if inside else "for whoever listens"
            way_out = "use HTTPS with a certificate, and let HTTP redirect to it."
            yield one, f"it serves in the clear {where}: {way_out}"


def _serves(actions: Any) -> bool:
    """Whether a request gets more than a redirect or a fixed answer."""
    return any(
        isinstance(one, Mapping) and one.get("type") not in ("redirect", "fixed-response", UNKNOWN)
        for one in listed(actions)
    )


def _expendable(stack: Stack) -> bool:
    data = list(stack.of(INSTANCE, CLUSTER, *BUCKETS))
    return bool(data) and all(_may_go(one) for one in data)


def _may_go(one: Resource) -> bool:
    if one.type in BUCKETS:
        return on(one.get("forceDestroy"))
    return off(one.get("deletionProtection")) and on(one.get("skipFinalSnapshot"))
