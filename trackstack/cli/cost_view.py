"""How an estimate looks in a terminal."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table

from trackstack.cli.view import out
from trackstack.core import cost_report
from trackstack.core.cost import Estimate
from trackstack.core.cost_report import amount, difference
from trackstack.core.prices import price_of


def print_cost(
    base: Estimate,
    variant: Estimate | None,
    changes: Iterable[str],
    offers: Iterable[Mapping[str, Any]],
    *,
    sources: bool,
) -> None:
    """Lines, total, what-if and offers."""
    out.print(_lines(base))
    out.print(f"\n[bold]{base.stack}[/]  {base.one_line}")
    if sources:
        out.print()
        out.print(_sources(base))
    if variant is not None:
        out.print()
        out.print(_what_if(base, variant, " ".join(changes)))
    offers = list(offers)
    if offers:
        out.print()
        out.print(_offers(offers))
    out.print(f"\n[dim]* follows from use: {cost_report.assumptions(base.usage)}[/]")
    for told in cost_report.caveats(base):
        out.print(f"[dim]{told}[/]")


def _lines(base: Estimate) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in ("quantity", "USD each", "USD"):
        table.add_column(name, justify="right", no_wrap=True)
    before = ""
    for line in base.lines:
        if line.group != before:
            table.add_row(
                f"[bold]{line.group}[/]", "", "", f"[bold]{amount(base.groups[line.group])}[/]"
            )
        before = line.group
        table.add_row(
            f"  {line.label}" + ("" if line.fixed else " [dim]*[/]"),
            f"{line.quantity:,.2f} [dim]{price_of(line.price).unit}[/]",
            cost_report.unit_price(line),
            amount(line.usd),
        )
    return table


def _sources(base: Estimate) -> Table:
    table = Table("line", "page of AWS, read", "note", box=None, pad_edge=False)
    for line in base.lines:
        price = price_of(line.price)
        table.add_row(
            line.label, f"{price.page}, {price.read}", f"[dim]{line.note or price.note}[/]"
        )
    return table


def _what_if(base: Estimate, variant: Estimate, changes: str) -> Table:
    table = Table(f"with {changes}", box=None, pad_edge=False)
    for name in ("base", "variant", "difference"):
        table.add_column(name, justify="right")
    for group, what, old, new in cost_report.changed_lines(base, variant):
        table.add_row(f"{group}: {what}", amount(old), amount(new), difference(new - old))
    total = difference(variant.total - base.total)
    table.add_row(
        "[bold]Total a month[/]", amount(base.total), amount(variant.total), f"[bold]{total}[/]"
    )
    return table


def _offers(offers: Iterable[Mapping[str, Any]]) -> Table:
    table = Table("offer", box=None, pad_edge=False)
    table.add_column("USD a month", justify="right")
    table.add_column("assumes")
    for row in offers:
        usd = "not known" if row["usd"] is None else amount(row["usd"])
        table.add_row(row["name"], usd, f"[dim]{row['assumes']}[/]")
    return table
