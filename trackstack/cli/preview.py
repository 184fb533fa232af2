"""``trackstack preview``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from trackstack.cli.app import CwdOption, JsonOption, SecretsOption, StackOption, app


@app.command()
def preview(  # noqa: PLR0917 - typer passes them by name
    stack: StackOption = "dev",
    cwd: CwdOption = None,
    secrets: SecretsOption = None,
    policy: Annotated[
        bool,
        typer.Option(
            help="Ask the project's policy pack (its folder `policy`) what is wrong with the stack."
        ),
    ] = True,
    policy_pack: Annotated[
        list[Path] | None,
        typer.Option(help="A further policy pack to ask: a folder with a PulumiPolicy.yaml."),
    ] = None,
    policy_pack_config: Annotated[
        Path | None,
        typer.Option(
            help="JSON file with other levels and settings of rules, as `pulumi` takes it."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a stack would be; nothing is started, written or asked of AWS.

    Lists the resources it declares, the processes they become here, what has to be translated
    for this machine, what is declared but only runs on AWS, and what policies it violates: a
    mandatory one ends with exit code 6.
    """
    from trackstack.cli.view import (
        Progress,
        out,
        print_findings,
        print_outputs,
        print_summary,
        print_text,
    )
    from trackstack.embedded import converge, policy_packs
    from trackstack.embedded.project import Project

    project = Project.find(cwd)
    configuration = project.configuration(stack, secrets)
    packs = policy_packs.packs_of(project, policy_pack or (), own=policy)
    settings = policy_packs.read_settings(policy_pack_config)
    with Progress(f"Previewing {project.name}/{stack}", quiet=as_json):
        summary = converge.preview(project, stack, configuration, packs, settings)
    if as_json:
        print_text(json.dumps(summary.to_json(), indent=2))
    else:
        print_summary(summary, verb="preview")
        out.print()
        print_outputs(summary.outputs)
        for key in configuration.missing:
            out.print(f"[yellow]Unknown[/]  {key} is encrypted in the stack file")
        print_findings(summary)
    policy_packs.refuse(summary.findings or ())
