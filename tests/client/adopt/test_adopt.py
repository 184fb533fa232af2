"""Stray runs move whole, once, and what they came from is left as it was."""

import contextlib
import json
import math
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import ViewType

from tests.client.adopt.conftest import (
    Store,
    adopt,
    start_adopt,
    wait_until,
)
from tests.client.tracking_server import QUIET, TrackingServer
from tests.live.stacks import ROOT, clean_environment

pytestmark = pytest.mark.live
KINDS = ("files", "sqlite", "files of 2.16", "sqlite of 2.16")
LARGEST = sys.float_info.max


def _ids(told: Any) -> dict[str, str]:
    return {run["id"]: run["id_there"] for one in told["experiments"] for run in one["runs"]}


def _all_runs(client: Any) -> list[Any]:
    numbers = [one.experiment_id for one in client.search_experiments(view_type=ViewType.ALL)]
    return list(client.search_runs(numbers, run_view_type=ViewType.ALL, max_results=1000))


@pytest.mark.parametrize("kind", KINDS)
def test_everything_in_a_store_arrives_and_the_store_is_not_touched(
    server: TrackingServer, store: Callable[[str], Store], kind: str, tmp_path: Path
) -> None:
    stray = store(kind)
    before = stray.traces()
    told = adopt(server.uri, stray.path)
    assert stray.traces() == before
    assert (told["verified"], told["removed"], told["left"]) == (True, False, [])

    ids, client = _ids(told), server.client()
    runs = {name: client.get_run(ids[run_id]) for name, run_id in stray.runs.items()}
    assert len(_all_runs(client)) == len(runs) == 7

    experiment = client.get_experiment_by_name("fraud")
    assert experiment.tags["team"] == "risk"
    first = runs["run-0"]
    assert (first.info.user_id, first.info.run_name) == ("ada", "run-0")
    assert (first.info.status, runs["run-1"].info.status) == ("FINISHED", "FAILED")
    begun = first.info.start_time
    assert runs["run-1"].info.start_time == begun + 1
    assert first.info.end_time == begun + 9
    assert first.data.params == {
        **{f"p{number:03}": f"value {number}" for number in range(100)},
        **{f"q{number:03}": f"value {number}" for number in range(50)},
    }
    tags = {key: value for key, value in first.data.tags.items() if key.startswith(("t/", "u/"))}
    assert tags == {
        **{f"t/{number:03}": "line one\nline two ü" for number in range(100)},
        **{f"u/{number:03}": "1" for number in range(50)},
    }
    for run in (first, runs["run-2"]):
        history = client.get_metric_history(run.info.run_id, "loss")
        points = sorted((one.step, one.timestamp - begun, one.value) for one in history)
        late = run.info.start_time - begun
        assert points == [
            (step, step, 1 / (step + 1)) if late >= 0 else None for step in range(2500)
        ]
    odd = {
        one.step: one.value
        for one in client.get_metric_history(ids[stray.runs["run-0"]], "odd/values")
    }
    assert math.isnan(odd.pop(0))
    assert odd == {1: LARGEST, 2: -LARGEST, 3: 0.0, 4: 1e-300, 5: 0.1}  # databases know no infinity

    parent, child = runs["parent"], runs["child"]
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.params == {"depth": "7"}
    (accuracy,) = client.get_metric_history(child.info.run_id, "accuracy")
    assert (accuracy.step, accuracy.value) == (3, 0.5)
    (used,) = parent.inputs.dataset_inputs
    assert used.dataset.name == "transactions"
    assert [(tag.key, tag.value) for tag in used.tags] == [("mlflow.data.context", "training")]
    fetched = Path(
        mlflow.artifacts.download_artifacts(
            run_id=parent.info.run_id, dst_path=str(tmp_path), tracking_uri=server.uri
        )
    )
    assert (fetched / "notes" / "today.txt").read_text() == "notes\n"
    assert (fetched / "empty.txt").read_bytes() == b""

    lifecycle = {name: run.info.lifecycle_stage for name, run in runs.items()}
    assert {name for name, stage in lifecycle.items() if stage == "deleted"} == {
        "deleted",
        "in-deleted",
    }
    assert client.get_experiment_by_name("abandoned").lifecycle_stage == "deleted"

    registered = client.get_registered_model("ada's greeter")
    assert registered.description == "says hello"
    version = client.get_model_version_by_alias("ada's greeter", "prod")
    assert version.run_id == parent.info.run_id
    assert version.tags["checked"] == "yes"


