"""The report's page: self-contained, readable, and clean in a real browser."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.live.test_browser import ARGUMENTS, chromium
from trackstack.core.adoption import Counted, Report, Stored, StrayRuns, Tally, report_of, week_of
from trackstack.core.naming import Standard
from trackstack.embedded import report_page
from trackstack.embedded.errors import UsageError

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
TRICKY = '<img src=x onerror="alert(1)">'


def ago(days: float) -> float:
    return (NOW - timedelta(days=days)).timestamp() * 1000


def made(experiments: int = 12, **more: Any) -> Report:
    counted = [Counted("Default", ago(80), {})]
    for number in range(experiments):
        weeks = {week_of(ago(7 * back)): Tally(9 + number, 3, {"ada"}) for back in range(10)}
        counted.append(Counted(f"team-model{number}/v1", ago(70), weeks))
    counted.append(Counted(TRICKY, ago(5), {}))
    given: dict[str, Any] = {
        "stored": Stored({week_of(ago(7 * back)): (11 - back) * 1e9 for back in range(10)}, "test"),
        "strays": ([StrayRuns(f"work/{TRICKY}", 12)], True),
        "standard": Standard("{team}-{model}/v{model_version}"),
        "now": NOW,
        "weeks": 12,
    }
    return report_of("prod", counted, **given | more)


def test_the_page_needs_nothing_from_anywhere_and_runs_nothing() -> None:
    page = report_page.page(made())
    assert "<script" not in page
    assert not re.findall(r"""(?:href|src)\s*=\s*["'](?!#)|@import|url\(\s*["']?http""", page)
    assert TRICKY not in page
    assert "&lt;img" in page
    assert "ada" not in re.sub(r"[a-z]ada|ada[a-z]", "", page)


@pytest.mark.parametrize("report", [made(0, stored=Stored(problem="no."), weeks=1), made(0)])
def test_a_platform_that_nobody_uses_has_a_page_too(report: Report) -> None:
    page = report_page.page(report)
    assert "Unhealthy." in page
    assert "0 of 2" in page


@pytest.mark.parametrize(
    ("most", "ticks"),
    [
        (0, [0, 1]),
        (3, [0, 1, 2, 3]),
        (13, [0, 5, 10, 15]),
        (446, [0, 100, 200, 300, 400, 500]),
        (100_000, [0, 20_000, 40_000, 60_000, 80_000, 100_000]),
    ],
)
def test_counts_are_whole_on_the_axis(most: float, ticks: list[int]) -> None:
    assert report_page._ticks(most) == ticks


def test_a_page_that_can_t_be_written_is_told_before_anything_is_counted(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere" / "page.html"):
        with pytest.raises(UsageError, match="can't be written: name a file in a folder"):
            report_page.check(place)
    report_page.check(tmp_path / "page.html")


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (1200, "dark"), (390, "light")])
def test_a_browser_shows_it_whole(tmp_path: Path, width: int, scheme: str) -> None:
    program = chromium()
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    file = tmp_path / "page.html"
    report_page.write(file, report_page.page(made()))
    told: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=list(ARGUMENTS), headless=True
        )
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("request", lambda one: told.append(one.url))
        page.on("console", lambda line: told.append(line.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.goto(file.as_uri())
        seen = page.evaluate(
            """() => ({
                wide: document.documentElement.scrollWidth,
                bars: document.querySelectorAll("svg .bar rect.rect").length,
                drawn: [...document.querySelectorAll("svg")].map(
                    one => one.getBoundingClientRect().height > 100),
                fill: getComputedStyle(document.querySelector("svg .bar rect.rect")).fill,
                behind: getComputedStyle(document.body).backgroundColor,
                text: document.body.innerText,
            })"""
        )
        page.screenshot(path=tmp_path / "page.png", full_page=True)
        browser.close()
    assert told == [file.as_uri()]
    assert seen["wide"] == width, "no scrolling to the side"
    assert seen["drawn"] == [True] * 4
    assert seen["bars"] >= 20
    dark = scheme == "dark"
    assert seen["fill"] == ("rgb(125, 156, 240)" if dark else "rgb(63, 106, 216)")
    assert seen["behind"] == ("rgb(20, 23, 27)" if dark else "rgb(245, 246, 248)")
    for text in ("Healthy.", "12 of 14", "11.0 GB", "$0.25 a month", "By week", "2026-11-16"):
        assert text in seen["text"], text
