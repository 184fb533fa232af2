"""``trackstack tunnel``."""

from typing import Annotated

import typer

from trackstack.cli.app import FromOption, ProjectOption, StackOption, app
from trackstack.cli.sources import find_outputs


@app.command(context_settings={"ignore_unknown_options": True})
def tunnel(
    command: Annotated[
        list[str] | None,
        typer.Argument(
            help="A command to run through it; default: until Ctrl-C.", metavar="-- COMMAND"
        ),
    ] = None,
    stack: StackOption = "dev",
    project: ProjectOption = "",
    source: FromOption = "pulumi",
    port: Annotated[
        int, typer.Option("--port", help="Port of this machine that leads there.", min=1, max=65535)
    ] = 8443,
) -> None:
    """Reach a balancer that is inside the VPC, by a small task that runs only meanwhile.

    `trackstack tunnel -s prod -- python train.py` ends with the command and with its status.
    Without one, the variables for other shells are printed, and Ctrl-C ends it.

    Needs `tunnel: true` in the stack file, credentials of AWS and the session-manager-plugin.
    """
    from trackstack.cli.view import err, print_text
    from trackstack.client import environment
    from trackstack.client import tunnel as way
    from trackstack.client.errors import ClientError
    from trackstack.embedded.state import home

    def say(step: str) -> None:
        err.print(f"  {step}")

    outputs = find_outputs(source, stack, project)
    facts = way.facts_of(outputs, stack)
    uri = str(outputs["tracking_uri"])
    variables = environment.variables(outputs, home() / "certificates")
    is_open = False
    try:
        with way.opened(facts, uri, port=port, aws=way.services(facts["region"]), say=say) as (
            through,
            forwarder,
        ):
            is_open = True
            variables |= through
            if command:
                raise typer.Exit(way.run(command, variables))
            print_text(environment.render(variables, "shell"))
            say("open; Ctrl-C ends it")
            forwarder.wait()
            say("the session is over: it was idle too long, or its task ended")
    except KeyboardInterrupt:
        if not is_open:
            raise ClientError("The tunnel was interrupted before it was open.") from None
