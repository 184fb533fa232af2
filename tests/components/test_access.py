"""What the access modes make of the whole platform."""

import json
from typing import Any

import pytest

from tests.components.recorder import Declared, platform
from trackstack.embedded import wire

NAMES = {"tls": "domain", "domain": "mlflow.example.com", "hosted_zone": "example.com"}
OIDC = {
    **NAMES,
    "access": "oidc",
    "egress": "nat",
    "oidc_issuer": "https://login.example.com",
    "oidc_client_id": "mlflow-client",
    "oidc_client_secret": "the-secret",
    "oidc_authorization_endpoint": "https://login.example.com/authorize",
    "oidc_token_endpoint": "https://login.example.com/token",
    "oidc_user_info_endpoint": "https://login.example.com/userinfo",
    "oidc_email_domains": '["example.com"]',
}
BASIC = {"access": "basic", "default_permission": "none"}
GUARDED = pytest.mark.parametrize("raw", [BASIC, OIDC], ids=["basic", "oidc"])


def container(declared: Declared, role: str, name: str = "serve") -> dict[str, Any]:
    return declared.containers(f"mlflow-server-{role}")[name]


def environment(of: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item["value"] for item in of["environment"]}


def secrets(of: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item["valueFrom"] for item in of["secrets"]}


def arn(declared: Declared, role: str) -> str:
    return str(declared.one(":Secret", f"mlflow-credentials-{role}").outputs["arn"])


def test_without_users_nothing_of_them_is_declared() -> None:
    declared = platform()
    assert declared.all(":Credentials") == []
    assert "artifacts-to-database" not in " ".join(declared.made())
    for role in ("tracking", "artifacts"):
        told = environment(container(declared, role))
        assert not {name for name in told if "ACCESS" in name or "OIDC" in name or "POOL" in name}
    outputs = declared.recording.outputs
    assert outputs["admin_secret_arn"] == outputs["client_secret_arn"] == ""


@GUARDED
def test_the_admins_password_reaches_the_migration_and_no_server(raw: dict[str, str]) -> None:
    declared = platform(**raw)
    migrate = secrets(container(declared, "tracking", "migrate"))
    assert migrate["TRACKSTACK_ADMIN_PASSWORD"] == f"{arn(declared, 'admin')}:password::"
    assert migrate["TRACKSTACK_CLIENT_PASSWORD"] == f"{arn(declared, 'client')}:password::"
    for role in ("tracking", "artifacts"):
        given = secrets(container(declared, role))
        assert given == {"MLFLOW_FLASK_SERVER_SECRET_KEY": arn(declared, "session")}


@GUARDED
def test_each_role_may_read_what_its_containers_are_given(raw: dict[str, str]) -> None:
    declared = platform(**raw)
    for role in ("tracking", "artifacts"):
        given = {
            value.removesuffix(":password::").removesuffix(":username::")
            for one in declared.containers(f"mlflow-server-{role}").values()
            for value in secrets(one).values()
        }
        policy = declared.policy(declared.one(":RolePolicy", f"mlflow-server-{role}-start"))
        (read,) = (one for one in policy if one["Sid"] == "ReadTheSecrets")
        assert set(read["Resource"]) == given


@GUARDED
def test_artifacts_tasks_reach_the_permissions_and_log_in_as_the_same_user(
    raw: dict[str, str],
) -> None:
    declared = platform(**raw)
    assert "mlflow-server-artifacts-to-database" in declared.made()
    tracking, artifacts = (
        declared.policy(declared.one(":RolePolicy", f"mlflow-server-{role}-task"))
        for role in ("tracking", "artifacts")
    )
    assert artifacts == tracking
    told = environment(container(declared, "artifacts"))
    assert told["PGHOST"] == environment(container(declared, "tracking"))["PGHOST"]
    assert told["MLFLOW_ARTIFACTS_ONLY"] == "true"


