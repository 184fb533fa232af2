"""``make scan``: what checkov says of each stack, and which findings are waived for what reason."""

import tempfile
from pathlib import Path

from tests.scanner.plan import plan_of
from tests.scanner.scan import scan
from tests.scanner.waivers import waiver_of, waivers
from trackstack.embedded import monitor
from trackstack.embedded.host import PreviewHost, StackAnswers
from trackstack.embedded.project import Project

PROJECT = Project.find(Path(__file__).parents[2])
KNOWN = waivers()

for stack in ("dev", "staging", "prod"):
    recording = monitor.evaluate(
        PROJECT, stack, PROJECT.configuration(stack), StackAnswers(PreviewHost())
    )
    plan = plan_of(recording)
    with tempfile.TemporaryDirectory() as folder:
        report = scan(plan.document, Path(folder))
    print(
        f"{stack}: {report.passed.total()} passed, {len(report.failed)} failed, {report.ratio:.1%};"
        f" {report.scanned} resources read, {len(plan.not_rendered)} not rendered"
    )
    for finding in sorted(report.failed, key=lambda one: (one.check, one.address)):
        waiver = waiver_of(finding, stack, plan.resources, KNOWN)
        reason = KNOWN[waiver] if waiver else f"NOT WAIVED: {finding.title}"
        print(f"  {finding.check:12} {finding.address}\n               {reason}")
    for urn in plan.not_rendered:
        print(f"  not rendered {urn}")
