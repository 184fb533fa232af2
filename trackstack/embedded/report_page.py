"""A report as one HTML page that needs nothing from anywhere: send it, print it, open it offline.

No script is in it, and nobody's name. Colours follow the reader's light or dark setting: the charts
take theirs from the page's own variables.
"""

from html import escape
from pathlib import Path
from typing import Any

import pygal
from pygal.style import Style

from trackstack.core import prices
from trackstack.core.adoption import (
    GB,
    HOW_CI_IS_KNOWN,
    HOW_PEOPLE_ARE_KNOWN,
    Report,
    Week,
    amount_stored,
    monthly_usd,
    share,
)
from trackstack.core.cost_report import amount
from trackstack.embedded import charts
from trackstack.embedded.errors import UsageError

_STYLE = Style(
    background="transparent",
    plot_background="transparent",
    foreground="var(--soft)",
    foreground_strong="var(--text)",
    foreground_subtle="var(--line)",
    guide_stroke_color="var(--line)",
    major_guide_stroke_color="var(--line)",
    font_family="inherit",
    label_font_size=13,
    major_label_font_size=13,
    legend_font_size=14,
    no_data_font_size=18,
    opacity="1",
    stroke_opacity="1",
    colors=("var(--first)", "var(--second)"),
)
_LABELS = 8
"""Weeks that are named below a chart."""
_CSS = """
:root { --page: #f5f6f8; --card: #ffffff; --text: #1b1f24; --soft: #59636e; --line: #dde1e6;
  --first: #3f6ad8; --second: #e0913a; --good: #1a7f37; --bad: #c52a34; --wait: #8a6100; }
@media (prefers-color-scheme: dark) { :root { --page: #14171b; --card: #1e2329; --text: #e8ebee;
  --soft: #a0a9b3; --line: #363d45; --first: #7d9cf0; --second: #e8a95c; --good: #57c978;
  --bad: #ff7b80; --wait: #e3b341; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 2rem 1rem 3rem; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 68rem; margin: 0 auto; display: grid; gap: 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.05rem; margin: 0 0 .5rem; }
p { margin: 0; } .soft, footer { color: var(--soft); font-size: .875rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: 1rem 1.2rem; min-width: 0; }
.verdict { border-left: .4rem solid var(--wait); }
.verdict b { color: var(--wait); } .healthy { border-left-color: var(--good); }
.healthy b { color: var(--good); } .unhealthy { border-left-color: var(--bad); }
.unhealthy b { color: var(--bad); }
.figures, .charts { display: grid; gap: 1rem; }
.figures { grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); }
.charts { grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); }
.figures b { display: block; font-size: 1.45rem; font-weight: 650; white-space: nowrap; }
svg { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { padding: .3rem .6rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums; }
th { font-weight: 600; color: var(--soft); font-size: .875rem; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tr:last-child td { border-bottom: 0; }
ul { margin: 0; padding-left: 1.2rem; } li { overflow-wrap: anywhere; }
@media print { body { background: none; padding: 0; } section { break-inside: avoid; } }
"""


def check(file: Path) -> None:
    """UsageError when there is no folder for the page: told before anything is counted."""
    if file.is_dir() or not file.absolute().parent.is_dir():
        raise UsageError(f"{file} can't be written: name a file in a folder that there is.")


def write(file: Path, page: str) -> None:
    """Write the page; UsageError when the place can't be written."""
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file} can't be written: {error.strerror}.") from None


def page(report: Report) -> str:
    """The whole page."""
    verdict = report.health.verdict
    said = report.health.sentence.partition(":")[2].strip()
    title = f"MLflow on {report.stack}"
    made = f"{report.made:%Y-%m-%d %H:%M} UTC, the last {len(report.weeks)} weeks"
    notes = (
        HOW_CI_IS_KNOWN,
        HOW_PEOPLE_ARE_KNOWN,
        _how_stored(report),
        "Weeks begin on Monday, UTC; deleted runs aren't counted.",
    )
    parts = [
        f'<header><h1>{escape(title)}</h1><p class="soft">{made}</p></header>',
        _verdict(verdict, said),
        f'<div class="figures">{"".join(_figures(report))}</div>',
        f'<div class="charts">{"".join(_charts(report))}</div>',
        _table(report),
        _wrong_names(report),
        _strays(report),
        f"<footer><p>{escape(' '.join(notes))}</p></footer>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{_CSS}</style></head><body><main>"
        + "\n".join(part for part in parts if part)
        + "</main></body></html>\n"
    )


def _verdict(verdict: str, said: str) -> str:
    told = f"<p><b>{verdict.capitalize()}.</b> {escape(said[:1].upper() + said[1:])}.</p>"
    return f'<section class="verdict {verdict}">{told}</section>'


