"""Runs of a real server, counted by week: each once, and only what is new."""

import json
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client.tracking_server import serving
from trackstack.client import report
from trackstack.client.errors import ClientError
from trackstack.client.report import Cache, count, stray_runs
from trackstack.client.server import Server
from trackstack.client.tracking import Tracking
from trackstack.core.adoption import Counted

pytestmark = pytest.mark.xdist_group("tracking-server")

DAY = 86_400_000
START = 1_780_000_000_000


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("mlflow"), empty=empty_database) as found:
        yield found.uri


class Platform:
    """One experiment of its own, what is asked about it, and what was counted."""

    def __init__(self, uri: str, file: Path) -> None:
        self.tracking = Tracking(Server(uri, timeout=60), rest=0)
        self.file = file
        name = uuid.uuid4().hex
        self.id = self.tracking.ask("POST", "experiments/create", {"name": name})["experiment_id"]
        self.asked: list[dict[str, Any]] = []
        search = self.tracking._search

        def noted(path: str, body: Any) -> dict[str, Any]:
            self.asked.append({"path": path, **body})
            return search(path, body)

        self.tracking._search = noted  # type: ignore[method-assign]

    def run(self, start: int, user: str = "ada") -> str:
        tags = [{"key": "mlflow.user", "value": user}]
        body = {"experiment_id": self.id, "start_time": start, "tags": tags}
        return str(self.tracking.ask("POST", "runs/create", body)["run"]["info"]["run_id"])

    def count(self) -> Counted:
        self.asked.clear()
        listed = [one for one in self.tracking.experiments() if one["experiment_id"] == self.id]
        return count(self.tracking, Cache(self.file, self.tracking.uri), listed)[0]

    @property
    def read(self) -> int:
        """Whole pages of runs that were asked for."""
        return sum(
            1 for one in self.asked if one["path"] == "runs/search" and one["max_results"] > 1
        )


@pytest.fixture
def platform(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    monkeypatch.setattr(report, "RUNS_PAGE", 7)
    runs = Tracking.runs
    monkeypatch.setattr(
        Tracking, "runs", lambda self, *args, **more: runs(self, *args, **{"most": 7, **more})
    )
    return Platform(uri, tmp_path / "reports" / "counted.json")


def test_every_run_is_counted_once_in_its_week(platform: Platform) -> None:
    # Bursts, gaps and many in one millisecond: more than a page of each.
    starts = [START + number for number in range(20)] + [START + 40 * DAY] * 17
    starts += [START + 90 * DAY + number * 3_600_000 for number in range(30)]
    for number, start in enumerate(starts):
        platform.run(start, ("ada", "bob", "runner")[number % 3])
    found = platform.count()
    assert found.runs == len(starts)
    weeks = {week: (one.runs, one.ci, len(one.people)) for week, one in found.weeks.items()}
    assert sum(ci for _, ci, _ in weeks.values()) == sum(
        1 for n in range(len(starts)) if n % 3 == 2
    )
    assert sorted(runs for runs, _, _ in weeks.values()) == [17, 20, 30]
    assert {people for _, _, people in weeks.values()} == {2}


def test_the_next_report_reads_what_is_new_alone(platform: Platform) -> None:
    for number in range(30):
        platform.run(START + number * DAY)
    assert platform.count().runs == 30
    assert platform.count().runs == 30
    assert platform.read == 0
    platform.run(START + 29 * DAY)  # in the very millisecond of the last one
    platform.run(START + 31 * DAY)
    assert platform.count().runs == 32
    assert platform.read == 1


@pytest.mark.parametrize("change", ["adopted", "deleted", "both"])
def test_runs_with_an_old_time_and_deleted_ones_are_noticed(
    platform: Platform, change: str
) -> None:
    runs = [platform.run(START + number * DAY) for number in range(10)]
    assert platform.count().runs == 10
    if change in {"adopted", "both"}:
        platform.run(START - 100 * DAY)
    if change in {"deleted", "both"}:
        platform.tracking.ask("POST", "runs/delete", {"run_id": runs[3]})
        platform.tracking.ask("POST", "runs/delete", {"run_id": runs[4]})
    platform.run(START + 20 * DAY)
    found = platform.count()
    assert found.runs == {"adopted": 12, "deleted": 9, "both": 10}[change]
    assert platform.count() == found
    assert platform.read == 0


def test_an_interrupted_report_goes_on_where_it_was(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(60):
        platform.run(START + number * DAY)
    add, left = report.Entry.add, iter(range(40))

    def interrupted(self: report.Entry, run: Any) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        add(self, run)

    monkeypatch.setattr(report.Entry, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        platform.count()
    monkeypatch.setattr(report.Entry, "add", add)
    assert platform.count().runs == 60
    assert platform.read <= 6  # 20 runs of 60


def test_what_was_counted_is_the_owner_s_and_may_be_deleted_or_damaged(platform: Platform) -> None:
    platform.run(START)
    assert platform.count().runs == 1
    assert stat.S_IMODE(platform.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(platform.file.parent.stat().st_mode) == 0o700
    assert [one.name for one in platform.file.parent.iterdir()] == ["counted.json"]
    kept = json.loads(platform.file.read_text())
    for damage in ("", "{", "[]", json.dumps({**kept, "uri": "http://elsewhere"}), '{"format": 1}'):
        platform.file.write_text(damage)
        assert platform.count().runs == 1
    platform.file.unlink()
    assert platform.count().runs == 1


def test_another_experiment_under_the_same_id_is_counted_anew(platform: Platform) -> None:
    platform.run(START)
    platform.count()
    kept = json.loads(platform.file.read_text())
    kept["experiments"][platform.id] |= {"created": 1, "counted": 1}
    for week in kept["experiments"][platform.id]["weeks"].values():
        week["people"] = ["somebody else"]
    platform.file.write_text(json.dumps(kept))
    assert [one.people for one in platform.count().weeks.values()] == [{"ada"}]


def test_a_server_is_given_a_rest_as_long_as_each_answer(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[float] = []
    monkeypatch.setattr("trackstack.client.tracking.time.sleep", rests.append)
    now: Callable[[], float] = iter([0.0, 0.25, 10.0, 40.0]).__next__
    monkeypatch.setattr("trackstack.client.tracking.time.monotonic", now)
    tracking = Tracking(Server(uri, timeout=60))
    tracking.runs("0")
    tracking.runs("0")
    assert rests == [0.25, 5.0]


def test_stray_runs_are_those_in_local_stores(tmp_path: Path) -> None:
    run = tmp_path / "work" / "mlruns" / "1" / ("a" * 32)
    run.mkdir(parents=True)
    (run.parent / "meta.yaml").write_text("artifact_location: x\nexperiment_id: '1'\n")
    (run / "meta.yaml").write_text("run_id: x\n")
    found, whole = stray_runs(tmp_path)
    assert [(one.path, one.runs) for one in found] == [(str(tmp_path / "work" / "mlruns"), 1)]
    assert whole
    with pytest.raises(ClientError, match="is no folder to look for stray runs in"):
        stray_runs(tmp_path / "nowhere")
