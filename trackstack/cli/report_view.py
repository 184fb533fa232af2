"""How a report looks in a terminal."""

from rich.table import Table
from rich.text import Text

from trackstack.cli.view import out
from trackstack.core.adoption import (
    HOW_CI_IS_KNOWN,
    HOW_PEOPLE_ARE_KNOWN,
    Report,
    amount_stored,
    monthly_usd,
    share,
)
from trackstack.core.cost_report import amount

_COLOUR = {"healthy": "green", "unhealthy": "red", "open": "yellow"}


def print_report(report: Report) -> None:
    """Verdict, weeks, storage, strays, names, and how things were counted."""
    verdict, _, rest = report.health.sentence.partition(":")
    out.print(f"[bold]{report.stack}[/]  [{_COLOUR[verdict]}]{verdict}[/]:{rest}.")
    out.print(
        f"{report.runs:,} runs in {report.used:,} of {report.experiments:,} experiments by"
        f" {report.people:,} people; {share(report.ci, report.runs) or 'none'} of the runs by CI.\n"
    )
    out.print(_weeks(report))
    out.print()
    _print_storage(report)
    _print_strays(report)
    if report.standard:
        broken = len(report.wrong_names)
        out.print(f"[bold]Names[/]  {broken} break the standard {report.standard}", markup=True)
        for sentence in report.wrong_names.values():
            out.print(Text(f"  ✗ {sentence}", style="red"))
    out.print(f"\n[dim]{HOW_CI_IS_KNOWN}\n{HOW_PEOPLE_ARE_KNOWN}[/]")


def _weeks(report: Report) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("week of", no_wrap=True)
    for name in ("experiments", "new", "runs", "by CI", "people", "stored"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in report.weeks:
        table.add_row(
            one.week,
            f"{one.experiments:,}",
            f"{one.new:,}",
            f"{one.runs:,}",
            share(one.ci, one.runs),
            f"{one.people:,}",
            "" if one.stored is None else amount_stored(one.stored),
        )
    return table


def _print_storage(report: Report) -> None:
    stored = report.stored
    if not stored.weeks:
        out.print(f"[bold]Storage[/]  not known: {stored.problem}")
        return
    out.print(
        f"[bold]Storage[/]  {amount_stored(stored.now)}, on S3 ${amount(monthly_usd(stored.now))} a"
        f" month; {amount_stored(stored.pace)} a week, so in a year"
        f" ${amount(monthly_usd(stored.next_year))} a month [dim]({stored.source})[/]"
    )


def _print_strays(report: Report) -> None:
    more = "" if report.strays_whole else ", and not every folder was looked at"
    if not report.strays:
        out.print(f"[bold]Strays[/]  none{more}")
        return
    out.print(f"[bold]Strays[/]  {report.stray_runs:,} runs in {len(report.strays)} stores{more}:")
    for one in report.strays:
        out.print(Text(f"  ✗ {one.path}: {one.problem or f'{one.runs:,} runs'}", style="red"))
    out.print("[dim]  `trackstack adopt PATH` brings them to the server.[/]")