def _figures(report: Report) -> list[str]:
    figures = [
        (f"{report.used:,} of {report.experiments:,}", "experiments with runs"),
        (f"{report.runs:,}", "runs"),
        (f"{report.people:,}", "people"),
        (share(report.ci, report.runs) or "none", "of the runs by CI"),
    ]
    if report.stored.weeks:
        cost = amount(monthly_usd(report.stored.now))
        figures.append((amount_stored(report.stored.now), f"of artifacts, ${cost} a month"))
    figures.append((f"{report.stray_runs:,}", "stray runs found"))
    return [
        f'<section><b>{escape(figure)}</b><span class="soft">{escape(what)}</span></section>'
        for figure, what in figures
    ]


def _charts(report: Report) -> list[str]:
    weeks = report.weeks
    runs = _chart(pygal.StackedBar, weeks)
    runs.add("by people", [one.runs - one.ci for one in weeks])
    runs.add("by CI", [one.ci for one in weeks])
    runs.y_labels = _ticks(max(one.runs for one in weeks))
    use = _chart(pygal.Line, weeks, dots_size=4, stroke_style={"width": 3})
    use.add("experiments in use", [one.experiments for one in weeks])
    use.add("people", [one.people for one in weeks])
    use.y_labels = _ticks(max(max(one.experiments, one.people) for one in weeks))
    new = _chart(pygal.Bar, weeks, show_legend=False)
    new.add("new", [one.new for one in weeks])
    new.y_labels = _ticks(max(one.new for one in weeks))
    drawn = [
        _card("Runs a week", runs),
        _card("Experiments and people a week", use),
        _card("New experiments a week", new),
    ]
    if report.stored.weeks:
        sizes = [None if one.stored is None else one.stored / GB for one in weeks]
        stored = _chart(
            pygal.Line,
            weeks,
            fill=True,
            show_legend=False,
            dots_size=3,
            stroke_style={"width": 3},
            min_scale=3,
            max_scale=5,
            value_formatter=lambda gb: f"{gb:,.4g} GB",
        )
        stored.add("stored", sizes)
        pace, later = report.stored.pace, amount(monthly_usd(report.stored.next_year))
        note = f"{amount_stored(pace)} a week; at this pace ${later} a month in a year"
        drawn.append(_card("Artifacts stored", stored, note))
    return drawn


def _chart(kind: Any, weeks: tuple[Week, ...], **more: object) -> Any:
    every = -(-len(weeks) // _LABELS)
    # Counted from the last week, which is the one that people look for.
    labels = [
        one.week[5:] if (len(weeks) - 1 - index) % every == 0 else ""
        for index, one in enumerate(weeks)
    ]
    options: dict[str, object] = {
        "style": _STYLE,
        "js": [],
        "width": 620,
        "height": 320,
        "margin": 6,
        "x_labels": labels,
        "legend_at_bottom": True,
        "legend_box_size": 14,
        "show_y_guides": True,
        "truncate_label": -1,
        "include_x_axis": True,
        "value_formatter": lambda number: f"{number:,.0f}",
        "no_data_text": "nothing yet",
    }
    return kind(**options | more)


def _ticks(most: float) -> list[int]:
    """Whole numbers for the axis, five or six of them, up to the first that covers the most."""
    step = next(
        factor * 10**power
        for power in range(16)
        for factor in (1, 2, 5)
        if factor * 10**power * 5 >= most
    )
    return list(range(0, max(int(-(-most // step)), 1) * step + 1, step))


def _card(title: str, chart: Any, note: str = "") -> str:
    drawn = charts.svg(chart, disable_xml_declaration=True)
    told = f'<p class="soft">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{drawn}{told}</section>"


def _table(report: Report) -> str:
    rows = [
        [
            one.week,
            f"{one.experiments:,}",
            f"{one.new:,}",
            f"{one.runs:,}",
            share(one.ci, one.runs),
            f"{one.people:,}",
            "" if one.stored is None else amount_stored(one.stored),
        ]
        for one in reversed(report.weeks)
    ]
    head = ("week of", "experiments", "new", "runs", "by CI", "people", "stored")
    heading = "".join(f"<th>{name}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        '<section><h2>By week</h2><div class="scroll"><table>'
        f"<thead><tr>{heading}</tr></thead><tbody>{body}</tbody></table></div></section>"
    )


def _wrong_names(report: Report) -> str:
    if not report.standard:
        return ""
    told = "".join(f"<li>{escape(one)}</li>" for one in report.wrong_names.values())
    body = f"<ul>{told}</ul>" if told else "<p>Every experiment keeps it.</p>"
    return f"<section><h2>Naming standard {escape(report.standard)}</h2>{body}</section>"


def _strays(report: Report) -> str:
    if not report.strays:
        return ""
    told = "".join(
        f"<li>{escape(one.path)}: {escape(one.problem or f'{one.runs:,} runs')}</li>"
        for one in report.strays
    )
    return f"<section><h2>Runs that never reached the server</h2><ul>{told}</ul></section>"


def _how_stored(report: Report) -> str:
    if not report.stored.weeks:
        return f"How much is stored is not known: {report.stored.problem}"
    price = prices.price_of("s3.storage")
    return (
        f"Storage is told by {report.stored.source}, and costs ${price.usd} a {price.unit} as S3"
        f" Standard in {prices.REGION} ({price.page}, read {price.read})."
    )
