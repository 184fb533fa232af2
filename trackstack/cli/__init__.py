"""The ``trackstack`` command: one module a verb, no logic of its own."""

import os
import sys

# gRPC's own lines would end up between ours.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import typer

from trackstack.cli import (
    adopt,
    bootstrap,
    cost,
    doctor,
    down,
    env,
    experiments,
    join,
    logs,
    open_,
    outputs,
    preview,
    relay,
    report,
    run,
    service,
    state,
    status,
    sync,
    tunnel,
    up,
    users,
)
from trackstack.cli.app import app

__all__ = [
    "adopt",
    "app",
    "bootstrap",
    "cost",
    "doctor",
    "down",
    "env",
    "experiments",
    "join",
    "logs",
    "main",
    "open_",
    "outputs",
    "preview",
    "relay",
    "report",
    "run",
    "service",
    "state",
    "status",
    "sync",
    "tunnel",
    "up",
    "users",
]

_INTERRUPTED = 130


def main() -> None:
    """Run the command; every error a user can cause is one sentence and an exit code."""
    try:
        code = app(standalone_mode=False)
    except typer.Exit as stop:  # typer turns Ctrl-C into one with 130
        code = stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "trackstack":
            raise
        sys.stderr.write(
            f"trackstack: this needs {error.name}, which is not installed:"
            " pip install 'trackstack[host]'.\n"
        )
        code = 1
    except Exception as error:
        known = getattr(error, "exit_code", None)
        if known is None:
            raise
        # Wrong usage is click's own exception, which newer releases of typer carry along.
        told = error.format_message() if hasattr(error, "format_message") else error
        sys.stderr.write(f"trackstack: {told}\n")
        code = int(known)
    if code == _INTERRUPTED:
        sys.stderr.write(
            "trackstack: interrupted; what was started keeps running: `trackstack up` goes on"
            " from here, `trackstack down` stops it.\n"
        )
    sys.exit(code or 0)
