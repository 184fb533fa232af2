"""checkov, run over a plan in its own environment and without a network."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.live.stacks import clean_environment

CHECKOV = Path(sys.prefix) / "checkov" / "bin" / "checkov"
"""Made by ``make scan`` from requirements-checkov.txt."""
_NOWHERE = "http://127.0.0.1:9"


def missing() -> str:
    """Why there is no scanner here, as the reason of a skip; empty when there is one."""
    return "" if CHECKOV.exists() else f"no {CHECKOV}: `make scan` makes it"


@dataclass(frozen=True)
class Finding:
    """A check that a resource failed."""

    check: str
    """Such as ``CKV_AWS_18``."""
    title: str
    """What the check asks for."""
    address: str
    """Terraform's address of the resource."""


@dataclass(frozen=True)
class Report:
    """What checkov says of one plan."""

    passed: Counter[str]
    """Checks passed by each address."""
    failed: tuple[Finding, ...]
    skipped: int
    unparsed: int
    scanned: int
    """Resources that it read."""

    @property
    def ratio(self) -> float:
        """Passed of all that passed or failed; nothing is skipped."""
        return self.passed.total() / (self.passed.total() + len(self.failed))


def scan(document: Mapping[str, Any], folder: Path) -> Report:
    """Run every check of the framework ``terraform_plan`` that applies."""
    file = folder / "plan.json"
    file.write_text(json.dumps(document))
    done = subprocess.run(
        [
            *(str(CHECKOV), "--file", str(file), "--framework", "terraform_plan"),
            *("--skip-download", "--output", "json", "--compact"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        timeout=240,
        env={
            **{k: v for k, v in clean_environment().items() if not k.startswith(("CKV_", "BC_"))},
            "HOME": str(folder),
            "HTTPS_PROXY": _NOWHERE,
            "HTTP_PROXY": _NOWHERE,
            "PATH": os.defpath,
        },
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    told = json.loads(done.stdout)
    results, summary = told["results"], told["summary"]
    return Report(
        passed=Counter(one["resource"] for one in results["passed_checks"]),
        failed=tuple(
            Finding(one["check_id"], one["check_name"], one["resource"])
            for one in results["failed_checks"]
        ),
        skipped=summary["skipped"],
        unparsed=summary["parsing_errors"],
        scanned=summary["resource_count"],
    )
