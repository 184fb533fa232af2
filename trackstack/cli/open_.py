"""``trackstack open``."""

import webbrowser
from typing import Annotated

import typer

from trackstack.cli.app import FromOption, ProjectOption, StackOption, app
from trackstack.cli.sources import find_outputs


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
    from trackstack.cli.view import print_text

    uri = str(find_outputs(source, stack, project)["tracking_uri"])
    if just_print or not webbrowser.open(uri):
        print_text(uri)
