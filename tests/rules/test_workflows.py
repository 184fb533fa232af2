"""The repository's own workflows: pinned, with no more rights than they use, and well formed."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from trackstack.cli import app

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONS = sorted((ROOT / ".github" / "actions").glob("*/action.yml"))
PINNED = re.compile(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*$")
BY_NAME = {path.stem: path for path in WORKFLOWS}


def parsed(path: Path) -> dict[Any, Any]:
    found = yaml.safe_load(path.read_text())
    assert isinstance(found, dict)
    return found


def steps(path: Path) -> list[dict[str, Any]]:
    found = parsed(path)
    if "runs" in found:
        return list(found["runs"]["steps"])
    return [step for job in found["jobs"].values() for step in job["steps"]]


def test_there_is_one_for_review_one_for_merge_and_one_for_the_night() -> None:
    triggers = {name: parsed(path)[True] for name, path in BY_NAME.items()}  # `on` is YAML's true
    assert "pull_request" in triggers["preview"]
    assert triggers["deploy"] == {"push": {"branches": ["main"]}}
    assert triggers["drift"]["schedule"]


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_every_action_is_pinned_to_a_commit_and_says_its_version(path: Path) -> None:
    uses = [line.strip().removeprefix("- ") for line in path.read_text().splitlines()]
    for line in uses:
        if line.startswith("uses: ") and not line.startswith("uses: ./"):
            assert PINNED.match(line), line


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_a_job_has_only_the_rights_that_it_asks_for_and_an_end(path: Path) -> None:
    found = parsed(path)
    assert found["permissions"] == {}
    for job in found["jobs"].values():
        assert job["permissions"]
        assert "contents" in job["permissions"]
        assert job["permissions"]["contents"] == "read"
        assert job["timeout-minutes"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_code_of_a_fork_never_runs_with_our_rights(path: Path) -> None:
    found = parsed(path)
    assert "pull_request_target" not in found[True]
    if "pull_request" in found[True]:
        for job in found["jobs"].values():
            if "id-token" in job["permissions"]:
                assert "head.repo.full_name == github.repository" in job["if"]


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_nothing_from_outside_is_written_into_a_script(path: Path) -> None:
    for step in steps(path):
        assert "${{" not in step.get("run", ""), step["run"]


def test_the_commands_that_are_called_exist() -> None:
    known = {command.name or command.callback.__name__ for command in app.registered_commands}
    called = {
        verb
        for path in WORKFLOWS
        for step in steps(path)
        for verb in re.findall(r"\btrackstack (\w+)", step.get("run", ""))
    }
    assert called >= {"preview", "status"}
    assert called <= known | {"cost"}


def test_what_is_merged_is_deployed_in_order_and_never_cut_short() -> None:
    deploy = parsed(BY_NAME["deploy"])
    assert deploy["concurrency"] == {"group": "deploy", "cancel-in-progress": False}
    (job,) = deploy["jobs"].values()
    assert job["strategy"]["matrix"]["stack"] == ["dev", "staging", "prod"]
    assert (job["strategy"]["max-parallel"], job["strategy"]["fail-fast"]) == (1, True)
    assert job["environment"] == "${{ matrix.stack }}"


def test_every_stack_file_is_previewed_deployed_and_compared() -> None:
    stacks = {path.name.split(".")[1] for path in (ROOT / "stacks").glob("Pulumi.*.yaml")}
    for name, path in BY_NAME.items():
        found = parsed(path)
        listed = set(found.get("env", {}).get("STACKS", "").split())
        for job in found["jobs"].values():
            listed |= set(job.get("strategy", {}).get("matrix", {}).get("stack", ()))
        assert listed == stacks, name


@pytest.mark.skipif(shutil.which("actionlint") is None, reason="no actionlint on PATH")
def test_actionlint_finds_nothing() -> None:
    done = subprocess.run(
        ["actionlint", "-color=false", *map(str, WORKFLOWS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
