"""``trackstack users``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trackstack.cli.app import FromOption, JsonOption, ProjectOption, StackOption, app

if TYPE_CHECKING:
    from trackstack.cli.sources import Keeper
    from trackstack.client.server import Login
    from trackstack.client.users import Users

users = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help=(
        "Say who may log into a stack with `access: basic` or `access: oidc`.\n\n"
        "A new password is printed once, as the two variables that a client exports; or it goes to"
        " an owner-only file (`--to-file`) or a secret of Secrets Manager (`--to-secret`), and"
        " nowhere else."
    ),
)
app.add_typer(users, name="users")

NameArgument = Annotated[str, typer.Argument(help="The user's name.", show_default=False)]
FileOption = Annotated[
    Path | None, typer.Option("--to-file", help="Owner-only file for the two variables.")
]
SecretOption = Annotated[
    str,
    typer.Option(
        "--to-secret", help="Name of a secret for them, in the region of the stack (on AWS)."
    ),
]
StdinOption = Annotated[
    bool,
    typer.Option("--password-stdin", help="Take the password from standard input; don't print it."),
]


@users.command("list")
def list_(
    stack: StackOption = "dev",
    project: ProjectOption = "",
    source: FromOption = "here",
    as_json: JsonOption = False,
) -> None:
    """List who may log in."""
    from trackstack.cli.view import print_text

    found = _users(stack, project, source)[0].list()
    if as_json:
        print_text(json.dumps([vars(user) for user in found], indent=2))
    else:
        for user in found:
            print_text(f"{user.name}{'  admin' if user.is_admin else ''}")


@users.command()
def add(  # noqa: PLR0917 - typer passes them by name
    name: NameArgument,
    stack: StackOption = "dev",
    project: ProjectOption = "",
    source: FromOption = "here",
    admin: Annotated[bool, typer.Option("--admin", help="Let the user do everything.")] = False,
    to_file: FileOption = None,
    to_secret: SecretOption = "",
    password_stdin: StdinOption = False,
) -> None:
    """Let somebody log in: a person, or a CI job with credentials of its own."""
    known, keeper = _users(stack, project, source, to_file, to_secret, stdin=password_stdin)
    login = _login(name, stdin=password_stdin)
    known.add(login, admin=admin)
    keeper.keep(login)


@users.command()
def rotate(  # noqa: PLR0917 - typer passes them by name
    name: NameArgument,
    stack: StackOption = "dev",
    project: ProjectOption = "",
    source: FromOption = "here",
    to_file: FileOption = None,
    to_secret: SecretOption = "",
    password_stdin: StdinOption = False,
) -> None:
    """Give a user another password; servers may take the old one for a minute more.

    Somebody whom the identity provider signs in gets one for scripts and jobs this way.
    """
    known, keeper = _users(stack, project, source, to_file, to_secret, stdin=password_stdin)
    login = _login(name, stdin=password_stdin)
    known.rotate(login)
    keeper.keep(login)


@users.command()
def admin(
    name: NameArgument,
    stack: StackOption = "dev",
    project: ProjectOption = "",
    source: FromOption = "here",
    revoke: Annotated[bool, typer.Option("--revoke", help="No longer.")] = False,
) -> None:
    """Let a user do everything."""
    from trackstack.cli.view import out

    _refuse_declared(name)
    _users(stack, project, source)[0].promote(name, admin=not revoke)
    out.print(f"{name} is {'no longer ' if revoke else ''}an admin.")


@users.command()
def remove(
    name: NameArgument,
    stack: StackOption = "dev",
    project: ProjectOption = "",
    source: FromOption = "here",
) -> None:
    """Let somebody in no longer; the runs and models stay."""
    from trackstack.cli.view import out

    _refuse_declared(name)
    _users(stack, project, source)[0].remove(name)
    out.print(f"{name} is removed; servers may let it in for a minute more.")


def _users(
    stack: str,
    project: str,
    source: str,
    to_file: Path | None = None,
    to_secret: str = "",
    *,
    stdin: bool = False,
) -> tuple["Users", "Keeper"]:
    from trackstack.cli.sources import Keeper, find_login, find_outputs
    from trackstack.client.server import Server
    from trackstack.client.users import Users
    from trackstack.embedded.errors import UsageError

    found = find_outputs(source, stack, project)
    login = find_login(found, source, stack, project, admin=True)
    if login is None:
        raise UsageError(
            f"The stack {stack!r} has no users, as its access is none: whoever reaches it may do"
            " everything."
        )
    keeper = Keeper.find(found, source, to_file, to_secret, silent=stdin)
    uri, certificate = str(found["tracking_uri"]), str(found.get("tracking_certificate") or "")
    return Users(Server(uri, certificate, login)), keeper


def _login(name: str, *, stdin: bool) -> "Login":
    from trackstack.client.server import Login
    from trackstack.client.users import new_password

    _refuse_declared(name)
    given = typer.get_text_stream("stdin").readline().rstrip("\n") if stdin else ""
    return Login(name, given or new_password())


def _refuse_declared(name: str) -> None:
    """The stack's own users are what its secrets say: a deployment would take a change back."""
    from trackstack.core.access import RESERVED_USERS
    from trackstack.embedded.errors import UsageError

    if name in RESERVED_USERS:
        raise UsageError(
            f"The user {name!r} is the stack's own: another `admin_password_serial` in its settings"
            " gives it a new password, and nothing else about it changes."
        )
    if ":" in name:
        raise UsageError(f"{name!r} can't log in: a colon ends the name in HTTP's credentials.")
