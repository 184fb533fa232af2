"""Stray stores, made by MLflow itself where it still makes them, found without being touched."""

import datetime as dt
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.live.stacks import clean_environment
from trackstack.client.strays import Contents, find_strays

MAKE = """
import sys
import mlflow
from mlflow import MlflowClient
for uri in sys.argv[1:]:
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("churn")
    for number in range(3):
        with mlflow.start_run():
            mlflow.log_param("n", number)
            mlflow.log_metric("loss", 1.0)
            mlflow.log_text("hello", "note.txt")
    client = MlflowClient()
    gone = client.create_experiment("gone")
    client.delete_run(client.create_run(gone).info.run_id)
    client.delete_experiment(gone)
    client.create_registered_model("churn-model")
    client.create_logged_model(client.get_experiment_by_name("churn").experiment_id)
    MlflowClient(uri + "-empty").search_experiments()
"""
HOLDS = Contents(experiments=2, runs=4, models=1, registered_models=1, traces=0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with stores of each kind, one with runs and one without."""
    folder = tmp_path_factory.mktemp("made")
    subprocess.run(
        [sys.executable, "-c", MAKE, f"sqlite:///{folder}/mlflow.db", f"file:{folder}/mlruns"],
        check=True,
        cwd=folder,
        env={**clean_environment(), "MLFLOW_ALLOW_FILE_STORE": "true"},
    )
    return folder


@pytest.fixture
def tree(made: Path, tmp_path: Path) -> Path:
    """The same, for a test to spoil."""
    return Path(shutil.copytree(made, tmp_path / "tree"))


def everything(folder: Path) -> list[tuple[str, int, int]]:
    """Every name with size and time of change, folders included."""
    found = [folder, *folder.rglob("*")]
    return sorted((str(one), one.stat().st_size, one.stat().st_mtime_ns) for one in found)


def test_both_kinds_are_found_with_what_they_hold(made: Path) -> None:
    before = everything(made)
    found = find_strays(made)
    assert found.whole
    assert {
        (one.path.relative_to(made).as_posix(), one.kind): one.holds for one in found.strays
    } == {
        ("mlflow.db", "sqlite"): HOLDS,
        ("mlruns", "files"): HOLDS,
        ("mlruns-empty", "files"): Contents(),
        # Its name ends in no database's way, so the next test asks for it by its path.
    }
    now = dt.datetime.now(dt.UTC)
    for one in found.strays:
        assert now - dt.timedelta(minutes=10) < one.written <= now
    assert [one.path.name for one in found.strays if one.empty] == ["mlruns-empty"]
    assert everything(made) == before  # nothing written, no file of SQLite's left behind


def test_a_store_can_be_named_itself(made: Path) -> None:
    (database,) = find_strays(made / "mlflow.db").strays
    (files,) = find_strays(made / "mlruns").strays
    (empty,) = find_strays(made / "mlflow.db-empty").strays
    assert (database.holds, files.holds, empty.empty) == (HOLDS, HOLDS, True)
    assert find_strays(made / "not-there").strays == ()


def test_a_metrics_next_point_counts_as_written(tree: Path) -> None:
    for one in sorted(tree.rglob("*"), reverse=True):
        os.utime(one, (1e9, 1e9))
    point = next(tree.glob("mlruns/*/*/metrics/loss"))
    os.utime(point, (1.7e9, 1.7e9))
    (files,) = find_strays(tree / "mlruns").strays
    assert files.written == dt.datetime.fromtimestamp(1.7e9, dt.UTC)


def test_a_database_with_a_write_ahead_log_is_left_without_one(tree: Path) -> None:
    with sqlite3.connect(tree / "mlflow.db") as connection:
        connection.execute("PRAGMA journal_mode=wal")
    connection.close()
    before = everything(tree)
    (found,) = find_strays(tree / "mlflow.db").strays
    assert found.holds == HOLDS
    assert everything(tree) == before


def test_what_a_running_writer_has_in_its_log_is_counted(tree: Path) -> None:
    writer = sqlite3.connect(tree / "mlflow.db")
    writer.execute("PRAGMA journal_mode=wal")
    (columns,) = [[row[1] for row in writer.execute("PRAGMA table_info(runs)")]]
    rest = ", ".join(columns[1:])
    writer.execute(
        f"INSERT INTO runs ({columns[0]}, {rest}) SELECT 'new', {rest} FROM runs LIMIT 1"
    )
    writer.commit()
    (found,) = find_strays(tree / "mlflow.db").strays
    writer.close()
    assert found.holds.runs == HOLDS.runs + 1


def test_a_writer_that_never_ends_is_not_waited_for(tree: Path) -> None:
    writer = sqlite3.connect(tree / "mlflow.db", isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    start = time.monotonic()
    (found,) = find_strays(tree / "mlflow.db").strays
    writer.close()
    assert found.holds == HOLDS
    assert time.monotonic() - start < 10


def test_a_schema_from_before_models_and_traces_is_counted(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "tracking.sqlite") as connection:
        connection.executescript("""
            CREATE TABLE experiments (experiment_id INTEGER, name TEXT);
            CREATE TABLE runs (run_uuid TEXT, experiment_id INTEGER);
            CREATE TABLE metrics (run_uuid TEXT); CREATE TABLE params (run_uuid TEXT);
            INSERT INTO experiments VALUES (0, 'Default');
            INSERT INTO runs VALUES ('a', 0);
        """)
    connection.close()
    (found,) = find_strays(tmp_path).strays
    assert found.holds == Contents(experiments=1, runs=1)


def test_other_peoples_databases_and_folders_are_left_out(tree: Path) -> None:
    with sqlite3.connect(tree / "shop.db") as connection:
        connection.execute("CREATE TABLE runs (id)")
    connection.close()
    (tree / "notes.db").write_text("no database at all")
    os.mkfifo(tree / "pipe.db")
    for skipped in (".git", ".venv", "node_modules", "site-packages", "env"):
        shutil.copytree(tree / "mlruns", tree / skipped / "mlruns")
    (tree / "env" / "pyvenv.cfg").touch()
    found = find_strays(tree).strays
    assert [one.path.name for one in found] == ["mlflow.db", "mlruns", "mlruns-empty"]


def test_artifacts_beside_a_database_are_no_store(tmp_path: Path) -> None:
    file = tmp_path / "mlruns" / "0" / ("a" * 32) / "artifacts" / "meta.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("experiment_id: 1\nartifact_location: x\n")
    assert find_strays(tmp_path).strays == ()


def test_links_lead_nowhere(tree: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    for name in ("mlruns", "mlflow.db"):
        (project / name).symlink_to(tree / name)
    (project / "loop").symlink_to(project)
    assert find_strays(project).strays == ()


def test_a_broken_mlflow_database_is_named_not_passed_over(tree: Path) -> None:
    whole = (tree / "mlflow.db").read_bytes()
    (tree / "mlflow.db").write_bytes(whole[:100] + b"\xff" * 4000)
    (found,) = find_strays(tree / "mlflow.db").strays
    assert found.problem
    assert not found.empty


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_one_too(tree: Path) -> None:
    (tree / "mlflow.db").chmod(0)
    (found,) = find_strays(tree / "mlflow.db").strays
    (tree / "mlflow.db").chmod(stat.S_IRUSR)
    assert found.problem == "Permission denied"


def test_a_read_only_folder_is_no_obstacle(tree: Path) -> None:
    tree.chmod(0o500)
    (found,) = find_strays(tree / "mlflow.db").strays
    tree.chmod(0o700)
    assert found.holds == HOLDS


def test_the_search_ends_and_says_that_it_did_not_see_all(tree: Path) -> None:
    assert find_strays(tree, entries=3) == find_strays(tree, entries=3)
    assert not find_strays(tree, entries=3).whole
