"""What was deleted long ago is gone for good, with its artifacts; nothing else is touched."""

import http.client
import time
from pathlib import Path
from typing import Any

import pytest

from trackstack.server.collect import _Each, _Outcome, artifact_place

DAY_MS = 24 * 60 * 60 * 1000
DAYS = 30
API = "/api/2.0/mlflow"


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("mlflow-artifacts:/1/abc/artifacts", "s3://bucket/runs/1/abc/artifacts"),
        ("mlflow-artifacts://mlflow.example.com/1/abc", "s3://bucket/runs/1/abc"),
        ("mlflow-artifacts:/../../elsewhere", "s3://bucket/runs/elsewhere"),
    ],
)
def test_an_address_of_the_server_leads_below_the_destination_and_nowhere_else(
    uri: str, place: str
) -> None:
    assert artifact_place("s3://bucket/runs", uri) == place


def test_what_fails_stops_nothing_else_and_is_told() -> None:
    def remove(item: str) -> None:
        if item == "b":
            raise OSError("no such bucket.\nA hint.")

    outcome = _Outcome()
    each = _Each(outcome, time.monotonic() + 60)
    each.do("run", "abc", remove)
    each.do("model", "", remove)
    each.do("experiment", "e", remove)
    assert outcome.sentence(30) == (
        "Removed 2 runs, 0 models and 1 experiment deleted 30 days ago or earlier;"
        " 1 could not be removed, the first because of run b: no such bucket."
    )


def test_what_the_time_is_too_short_for_waits_for_the_next_night() -> None:
    outcome = _Outcome()
    _Each(outcome, time.monotonic() - 1).do("run", "abc", lambda _: None)
    assert (outcome.removed, outcome.left) == ({"run": 0}, 3)


