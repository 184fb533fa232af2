"""A scanner that isn't ours agrees: checkov over each stack, rendered from the program."""

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.scanner.plan import Plan, plan_of
from tests.scanner.scan import Report, missing, scan
from tests.scanner.waivers import ALL, Waiver, waiver_of, waivers
from trackstack.embedded.record import Recording

_MISSING = missing()

pytestmark = [
    pytest.mark.xdist_group("checkov"),
    pytest.mark.skipif(
        bool(_MISSING) and os.environ.get("TRACKSTACK_REQUIRE_CHECKOV") != "1", reason=_MISSING
    ),
]

STACKS = ("dev", "staging", "prod")
LEAST = {"dev": 0.90, "staging": 0.90, "prod": 0.95}
IN_SCOPE = {"aws_vpc", "aws_db_instance", "aws_s3_bucket", "aws_lb", "aws_ecs_service"}
IN_SCOPE_WHERE_DECLARED = {"aws_ecr_repository", "aws_kms_key", "aws_wafv2_web_acl"}


@dataclass(frozen=True)
class Scanned:
    stack: str
    recording: Recording
    plan: Plan
    report: Report


@pytest.fixture(scope="module")
def scanned(
    evaluate: Callable[[str], Recording], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Scanned]:
    done = {}
    for stack in STACKS:
        recording = evaluate(stack)
        plan = plan_of(recording)
        report = scan(plan.document, tmp_path_factory.mktemp(stack))
        done[stack] = Scanned(stack, recording, plan, report)
    return done


@pytest.mark.parametrize("stack", STACKS)
def test_the_scanner_agrees_with_nearly_all_that_a_stack_declares(
    scanned: Mapping[str, Scanned], stack: str
) -> None:
    report = scanned[stack].report
    assert report.skipped == 0
    assert report.ratio >= LEAST[stack], f"{report.ratio:.1%}"


@pytest.mark.parametrize("stack", STACKS)
def test_it_read_every_resource_that_was_rendered_and_judged_what_matters(
    scanned: Mapping[str, Scanned], stack: str
) -> None:
    one = scanned[stack]
    assert one.report.unparsed == 0
    assert one.report.scanned == len(one.plan.resources)
    judged = {address.partition(".")[0] for address in one.report.passed}
    judged |= {finding.address.partition(".")[0] for finding in one.report.failed}
    declared = {address.partition(".")[0] for address in one.plan.resources}
    assert IN_SCOPE | (IN_SCOPE_WHERE_DECLARED & declared) <= judged
    assert one.report.passed.total() > len(one.plan.resources)


@pytest.mark.parametrize("stack", STACKS)
def test_what_fails_is_waived_beside_its_component_with_a_reason(
    scanned: Mapping[str, Scanned], stack: str
) -> None:
    one, known = scanned[stack], waivers()
    unwaived = [
        finding
        for finding in one.report.failed
        if waiver_of(finding, stack, one.plan.resources, known) is None
    ]
    assert unwaived == []


def test_a_waiver_that_nothing_needs_any_more_is_taken_out(
    scanned: Mapping[str, Scanned],
) -> None:
    known = waivers()
    used = {
        waiver_of(finding, one.stack, one.plan.resources, known)
        for one in scanned.values()
        for finding in one.report.failed
    }
    assert sorted(set(known) - used) == []


def test_a_waiver_says_which_check_and_why_in_a_sentence() -> None:
    for waiver, reason in waivers().items():
        assert waiver.stack in {*STACKS, ALL}, waiver
        assert re.fullmatch(r"CKV2?_AWS_\d+", waiver.check), waiver
        assert len(reason) > 30, waiver
        assert reason.endswith("."), waiver
        assert waiver.stack == ALL or Waiver(waiver.component, ALL, waiver.check) not in waivers()


def test_a_planted_violation_is_found(scanned: Mapping[str, Scanned], tmp_path: Path) -> None:
    """In a property, in what refers to a resource, and in a policy document."""
    prod = scanned["prod"]
    planted: dict[str, dict[str, Any]] = {
        "aws:rds/instance:Instance": {"publiclyAccessible": True},
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": {"blockPublicAcls": False},
        "aws:iam/rolePolicy:RolePolicy": {
            "policy": '{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
        },
    }
    violated = dataclasses.replace(
        prod.recording,
        resources=tuple(
            dataclasses.replace(one, inputs={**one.inputs, **planted.get(one.type, {})})
            for one in prod.recording.resources
        ),
    )
    report = scan(plan_of(violated).document, tmp_path)
    assert report.passed.total() < prod.report.passed.total()
    found = {finding.check for finding in report.failed} - {
        finding.check for finding in prod.report.failed
    }
    assert {"CKV_AWS_17", "CKV2_AWS_6", "CKV_AWS_62"} <= found
