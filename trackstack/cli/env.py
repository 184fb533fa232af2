"""``trackstack env``."""

import os
import sys
from typing import Annotated

import typer

from trackstack.cli.app import (
    FromOption,
    ProjectOption,
    RelayOption,
    RelayPortOption,
    StackOption,
    TimeoutOption,
    UncheckedOption,
    app,
)
from trackstack.cli.sources import client_variables
from trackstack.client import environment
from trackstack.core.client_settings import RELAY_PORT


@app.command()
def env(  # noqa: PLR0917 - typer passes them by name
    stack: StackOption = "dev",
    project: ProjectOption = "",
    source: FromOption = "here",
    form: Annotated[
        str, typer.Option("--format", "-f", help=f"One of {', '.join(environment.FORMATS)}.")
    ] = "shell",
    relay: RelayOption = False,
    relay_port: RelayPortOption = RELAY_PORT,
    timeout: TimeoutOption = None,
    unchecked: UncheckedOption = False,
) -> None:
    """Print the variables a client exports, `MLFLOW_TRACKING_URI` first.

    A URI that doesn't answer is not handed out: training against it would hang or log nowhere.
    Where the platform asks for a password it is that of the stack's user for jobs, `client`.
    Should the platform go away later, a call fails after 13 s, or after 93 s of silence.

    In a shell: `eval "$(trackstack env)"`. In GitHub Actions:
    `trackstack env --from pulumi -s prod --format github >> "$GITHUB_ENV"`; a password is hidden
    in the job's log before it is printed. In GitLab CI: `trackstack env --format gitlab >
    mlflow.env`, handed on as `artifacts:reports:dotenv`; a password is left out, because anybody
    can download that.

    In a CI job it also sets `MLFLOW_RUN_CONTEXT`, by which MLflow tags each run of the job with
    `trackstack.ci`; `trackstack report` counts those.

    With `--relay` clients log into the relay of this machine; where it ships to, and as whom,
    stands in `TRACKSTACK_UPSTREAM` and its like.
    """
    from trackstack.cli.view import print_text
    from trackstack.embedded.errors import UsageError

    if form not in environment.FORMATS:
        raise UsageError(f"There is no format {form!r}; choose {_listed(environment.FORMATS)}.")
    told = client_variables(
        source,
        stack,
        project,
        relay_port=relay_port if relay else None,
        timeout=timeout,
        unchecked=unchecked,
    )
    told |= environment.of_ci(os.environ)
    told, aside = environment.handed_out(told, form)
    for line in aside:  # before the value itself, and not into $GITHUB_ENV
        sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
    print_text(environment.render(told, form))


def _listed(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
