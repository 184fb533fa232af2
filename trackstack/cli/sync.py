"""``trackstack sync``."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from trackstack.cli.app import JsonOption, app

_LEFT = 5


@app.command()
def sync(
    show: Annotated[
        bool, typer.Option("--show", help="Only say what waits and what was refused.")
    ] = False,
    forget: Annotated[
        bool,
        typer.Option("--forget", help="Name what the server refused for good, and forget it."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Ship what relays kept while the tracking server was away.

    It can be interrupted and repeated. Exit code 5 while something waits, or when the server
    refused something for good: that is listed with the server's own words until `--forget`.
    """
    from trackstack.cli.view import print_text
    from trackstack.client.relay import syncing
    from trackstack.embedded.errors import UsageError

    if show and forget:
        raise UsageError("--show changes nothing, --forget does: name one of them.")
    left = list(
        syncing.kept(os.environ)
        if show
        else syncing.sync(os.environ, _progress, _tell, forget=forget)
    )
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")
    if as_json:
        print_text(json.dumps([one.plain for one in left], indent=2) + "\n")
    else:
        for one in left:
            print_text(one.lines)
        if not left:
            print_text("No relay left anything on this machine.\n")
    if any(one.waiting or (one.refused and not forget) for one in left):
        raise typer.Exit(_LEFT)


def _progress(folder: Path, waiting: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{folder}: {waiting} writes wait")
        sys.stderr.flush()


def _tell(sentence: str) -> None:
    sys.stderr.write(f"trackstack: {sentence}\n")
    sys.stderr.flush()