@pytest.mark.parametrize("kind", ["files", "sqlite"])
def test_a_logged_model_arrives_with_its_links_and_can_be_loaded(
    server: TrackingServer,
    store: Callable[[str], Store],
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stray = store(kind)
    told = adopt(server.uri, stray.path)
    client = server.client()
    (row,) = told["experiments"][0]["models"]
    assert (row["id"], row["verified"]) == (stray.made["model"], True)
    parent = client.get_run(_ids(told)[stray.runs["parent"]])
    model = client.get_logged_model(row["id_there"])
    assert model.source_run_id == parent.info.run_id
    assert str(model.status) == "READY"
    assert [one.model_id for one in parent.outputs.model_outputs] == [model.model_id]
    (metric,) = model.metrics
    assert (metric.key, metric.value, metric.step, metric.run_id) == (
        "score",
        0.25,
        7,
        parent.info.run_id,
    )
    version = client.get_model_version_by_alias("ada's greeter", "prod")
    assert version.source == f"models:/{model.model_id}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    place = "models:/ada's greeter@prod"
    script = f"import mlflow; print(mlflow.pyfunc.load_model({place!r}).predict(['you']))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env=clean_environment() | QUIET | {"MLFLOW_TRACKING_URI": server.uri},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1:] == ["['hello you']"], done.stderr


def test_what_was_moved_is_not_moved_again_not_even_from_a_copy(
    server: TrackingServer, store: Callable[[str], Store], tmp_path: Path
) -> None:
    stray = store("sqlite")
    first = adopt(server.uri, stray.path)
    moved = stray.path.rename(tmp_path / "elsewhere")
    again = adopt(server.uri, moved, "--experiment-prefix", "other/")
    assert _ids(again) == _ids(first)
    assert {run["what"] for one in again["experiments"] for run in one["runs"]} == {"there"}
    assert again["registered_models"] == {"models": 1, "versions_moved": 0, "versions_there": 1}
    assert len(_all_runs(server.client())) == 7
    assert len(server.client().search_model_versions('name = "ada\'s greeter"')) == 1


def test_a_run_that_went_on_is_completed(
    server: TrackingServer, store: Callable[[str], Store]
) -> None:
    stray = store("files")
    adopt(server.uri, stray.path)
    run_id = stray.runs["run-1"]
    (folder,) = stray.path.glob(f"mlruns/*/{run_id}")
    with (folder / "metrics" / "loss").open("a") as file:
        file.write("1700000000000 0.125 2500\n")
    (folder / "artifacts").mkdir(exist_ok=True)
    (folder / "artifacts" / "late.txt").write_text("late")
    told = adopt(server.uri, stray.path)
    rows = {run["id"]: run for one in told["experiments"] for run in one["runs"]}
    assert {run["id"] for run in rows.values() if run["what"] == "completed"} == {run_id}
    client = server.client()
    history = client.get_metric_history(rows[run_id]["id_there"], "loss")
    assert len(history) == 2501
    assert [one.path for one in client.list_artifacts(rows[run_id]["id_there"])] == ["late.txt"]


def test_an_adoption_that_was_killed_goes_on_where_it_stopped(
    server: TrackingServer, store: Callable[[str], Store]
) -> None:
    stray = store("sqlite")
    process = start_adopt(server.uri, stray.path)
    client = server.client()
    wait_until(lambda: _all_runs(client))
    process.kill()
    process.communicate()
    told = adopt(server.uri, stray.path)
    assert told["verified"]
    assert len(_all_runs(client)) == 7
    whats = [run["what"] for one in told["experiments"] for run in one["runs"]]
    assert "completed" in whats


def test_a_server_that_goes_away_is_a_sentence_and_adopting_goes_on_later(
    server: TrackingServer, store: Callable[[str], Store]
) -> None:
    stray = store("files")
    process = start_adopt(server.uri, stray.path)
    client = server.client()
    wait_until(lambda: _all_runs(client))
    server.kill()
    _, said = process.communicate(timeout=120)
    assert process.returncode == 5
    (line,) = [line for line in said.splitlines() if line.startswith("trackstack: ")]
    assert line.startswith(f"trackstack: {server.uri} does not answer: ")
    assert line.endswith("; what was moved stays, and to adopt again goes on from there.")
    assert "Traceback" not in said
    server.start()
    server.wait()
    assert adopt(server.uri, stray.path)["verified"]
    assert len(_all_runs(client)) == 7


@pytest.mark.parametrize("kind", ["files", "sqlite"])
def test_a_store_is_removed_only_when_asked_and_equal(
    server: TrackingServer, store: Callable[[str], Store], kind: str
) -> None:
    stray = store(kind)
    (stray.path / "train.py").write_text("mine")
    told = adopt(server.uri, stray.path, "--delete")
    assert told["kept"] == "that was not confirmed"  # nobody sits at a terminal
    client = server.client()
    client.set_tag(_ids(told)[stray.runs["child"]], "kind", "changed by somebody")
    before = stray.traces()
    told = adopt(server.uri, stray.path, "--delete", "--yes", code=1)
    assert stray.traces() == before
    assert told["kept"] == "not everything in it was moved and verified"
    (row,) = [run for one in told["experiments"] for run in one["runs"] if run["problems"]]
    assert (row["id"], row["problems"]) == (stray.runs["child"], ["tag 'kind' is there alone"])
    client.delete_tag(_ids(told)[stray.runs["child"]], "kind")
    told = adopt(server.uri, stray.path, "--delete", "--yes")
    assert told["removed"]
    assert [one.name for one in stray.path.rglob("*")] == ["train.py"]


def test_a_store_with_what_is_not_moved_is_kept(
    server: TrackingServer, store: Callable[[str], Store]
) -> None:
    stray = store("sqlite")
    script = (
        "import mlflow; mlflow.set_experiment('fraud'); mlflow.start_span_no_context('x').end()"
    )
    uri = f"sqlite:///{stray.path}/mlflow.db"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=stray.path,
        env=clean_environment() | QUIET | {"MLFLOW_TRACKING_URI": uri},
        check=True,
        capture_output=True,
    )
    with contextlib.closing(sqlite3.connect(stray.path / "mlflow.db")) as database, database:
        database.execute("CREATE TABLE of_tomorrow (a)")
        database.execute("INSERT INTO of_tomorrow VALUES (1)")
    told = adopt(server.uri, stray.path, "--delete", "--yes")
    assert (told["left"], told["removed"]) == (["1 traces", "1 rows of of_tomorrow"], False)
    assert told["kept"] == "it holds what isn't moved: 1 traces, 1 rows of of_tomorrow"


