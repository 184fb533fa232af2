"""The command's frame: its help, and options that several verbs share."""

from pathlib import Path
from typing import Annotated

import typer

import trackstack

app = typer.Typer(
    name="trackstack",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help=(
        "Run a team's MLflow tracking platform on this machine, from the very Pulumi program that"
        " deploys it to AWS.\n\n"
        "A first session:\n\n"
        "`trackstack preview --stack prod` shows what a stack would be; nothing is touched.\n\n"
        "`trackstack up` runs the stack `dev` here and prints its tracking URI.\n\n"
        '`eval "$(trackstack env)"` lets MLflow clients of this shell log into it.\n\n'
        "`trackstack status` checks the database and the artifact store behind it;"
        " `trackstack logs -f` follows its processes.\n\n"
        "`trackstack down` stops it and keeps every run.\n\n"
        "Exit codes: 0 done, 1 unexpected, 2 wrong usage, 3 the program can't run, 4 this machine"
        " can't be brought to what it declares, 5 the stack doesn't run or answer, 6 a mandatory"
        " policy is violated, 7 `trackstack doctor` found an error, 130 interrupted."
    ),
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"trackstack {trackstack.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


StackOption = Annotated[
    str,
    typer.Option(
        "--stack", "-s", envvar="TRACKSTACK_STACK", help="A stack: stacks/Pulumi.<stack>.yaml."
    ),
]
ProjectOption = Annotated[
    str,
    typer.Option(
        "--project", help="The Pulumi project; needed only when this machine has several."
    ),
]
CwdOption = Annotated[
    Path | None,
    typer.Option("--cwd", "-C", help="Folder of the Pulumi program; default: here or above."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
SecretsOption = Annotated[
    Path | None,
    typer.Option(
        "--secrets",
        help="Owner-only YAML file with the plain values of the stack file's encrypted keys.",
    ),
]
FromOption = Annotated[
    str,
    typer.Option(
        "--from",
        help=(
            "Where the stack runs: `here`, `pulumi` (its state, by the CLI),"
            " `ssm:/<project>/<stack>/client` (its parameter, by boto3), or the URI of a server."
        ),
    ),
]
RelayOption = Annotated[
    bool,
    typer.Option("--relay", help="Log into this machine's relay, which ships to the stack."),
]
RelayPortOption = Annotated[
    int, typer.Option("--relay-port", min=1, max=65535, help="Where the relay listens.")
]
TimeoutOption = Annotated[
    int | None,
    typer.Option(
        "--timeout", min=1, help="Seconds that a client waits for an answer; default: 20."
    ),
]
UncheckedOption = Annotated[
    bool, typer.Option("--unchecked", help="Hand out the URI even if nothing answers there.")
]
