"""``trackstack up``."""

import json
from typing import Annotated

import typer

from trackstack.cli.app import CwdOption, JsonOption, SecretsOption, StackOption, app


@app.command()
def up(  # noqa: PLR0917 - typer passes them by name
    stack: StackOption = "dev",
    cwd: CwdOption = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=1024, max=65535, help="Port of the front door; kept from then on."
        ),
    ] = None,
    secrets: SecretsOption = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, help="Seconds to wait until all is ready.")
    ] = 180,
    as_json: JsonOption = False,
) -> None:
    """Run a stack on this machine and print its tracking URI.

    Evaluates the Pulumi program as `pulumi preview` would, then starts what it declares:
    PostgreSQL for RDS, a folder behind S3's protocol for the bucket, the MLflow server's own
    containers as processes, a proxy with the declared rules. Again and again: only what changed
    is restarted. Data lives in your user data directory and survives `down`.
    """
    from trackstack.cli.view import Progress, out, print_summary, print_text
    from trackstack.embedded import converge
    from trackstack.embedded.project import Project

    project = Project.find(cwd)
    configuration = project.configuration(stack, secrets)
    with Progress(f"Updating {project.name}/{stack} on this machine", quiet=as_json) as progress:
        summary = converge.up(
            project, stack, configuration, progress.report, port=port, timeout=timeout
        )
    if as_json:
        print_text(json.dumps(summary.to_json(), indent=2))
        return
    print_summary(summary, verb="up")
    took = sum(summary.seconds.values())
    parts = ", ".join(f"{what} {seconds:.1f}" for what, seconds in summary.seconds.items())
    out.print(f"[bold]Took[/]  {took:.1f} s [dim]({parts})[/]\n")
    uri = summary.outputs.get("tracking_uri", "")
    out.print(f"[bold green]{uri}[/]")
    option = "" if stack == "dev" else f" --stack {stack}"
    out.print(f'[dim]eval "$(trackstack env{option})" lets MLflow log here from this shell.[/]')
