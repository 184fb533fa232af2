"""``trackstack report``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from trackstack.cli.app import FromOption, JsonOption, ProjectOption, StackOption, app


@app.command()
def report(  # noqa: PLR0917 - typer passes them by name
    stack: StackOption = "dev",
    project: ProjectOption = "",
    source: FromOption = "here",
    html: Annotated[
        Path | None, typer.Option("--html", help="Write one page with charts to this file.")
    ] = None,
    weeks: Annotated[int, typer.Option("--weeks", min=1, help="How many are shown.")] = 12,
    strays: Annotated[
        Path, typer.Option("--strays", help="Folder below which stray runs are looked for.")
    ] = Path(),
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Read every run again, not only the new ones.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show whether the platform is used: experiments, runs, people and CI by week, storage, cost.

    Healthy is one with 10 experiments or more in its first month. Stray runs are those that lie in
    local stores below the folder you stand in.

    Each run is read once, at half the pace that the server could keep; the next report reads the
    new ones alone. What was counted lies in an owner-only file below your user data directory.
    """
    import datetime as dt

    from trackstack.cli.report_view import print_report
    from trackstack.cli.sources import find_stored, find_tracking, report_cache
    from trackstack.cli.view import err, print_text
    from trackstack.client.experiments import standard_of
    from trackstack.client.report import count, stray_runs
    from trackstack.core.adoption import report_of

    if html:
        from trackstack.embedded import report_page  # before minutes of counting: it needs pygal

        report_page.check(html)
    tracking = find_tracking(source, stack, project)
    cache = report_cache(tracking.uri, fresh=fresh)
    with err.status("Counting runs") as line:
        found = list(tracking.experiments())
        counted = count(tracking, cache, found, lambda text: line.update(f"Counting runs: {text}"))
        line.update("Measuring the artifact store")
        stored = find_stored(source, stack, project)
        line.update(f"Looking for stray runs below {strays}")
        lost = stray_runs(strays)
    now = dt.datetime.now(dt.UTC)
    told = report_of(
        stack,
        counted,
        stored=stored,
        strays=lost,
        standard=standard_of(found),
        now=now,
        weeks=weeks,
    )
    if html:
        report_page.write(html, report_page.page(told))
    if as_json:
        print_text(json.dumps(told.to_json(), indent=2))
    else:
        print_report(told)
        if html:
            print_text(f"\nThe page with charts: {html}")
