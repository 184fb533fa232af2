"""``trackstack state``."""

import json
from typing import Annotated

import typer

from trackstack.cli.app import CwdOption, JsonOption, StackOption, app


@app.command()
def state(  # noqa: PLR0917 - typer passes them by name
    stack: StackOption = "dev",
    region: Annotated[
        str, typer.Option("--region", help="Region of both; default: your AWS profile's.")
    ] = "",
    bucket: Annotated[
        str, typer.Option("--bucket", help="Default: `<project>-state-<account>-<region>`.")
    ] = "",
    alias: Annotated[
        str, typer.Option("--alias", help="The key's; default: `alias/<project>-state`.")
    ] = "",
    cwd: CwdOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the place of Pulumi's state on AWS: a locked-down S3 bucket and a KMS key.

    Once an account, before the first `pulumi up`, with credentials that may make both. What is
    there already is looked at and mended, so a second run changes nothing. Prints the two commands
    that come next.
    """
    from trackstack.cli.view import out, print_text
    from trackstack.client import state_backend
    from trackstack.embedded.project import Project

    project = Project.find(cwd).name
    found = state_backend.ensure(project, region, bucket, alias)
    commands = found.commands(stack)
    if as_json:
        told = {
            "bucket": found.bucket,
            "region": found.region,
            "alias": found.alias,
            "keyArn": found.key_arn,
            "backendUrl": found.backend_url,
            "secretsProvider": found.secrets_provider,
            "changed": list(found.changed),
            "next": list(commands),
        }
        print_text(json.dumps(told, indent=2))
        return
    for change in found.changed:
        out.print(f"[green]✓[/] {change}")
    if not found.changed:
        out.print(f"Nothing to change: {found.bucket} and {found.alias} are as they should be.")
    for command in commands:
        print_text(command)
