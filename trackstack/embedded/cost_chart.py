"""An estimate as a picture: one SVG file that needs nothing from anywhere."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pygal
from pygal.style import Style

from trackstack.core import prices
from trackstack.core.cost import GROUPS, Estimate
from trackstack.embedded import charts
from trackstack.embedded.errors import UsageError

_STYLE = Style(
    background="#ffffff",
    plot_background="#ffffff",
    foreground="#333333",
    foreground_strong="#111111",
    foreground_subtle="#888888",
    font_family="sans-serif",
    title_font_size=18,
    label_font_size=13,
    major_label_font_size=13,
    value_font_size=11,
    legend_font_size=13,
    opacity="1",
    colors=("#4063b0", "#7b9fe0", "#2f8f83", "#d9a441", "#a3574f", "#7d6aa8", "#8a8f98", "#bcc2cc"),
)


def draw(estimates: Mapping[str, Estimate], offers: Iterable[Mapping[str, Any]] = ()) -> str:
    """SVG text: a bar for each estimate, stacked by group, and one for each offer with a price.

    Args:
        estimates: label to estimate, such as the stack and its variant.
        offers: rows of ``managed_offers.compare``; the first, the stack itself, is left out.
    """
    priced = [row for row in list(offers)[1:] if row["usd"] is not None]
    chart = pygal.HorizontalStackedBar(
        style=_STYLE,
        js=[],  # see ``charts``
        width=900,
        height=200 + 60 * (len(estimates) + len(priced)),
        title=f"USD a month, {prices.REGION} list prices read {prices.READ}",
        legend_at_bottom=True,
        legend_at_bottom_columns=4,
        truncate_legend=-1,
        value_formatter=lambda value: f"${value:,.0f}",
    )
    shown = [*(f"{name} ${one.total:,.0f}" for name, one in estimates.items())]
    shown += [f"{row['name']} ${row['usd']:,.0f}" for row in priced]
    # Horizontal bars are drawn from below.
    chart.x_labels = shown[::-1]
    for group in GROUPS:
        values: list[float | None] = [one.groups.get(group, 0) for one in estimates.values()]
        values += [None] * len(priced)
        chart.add(group, [round(v, 2) if v is not None else None for v in values[::-1]])
    if priced:
        fees: list[float | None] = [None] * len(estimates) + [row["usd"] for row in priced]
        chart.add("Managed offer", fees[::-1])
    return charts.svg(chart)


def write(file: Path, svg: str) -> None:
    """Write the picture; UsageError when the place can't be written."""
    try:
        file.write_text(svg, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file} can't be written: {error.strerror}.") from None
