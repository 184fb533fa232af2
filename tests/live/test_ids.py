"""MLflow's own client chooses ids, through the front door of a whole stack."""

import json
import uuid
from pathlib import Path

import pytest

from tests.live.stacks import Stack

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("stack")]

CLIENT = """
import concurrent.futures, json, pathlib, sys
import mlflow
run_id, model_id = sys.argv[1:]
client = mlflow.MlflowClient()
experiment = client.create_experiment(f"ids-{run_id}")

def create(_):
    return client.create_run(experiment, 1000, {"trackstack.id": run_id}, "mine").info.run_id

with concurrent.futures.ThreadPoolExecutor(8) as pool:
    runs = list(pool.map(create, range(16)))
with mlflow.start_run(run_id=run_id):
    mlflow.log_metric("loss", 0.5)
    pathlib.Path("weights.txt").write_text("w")
    mlflow.log_artifact("weights.txt")
model = client.create_logged_model(
    experiment, "net", run_id, tags={"trackstack.id": model_id}, params={"depth": "3"}
)
client.log_model_artifacts(model.model_id, ".")
client.finalize_logged_model(model.model_id, "READY")
found = client.search_runs([experiment])
print(json.dumps({
    "created": sorted(set(runs)),
    "found": [run.info.run_id for run in found],
    "metrics": found[0].data.metrics,
    "artifacts": [file.path for file in client.list_artifacts(run_id)],
    "model": client.get_logged_model(model_id).status,
    "model files": [file.path for file in client.list_logged_model_artifacts(model_id)],
}))
"""


def test_a_run_and_a_model_whose_ids_the_client_chose_are_as_any_other(
    dev_stack: Stack, tmp_path: Path
) -> None:
    (tmp_path / "train.py").write_text(CLIENT)
    run_id, model_id = uuid.uuid4().hex, f"m-{uuid.uuid4().hex}"
    work = tmp_path / "work"
    work.mkdir()
    printed = dev_stack.client(tmp_path / "train.py", run_id, model_id, cwd=work).stdout
    assert json.loads(printed.splitlines()[-1]) == {
        "created": [run_id],
        "found": [run_id],
        "metrics": {"loss": 0.5},
        "artifacts": ["weights.txt"],
        "model": "READY",
        "model files": ["weights.txt"],
    }
