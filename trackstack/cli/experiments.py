"""``trackstack experiments``."""

import json

from trackstack.cli.app import FromOption, JsonOption, ProjectOption, StackOption, app


@app.command()
def experiments(
    stack: StackOption = "dev",
    project: ProjectOption = "",
    source: FromOption = "here",
    as_json: JsonOption = False,
) -> None:
    """List the experiments with their runs and last use, and whose name breaks the standard.

    The standard is what `trackstack bootstrap` left on the platform: `experiment_name_pattern` of
    the stack file. Runs are counted by a few small questions, not by reading them.
    """
    from rich.table import Table
    from rich.text import Text

    from trackstack.cli.sources import find_tracking
    from trackstack.cli.view import err, out, print_text
    from trackstack.client.experiments import uses

    found = find_tracking(source, stack, project)
    with err.status("Counting runs") as line:
        told = uses(found, lambda done, all_: line.update(f"Counting runs: {done} of {all_}"))
    if as_json:
        print_text(json.dumps([one.to_json() for one in told], indent=2))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("experiment")
    table.add_column("runs", justify="right", no_wrap=True)
    table.add_column("last run (UTC)", no_wrap=True)
    for one in told:
        name = Text("✗ ", style="red") if one.wrong else Text("  ")
        last = one.last_run.strftime("%Y-%m-%d %H:%M") if one.last_run else "never"
        table.add_row(name.append(one.name, style="default"), f"{one.runs:,}", last)
    out.print(table)
    for one in told:
        if one.wrong:
            out.print(Text(f"✗ {one.wrong}", style="red"))
