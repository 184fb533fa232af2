"""``trackstack cost`` as a user meets it: figures, what-if, offers, picture, mistakes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from trackstack.cli import app
from trackstack.core.cost import estimate
from trackstack.core.usage import Usage
from trackstack.embedded import cost, cost_chart
from trackstack.embedded.errors import ProgramError, UsageError
from trackstack.embedded.project import Project

ROOT = Path(__file__).parents[2]


def run(*args: str) -> str:
    done = CliRunner().invoke(app, ["cost", "-C", str(ROOT), *args], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_textbook_case_is_a_documented_command() -> None:
    text = run("--runs", "100", "--artifact-mb", "10")
    (line,) = re.findall(r"Artifacts kept.*", text)
    assert line.split() == ["Artifacts", "kept", "*", "1.00", "GB-month", "0.023", "0.02"]
    assert "100 runs of 10 MB, 1 GB of artifacts kept" in text
    documented = (ROOT / "docs" / "cost.md").read_text()
    assert "trackstack cost --runs 100 --artifact-mb 10" in documented


def test_the_page_with_the_bills_is_current() -> None:
    written = subprocess.run(
        [sys.executable, "-c", "from docs import generate; print(generate.bills(), end='')"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ).stdout
    assert written == (ROOT / "docs" / "bills.md").read_text(), "`make docs` writes it anew"


def test_a_what_if_evaluates_the_program_with_the_setting() -> None:
    told = json.loads(
        run("-s", "prod", "--what-if", "database_multi_az=false", "--what-if", "zones=3", "--json")
    )
    found = told["whatIf"]
    changed = {line["what"]: (line["base"], line["variant"]) for line in found["lines"]}
    assert changed == {
        "PostgreSQL": (47.45, 23.36),
        "Disk of PostgreSQL": (4.6, 2.3),
        "Enhanced Monitoring's records": (0.438, 0.219),
        "Public IPv4 of the balancer": (7.3, 10.95),
    }
    assert found["difference"] == pytest.approx(-24.09 - 2.3 - 0.219 + 3.65)
    assert found["variant"]["total"] == pytest.approx(told["total"] + found["difference"])


def test_managed_offers_sources_and_a_picture_come_when_asked_for(tmp_path: Path) -> None:
    picture = tmp_path / "bill.svg"
    text = run("-s", "staging", "--compare", "--sources", "--chart", str(picture))
    assert "SageMaker tracking server, small" in text
    assert "Databricks managed MLflow" in text
    assert "Amazon RDS for" in text
    svg = picture.read_text()
    ET.fromstring(svg)
    assert "staging" in svg
    assert "SageMaker" in svg


def test_the_picture_needs_nothing_from_anywhere() -> None:
    svg = cost_chart.draw({"shop": estimate([], Usage())})
    assert "<script" not in svg
    assert not re.findall(r"""(?:href|src)\s*=\s*["'](?!#)|@import|url\(\s*["']?http""", svg)


def test_markdown_is_for_a_pull_request() -> None:
    text = run("-s", "dev", "--format", "markdown")
    assert text.startswith("**dev**: about $")
    assert "| **Total** |" in text


@pytest.mark.parametrize(
    ("args", "code", "sentence"),
    [
        (["--what-if", "spot"], 2, "--what-if 'spot' is no setting: write key=value"),
        (["--what-if", "=3"], 2, "--what-if '=3' is no setting: write key=value"),
        (["--format", "html"], 2, "There is no format 'html'; choose text or markdown."),
        (["-s", "prd"], 2, "There is no stack 'prd'"),
        (["--what-if", "tracking_task=3"], 3, "did you mean tracking_tasks?"),
        (["--chart", "/nowhere/at/all.svg"], 2, "/nowhere/at/all.svg can't be written"),
    ],
)
def test_a_mistake_is_one_sentence_and_an_exit_code(
    args: list[str], code: int, sentence: str
) -> None:
    done = CliRunner().invoke(app, ["cost", "-C", str(ROOT), *args])
    assert isinstance(done.exception, UsageError | ProgramError)
    assert done.exception.exit_code == code
    assert sentence in str(done.exception)


def test_a_change_may_name_any_setting_and_leaves_the_configuration_alone() -> None:
    project = Project.find(ROOT)
    before = project.configuration("dev")
    after = cost.with_changes(project, before, ["allowed_cidrs=[]", "aws:region = eu-west-1"])
    assert after.values["mlflow-platform:allowed_cidrs"] == "[]"
    assert after.values["aws:region"] == "eu-west-1"
    assert "aws:region" not in before.values
