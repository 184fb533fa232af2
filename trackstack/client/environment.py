"""What a client exports to log into a stack, in the words of the shell or CI that reads it."""

import hashlib
import json
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trackstack.client.server import Login
from trackstack.core.adoption import CI_TAG
from trackstack.core.client_settings import (
    CERTIFICATE_PATH,
    PASSWORD,
    SECRETS,
    TRACKING_URI,
    USERNAME,
    failing_fast,
)

__all__ = [
    "CI_SERVICES",
    "FORMATS",
    "PASSWORD",
    "USERNAME",
    "handed_out",
    "of_ci",
    "render",
    "variables",
]

RUN_CONTEXT = "MLFLOW_RUN_CONTEXT"
"""MLflow's own: JSON with tags of every run that its client starts."""

CI_SERVICES = {
    "GITHUB_ACTIONS": "github",
    "GITLAB_CI": "gitlab",
    "JENKINS_URL": "jenkins",
    "CI": "ci",
}
"""The variable by which a job of each CI service is known, the general one last."""


def variables(
    outputs: Mapping[str, Any],
    folder: Path,
    login: Login | None = None,
    timeout_seconds: int | None = None,
) -> dict[str, str]:
    """The variables of a stack's outputs, ``MLFLOW_TRACKING_URI`` first, a password last.

    With them a call that can't be answered fails within a minute or two, instead of twenty; what
    the stack itself declares for its clients comes before that, a given timeout before both.

    A certificate that clients must trust is written below ``folder`` under a name made from its
    content, and its path becomes a variable: MLflow's client takes a path, not a text.
    """
    declared = dict(outputs.get("client_environment") or {})
    found = {TRACKING_URI: str(outputs["tracking_uri"]), **failing_fast(), **declared}
    if timeout_seconds is not None:
        found |= failing_fast(timeout_seconds)
    certificate = str(outputs.get("tracking_certificate") or "")
    if certificate:
        file = folder / f"{hashlib.sha256(certificate.encode()).hexdigest()[:16]}.pem"
        if not file.exists():
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.write_text(certificate, encoding="ascii")
        found[CERTIFICATE_PATH] = str(file)
    if login is not None:
        found |= {USERNAME: login.username, PASSWORD: login.password}
    return found


def of_ci(job: Mapping[str, str]) -> dict[str, str]:
    """What lets a report tell a CI job's runs: a tag that MLflow's client puts on each of them.

    Args:
        job: the environment of whoever asks. A context of its own is left to it.
    """
    name = next((name for variable, name in CI_SERVICES.items() if job.get(variable)), "")
    if not name or job.get(RUN_CONTEXT):
        return {}
    return {RUN_CONTEXT: json.dumps({CI_TAG: name})}


def _shell(key: str, value: str) -> str:
    return f"export {key}={shlex.quote(value)}"


def _fish(key: str, value: str) -> str:
    # In fish's single quotes only the quote and the backslash are special.
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"set -gx {key} '{quoted}'"


def _dotenv(key: str, value: str) -> str:
    return f"{key}={json.dumps(value)}"


def _environment_d(key: str, value: str) -> str:
    # Read as a unit's EnvironmentFile is, and then variables are put in: $$ is the dollar itself.
    return _quoted(key, value.replace("$", "$$"))


def _environment_file(key: str, value: str) -> str:
    return _quoted(key, value)


def _quoted(key: str, value: str) -> str:
    escaped = re.sub(r'(["\\`])', r"\\\1", value)
    return f'{key}="{escaped}"'


def _github(key: str, value: str) -> str:
    if "\n" not in value:
        return f"{key}={value}"
    mark = hashlib.sha256(value.encode()).hexdigest()[:16]
    return f"{key}<<{mark}\n{value}\n{mark}"


def _gitlab(key: str, value: str) -> str:
    # A dotenv report knows no quotes and no line breaks: the value is the rest of the line.
    return f"{key}={value}"


def handed_out(found: Mapping[str, str], form: str) -> tuple[dict[str, str], list[str]]:
    """What may be handed out in this form, and the lines to say beside it before that.

    A CI job's log and artifacts are read by many. GitHub hides a value in its log once it was told
    to, by a line of either stream; the other one is on its way into ``$GITHUB_ENV``. GitLab hides
    nothing of a dotenv report and lets it be downloaded, so no secret goes into one.
    """
    secret = {key: value for key, value in found.items() if key in SECRETS and value}
    if form == "github":
        return dict(found), [f"::add-mask::{_github_data(value)}" for value in secret.values()]
    if form == "gitlab" and secret:
        left = {key: value for key, value in found.items() if key not in secret}
        advice = (
            f"{', '.join(secret)} left out: anybody who sees the pipeline can download a dotenv"
            ' report. In the job itself run: eval "$(trackstack env …)".'
        )
        return left, [advice]
    return dict(found), []


def _github_data(value: str) -> str:
    """The value in a workflow command, which ends at the line's end."""
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


_LINES: dict[str, Callable[[str, str], str]] = {
    "shell": _shell,
    "fish": _fish,
    "dotenv": _dotenv,
    "github": _github,
    "gitlab": _gitlab,
    "environment.d": _environment_d,
    "environment-file": _environment_file,
}
FORMATS = ("shell", "fish", "dotenv", "github", "gitlab", "json")
"""What ``trackstack env`` prints; the others are for files that we write."""


def render(found: Mapping[str, str], form: str) -> str:
    """The variables in one of ``FORMATS`` or ``_LINES``; KeyError for another."""
    if form == "json":
        return json.dumps(dict(found), indent=2)
    line = _LINES[form]
    return "\n".join(line(key, value) for key, value in found.items())
