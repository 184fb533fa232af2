"""``trackstack report`` and ``experiments`` on a stack that somebody has used."""

import json
from pathlib import Path

import pytest

from tests.live.conftest import ExampleRun
from tests.live.stacks import Stack

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("stack")]


def test_a_report_counts_what_the_example_left(
    dev_stack: Stack, example_run: ExampleRun, tmp_path: Path
) -> None:
    listed = json.loads(dev_stack.cli("experiments", "--json").stdout)
    (digits,) = [one for one in listed if one["experimentId"] == example_run.experiment_id]
    assert digits["runs"] >= 1
    page = tmp_path / "page.html"
    options = ("--strays", str(tmp_path), "--html", str(page))
    told = json.loads(dev_stack.cli("report", "--json", *options).stdout)
    assert told["runs"] == sum(one["runs"] for one in listed)
    assert told["people"] >= 1
    assert told["healthy"] is None
    assert told["strays"] == []
    assert told["weeks"][-1]["runs"] >= 1
    assert told["storage"]["bytes"] > 10_000  # a model and a picture
    assert "Runs a week" in page.read_text()
    table = dev_stack.cli("report", *options).stdout
    assert "open: " in table
    assert "Storage" in table
    assert str(page) in table
    wrong = dev_stack.cli("report", "--html", str(tmp_path / "no" / "page.html"), check=False)
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == 1
