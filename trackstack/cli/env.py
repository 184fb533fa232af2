"""``trackstack env``."""

import sys
from typing import Annotated

import typer

from trackstack.cli.app import FromOption, ProjectOption, StackOption, app
from trackstack.cli.sources import find_login, find_outputs
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
    Where the platform asks for a password it is that of the stack's user for jobs, `client`.

    In a shell: `eval "$(trackstack env)"`. In GitHub Actions:
    `trackstack env --from pulumi -s prod --format github >> "$GITHUB_ENV"`; a password is hidden
    in the job's log before it is printed. In GitLab CI: `trackstack env --format gitlab >
    mlflow.env`, handed on as `artifacts:reports:dotenv`; a password is left out, because anybody
    can download that.
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
    login = find_login(found, source, stack, project)
    told = environment.variables(found, home() / "certificates", login)
    told, aside = environment.handed_out(told, form)
    for line in aside:  # before the value itself, and not into $GITHUB_ENV
        sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
    print_text(environment.render(told, form))


def _remedy(source: str, stack: str) -> str:
    if source == "here":
        return f"`trackstack up --stack {stack}` starts it"
    return "check that this machine reaches it (VPN, allowed_cidrs)"


def _listed(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
