"""What a user gets wrong: one sentence, an exit code, no traceback, nothing lost."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GOOD = {
    "pulumi:disable-default-providers": ["aws"],
    "mlflow-platform:image": "example/trackstack@sha256:" + "0" * 64,
    "mlflow-platform:tls": "plaintext",
}


def trackstack(*args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trackstack.cli", *args],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
    )


@pytest.fixture
def platform(tmp_path: Path) -> Callable[..., Path]:
    """This repository's program with a stack file of one's own."""

    def make(**settings: object) -> Path:
        folder = tmp_path / "platform"
        (folder / "stacks").mkdir(parents=True)
        for name in ("Pulumi.yaml", "__main__.py", "infra", "components"):
            (folder / name).symlink_to(ROOT / name)
        config = {**GOOD, **{f"mlflow-platform:{key}": value for key, value in settings.items()}}
        (folder / "stacks" / "Pulumi.dev.yaml").write_text(yaml.safe_dump({"config": config}))
        return folder

    return make


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What stands on standard error but for the title; no traceback among it."""
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line and not line.startswith("Preview")]
    return [line.removeprefix("trackstack: ") for line in lines]


@pytest.mark.parametrize(
    ("settings", "sentences"),
    [
        (
            {"tracking_cpus": 512},
            ["tracking_cpus: there is no such setting; did you mean tracking_cpu?"],
        ),
        (
            {"zones": "two"},
            ["zones: 'two' is not a whole number; write one without quotes or units, such as 2."],
        ),
        (
            {"internal": False},
            [
                (
                    "tls: plaintext would send runs over the internet in the clear; write domain,"
                    " certificate or generated, or internal: true."
                ),
                (
                    "allowed_cidrs: missing, and internal: false lets nobody in without them; write"
                    " the ranges that your people and machines come from."
                ),
            ],
        ),
    ],
)
def test_a_wrong_setting_is_one_sentence(
    platform: Callable[..., Path], settings: dict[str, object], sentences: list[str]
) -> None:
    done = trackstack("preview", cwd=platform(**settings))
    assert (said(done), done.returncode) == (sentences, 3)


def test_all_wrong_settings_are_told_at_once(platform: Callable[..., Path]) -> None:
    done = trackstack("preview", cwd=platform(zones="two", expendible=True, egress="moon"))
    lines = said(done)
    assert done.returncode == 3
    assert {line.partition(":")[0] for line in lines} == {"zones", "expendible", "egress"}


def test_an_unknown_stack_is_named_beside_those_there_are() -> None:
    done = trackstack("up", "--stack", "prdo", cwd=ROOT)
    assert said(done) == [
        "There is no stack 'prdo'; the stacks here are dev, prod, staging. Did you mean 'prod'?"
    ]
    assert done.returncode == 2


def test_an_unknown_format_is_named_beside_those_there_are() -> None:
    done = trackstack("env", "--format", "bash", cwd=ROOT)
    assert said(done) == [
        "There is no format 'bash'; choose shell, fish, dotenv, github, gitlab or json."
    ]
    assert done.returncode == 2


def test_a_stack_that_was_never_up_has_no_environment() -> None:
    done = trackstack("env", cwd=ROOT)
    assert said(done) == [
        "The stack 'dev' has never been up on this machine: `trackstack up --stack dev` starts it."
    ]
    assert (done.returncode, done.stdout) == (5, "")


def test_a_program_that_raises_shows_its_own_frames(make_project: Callable[..., Path]) -> None:
    folder = make_project("def wrong():\n    return {}['key']\n\nwrong()\n")
    done = trackstack("up", cwd=folder)
    assert done.stderr.splitlines()[-3:] == [
        "trackstack: The program raised KeyError: 'key'",
        "  __main__.py:4, in <module>: wrong()",
        "  __main__.py:2, in wrong: return {}['key']",
    ]
    assert done.returncode == 3
    assert not (Path(os.environ["TRACKSTACK_HOME"]) / "shop" / "dev" / "wanted.json").exists()


def test_data_that_depends_on_a_type_without_a_stand_in_is_refused(
    make_project: Callable[..., Path],
) -> None:
    folder = make_project("""
        from pulumi_aws import ec2, rds
        net = ec2.Vpc("net", cidr_block="10.0.0.0/16")
        rds.Instance("store", instance_class="db.t4g.micro", engine="postgres",
                     engine_version="18", username=net.main_route_table_id)
    """)
    done = trackstack("up", cwd=folder)
    assert done.stderr.splitlines()[-1] == (
        "trackstack: aws:rds/instance:Instance 'store' needs 'username' to run here, but its value"
        " comes from a resource that has no stand-in on this machine: derive it from something"
        " else, or deploy with `pulumi up`."
    )
    assert done.returncode == 3


def test_an_encrypted_value_that_is_not_known_here_is_asked_for_by_name(
    make_project: Callable[..., Path],
) -> None:
    folder = make_project("", {"shop:api-key": {"secure": "v1:x"}})
    done = trackstack("up", cwd=folder)
    assert said(done)[-1] == (
        "The stack file holds encrypted values that this machine can't read: api-key. Give each by"
        " its variable (TRACKSTACK_SECRET_API_KEY=…) or in the owner-only file of --secrets."
    )
    assert done.returncode == 3


def test_an_unknown_source_and_an_unknown_option_are_wrong_usage() -> None:
    assert trackstack("env", "--from", "moon", cwd=ROOT).returncode == 2
    assert trackstack("up", "--fast", cwd=ROOT).returncode == 2


@pytest.mark.parametrize(
    "verb",
    [
        "up",
        "preview",
        "status",
        "logs",
        "down",
        "outputs",
        "env",
        "open",
        "state",
        "doctor",
        "adopt",
    ],
)
def test_help_teaches_every_verb(verb: str) -> None:
    done = trackstack(verb, "--help", cwd=ROOT)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) > 8
