"""``trackstack service``."""

import getpass
import sys
from enum import StrEnum
from typing import Annotated

import typer

from trackstack.cli.app import CwdOption, FromOption, ProjectOption, StackOption, app
from trackstack.core.client_settings import RELAY_PORT


class What(StrEnum):
    """What can be a service."""

    RELAY = "relay"
    STACK = "stack"


@app.command()
def service(  # noqa: PLR0917 - typer passes them by name
    what: Annotated[What, typer.Argument(help="`relay`, or `stack`: one that runs here.")],
    kind: Annotated[
        str,
        typer.Option("--kind", help="`systemd`, `launchd` or `compose`; default: this system's."),
    ] = "",
    stack: StackOption = "dev",
    project: ProjectOption = "",
    source: FromOption = "here",
    cwd: CwdOption = None,
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="Of the relay.")
    ] = RELAY_PORT,
    system: Annotated[
        bool, typer.Option("--system", help="Of the machine, not of the user who has logged in.")
    ] = False,
    write: Annotated[bool, typer.Option("--write", help="Write the files instead.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Remove the files instead.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before writing.")] = False,
) -> None:
    """Print the files that make the relay or a stack a service of this machine.

    With `--write` they are written where they belong, after the difference was shown; the commands
    that start the service are printed and left to you. The relay's credentials go into a file that
    only its owner can read. Under systemd the relay's port is systemd's own: it takes connections
    while the relay restarts.
    """
    from trackstack.cli.sources import find_service_host, find_service_relay, find_service_stack
    from trackstack.cli.view import apply_changes, err, print_text
    from trackstack.client import service as services
    from trackstack.client.changes import Change, read

    kind = kind or ("launchd" if sys.platform == "darwin" else "systemd")
    subject = (
        find_service_relay(source, stack, project, port)
        if what is What.RELAY
        else find_service_stack(stack, cwd)
    )
    host = find_service_host(getpass.getuser(), whole=system)
    files = services.files(kind, subject, host)
    if write or undo:
        changes = [
            Change(file.path, read(file.path), None if undo else file.text, private=file.private)
            for file in files
        ]
        if undo:
            err.print(f"To stop it first: {services.stopping(kind, subject, host)}")
        apply_changes(changes, yes=yes)
        if write:
            err.print("\n".join(["To start it:", *services.next_steps(kind, subject, host)]))
        return
    for file in files:
        if file.private:
            err.print(f"{file.path} holds the credentials; --write writes it.")
        else:
            # A property list has no such comments, and no second file.
            print_text(file.text if kind == "launchd" else f"# {file.path}\n{file.text}")
