"""``trackstack bootstrap``."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from trackstack.cli.app import CwdOption, FromOption, JsonOption, SecretsOption, StackOption, app

if TYPE_CHECKING:
    from trackstack.core.settings import Settings
    from trackstack.embedded.project import Project


@app.command()
def bootstrap(  # noqa: PLR0917 - typer passes them by name
    stack: StackOption = "dev",
    source: FromOption = "here",
    cwd: CwdOption = None,
    secrets: SecretsOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what is left to do, and do nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make what the stack file declares inside MLflow: experiments, tags, permissions, a standard.

    Reads `experiments` and `experiment_name_pattern` of the stack file and brings the platform
    there; a second run changes nothing. What nobody declared is left alone: other experiments,
    other tags, other permissions. A declared experiment that was deleted is restored with its runs.

    Exit code 4 when somebody with a permission is no user yet: the rest is done, and a later run
    does theirs.
    """
    from trackstack.cli.sources import find_login, find_outputs
    from trackstack.cli.view import err, out, print_text
    from trackstack.client.experiments import Bootstrap
    from trackstack.client.server import Server
    from trackstack.client.tracking import Tracking
    from trackstack.client.users import Users
    from trackstack.embedded.project import Project

    project = Project.find(cwd)
    settings = _settings(project, project.configuration(stack, secrets).values, stack)
    found = find_outputs(source, stack, project.name)
    login = find_login(found, source, stack, project.name, admin=True)
    server = Server(
        str(found["tracking_uri"]), str(found.get("tracking_certificate") or ""), login, timeout=60
    )
    work = Bootstrap(Tracking(server), Users(server))
    todo = work.plan(settings.experiments.values(), settings.experiment_name_pattern)
    missing = work.missing_users(todo)
    for change in todo:
        waits = change.what == "grant" and change.key in missing
        if not waits and not dry_run:
            work.apply(change)
        if not as_json and not waits:
            out.print("[dim]would do[/] " if dry_run else "[green]✓[/] ", end="")
            print_text(change.sentence)
    if as_json:
        told = {
            "stack": stack,
            "done": not dry_run,
            "changes": [{**vars(one), "sentence": one.sentence} for one in todo],
            "missingUsers": missing,
        }
        print_text(json.dumps(told, indent=2))
    elif not todo:
        out.print(f"Nothing to change: {len(settings.experiments)} experiments are as declared.")
    if missing:
        err.print(
            f"No user yet, so without their permissions: {', '.join(missing)}. `trackstack users"
            " add` makes them, or they sign in once; then run this again.",
            markup=False,
        )
        raise typer.Exit(4)


def _settings(project: "Project", values: Mapping[str, str], stack: str) -> "Settings":
    from trackstack.core.settings import Settings, SettingsError
    from trackstack.embedded.errors import ProgramError

    own = f"{project.name}:"
    raw = {key.removeprefix(own): text for key, text in values.items() if key.startswith(own)}
    try:
        return Settings.from_config(raw, stack)
    except SettingsError as error:
        raise ProgramError(str(error)) from None
