"""``trackstack open``."""

import webbrowser
from typing import Annotated

import typer

from trackstack.cli.app import FromOption, ProjectOption, StackOption, app
from trackstack.cli.sources import find_outputs, how_to_log_in


@app.command("open")
def open_(
    stack: StackOption = "dev",
    project: ProjectOption = "",
    source: FromOption = "here",
    just_print: Annotated[
        bool, typer.Option("--print", help="Print the address instead of opening a browser.")
    ] = False,
) -> None:
    """Open MLflow's UI in your browser."""
    from trackstack.cli.view import err, print_text

    found = find_outputs(source, stack, project)
    uri = str(found["tracking_uri"])
    if found.get("client_secret_arn"):
        err.print(how_to_log_in(found, source, stack, project))
    if just_print or not webbrowser.open(uri):
        print_text(uri)
