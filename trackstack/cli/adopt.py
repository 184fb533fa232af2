"""``trackstack adopt``."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trackstack.cli.app import JsonOption, app

if TYPE_CHECKING:
    from trackstack.client.adopt import Adopted


@app.command()
def adopt(  # noqa: PLR0917 - typer passes them by name
    path: Annotated[
        Path,
        typer.Argument(help="A folder mlruns, a file mlflow.db, or a folder with either in it."),
    ],
    prefix: Annotated[
        str, typer.Option("--experiment-prefix", help="Put before the names of experiments.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be moved; write nothing.")
    ] = False,
    delete: Annotated[
        bool,
        typer.Option("--delete", help="Compare all of it again and remove a store that is equal."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before removing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Move stray runs into the server of `MLFLOW_TRACKING_URI`.

    With params, whole metric histories, tags, parents, data sets, logged and registered models,
    artifacts, times and users. Each run is compared with its store afterwards; the store stays as
    it is. Do it again after an interruption, or when runs were added: nothing is moved twice.

    Deleted runs are moved and deleted there, so that they can be restored. Traces stay.

    Exit code 1: something could not be moved or differs, and is named.
    """
    from trackstack.cli.view import Progress, err, print_text
    from trackstack.client import adopt as adoption

    def confirm(question: str) -> bool:
        return yes or (err.is_terminal and typer.confirm(question, err=True))

    began = time.monotonic()
    told = []
    with Progress(f"Adopting {path}", quiet=as_json) as progress:
        for one in adoption.adopt(
            path,
            prefix=prefix,
            dry=dry_run,
            delete=delete,
            confirm=confirm,
            tell=lambda name, done: progress.report(name, "running", f"{done} runs"),
        ):
            for each in one.experiments:
                ended = "done" if all(run.verified for run in each.outcomes) else "failed"
                progress.report(each.name, ended, f"{len(each.outcomes) + each.waiting} runs")
            told.append(one)
    if as_json:
        seconds = round(time.monotonic() - began, 1)
        stores = [adoption.as_json(one) for one in told]
        print_text(json.dumps({"seconds": seconds, "stores": stores}, indent=2))
    else:
        for one in told:
            _print(one, dry=dry_run, asked=delete)
    if not all(one.verified for one in told):
        raise typer.Exit(1)


def _print(told: "Adopted", *, dry: bool, asked: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from trackstack.cli.view import out

    out.print(f"\n[bold]{told.kind}[/] ", Text(told.path), sep="")
    table = Table("experiment", box=None, pad_edge=False)
    for name in ("to move" if dry else "moved", "there before", "not verified", "points"):
        table.add_column(name, justify="right")
    for one in told.experiments:
        moved = one.waiting if dry else one.count("moved") + one.count("completed")
        bad = sum(not run.verified for run in one.outcomes)
        row = (moved, one.count("there"), bad, "" if dry else one.points)
        table.add_row(Text(one.name), *map(str, row))
    out.print(table)
    if told.registry.models:
        verb = "to move" if dry else "moved"
        out.print(
            f"{told.registry.models} registered models: {told.registry.moved} versions {verb},"
            f" {told.registry.there} there before"
        )
    for each in told.experiments:
        for run in (*each.outcomes, *each.models):
            for problem in run.problems:
                out.print("[red]✗[/] ", Text(f"{run.id}: {problem}"), sep="")
    for problem in (*told.problems, *told.registry.problems):
        out.print("[red]✗[/] ", Text(problem), sep="")
    for note in (*told.registry.notes, *(f"not moved: {one}" for one in told.left)):
        out.print("[yellow]![/] ", Text(note), sep="")
    if not dry:
        same = "Every run is the same on both sides" if told.verified else "Not all is the same"
        why = f" ({told.kept})" if asked and told.kept else ""
        out.print(
            f"{same}; the store is {'removed' if told.removed else 'kept'}", Text(why), sep=""
        )
