"""``trackstack env``."""

from typing import Annotated

import typer

from trackstack.cli.app import FromOption, ProjectOption, StackOption, app
from trackstack.cli.sources import find_outputs
from trackstack.client import environment, health


@app.command()
def env(
    stack: StackOption = "dev",
    project: ProjectOption = "",
    source: FromOption = "here",
    form: Annotated[
        str, typer.Option("--format", "-f", help=f"One of {', '.join(environment.FORMATS)}.")
    ] = "shell",
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Hand out the URI even if nothing answers there.")
    ] = False,
) -> None:
    """Print the variables a client exports, `MLFLOW_TRACKING_URI` first.

    A URI that doesn't answer is not handed out: training against it would hang or log nowhere.

    In a shell: `eval "$(trackstack env)"`. In GitHub Actions:
    `trackstack env --from pulumi -s prod --format github >> "$GITHUB_ENV"`. In GitLab CI:
    `trackstack env --format gitlab > mlflow.env`, handed on as `artifacts:reports:dotenv`.
    """
    from trackstack.cli.view import print_text
    from trackstack.embedded.errors import NotRunningError, UsageError
    from trackstack.embedded.state import home

    if form not in environment.FORMATS:
        raise UsageError(f"There is no format {form!r}; choose {_listed(environment.FORMATS)}.")
    found = find_outputs(source, stack, project)
    if not unchecked:
        check = health.Platform(
            str(found["tracking_uri"]), str(found.get("tracking_certificate") or "")
        ).answers()
        if not check.ok:
            raise NotRunningError(
                f"{found['tracking_uri']} does not answer ({check.detail}), so it is not handed"
                f" out: {_remedy(source, stack)}, or say --unchecked."
            )
    print_text(environment.render(environment.variables(found, home() / "certificates"), form))


def _remedy(source: str, stack: str) -> str:
    if source == "here":
        return f"`trackstack up --stack {stack}` starts it"
    return "check that this machine reaches it (VPN, allowed_cidrs)"


def _listed(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
