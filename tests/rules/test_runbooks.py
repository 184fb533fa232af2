"""The runbooks' commands exist: their verbs, their options, the settings that they set."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import boto3
import pytest
from botocore import xform_name
from typer.main import get_command

from trackstack.cli import app
from trackstack.core.settings import Settings

ROOT = Path(__file__).parents[2]
RUNBOOKS = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
PULUMI = {
    "login": set[str](),
    "stack init": {"--secrets-provider"},
    "stack output": {"--stack", "--json", "--show-secrets"},
    "stack rm": set[str](),
    "stack change-secrets-provider": {"--stack"},
    "config set": {"--stack", "--secret"},
    "config rm": {"--stack"},
    "preview": {"--stack", "--diff"},
    "up": {"--stack", "--replace", "--yes", "--target"},
    "refresh": {"--stack"},
    "state unprotect": {"--stack"},
    "destroy": {"--stack", "--yes", "--skip-preview"},
}
"""What the runbooks may use of Pulumi's command line; held against a real one where it is."""
AWS_OWN = {"--query", "--output", "--region", "--filter-pattern", "--since", "--follow"}
OF_THE_AWS_CLI_ITSELF = {
    ("s3", "sync"),
    ("s3", "cp"),
    ("logs", "tail"),
    ("ecr", "get-login-password"),
}
"""Commands that the AWS command line has and its API has not."""
OTHERS = {"docker", "eval", "python", "make", "git", "curl"}


def command_lines(text: str) -> list[str]:
    blocks = re.findall(r"^ *```bash\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip()]


def parts(line: str) -> list[list[str]]:
    """The simple commands of a line, also those inside ``$(…)``."""
    inner = re.findall(r"\$\((.*?)\)", line)
    told = [shlex.split(part, comments=True) for part in re.split(r" && | \| ", line)]
    return [*told, *(shlex.split(one) for one in inner)]


COMMANDS = [
    pytest.param(command, id=f"{book.stem}: {' '.join(command)[:60]}")
    for book in RUNBOOKS
    for line in command_lines(book.read_text(encoding="utf-8"))
    for command in parts(line)
    if command
]


def options(command: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in command if word.startswith("--")}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_a_runbook_exists(command: list[str]) -> None:
    program, *rest = command
    if program == "pulumi":
        verb = next(verb for verb in PULUMI if rest[: len(verb.split())] == verb.split())
        assert options(rest) <= PULUMI[verb], verb
        if verb.startswith("config"):
            keys = [word for word in rest[2:] if not word.startswith("-")]
            assert keys[0] in Settings.model_fields
    elif program == "trackstack":
        group = get_command(app)
        verb = group.commands[rest[0]]  # type: ignore[attr-defined]
        while hasattr(verb, "commands"):
            rest = rest[1:]
            verb = verb.commands[rest[0]]
        known = {name for parameter in verb.params for name in parameter.opts}
        assert options(rest) <= known
    elif program == "aws":
        assert_aws_knows(rest)
    else:
        assert program in OTHERS


def assert_aws_knows(command: list[str]) -> None:
    service, operation, *_ = command
    if (service, operation) in OF_THE_AWS_CLI_ITSELF:
        return
    service = service.removesuffix("api")  # the AWS CLI calls s3's operations s3api
    model = boto3.client(service, region_name="us-east-1").meta.service_model
    known = {xform_name(name, "-"): name for name in model.operation_names}
    assert operation in known
    shape = model.operation_model(known[operation]).input_shape
    members = {f"--{xform_name(name, '-')}" for name in shape.members}
    for option in options(command):
        plain = option.replace("--no-", "--")
        assert plain in members | AWS_OWN, option


def test_every_runbook_has_commands_and_is_named_where_deploying_is_told() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    assert {"first-deploy", "upgrade-mlflow", "rotate", "tear-down"} <= {b.stem for b in RUNBOOKS}
    for book in RUNBOOKS:
        assert command_lines(book.read_text(encoding="utf-8")), book.name
        assert f"runbooks/{book.name}" in page, book.name


def test_a_setting_that_a_runbook_names_exists() -> None:
    for book in RUNBOOKS:
        text = re.sub(r"```.*?```", "", book.read_text(encoding="utf-8"), flags=re.DOTALL)
        for key in re.findall(r"`([a-z_]+): [^`]*`", text):
            assert key in Settings.model_fields, f"{book.name}: {key}"


@pytest.mark.engine
@pytest.mark.skipif(shutil.which("pulumi") is None, reason="no pulumi on PATH")
@pytest.mark.parametrize("verb", PULUMI)
def test_the_real_command_line_has_the_verb_and_its_options(verb: str) -> None:
    told = subprocess.run(
        ["pulumi", *verb.split(), "--help"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert {option for option in PULUMI[verb] if option not in told} == set()
