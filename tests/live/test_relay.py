"""MLflow's own client through the relay: as directly, and without a server from the first line."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.bench.processes import free_port
from tests.client.gateway import Gateway
from tests.client.tracking_server import serving
from tests.client.unrest import unrest
from tests.live.stacks import Stack, clean_environment

SCRIPTS = Path(__file__).parent / "scripts"
SHARED = pytest.mark.xdist_group("stack")
pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]


def client(script: str, *argv: str | Path, cwd: Path, drain: str = "", **environment: str) -> str:
    """What a script printed, run directly or, with a drain, by `trackstack run`."""
    command = [sys.executable, str(SCRIPTS / script), *map(str, argv)]
    if drain:
        run = [sys.executable, "-m", "trackstack.cli", "run", "--drain", drain, "--"]
        command = [*run, *command]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=300,
        env={
            **clean_environment(),
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
            "TRACKSTACK_JOURNAL": str(cwd / "journal"),
            **environment,
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_mlflows_client_behaves_the_same_through_the_relay_as_directly(
    tmp_path: Path, empty_database: Path
) -> None:
    with serving(tmp_path / "server", empty=empty_database) as server:
        told = {"MLFLOW_TRACKING_URI": server.uri}
        found = {}
        for name, drain in (("direct", ""), ("relayed", "60")):
            folder = tmp_path / name
            folder.mkdir()
            into = folder / "found.json"
            client("behaviours.py", name, into, cwd=folder, drain=drain, **told)
            found[name] = json.loads(into.read_text())
    assert len(found["direct"]) > 25
    for behaviour, result in found["direct"].items():
        # NaN is not equal to itself, its text is
        assert json.dumps(found["relayed"][behaviour]) == json.dumps(result), behaviour
    assert not list(tmp_path.glob("*/mlruns")), "a stray store"


def as_it_should_be(found: Mapping[str, Any], ids: Mapping[str, str], ours: bool) -> None:
    assert found["ids"] == {"parent": ids["parent"], "child": ids["child"]}
    assert found["given_ids_taken"] is ours
    expected = {
        "status": ["FINISHED"],
        "nested": True,
        "params": {"a": "1", "b": "x"},
        "point": [1.5, 3, 1700000000000],
        "curve": [0.9 + step / 100 for step in range(5)],
        "datasets": ["grid"],
        "output": [True],
        "files": ["t.json"],
        "model": ["READY", "clf", {"a": "1", "b": "x"}],
        "model_metrics": [["acc", True]],
        "version": ["1", "READY", True],
        "version_run": True,
        "mlmodel": [True, True, True],
        "loads": 3,
        "traces": [["42", 1]],
        "auto": [True, True],
        "auto_model": True,
    }
    assert {key: found[key] for key in expected} == expected


def offline(folder: Path, uri: str) -> dict[str, str]:
    """The ids that a training was given which never saw its server."""
    folder.mkdir()
    printed = client("offline.py", cwd=folder, drain="0", MLFLOW_TRACKING_URI=uri)
    found: dict[str, str] = json.loads(printed.partition("IDS ")[2])
    return found


def synced(folder: Path, **environment: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trackstack.cli", "sync"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**clean_environment(), "TRACKSTACK_JOURNAL": str(folder / "journal"), **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_offline_from_the_first_line_to_the_last_on_a_stock_server(
    tmp_path: Path, empty_database: Path
) -> None:
    port, folder = free_port(), tmp_path / "training"
    uri = f"http://127.0.0.1:{port}"
    ids = offline(folder, uri)
    with serving(tmp_path / "server", port, empty_database):
        synced(folder, MLFLOW_TRACKING_URI=uri)
        printed = client("replayed.py", cwd=folder, MLFLOW_TRACKING_URI=uri)
    as_it_should_be(json.loads(printed.splitlines()[-1]), ids, ours=False)


@SHARED
def test_offline_from_the_first_line_to_the_last_on_our_server(
    dev_stack: Stack, tmp_path: Path
) -> None:
    port, folder = free_port(), tmp_path / "training"
    uri = f"http://127.0.0.1:{port}"
    ids = offline(folder, uri)
    with Gateway(urlsplit(dev_stack.uri).port or 80, port):
        synced(folder, MLFLOW_TRACKING_URI=uri)
    printed = client("replayed.py", cwd=folder, **dev_stack.client_environment)
    as_it_should_be(json.loads(printed.splitlines()[-1]), ids, ours=True)


def test_a_file_above_the_size_that_mlflow_sends_in_parts_arrives_whole(
    tmp_path: Path, empty_database: Path
) -> None:
    """501 MB with the variable by which a client sends parts to whatever server it has."""
    folder, store = tmp_path / "training", tmp_path / "server"
    folder.mkdir()
    parts = {"MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "true"}
    with serving(store, empty=empty_database) as server:
        printed = client(
            "large.py", "501", cwd=folder, drain="120", MLFLOW_TRACKING_URI=server.uri, **parts
        )
    (there,) = store.rglob("large.bin")
    with there.open("rb") as found:
        assert f"SHA {hashlib.file_digest(found, 'sha256').hexdigest()}" in printed
    assert there.stat().st_size == 501 << 20
    there.unlink()


def test_whatever_is_killed_every_acknowledged_point_is_there_once(
    tmp_path: Path, empty_database: Path
) -> None:
    """A short one of what ``make bench BENCH="--only unrest"`` does for minutes."""
    with serving(tmp_path / "server", empty=empty_database) as server:
        tally = unrest(tmp_path, server, seconds=20, seed=3)
    assert tally.whole, tally
    assert set(tally.kills) == {"relay", "training", "server"}
    assert tally.acknowledged > 100
