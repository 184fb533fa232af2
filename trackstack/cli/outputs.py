"""``trackstack outputs``."""

import json
from typing import Annotated

import typer

from trackstack.cli.app import FromOption, JsonOption, ProjectOption, StackOption, app
from trackstack.cli.sources import find_outputs


@app.command()
def outputs(
    name: Annotated[str, typer.Argument(help="Print this output alone, as plain text.")] = "",
    stack: StackOption = "dev",
    project: ProjectOption = "",
    source: FromOption = "here",
    as_json: JsonOption = False,
) -> None:
    """Print a stack's outputs: the same names here and from `pulumi stack output`."""
    from trackstack.cli.view import print_outputs, print_text
    from trackstack.embedded.errors import UsageError

    found = find_outputs(source, stack, project)
    if name:
        if name not in found:
            raise UsageError(f"There is no output {name!r}; there are {', '.join(found)}.")
        value = found[name]
        print_text(value if isinstance(value, str) else json.dumps(value))
    elif as_json:
        print_text(json.dumps(dict(found), indent=2))
    else:
        print_outputs(found)
