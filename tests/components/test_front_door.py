from typing import Any

import pytest

from components.front_door import FrontDoor
from tests.components.recorder import Declared, declare
from trackstack.embedded.record import UNKNOWN


def door(**more: Any) -> Declared:
    base = {
        "vpc_id": "vpc-1",
        "subnet_ids": ["subnet-1", "subnet-2"],
        "allowed_cidrs": ["198.51.100.0/24"],
        "tls": "generated",
    }
    return declare(lambda: FrontDoor("door", {**base, **more}))


def test_only_the_allowed_ranges_may_connect() -> None:
    declared = door(allowed_cidrs=["198.51.100.0/24", "203.0.113.0/24"])
    rules = declared.all("GroupIngressRule")
    assert {(r.inputs["cidrIpv4"], r.inputs["fromPort"], r.inputs["toPort"]) for r in rules} == {
        ("198.51.100.0/24", 443, 443),
        ("198.51.100.0/24", 80, 80),
        ("203.0.113.0/24", 443, 443),
        ("203.0.113.0/24", 80, 80),
    }
    assert "ingress" not in declared.one(":SecurityGroup").inputs


def test_it_is_inside_unless_asked() -> None:
    assert door().one(":LoadBalancer").inputs["internal"] is True
    assert door(internal=False).one(":LoadBalancer").inputs["internal"] is False


def test_exactly_the_artifact_paths_go_to_the_artifacts_service() -> None:
    declared = door()
    rule = declared.one(":ListenerRule")
    (condition,) = rule.inputs["conditions"]
    assert condition["pathPattern"]["values"] == [
        "/api/2.0/mlflow-artifacts/*",
        "/ajax-api/2.0/mlflow-artifacts/*",
    ]
    artifacts = declared.one(":TargetGroup", "door-artifacts")
    tracking = declared.one(":TargetGroup", "door-tracking")
    assert rule.inputs["actions"][0]["targetGroupArn"] == artifacts.outputs["arn"]
    (default,) = declared.one(":Listener", "door-https").inputs["defaultActions"]
    assert default["targetGroupArn"] == tracking.outputs["arn"]


def test_together_there_is_one_target_group_and_no_rule() -> None:
    declared = door(separate_artifacts=False)
    assert [g.name for g in declared.all(":TargetGroup")] == ["door-tracking"]
    assert declared.all(":ListenerRule") == []
    assert list(declared.outputs("FrontDoor")["target_group_arns"]) == ["tracking"]


def test_a_target_group_is_handed_out_only_once_requests_are_sent_to_it() -> None:
    """ECS refuses a service whose target group no listener knows."""
    declared = door()
    outputs = declared.outputs("FrontDoor")["target_group_arns"]
    assert outputs == {
        role: declared.one(":TargetGroup", f"door-{role}").outputs["arn"]
        for role in ("tracking", "artifacts")
    }


def test_old_tls_is_refused() -> None:
    listener = door().one(":Listener", "door-https")
    assert listener.inputs["protocol"] == "HTTPS"
    assert listener.inputs["port"] == 443
    # 1.2 with forward secrecy, 1.3, hybrid post-quantum: AWS's recommendation of 2025.
    assert listener.inputs["sslPolicy"] == "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09"


@pytest.mark.parametrize("tls", ["generated", "domain", "certificate"])
def test_whoever_comes_in_the_clear_is_sent_to_https_and_nowhere_else(tls: str) -> None:
    declared = door(tls=tls, domain="m.example.com", zone_id="Z1", certificate_arn="arn:cert")
    plain = declared.one(":Listener", "door-http")
    assert (plain.inputs["protocol"], plain.inputs["port"]) == ("HTTP", 80)
    (action,) = plain.inputs["defaultActions"]
    assert action == {
        "type": "redirect",
        "redirect": {"protocol": "HTTPS", "port": "443", "statusCode": "HTTP_301"},
    }
    for rule in declared.all(":ListenerRule"):
        assert rule.inputs["listenerArn"] == declared.one(":Listener", "door-https").outputs["arn"]


def test_turning_tls_on_frees_port_80_before_the_redirect_takes_it() -> None:
    """AWS refuses a second rule for the same port and range: InvalidPermission.Duplicate."""
    declared = door()
    first = declared.one("GroupIngressRule", "door-from-198.51.100.0-24")
    redirect = declared.one("GroupIngressRule", "door-redirect-from-198.51.100.0-24")
    assert first.urn in redirect.dependencies
    assert (first.inputs["fromPort"], redirect.inputs["fromPort"]) == (443, 80)


