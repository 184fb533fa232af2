"""The training example against a stack: what it logged is really there."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.live.conftest import ExampleRun
from tests.live.stacks import EXAMPLE, Stack, clean_environment

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("stack")]

EPOCHS = 30
MODEL = "digits-classifier"
PARAMETERS = {"loss": "log_loss", "alpha": 0.0001, "learning_rate": "optimal", "random_state": 7}


@pytest.fixture
def run(dev_stack: Stack, example_run: ExampleRun) -> dict[str, Any]:
    found: dict[str, Any] = dev_stack.call(f"runs/get?run_id={example_run.run_id}")["run"]
    return found


def test_every_parameter_is_on_the_server(run: dict[str, Any]) -> None:
    told = {one["key"]: one["value"] for one in run["data"]["params"]}
    expected = {**PARAMETERS, "epochs": EPOCHS, "training_images": 1347}
    assert told == {key: str(value) for key, value in expected.items()}
    assert run["info"]["status"] == "FINISHED"


@pytest.mark.parametrize("metric", ["train_loss", "test_loss", "test_accuracy"])
def test_every_point_of_a_curve_is_on_the_server(
    dev_stack: Stack, example_run: ExampleRun, run: dict[str, Any], metric: str
) -> None:
    history = dev_stack.call(
        f"metrics/get-history?run_id={example_run.run_id}&metric_key={metric}"
    )["metrics"]
    assert [point.get("step", 0) for point in history] == list(range(EPOCHS))
    latest = {one["key"]: one["value"] for one in run["data"]["metrics"]}
    assert history[-1]["value"] == latest[metric]
    first, last = history[0]["value"], history[-1]["value"]
    assert (first < last) if metric == "test_accuracy" else (first > last)


def test_the_figure_lies_as_a_plain_file_in_the_stacks_own_folder(
    dev_stack: Stack, example_run: ExampleRun
) -> None:
    run = f"runs/{example_run.experiment_id}/{example_run.run_id}/artifacts"
    listed = dev_stack.call(f"artifacts/list?run_id={example_run.run_id}&path=figures")
    (figure,) = listed["files"]
    file = dev_stack.objects / run / figure["path"]
    assert figure["path"] == "figures/confusion_matrix.png"
    assert file.stat().st_size == int(figure["file_size"])
    assert file.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_the_model_is_registered_as_version_1_of_this_run(
    dev_stack: Stack, example_run: ExampleRun
) -> None:
    version = dev_stack.call(f"model-versions/get?name={MODEL}&version=1")["model_version"]
    assert version["run_id"] == example_run.run_id
    assert version["status"] == "READY"
    assert f"registered as {MODEL} 1" in example_run.printed


def test_the_models_bytes_lie_in_the_stacks_own_folder(
    dev_stack: Stack, example_run: ExampleRun
) -> None:
    version = dev_stack.call(f"model-versions/get?name={MODEL}&version=1")["model_version"]
    identity = version["source"].removeprefix("models:/")
    models = dev_stack.objects / "runs" / example_run.experiment_id / "models"
    folder = models / identity / "artifacts"
    files = {file.name: file.stat().st_size for file in folder.iterdir()}
    assert {"MLmodel", "model.skops", "input_example.json", "requirements.txt"} <= files.keys()
    assert all(files.values())


def test_the_model_loads_back_and_predicts_what_the_trained_one_predicts(
    dev_stack: Stack, example_run: ExampleRun, tmp_path: Path
) -> None:
    script = Path(__file__).parent / "scripts" / "load_model.py"
    argv = (script, f"models:/{MODEL}/1", json.dumps(PARAMETERS), str(EPOCHS))
    told = json.loads(dev_stack.client(*argv, cwd=tmp_path).stdout)
    assert len(told["loaded"]) == 450
    assert told["loaded"] == told["trained"]
    assert told["inputs"][0]["tensor-spec"] == {"dtype": "float64", "shape": [-1, 64]}
    assert told["input_example"] == told["first_images"]


def test_nothing_is_left_in_the_folder_it_was_started_in(example_run: ExampleRun) -> None:
    assert list(example_run.folder.iterdir()) == []


@pytest.mark.parametrize("uri", [None, "", "  "])
def test_without_a_tracking_uri_it_says_so_and_logs_nowhere(
    tmp_path: Path, uri: str | None
) -> None:
    environment = clean_environment() | ({} if uri is None else {"MLFLOW_TRACKING_URI": uri})
    done = subprocess.run(
        [sys.executable, EXAMPLE],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        'MLFLOW_TRACKING_URI is not set: eval "$(trackstack env)" sets it, so that no run is'
        " lost in a stray local store.\n"
    )
    assert list(tmp_path.iterdir()) == []
