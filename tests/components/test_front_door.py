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
    assert {r.inputs["cidrIpv4"] for r in rules} == {"198.51.100.0/24", "203.0.113.0/24"}
    assert {(r.inputs["fromPort"], r.inputs["toPort"]) for r in rules} == {(443, 443)}
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
    (default,) = declared.one(":Listener").inputs["defaultActions"]
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
    listener = door().one(":Listener")
    assert listener.inputs["protocol"] == "HTTPS"
    assert listener.inputs["port"] == 443
    assert listener.inputs["sslPolicy"] == "ELBSecurityPolicy-TLS13-1-2-2021-06"


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
    assert validation.urn in declared.one(":Listener").dependencies
    alias = declared.one("route53/record:Record", "door-name")
    assert alias.inputs["zoneId"] == "Z1"
    assert alias.inputs["name"] == "mlflow.example.com"
    outputs = declared.outputs("FrontDoor")
    assert outputs["url"] == "https://mlflow.example.com"
    assert outputs["certificate_pem"] == ""


def test_a_given_certificate_is_used_as_it_is() -> None:
    declared = door(tls="certificate", domain="mlflow.example.com", certificate_arn="arn:cert")
    assert declared.one(":Listener").inputs["certificateArn"] == "arn:cert"
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
