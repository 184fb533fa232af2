"""``trackstack preview``."""

import json

from trackstack.cli.app import CwdOption, JsonOption, SecretsOption, StackOption, app


@app.command()
def preview(
    stack: StackOption = "dev",
    cwd: CwdOption = None,
    secrets: SecretsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a stack would be; nothing is started, written or asked of AWS.

    Lists the resources it declares, the processes they become here, what has to be translated
    for this machine, and what is declared but only runs on AWS.
    """
    from trackstack.cli.view import Progress, out, print_outputs, print_summary, print_text
    from trackstack.embedded import converge
    from trackstack.embedded.project import Project

    project = Project.find(cwd)
    configuration = project.configuration(stack, secrets)
    with Progress(f"Previewing {project.name}/{stack}", quiet=as_json):
        summary = converge.preview(project, stack, configuration)
    if as_json:
        print_text(json.dumps(summary.to_json(), indent=2))
        return
    print_summary(summary, verb="preview")
    out.print()
    print_outputs(summary.outputs)
    for key in configuration.missing:
        out.print(f"[yellow]Unknown[/]  {key} is encrypted in the stack file")