def test_the_permission_is_in_mlflows_words() -> None:
    assert environment(container(platform(**BASIC), "tracking"))[
        "TRACKSTACK_DEFAULT_PERMISSION"
    ] == ("NO_PERMISSIONS")
    told = environment(container(platform(access="basic"), "artifacts"))
    assert told["TRACKSTACK_DEFAULT_PERMISSION"] == "EDIT"


def test_the_servers_take_the_word_of_this_balancer_alone() -> None:
    declared = platform(**OIDC)
    for role in ("tracking", "artifacts"):
        told = environment(container(declared, role))
        assert told["TRACKSTACK_ACCESS"] == "oidc"
        assert told["TRACKSTACK_OIDC_SIGNER"] == declared.one(":LoadBalancer").outputs["arn"]
        assert told["TRACKSTACK_OIDC_ISSUER"] == "https://login.example.com"
        assert told["TRACKSTACK_OIDC_CLIENT_ID"] == "mlflow-client"
        assert told["TRACKSTACK_OIDC_KEYS_URL"] == (
            "https://public-keys.auth.elb.us-east-1.amazonaws.com"
        )
        assert told["TRACKSTACK_OIDC_EMAIL_DOMAINS"] == "example.com"
        assert "the-secret" not in json.dumps(declared.containers(f"mlflow-server-{role}"))


def test_browsers_are_signed_in_and_programs_are_let_by_to_be_asked() -> None:
    declared = platform(**OIDC)
    listener = declared.one(":Listener", "mlflow-door-https")
    rules = {one.name: one.inputs for one in declared.all(":ListenerRule")}
    ordered = sorted(rules, key=lambda name: rules[name]["priority"])
    assert ordered == [
        "mlflow-door-open",
        "mlflow-door-programs-artifacts",
        "mlflow-door-programs",
        "mlflow-door-artifacts",
    ]
    for actions in (listener.inputs["defaultActions"], rules["mlflow-door-artifacts"]["actions"]):
        first, last = actions
        assert first["type"] == "authenticate-oidc"
        assert first["authenticateOidc"]["onUnauthenticatedRequest"] == "authenticate"
        assert last["type"] == "forward"
    header = {"httpHeaderName": "Authorization", "values": ["Basic *"]}
    for name in ("mlflow-door-programs", "mlflow-door-programs-artifacts"):
        assert {"httpHeader": header} in rules[name]["conditions"]
        assert [one["type"] for one in rules[name]["actions"]] == ["forward"]
    (paths,) = rules["mlflow-door-open"]["conditions"]
    assert paths["pathPattern"]["values"] == ["/health", "/api/3.0/mlflow/server-info"]


def test_the_balancer_gets_out_to_the_identity_provider_and_only_then() -> None:
    rule = platform(**OIDC).one(":SecurityGroupEgressRule", "mlflow-door-to-identity-provider")
    assert (rule.inputs["fromPort"], rule.inputs["toPort"]) == (443, 443)
    assert "mlflow-door-to-identity-provider" not in platform(**BASIC).made()


@pytest.mark.parametrize("raw", [{**NAMES, "access": "basic"}, OIDC], ids=["basic", "oidc"])
def test_clients_are_told_where_their_credentials_are_and_never_what_they_are(
    raw: dict[str, str],
) -> None:
    declared = platform(**raw)
    told = json.loads(wire.reveal(declared.one(":Parameter").inputs["value"]))
    assert told["credentials_secret_arn"] == arn(declared, "client")
    assert arn(declared, "admin") not in told.values()
    outputs = declared.recording.outputs
    assert outputs["client_secret_arn"] == arn(declared, "client")
    assert outputs["admin_secret_arn"] == arn(declared, "admin")


def test_a_ci_job_may_read_the_clients_secret_and_not_the_admins() -> None:
    jobs = platform(access="basic", github_repositories='["acme/train:ref:refs/heads/main"]')
    text = json.dumps(
        [one.inputs["policy"] for one in jobs.all(":RolePolicy") if "-ci" in one.name]
    )
    assert arn(jobs, "client") in text
    assert arn(jobs, "admin") not in text
