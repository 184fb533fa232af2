"""Fill a store as a training script would; run by the MLflow that is to write it.

    python write_store.py URI RUNS

Prints one JSON object: what was made, by name. The working folder gets the artifacts.
"""

import json
import sys
import time

import mlflow
from mlflow import MlflowClient
from mlflow.data.http_dataset_source import HTTPDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Metric, Param, RunStatus, RunTag

NEW = int(mlflow.__version__.partition(".")[0]) >= 3


def greet(model_input: list[str]) -> list[str]:
    return [f"hello {name}" for name in model_input]


def main() -> None:  # noqa: PLR0915 - one script
    uri, runs = sys.argv[1], int(sys.argv[2])
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    client = MlflowClient(uri, uri)
    made = {"runs": {}}
    experiment = client.create_experiment("fraud", tags={"team": "risk"})
    store = client._tracking_client.store
    start = int(time.time() * 1000) - 86_400_000
    for number in range(runs):
        tags = [RunTag("mlflow.user", "ada"), RunTag("kind", "sweep")]
        run = store.create_run(experiment, "ada", start + number, tags, f"run-{number}")
        run_id = run.info.run_id
        made["runs"][f"run-{number}"] = run_id
        metrics = [Metric("loss", 1 / (step + 1), start + step, step) for step in range(2500)]
        for at in range(0, 2500, 1000):
            client.log_batch(run_id, metrics=metrics[at : at + 1000])
        store.update_run_info(
            run_id, RunStatus.FAILED if number else RunStatus.FINISHED, start + 9, None
        )
    first = made["runs"]["run-0"]
    odd = [float("nan"), float("inf"), float("-inf"), -0.0, 1e-300, 0.1]
    client.log_batch(
        first, metrics=[Metric("odd/values", value, start, step) for step, value in enumerate(odd)]
    )
    client.log_batch(first, params=[Param(f"p{n:03}", f"value {n}") for n in range(100)])
    client.log_batch(first, params=[Param(f"q{n:03}", f"value {n}") for n in range(50)])
    client.log_batch(first, tags=[RunTag(f"t/{n:03}", "line one\nline two ü") for n in range(100)])
    client.log_batch(first, tags=[RunTag(f"u/{n:03}", "1") for n in range(50)])

    mlflow.set_experiment("fraud")
    with mlflow.start_run(run_name="parent") as parent:
        mlflow.log_text("notes\n", "notes/today.txt")
        mlflow.log_text("", "empty.txt")
        source = HTTPDatasetSource("https://example.com/data.csv")
        mlflow.log_input(MetaDataset(source, name="transactions"), context="training")
        with mlflow.start_run(run_name="child", nested=True) as child:
            mlflow.log_metric("accuracy", 0.5, step=3)
            mlflow.log_param("depth", "7")
        if NEW:
            info = mlflow.pyfunc.log_model(
                name="greeting",
                python_model=greet,
                registered_model_name="ada's greeter",
                pip_requirements=[],
            )
            mlflow.log_metric("score", 0.25, step=7, model_id=info.model_id)
            made["model"] = info.model_id
        else:
            text = f"flavors: {{}}\nrun_id: {parent.info.run_id}\n"
            mlflow.log_text(text, "greeting/MLmodel")
            client.create_registered_model("ada's greeter")
            place = f"{mlflow.get_artifact_uri()}/greeting"
            client.create_model_version("ada's greeter", place, parent.info.run_id)
    made["runs"] |= {"parent": parent.info.run_id, "child": child.info.run_id}
    client.set_registered_model_alias("ada's greeter", "prod", 1)
    client.set_model_version_tag("ada's greeter", "1", "checked", "yes")
    client.update_registered_model("ada's greeter", description="says hello")

    gone = client.create_run(experiment, run_name="deleted")
    client.log_metric(gone.info.run_id, "loss", 3.0)
    client.set_terminated(gone.info.run_id)
    client.delete_run(gone.info.run_id)
    made["runs"]["deleted"] = gone.info.run_id
    old = client.create_experiment("abandoned")
    lost = client.create_run(old, run_name="in-deleted")
    client.set_terminated(lost.info.run_id)
    client.delete_experiment(old)
    made["runs"]["in-deleted"] = lost.info.run_id
    print(json.dumps(made))


main()
