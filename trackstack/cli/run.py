"""``trackstack run``."""

import os
import sys
from typing import Annotated

import typer

from trackstack.cli.app import app


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def run(
    command: Annotated[list[str], typer.Argument(help="The training, after `--`.")],
    drain: Annotated[
        float,
        typer.Option(
            "--drain", min=0, help="Seconds to wait at the end for what was logged to be shipped."
        ),
    ] = 60,
) -> None:
    """Train without waiting for the tracking server, and without losing what is logged.

    `trackstack run -- python train.py` starts a relay on this machine and the training with it as
    `MLFLOW_TRACKING_URI`. What the relay was told is on this machine's disk and goes to the server
    as soon as that answers. The exit code is the training's own.
    """
    from trackstack.client.relay.training import train

    raise typer.Exit(train(command, os.environ, drain, _tell))


def _tell(sentence: str) -> None:
    sys.stderr.write(f"trackstack: {sentence}\n")
    sys.stderr.flush()
