from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from trackstack.core import prices
from trackstack.core.adoption import (
    Counted,
    Stored,
    StrayRuns,
    Tally,
    health_of,
    is_ci,
    report_of,
    week_of,
    weeks_of,
)
from trackstack.core.naming import Standard

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = 86_400_000


def ago(days: float) -> float:
    return (NOW - timedelta(days=days)).timestamp() * 1000


def used(name: str, days: float) -> Counted:
    return Counted(name, ago(days), {week_of(ago(days)): Tally(1, 0, {"ada"})})


def test_a_week_is_named_by_its_monday() -> None:
    sunday = datetime(2026, 11, 22, 23, 59, tzinfo=UTC).timestamp() * 1000
    assert week_of(sunday) == "2026-11-16"
    assert week_of(sunday + 60_000) == "2026-11-23"


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"trackstack.ci": "github", "mlflow.user": "ada"}, True),
        ({"mlflow.source.type": "JOB"}, True),
        ({"mlflow.user": "gitlab-runner"}, True),
        ({"mlflow.user": "ada", "mlflow.source.type": "LOCAL"}, False),
        ({}, False),
    ],
)
def test_a_ci_job_is_known_by_mlflow_s_own_tags(tags: dict[str, str], expected: bool) -> None:
    assert is_ci(tags) is expected


def test_people_are_those_whose_runs_are_not_ci_s() -> None:
    tally = Tally()
    for user in ("ada", "runner", "ada", "bob", ""):
        tally.add({"mlflow.user": user} if user else {})
    tally.add({}, "cyd")  # an old client tells it in the run itself
    assert (tally.runs, tally.ci, tally.people) == (6, 1, {"ada", "bob", "cyd"})


@pytest.mark.parametrize(
    ("age", "made", "verdict"),
    [
        (100, [(80, 10)], "healthy"),
        (100, [(80, 9)], "unhealthy"),
        (100, [(80, 9), (69, 5)], "unhealthy"),  # too late
        (20, [(10, 9)], "open"),
        (20, [(10, 10)], "healthy"),
    ],
)
def test_ten_used_experiments_in_the_first_month_are_healthy(
    age: float, made: list[tuple[float, int]], verdict: str
) -> None:
    counted = [Counted("Default", ago(age), {})]
    counted += [Counted("declared only", ago(age - 1), {}) for _ in range(20)]
    counted += [used(f"{days}-{number}", days) for days, many in made for number in range(many)]
    found = health_of(counted, NOW)
    assert found.verdict == verdict
    assert found.sentence.startswith(f"{verdict}: ")
    assert found.days_left == (11 if age == 20 else 0)


def test_a_new_platform_has_its_whole_month_before_it() -> None:
    assert health_of([], NOW).verdict == "open"
    assert health_of([], NOW).days_left == 31


def test_weeks_have_no_gap_and_end_with_this_one() -> None:
    counted = [used("a", 40), used("b", 12), used("c", 12)]
    found = weeks_of(counted, Stored({week_of(ago(30)): 5.0, week_of(ago(5)): 7.0}), NOW, 26)
    assert [one.week for one in found] == [
        *("2026-10-12", "2026-10-19", "2026-10-26", "2026-11-02", "2026-11-09", "2026-11-16"),
    ]
    assert [one.runs for one in found] == [1, 0, 0, 0, 2, 0]
    assert [one.experiments for one in found] == [1, 0, 0, 0, 2, 0]
    assert [one.people for one in found] == [1, 0, 0, 0, 1, 0]
    assert [one.new for one in found] == [1, 0, 0, 0, 2, 0]
    assert [one.stored for one in found] == [None, 5, 5, 5, 5, 7]
    assert [one.week for one in weeks_of(counted, Stored(), NOW, 2)] == ["2026-11-09", "2026-11-16"]


def test_storage_costs_what_s3_takes_and_grows_as_in_the_last_weeks() -> None:
    weeks = {week_of(ago(7 * back)): (10 - back) * 1e9 for back in range(8)}
    stored = Stored(weeks)
    assert stored.pace == 1e9
    told = report_of(
        "prod", [], stored=stored, strays=([], True), standard=None, now=NOW, weeks=4
    ).to_json()["storage"]
    usd = prices.PRICES["s3.storage"].usd
    assert told["usdAMonth"] == pytest.approx(10 * usd)
    assert told["usdAMonthInAYear"] == pytest.approx(62 * usd)


def test_a_report_for_scripts_names_nobody_but_what_is_wrong() -> None:
    counted: list[Any] = [Counted("Default", ago(50), {}), used("v1", 45), used("latest", 3)]
    told = report_of(
        "prod",
        counted,
        stored=Stored(problem="no."),
        strays=([StrayRuns("mlruns", 3), StrayRuns("mlflow.db", 4)], True),
        standard=Standard("v{model_version}"),
        now=NOW,
        weeks=12,
    ).to_json()
    assert "ada" not in str(told)
    assert (told["experiments"], told["experimentsUsed"], told["runs"]) == (3, 2, 2)
    assert told["strayRuns"] == 7
    assert list(told["breaksStandard"]) == ["latest"]
    assert told["healthy"] is False
    assert told["storage"]["bytes"] is None
    assert told["storage"]["problem"] == "no."
