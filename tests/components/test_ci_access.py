import json
from typing import Any

import pytest

from components.ci_access import CiAccess
from tests.components.recorder import Declared, declare, platform
from trackstack.core import policies
from trackstack.core.settings import Settings

PARAMETER = "arn:aws:ssm:us-east-1:123456789012:parameter/mlflow-platform/prod/client"
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:client-AbCdEf"
KEY = "arn:aws:kms:us-east-1:123456789012:key/1"
PROVIDER = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
GITHUB = {"github_repositories": ["org/repo:ref:refs/heads/main", "org/other:environment:prod"]}
GITLAB = {"gitlab_projects": ["group/project:ref_type:branch:ref:main"]}


def access(**more: Any) -> Declared:
    args: Any = {
        "region": "us-east-1",
        "parameter_name": "/mlflow-platform/prod/client",
        "parameter_arn": PARAMETER,
        **more,
    }
    return declare(lambda: CiAccess("ci", args))


def trust(declared: Declared, name: str) -> dict[str, Any]:
    (statement,) = declared.policy(declared.one("role:Role", name), "assumeRolePolicy")
    return statement


def test_github_jobs_come_in_from_exactly_the_named_branches_and_environments() -> None:
    statement = trust(access(**GITHUB), "ci-github")
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    issuer = "token.actions.githubusercontent.com"
    assert statement["Condition"] == {
        "StringEquals": {
            f"{issuer}:aud": "sts.amazonaws.com",
            f"{issuer}:sub": [
                "repo:org/other:environment:prod",
                "repo:org/repo:ref:refs/heads/main",
            ],
        }
    }


def test_gitlab_jobs_come_in_from_the_named_gitlab_only() -> None:
    declared = access(**GITLAB, gitlab_url="https://gitlab.example.com:8443")
    statement = trust(declared, "ci-gitlab")
    assert statement["Condition"] == {
        "StringEquals": {
            "gitlab.example.com:8443:aud": "https://gitlab.example.com:8443",
            "gitlab.example.com:8443:sub": ["project_path:group/project:ref_type:branch:ref:main"],
        }
    }
    provider = declared.one(":OpenIdConnectProvider")
    assert provider.inputs["url"] == "https://gitlab.example.com:8443"
    assert provider.inputs["clientIdLists"] == ["https://gitlab.example.com:8443"]


def test_an_account_s_provider_is_made_or_the_existing_one_is_taken() -> None:
    made = access(**GITHUB)
    provider = made.one(":OpenIdConnectProvider")
    assert provider.inputs["url"] == "https://token.actions.githubusercontent.com"
    assert provider.inputs["clientIdLists"] == ["sts.amazonaws.com"]
    assert trust(made, "ci-github")["Principal"] == {"Federated": provider.outputs["arn"]}
    taken = access(**GITHUB, github_oidc_provider_arn=PROVIDER)
    assert taken.all(":OpenIdConnectProvider") == []
    assert trust(taken, "ci-github")["Principal"] == {"Federated": PROVIDER}


def granted(document: str) -> set[tuple[str, str, str]]:
    """(action, resource, condition) of everything that is allowed."""
    found = set()
    for one in json.loads(document)["Statement"]:
        assert one["Effect"] == "Allow"
        resources = [one["Resource"]] if isinstance(one["Resource"], str) else one["Resource"]
        for resource in resources:
            assert isinstance(one["Action"], str)
            found.add((one["Action"], resource, json.dumps(one.get("Condition", {}))))
    return found


VIA = json.dumps(
    {
        "StringEquals": {
            "kms:ViaService": "secretsmanager.us-east-1.amazonaws.com",
            "kms:EncryptionContext:SecretARN": [SECRET],
        }
    }
)


@pytest.mark.parametrize(
    ("secrets", "key", "expected"),
    [
        ([], "", {("ssm:GetParameter", PARAMETER, "{}")}),
        ([], KEY, {("ssm:GetParameter", PARAMETER, "{}")}),
        (
            [SECRET],
            "",
            {
                ("ssm:GetParameter", PARAMETER, "{}"),
                ("secretsmanager:GetSecretValue", SECRET, "{}"),
            },
        ),
        (
            [SECRET],
            KEY,
            {
                ("ssm:GetParameter", PARAMETER, "{}"),
                ("secretsmanager:GetSecretValue", SECRET, "{}"),
                ("kms:Decrypt", KEY, VIA),
            },
        ),
    ],
    ids=["no secret", "no secret, own key", "secret", "secret, own key"],
)
def test_a_job_may_read_these_and_nothing_else(
    secrets: list[str], key: str, expected: set[tuple[str, str, str]]
) -> None:
    assert granted(policies.read_client_settings(PARAMETER, secrets, key, "us-east-1")) == expected
    declared = access(**GITHUB, **GITLAB, secret_arns=secrets, kms_key_arn=key)
    for one in declared.all(":RolePolicy"):
        assert granted(one.inputs["policy"]) == expected
    assert len(declared.all(":RolePolicy")) == 2
    assert declared.all("RolePolicyAttachment") == []


def test_the_roles_stay_within_the_permissions_boundary() -> None:
    bound = "arn:aws:iam::123456789012:policy/bound"
    declared = access(**GITHUB, **GITLAB, permissions_boundary=bound)
    assert {r.inputs["permissionsBoundary"] for r in declared.all("role:Role")} == {bound}


def test_the_stack_hands_out_what_the_other_repository_pastes() -> None:
    declared = platform(
        github_repositories=json.dumps(GITHUB["github_repositories"]),
        gitlab_projects=json.dumps(GITLAB["gitlab_projects"]),
    )
    snippets = declared.recording.outputs["ci_snippets"]
    for kind in ("github", "gitlab"):
        role = declared.one("role:Role", f"mlflow-ci-{kind}").outputs["arn"]
        assert role in snippets[kind]
        assert "ssm:/mlflow-platform/test/client" in snippets[kind]
    assert "::add-mask::" not in snippets["github"]


@pytest.mark.skipif("access" not in Settings.model_fields, reason="no platform has users yet")
def test_where_there_are_users_a_job_reads_the_secret_of_the_user_for_jobs_alone() -> None:
    declared = platform(
        access="basic", github_repositories=json.dumps(GITHUB["github_repositories"])
    )
    secret = declared.recording.outputs["client_secret_arn"]
    (policy,) = (one.inputs["policy"] for one in declared.all(":RolePolicy") if "-ci-" in one.name)
    read = {r for action, r, _ in granted(policy) if action == "secretsmanager:GetSecretValue"}
    assert read == {secret}


def test_nobody_comes_in_unless_named() -> None:
    declared = platform()
    assert declared.all(":OpenIdConnectProvider") == []
    assert declared.recording.outputs["ci_snippets"] == {}
