"""``trackstack logs``."""

from typing import Annotated

import typer

from trackstack.cli.app import ProjectOption, StackOption, app
from trackstack.cli.sources import find_state


@app.command()
def logs(
    service: Annotated[
        str, typer.Argument(help="tracking, artifacts, backend, artifact-store, balancer, …")
    ] = "",
    stack: StackOption = "dev",
    project: ProjectOption = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Last lines of each.")] = 40,
) -> None:
    """Show what the stack's processes print; all of them, or one service's."""
    from trackstack.cli.view import print_text
    from trackstack.embedded import logs as tail
    from trackstack.embedded.errors import UsageError

    state = find_state(stack, project)
    known = tail.services(state)
    if service and service not in known:
        raise UsageError(f"There is no service {service!r}; there are {', '.join(known)}.")
    names = known[service] if service else [name for group in known.values() for name in group]
    width = max((len(name) for name in names), default=0)
    for name, line in tail.read(state, names, lines=lines, follow=follow):
        print_text(f"{name:<{width}} │ {line}" if len(names) > 1 else line)