class Tracked:
    """A real server with artifacts in a folder, and what the tests do with it."""

    def __init__(self, server: Any, database: Any, artifacts: Path) -> None:
        self.server, self.database, self.artifacts = server, database, artifacts

    def post(self, path: str, **body: object) -> dict[str, Any]:
        status, told = self.server.request("POST", f"{API}/{path}", body)
        assert status == 200, told
        return dict(told)

    def experiment(self, name: str) -> str:
        return str(self.post("experiments/create", name=name)["experiment_id"])

    def run(self, experiment: str) -> str:
        """A run with a metric and an artifact, which came through the server."""
        told = self.post("runs/create", experiment_id=experiment, start_time=1)["run"]["info"]
        run = str(told["run_id"])
        self.post("runs/log-metric", run_id=run, key="loss", value=1.0, timestamp=1)
        assert told["artifact_uri"] == f"mlflow-artifacts:/{experiment}/{run}/artifacts"
        self.put(f"{experiment}/{run}/artifacts/model.bin")
        assert self.holds(experiment, run)
        return run

    def put(self, path: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        connection.request("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{path}", b"weights")
        assert connection.getresponse().status == 200
        connection.close()

    def delete_run(self, run: str, days: int) -> None:
        self.post("runs/delete", run_id=run)
        self.database.query(
            "UPDATE runs SET deleted_time = %s WHERE run_uuid = %s", self.ago(days), run
        )

    def delete_experiment(self, experiment: str, days: int) -> None:
        self.post("experiments/delete", experiment_id=experiment)
        self.database.query(
            "UPDATE experiments SET last_update_time = %s WHERE experiment_id = %s",
            self.ago(days),
            int(experiment),
        )
        self.database.query(
            "UPDATE runs SET deleted_time = %s WHERE experiment_id = %s",
            self.ago(days),
            int(experiment),
        )

    @staticmethod
    def ago(days: int) -> int:
        return round(time.time() * 1000) - days * DAY_MS - 60_000

    def runs(self) -> set[str]:
        return {row[0] for row in self.database.query("SELECT run_uuid FROM runs")}

    def holds(self, experiment: str, run: str) -> bool:
        return (self.artifacts / experiment / run / "artifacts" / "model.bin").exists()


@pytest.fixture
def tracked(start: Any, migrated: Any, tmp_path: Path) -> Tracked:
    server = start("serve", migrated.environment())
    server.wait_until_healthy()
    return Tracked(server, migrated, tmp_path / "artifacts")


@pytest.fixture
def collect(start: Any, tmp_path: Path) -> Any:
    def run(database: Any, **more: str) -> tuple[int, str, str]:
        environment = {
            **database.environment(),
            "MLFLOW_ARTIFACTS_DESTINATION": str(tmp_path / "artifacts"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PGPASSFILE": str(tmp_path / "collect-pgpass"),
            "TRACKSTACK_DELETED_RUNS_DAYS": str(DAYS),
            **more,
        }
        code, out, err = start("collect", environment).finish(120)
        return code, out, err

    return run


@pytest.mark.live
def test_runs_deleted_long_ago_are_gone_with_their_artifacts_and_nothing_else(
    tracked: Tracked, collect: Any
) -> None:
    experiment = tracked.experiment("kept")
    old, fresh, kept = (tracked.run(experiment) for _ in range(3))
    tracked.delete_run(old, DAYS)
    tracked.delete_run(fresh, DAYS - 1)
    code, out, err = collect(tracked.database)
    assert (code, out) == (
        0,
        "Removed 1 run, 0 models and 0 experiments deleted 30 days ago or earlier.\n",
    ), err
    assert tracked.runs() == {fresh, kept}
    assert not tracked.holds(experiment, old)
    assert tracked.holds(experiment, fresh)
    assert tracked.holds(experiment, kept)
    metrics = {row[0] for row in tracked.database.query("SELECT run_uuid FROM metrics")}
    assert metrics == {fresh, kept}

    code, out, err = collect(tracked.database)
    assert (code, out.split()[1]) == (0, "0"), err


@pytest.mark.live
def test_an_experiment_deleted_long_ago_leaves_nothing_behind(
    tracked: Tracked, collect: Any
) -> None:
    old, kept = tracked.experiment("old"), tracked.experiment("kept")
    tracked.run(old)
    stays = tracked.run(kept)
    tracked.put(f"{old}/traces/tr-1/artifacts/traces.json")
    tracked.delete_experiment(old, DAYS)
    code, out, err = collect(tracked.database)
    assert code == 0, out + err
    assert out.startswith("Removed 1 run, 0 models and 1 experiment deleted")
    assert tracked.runs() == {stays}
    assert not (tracked.artifacts / old).exists()
    assert tracked.holds(kept, stays)
    names = {row[0] for row in tracked.database.query("SELECT name FROM experiments")}
    assert names == {"Default", "kept"}


@pytest.mark.live
def test_a_run_whose_artifacts_cannot_be_reached_stays_and_the_others_go(
    tracked: Tracked, collect: Any
) -> None:
    experiment = tracked.experiment("mixed")
    stuck, old = tracked.run(experiment), tracked.run(experiment)
    for run in (stuck, old):
        tracked.delete_run(run, DAYS)
    tracked.database.query(
        "UPDATE runs SET artifact_uri = 'nowhere://x' WHERE run_uuid = %s", stuck
    )
    code, out, _ = collect(tracked.database)
    assert code == 1
    assert f"1 could not be removed, the first because of run {stuck}:" in out
    assert tracked.runs() == {stuck}


@pytest.mark.live
def test_a_database_of_another_schema_is_left_alone(migrated: Any, collect: Any) -> None:
    migrated.query("UPDATE alembic_version SET version_num = '451aebb31d03'")
    code, out, err = collect(migrated)
    assert (code, out) == (4, "")
    assert err.startswith("The database's schema is at revision 451aebb31d03 and this image needs")
    assert migrated.revision() == "451aebb31d03"


@pytest.mark.live
def test_a_collection_without_a_number_of_days_removes_nothing(migrated: Any, collect: Any) -> None:
    code, _, err = collect(migrated, TRACKSTACK_DELETED_RUNS_DAYS="")
    assert code == 2
    assert err == (
        "collect can't start with this environment: it lacks TRACKSTACK_DELETED_RUNS_DAYS.\n"
    )
