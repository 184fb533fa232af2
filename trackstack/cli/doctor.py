"""``trackstack doctor``."""

import itertools
import json
import os
from pathlib import Path
from typing import Annotated

import typer

from trackstack.cli.app import JsonOption, app

ILL = 7
_MARK = {
    "ok": "[green]✓[/]",
    "warning": "[yellow]![/]",
    "error": "[red]✗[/]",
    "not judged": "[dim]·[/]",
}


@app.command()
def doctor(
    path: Annotated[Path, typer.Argument(help="The project that trains.")] = Path(),
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, help="Seconds that a step may take.")
    ] = 10,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings fail, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Find what is wrong with a client's set-up, with the command that mends each.

    It asks what MLflow's client of this shell would ask: the variables, the project's Python, the
    way to the server, its certificate, its database, its artifact store (a file is written, read
    and deleted), and looks for runs that were logged beside the code. Neither MLflow nor a stack
    is needed.

    Exit code 0 when there is no error, 7 when there is one (`--strict`: or a warning), 2 for wrong
    usage.

    In CI: `trackstack doctor --strict` before training, and once more after it: a run that went
    astray is found.
    """
    from rich.text import Text

    from trackstack.cli.view import out, print_text
    from trackstack.client.doctor import SetUp, examine
    from trackstack.client.doctor.address import shown
    from trackstack.embedded.errors import UsageError
    from trackstack.embedded.state import SUMMARY, StackState

    if not path.is_dir():
        raise UsageError(f"{path} is no folder: name the project that trains.")
    stacks = {
        state.stack: str(((state.read_json(SUMMARY) or {}).get("outputs") or {})["tracking_uri"])
        for state in StackState.all(None)
        if ((state.read_json(SUMMARY) or {}).get("outputs") or {}).get("tracking_uri")
    }
    setup = SetUp(path.resolve(), os.environ, Path.home(), timeout, stacks)
    found = []
    # What follows from one fault is one line.
    for _, alike in itertools.groupby(examine(setup), lambda one: (one.level, one.sentence)):
        findings = list(alike)
        found += findings
        if not as_json:
            first = findings[0]
            checks = Text(", ".join(one.check for one in findings), "bold")
            out.print(Text.from_markup(_MARK[first.level]), checks, Text(f" {first.sentence}"))
            if first.command:
                out.print(Text(f"    {first.command}", "cyan"))
    failing = {"error", "warning"} if strict else {"error"}
    ill = any(one.level in failing for one in found)
    if as_json:
        told = {
            "ok": not ill,
            "path": str(setup.folder),
            "trackingUri": shown(setup.tracking_uri or ""),
            "findings": [vars(one) for one in found],
        }
        print_text(json.dumps(told, indent=2))
    raise typer.Exit(ILL if ill else 0)