def test_a_dry_run_writes_nothing(server: TrackingServer, store: Callable[[str], Store]) -> None:
    stray = store("files")
    told = adopt(server.uri, stray.path, "--dry-run")
    assert {one["name"]: one["to_move"] for one in told["experiments"]} == {
        "fraud": 6,
        "abandoned": 1,
    }
    client = server.client()
    assert [one.name for one in client.search_experiments()] == ["Default"]
    assert client.search_registered_models() == []


def test_the_servers_own_store_is_refused(server: TrackingServer, tmp_path: Path) -> None:
    client = server.client()
    run = client.create_run("0")
    client.set_terminated(run.info.run_id)
    said = adopt(server.uri, server.folder / "mlflow.db", "--delete", "--yes", code=2)
    assert said == (
        f"trackstack: {server.folder}/mlflow.db is the server's own store or a copy of it: its"
        " runs are there under the same ids.\n"
    )
    with sqlite3.connect(server.folder / "mlflow.db") as database:
        assert database.execute("SELECT count(*) FROM runs").fetchone() == (1,)


def test_a_database_with_a_journal_ahead_of_it_is_read_whole_and_left_alone(
    server: TrackingServer, store: Callable[[str], Store]
) -> None:
    stray = store("sqlite")
    writer = sqlite3.connect(stray.path / "mlflow.db")
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("UPDATE params SET value = '8' WHERE key = 'depth'")
    writer.commit()  # lies in mlflow.db-wal
    before = stray.traces()
    told = adopt(server.uri, stray.path)
    client = server.client()
    assert client.get_run(_ids(told)[stray.runs["child"]]).data.params == {"depth": "8"}
    after = [one for one in stray.traces() if not one[0].endswith("-shm")]  # the readers' marks
    assert after == [one for one in before if not one[0].endswith("-shm")]
    writer.close()


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("", 'MLFLOW_TRACKING_URI is not set: eval "$(trackstack env)" sets it.'),
        (
            "file:///tmp/x",
            (
                "MLFLOW_TRACKING_URI is 'file:///tmp/x', which is not an address of a server: it"
                " must begin with http:// or https://."
            ),
        ),
    ],
)
def test_a_wrong_address_is_a_sentence(tmp_path: Path, uri: str, sentence: str) -> None:
    assert adopt(uri, tmp_path, code=2) == f"trackstack: {sentence}\n"


