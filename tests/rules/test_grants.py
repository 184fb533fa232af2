"""Least privilege by a table: no statement of any IAM policy without its line in grants.yaml.

For S3 `tests/live/test_least_privilege.py` shows the same by running; KMS, Secrets Manager and
rds-db can't be judged by any stand-in for AWS that we know.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.components.recorder import platform
from trackstack.embedded.record import UNKNOWN, Recording

TABLE = yaml.safe_load(Path(__file__).with_name("grants.yaml").read_text(encoding="utf-8"))
MINIO = {
    "tls": "plaintext",
    "artifact_endpoint": "https://minio.example.com",
    "artifact_bucket": "kept-elsewhere",
    "artifact_access_key_id": "key",
    "artifact_secret_access_key": "secret",
}
VARIANTS: dict[str, dict[str, str]] = {
    "somebody else's bucket": MINIO,
    "a task every night": {"tls": "plaintext", "image": "", "deleted_runs_days": "30"},
    "jobs of GitLab": {
        "tls": "plaintext",
        "gitlab_projects": '["group/project:ref_type:branch:ref:main"]',
    },
}
"""Settings that no stack file has and that grant something."""
STACKS = ("dev", "staging", "prod")


@dataclass(frozen=True, order=True)
class Grant:
    """One action on one resource, for one role."""

    role: str
    action: str
    resource: str


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def grants(recording: Recording) -> Iterator[Grant]:
    roles = {one.id: one.name for one in recording.of_type("aws:iam/role:Role")}
    for one in recording.of_type("aws:iam/rolePolicy:RolePolicy"):
        policy = one.inputs["policy"]
        assert policy is not UNKNOWN, f"nobody can tell what {one.name} grants"
        for statement in json.loads(policy)["Statement"]:
            assert statement["Effect"] == "Allow", one.name
            assert not {"NotAction", "NotResource"} & set(statement), one.name
            for action in listed(statement["Action"]):
                for resource in listed(statement["Resource"]):
                    yield Grant(roles[one.inputs["role"]], action, resource)


def shapes_of(resource: str) -> set[str]:
    return {name for name, shape in TABLE["shapes"].items() if re.fullmatch(shape, resource)}


@pytest.fixture(params=[*STACKS, *VARIANTS])
def recording(request: pytest.FixtureRequest, evaluate: Callable[[str], Recording]) -> Recording:
    if request.param in VARIANTS:
        return platform(**VARIANTS[request.param]).recording
    return evaluate(request.param)


@pytest.fixture
def everything(evaluate: Callable[[str], Recording]) -> list[Recording]:
    return [
        *(evaluate(stack) for stack in STACKS),
        *(platform(**raw).recording for raw in VARIANTS.values()),
    ]


def test_every_grant_is_in_the_table(recording: Recording) -> None:
    unknown = sorted(
        grant
        for grant in set(grants(recording))
        if not any(
            grant.action in TABLE["roles"].get(grant.role, {}).get(shape, [])
            for shape in shapes_of(grant.resource)
        )
    )
    assert unknown == [], "a grant has its line in tests/rules/grants.yaml"


def test_no_grant_has_a_wildcard_action_or_more_than_it_must_in_its_resource(
    recording: Recording,
) -> None:
    for grant in grants(recording):
        assert "*" not in grant.action, grant
        if grant.resource == "*":
            continue  # "nothing to name": in the table, action by action
        assert grant.resource.startswith("arn:aws:"), grant
        assert "*" not in re.sub(r"[/:]\*$", "", grant.resource), grant


def test_the_table_grants_nothing_that_no_stack_asks_for(everything: list[Recording]) -> None:
    asked = {
        (grant.role, shape, grant.action)
        for recording in everything
        for grant in grants(recording)
        for shape in shapes_of(grant.resource)
    }
    written = {
        (role, shape, action)
        for role, shapes in TABLE["roles"].items()
        for shape, actions in shapes.items()
        for action in actions
    }
    assert sorted(written - asked) == []


def test_a_role_is_for_one_whose_name_is_in_the_table(recording: Recording) -> None:
    for one in recording.of_type("aws:iam/role:Role"):
        for statement in json.loads(one.inputs["assumeRolePolicy"])["Statement"]:
            told = {
                f"{kind} {name}"
                for kind, names in statement["Principal"].items()
                for name in listed(names)
            }
            (principal,) = told
            assert re.fullmatch(TABLE["trusts"].get(one.name, ""), principal), (one.name, principal)
            # A service acts for whoever asks it: only for this account.
            assert statement.get("Condition"), one.name


def test_nothing_grants_in_another_way(recording: Recording) -> None:
    """No managed policy of AWS's, no inline policy inside a role, no user, no group."""
    kinds = {one.type for one in recording.resources if one.type.startswith("aws:iam/")}
    assert kinds <= {
        "aws:iam/role:Role",
        "aws:iam/rolePolicy:RolePolicy",
        "aws:iam/openIdConnectProvider:OpenIdConnectProvider",
    }
    for one in recording.of_type("aws:iam/role:Role"):
        assert not {"inlinePolicies", "managedPolicyArns"} & set(one.inputs), one.name
