"""What lies on the machine that trains: stray stores, and SQLite where it must not be."""

import sqlite3
import sys
from pathlib import Path

import psutil
import pytest

from tests.client.doctor.planted import Client


def store(file: Path, runs: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(file) as connection:
        connection.executescript("""
            CREATE TABLE experiments (experiment_id INTEGER, name TEXT);
            CREATE TABLE runs (run_uuid TEXT, experiment_id INTEGER);
            CREATE TABLE metrics (run_uuid TEXT); CREATE TABLE params (run_uuid TEXT);
            INSERT INTO experiments VALUES (0, 'Default');
        """)
        connection.executemany("INSERT INTO runs VALUES (?, 0)", [(str(n),) for n in range(runs)])
    connection.close()


def test_a_stray_is_an_error_with_its_runs_and_the_command_that_brings_them_in(
    client: Client,
) -> None:
    file = client.folder / "notebooks" / "mlflow.db"
    store(file, runs=3)
    assert client.ill() == {"strays": "error"}
    found = client.finding("strays")
    assert f"{file} holds 1 experiment, 3 runs that the server doesn't have" in found.sentence
    assert found.command == f"trackstack adopt --delete {file}"


def test_an_empty_store_is_removed_by_the_printed_line(client: Client) -> None:
    store(client.folder / "my runs" / "mlflow.db", runs=0)
    assert client.ill() == {"strays": "warning"}
    client.type(client.finding("strays").command)
    assert client.ill() == {}


@pytest.mark.skipif(sys.platform != "linux", reason="the mount table is Linux's")
def test_sqlite_on_a_network_file_system(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(client.folder / "mlflow.db", runs=1)
    proc = tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "filesystems").write_text("nodev\tnfs4\n")
    (proc / "self" / "mounts").write_text(f"nas:/home {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(proc))
    monkeypatch.setattr("trackstack.client.doctor.local.local_servers", list)  # asks /proc, too
    found = client.finding("file system")
    assert (found.level, found.command) == (
        "warning",
        f"trackstack adopt --delete {client.folder}/mlflow.db",
    )
    assert "is a SQLite file on nfs4" in found.sentence
    client.environment["MLFLOW_TRACKING_URI"] = "sqlite:///mlflow.db"
    found = client.finding("file system")
    assert (found.level, found.command) == ("error", 'eval "$(trackstack env)"')


def test_a_local_sqlite_file_is_no_fault_of_the_file_system(client: Client) -> None:
    store(client.folder / "mlflow.db", runs=1)
    assert client.finding("file system").level == "ok"