def test_a_path_without_a_store_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "notes.db").write_bytes(b"SQLite format 3\0 and nothing more")
    said = adopt("http://127.0.0.1:9", tmp_path, code=2)
    assert said == (
        f"trackstack: {tmp_path} holds no MLflow store: neither experiments (mlruns) nor a SQLite"
        " file that MLflow wrote (mlflow.db).\n"
    )
    assert adopt("http://127.0.0.1:9", tmp_path / "x", code=2) == (
        f"trackstack: There is no {tmp_path}/x.\n"
    )


def test_a_server_that_was_never_there_is_a_sentence(store: Callable[[str], Store]) -> None:
    said = adopt("http://127.0.0.1:9", store("sqlite").path, code=5)
    assert said.startswith("trackstack: http://127.0.0.1:9 does not answer: ")
    assert len(said.splitlines()) == 1


def test_without_mlflow_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "__init__.py").write_text("raise ImportError(name='mlflow')")
    process = start_adopt(
        "http://127.0.0.1:9", tmp_path, "--json", environment={"PYTHONPATH": str(tmp_path)}
    )
    _, said = process.communicate(timeout=60)
    assert process.returncode == 5
    assert said == (
        "trackstack: Stores are read by MLflow itself, and here is no mlflow: pip install"
        " 'trackstack[mlflow]'.\n"
    )


def test_mlflow_2_16_adopts_too(
    server: TrackingServer,
    store: Callable[[str], Store],
    old_python: Path,
    tmp_path: Path,
) -> None:
    stray = store("sqlite of 2.16")
    script = (
        "import json, sys; from pathlib import Path; from trackstack.client import adopt\n"
        "(told,) = adopt.adopt(Path(sys.argv[1]))\n"
        "print(json.dumps(adopt.as_json(told)))"
    )
    # The package's one dependency that this needs and that environment lacks.
    spec = find_spec("psutil")
    assert spec is not None
    assert spec.origin is not None
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "psutil").symlink_to(Path(spec.origin).parent)
    paths = f"{ROOT}:{tmp_path / 'more'}"
    done = subprocess.run(
        [old_python, "-W", "ignore", "-c", script, stray.path],
        env=clean_environment() | QUIET | {"MLFLOW_TRACKING_URI": server.uri, "PYTHONPATH": paths},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["verified"], told
    assert len(_all_runs(server.client())) == 7
