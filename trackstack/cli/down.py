"""``trackstack down``."""

from typing import Annotated

import typer

from trackstack.cli.app import ProjectOption, StackOption, app
from trackstack.cli.sources import find_state


@app.command()
def down(
    stack: StackOption = "dev",
    project: ProjectOption = "",
    delete_data: Annotated[
        bool,
        typer.Option("--delete-data", help="Delete every run, artifact and secret of the stack."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before deleting.")] = False,
) -> None:
    """Stop a stack; its runs, artifacts and address are kept for the next `up`."""
    from trackstack.cli.view import err, out
    from trackstack.embedded import supervisor

    state = find_state(stack, project)
    if delete_data and not yes:
        err.print(f"This deletes every run and artifact of {state.project}/{stack} for good.")
        if typer.prompt("Type the stack's name to go on", err=True) != stack:
            err.print("Nothing was deleted.")
            raise typer.Exit(1)
    with state.lock():
        supervisor.stop(state)
    out.print(f"{state.project}/{stack} is stopped.")
    if delete_data:
        state.delete_data()
        out.print("Its data is deleted.")