def test_browsers_remember_tls_for_a_domain_only() -> None:
    key = "routingHttpResponseStrictTransportSecurityHeaderValue"
    named = door(tls="certificate", domain="m.example.com", certificate_arn="arn:cert")
    assert named.one(":Listener", "door-https").inputs[key] == "max-age=31536000"
    assert key not in door().one(":Listener", "door-https").inputs


def test_a_destroy_is_refused_unless_the_stack_is_expendable() -> None:
    assert door().one(":LoadBalancer").inputs["enableDeletionProtection"] is True
    assert door(expendable=True).one(":LoadBalancer").inputs["enableDeletionProtection"] is False


def test_smuggled_requests_are_refused_and_http_2_is_spoken() -> None:
    balancer = door().one(":LoadBalancer").inputs
    assert balancer["desyncMitigationMode"] == "strictest"
    assert balancer["enableHttp2"] is True


def test_requests_and_connections_are_logged_where_a_bucket_is_given() -> None:
    logs = {"bucket": "logs", "prefix": "balancer", "enabled": True}
    balancer = door(log_bucket="logs").one(":LoadBalancer").inputs
    assert balancer["accessLogs"] == balancer["connectionLogs"] == logs
    assert "accessLogs" not in door().one(":LoadBalancer").inputs


def test_a_generated_certificate_is_for_the_balancer_s_own_name() -> None:
    declared = door()
    name = declared.one(":LoadBalancer").outputs["dnsName"]
    certificate = declared.one(":SelfSignedCert")
    assert certificate.inputs["dnsNames"] == [name]
    assert len(certificate.inputs["subject"]["commonName"]) <= 64
    imported = declared.one("acm/certificate:Certificate")
    assert "domainName" not in imported.inputs
    outputs = declared.outputs("FrontDoor")
    assert outputs["host"] == name
    assert outputs["url"] == f"https://{name}"
    assert outputs["certificate_pem"] == certificate.outputs.get("certPem", UNKNOWN)


def test_a_domain_is_proved_and_pointed_in_its_zone() -> None:
    declared = door(tls="domain", domain="mlflow.example.com", zone_id="Z1")
    certificate = declared.one("acm/certificate:Certificate")
    assert certificate.inputs["domainName"] == "mlflow.example.com"
    assert certificate.inputs["validationMethod"] == "DNS"
    validation = declared.one(":CertificateValidation")
    assert validation.urn in declared.one(":Listener", "door-https").dependencies
    alias = declared.one("route53/record:Record", "door-name")
    assert alias.inputs["zoneId"] == "Z1"
    assert alias.inputs["name"] == "mlflow.example.com"
    outputs = declared.outputs("FrontDoor")
    assert outputs["url"] == "https://mlflow.example.com"
    assert outputs["certificate_pem"] == ""


def test_a_given_certificate_is_used_as_it_is() -> None:
    declared = door(tls="certificate", domain="mlflow.example.com", certificate_arn="arn:cert")
    assert declared.one(":Listener", "door-https").inputs["certificateArn"] == "arn:cert"
    assert declared.all("acm/certificate:Certificate") == []
    assert declared.all("route53/record:Record") == [], "somebody else points the domain here"


def test_plaintext_is_port_80_and_says_so() -> None:
    declared = door(tls="plaintext")
    listener = declared.one(":Listener")
    assert (listener.inputs["protocol"], listener.inputs["port"]) == ("HTTP", 80)
    assert declared.one("GroupIngressRule").inputs["fromPort"] == 80
    assert declared.outputs("FrontDoor")["url"].startswith("http://")


@pytest.mark.parametrize(("minutes", "idle"), [(1, 60), (60, 3600)])
def test_the_largest_artifact_has_its_time(minutes: int, idle: int) -> None:
    declared = door(largest_artifact_minutes=minutes)
    assert declared.one(":LoadBalancer").inputs["idleTimeout"] == idle
    for group in declared.all(":TargetGroup"):
        assert group.inputs["deregistrationDelay"] == idle


def test_forged_headers_are_dropped() -> None:
    assert door().one(":LoadBalancer").inputs["dropInvalidHeaderFields"] is True


def test_health_is_asked_where_mlflow_answers_without_a_host() -> None:
    for group in door().all(":TargetGroup"):
        assert group.inputs["healthCheck"]["path"] == "/health"
