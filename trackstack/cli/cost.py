"""``trackstack cost``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from trackstack.cli.app import CwdOption, JsonOption, SecretsOption, StackOption, app

FORMATS = ("text", "markdown")
_DEFAULT = "Default: what a month's runs leave."


@app.command()
def cost(  # noqa: PLR0917 - typer passes them by name
    stack: StackOption = "dev",
    cwd: CwdOption = None,
    secrets: SecretsOption = None,
    what_if: Annotated[
        list[str] | None,
        typer.Option(
            "--what-if", help="A setting to change, such as tracking_tasks=3; may be repeated."
        ),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Show managed MLflow offers at the same use.")
    ] = False,
    chart: Annotated[
        Path | None, typer.Option("--chart", help="Write a picture to this SVG file.")
    ] = None,
    sources: Annotated[
        bool, typer.Option("--sources", help="Show the page and the month of each price.")
    ] = False,
    runs: Annotated[int, typer.Option("--runs", min=0, help="Runs a month.")] = 1000,
    artifact_mb: Annotated[
        float, typer.Option("--artifact-mb", min=0, help="MB of artifacts a run leaves.")
    ] = 10,
    stored_gb: Annotated[
        float | None, typer.Option("--stored-gb", min=0, help=f"GB of artifacts kept. {_DEFAULT}")
    ] = None,
    requests: Annotated[int, typer.Option("--requests", min=0, help="Requests a month.")] = (
        1_000_000
    ),
    data_out_gb: Annotated[
        float, typer.Option("--data-out-gb", min=0, help="GB a month out to the internet.")
    ] = 10,
    nat_gb: Annotated[
        float, typer.Option("--nat-gb", min=0, help="GB a month through NAT gateways.")
    ] = 5,
    log_gb: Annotated[float, typer.Option("--log-gb", min=0, help="GB of logs a month.")] = 1,
    image_gb: Annotated[float, typer.Option("--image-gb", min=0, help="GB of images kept.")] = 2,
    as_json: JsonOption = False,
    form: Annotated[
        str, typer.Option("--format", "-f", help=f"One of {', '.join(FORMATS)}.")
    ] = "text",
) -> None:
    """Show what a stack would cost a month, from the resources that it declares.

    Nothing is asked of AWS: the program is evaluated as `preview` does it, and every resource is
    priced by a table of list prices with their source and date, is free with a reason, or is
    named as not priced. Use comes from the options.

    `trackstack cost -s prod --what-if database_multi_az=false` evaluates the program again with
    that setting and shows the difference; any setting works.

    `trackstack cost --runs 100 --artifact-mb 10` is the textbook case: 1 GB, $0.02 of S3.
    """
    from trackstack.cli.cost_view import print_cost
    from trackstack.cli.view import Progress, print_text
    from trackstack.core import cost_report, managed_offers
    from trackstack.core.usage import Usage
    from trackstack.embedded import cost as embedded
    from trackstack.embedded.errors import UsageError
    from trackstack.embedded.project import Project

    if form not in FORMATS:
        raise UsageError(f"There is no format {form!r}; choose text or markdown.")
    changes = what_if or []
    project = Project.find(cwd)
    configuration = project.configuration(stack, secrets)
    usage = Usage(
        runs=runs,
        artifact_mb=artifact_mb,
        stored_gb=stored_gb,
        requests=requests,
        data_out_gb=data_out_gb,
        nat_gb=nat_gb,
        log_gb=log_gb,
        image_gb=image_gb,
    )
    quiet = as_json or form != "text"
    changed = embedded.with_changes(project, configuration, changes)
    with Progress(f"Pricing {project.name}/{stack}", quiet=quiet):
        base = embedded.estimate_stack(project, stack, configuration, usage)
        variant = embedded.estimate_stack(project, stack, changed, usage) if changes else None
    offers = managed_offers.compare(base) if compare else []
    if chart:
        from trackstack.embedded import cost_chart

        bars = {stack: base, **({" ".join(changes): variant} if variant else {})}
        cost_chart.write(chart, cost_chart.draw(bars, offers))
    if as_json:
        report = cost_report.to_json(base, variant=variant, changes=changes, offers=offers)
        print_text(json.dumps(report, indent=2))
    elif form == "markdown":
        print_text(
            cost_report.markdown(
                base, variant=variant, changes=changes, offers=offers, sources=sources
            )
        )
    else:
        print_cost(base, variant, changes, offers, sources=sources)
