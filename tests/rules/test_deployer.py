"""The deployer's policies and what the stacks register: a kind of resource can't be forgotten."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.components.recorder import platform
from trackstack.core import deployer
from trackstack.embedded.record import Recording

ROOT = Path(__file__).parents[2]
STACKS = ("dev", "staging", "prod")
NOT_OF_AWS = ("pulumi:", "trackstack:", "random:", "tls:")
# Settings that no stack file uses, but whose resources somebody deploys.
MORE: tuple[dict[str, str], ...] = (
    {"gitlab_projects": '["group/project:ref_type:branch:ref:main"]'},
    {
        "artifact_endpoint": "http://minio.internal:9000",
        "artifact_bucket": "runs",
        "artifact_access_key_id": "key",
        "artifact_secret_access_key": "secret",
    },
)
EXAMPLE = {
    "project": "mlflow-platform",
    "name": "mlflow",
    "region": "us-east-1",
    "account_id": "123456789012",
    "state_bucket": "the-state",
    "state_alias": "alias/the-state",
}


def registered(evaluate: Callable[[str], Recording]) -> list[Recording]:
    return [*map(evaluate, STACKS), *(platform(**raw).recording for raw in MORE)]


def statements() -> list[dict[str, Any]]:
    return [one for policy in deployer.policies(**EXAMPLE).values() for one in policy["Statement"]]


def test_every_kind_of_resource_that_a_stack_declares_is_in_the_table(
    evaluate: Callable[[str], Recording],
) -> None:
    kinds = {one.type for recording in registered(evaluate) for one in recording.resources}
    missing = {kind for kind in kinds if not kind.startswith(NOT_OF_AWS)} - set(deployer.TABLE)
    assert not missing, f"trackstack/core/deployer.py: what does {missing} take?"


def test_every_question_that_the_program_asks_aws_is_in_the_table(
    evaluate: Callable[[str], Recording],
) -> None:
    asked = {token for recording in registered(evaluate) for token, _ in recording.invokes}
    missing = {token for token in asked if token.startswith("aws:")} - set(deployer.LOOK_UPS)
    assert not missing, f"trackstack/core/deployer.py: what does {missing} take?"


def test_all_that_the_table_names_is_granted() -> None:
    granted = {action for one in statements() for action in one["Action"]}
    for kind, (_, grants) in {**deployer.TABLE, **deployer.LOOK_UPS}.items():
        for actions in grants.values():
            assert set(actions) <= granted, kind


def test_no_action_is_a_wildcard_and_only_what_aws_can_t_restrict_is_unrestricted() -> None:
    for one in statements():
        assert one["Effect"] == "Allow"
        assert not any("*" in action for action in one["Action"])
        if one["Resource"] == ["*"] and "Condition" not in one:
            assert one["Sid"] == "Any"
            for action in one["Action"]:
                verb = action.partition(":")[2]
                assert verb.startswith(("Describe", "List", "Get")) or action in {
                    # Emptying the default security group comes before its tag.
                    "ec2:RevokeSecurityGroupEgress",
                    "ec2:RevokeSecurityGroupIngress",
                    # No resource level (Service Authorization Reference).
                    "ecs:DeregisterTaskDefinition",
                    "elasticloadbalancing:SetRulePriorities",
                    "logs:CreateLogDelivery",
                    "logs:DeleteLogDelivery",
                    "logs:DeleteQueryDefinition",
                    "logs:PutQueryDefinition",
                    "logs:PutResourcePolicy",
                    "sns:Unsubscribe",
                }, action


def test_a_deployer_reads_no_run_and_takes_no_role() -> None:
    granted = {action for one in statements() for action in one["Action"]}
    assert not any(action.startswith("sts:Assume") for action in granted)
    assert "rds-db:connect" not in granted
    objects = [one for one in statements() if "s3:GetObject" in one["Action"]]
    assert [one["Resource"] for one in objects] == [
        ["arn:aws:s3:::the-state", "arn:aws:s3:::the-state/.pulumi/*"]
    ]


def test_roles_are_handed_to_the_stack_s_services_only() -> None:
    (one,) = (one for one in statements() if "iam:PassRole" in one["Action"])
    assert one["Resource"] == ["arn:aws:iam::123456789012:role/mlflow-*"]
    assert "ecs-tasks.amazonaws.com" in one["Condition"]["StringEquals"]["iam:PassedToService"]


def test_what_the_program_names_begins_as_the_policies_expect(
    evaluate: Callable[[str], Recording],
) -> None:
    for recording in registered(evaluate):
        for one in recording.resources:
            if one.type.startswith("aws:"):
                assert one.name.startswith("mlflow-"), one.urn


@pytest.mark.parametrize("group", sorted(deployer.policies(**EXAMPLE)))
def test_a_policy_fits_where_it_is_attached(group: str) -> None:
    policy = deployer.policies(**EXAMPLE)[group]
    assert deployer.size(policy) <= deployer.SIZE_MAX
    sids = [one["Sid"] for one in policy["Statement"]]
    assert len(set(sids)) == len(sids)
    assert all(sid.isalnum() for sid in sids)


def test_a_preview_changes_nothing_and_still_reads_the_state() -> None:
    policy = deployer.looking(deployer.policies(**EXAMPLE))
    assert deployer.size(policy) <= deployer.SIZE_MAX
    actions = {action for one in policy["Statement"] for action in one["Action"]}
    verbs = {action.partition(":")[2] for action in actions}
    changing = ("Create", "Put", "Delete", "Modify", "Update", "Tag", "Attach", "Pass", "Encrypt")
    assert not any(verb.startswith(changing) for verb in verbs)
    assert {"s3:GetObject", "kms:Decrypt", "ec2:DescribeVpcs"} <= actions


def test_the_files_in_docs_are_current() -> None:
    show = "import generate, json; print(json.dumps({f.name: t for f, t in POLICIES.items()}))"
    done = subprocess.run(
        [sys.executable, "-c", show.replace("POLICIES", "generate.deployer_policies()")],
        cwd=ROOT / "docs",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    files = (ROOT / "docs" / "deployer-policy").glob("*.json")
    assert {file.name: file.read_text() for file in files} == json.loads(done.stdout), "make docs"
