"""``trackstack join``."""

import os
import sys
from pathlib import Path
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
from trackstack.core.client_settings import RELAY_PORT


@app.command()
def join(  # noqa: PLR0917 - typer passes them by name
    stack: StackOption = "dev",
    project: ProjectOption = "",
    source: FromOption = "here",
    into: Annotated[
        str,
        typer.Option(
            "--into",
            help=(
                "`bash`, `zsh`, `fish`; `systemd` (services of this user); `dotenv`; in a CI job"
                " `github` or `gitlab`. Default: the shell you use."
            ),
        ),
    ] = "",
    file: Annotated[
        Path | None, typer.Option("--file", help="The file, where it is not the usual one.")
    ] = None,
    relay: RelayOption = False,
    relay_port: RelayPortOption = RELAY_PORT,
    timeout: TimeoutOption = None,
    unchecked: UncheckedOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before writing.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take out what join wrote.")] = False,
) -> None:
    """Write what `trackstack env` prints into a profile, once, so that every shell has it.

    The difference is shown first. Joining again replaces what was written before; `--undo` removes
    exactly that. A password goes into a file of its own that only you can read, never into the
    profile.
    """
    from trackstack.cli.view import apply_changes
    from trackstack.client import environment
    from trackstack.client import join as joining
    from trackstack.embedded.state import home

    place = joining.Place.find(into, file, os.environ, home() / "join")
    if undo:
        apply_changes(joining.undone(place), yes=yes)
        return
    told = client_variables(
        source,
        stack,
        project,
        relay_port=relay_port if relay else None,
        timeout=timeout,
        unchecked=unchecked,
    )
    if place.kind in environment.FORMATS:  # in a job's log or report a password needs care
        told, aside = environment.handed_out(told, place.kind)
        sys.stderr.write("".join(f"{line}\n" for line in aside))
    apply_changes(joining.joined(place, told), place.hint, yes=yes)
