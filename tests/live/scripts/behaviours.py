"""What MLflow's client does, one behaviour after another; writes what each gave as JSON.

Run once against a server and once through a relay to it, both must write the same. Ids are numbered
in the order in which they appear, times are left out.
"""

import contextlib
import json
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")

import mlflow  # noqa: E402
import numpy as np  # noqa: E402
from mlflow import MlflowClient, MlflowException  # noqa: E402
from mlflow.entities import Metric, Param, RunTag, ViewType  # noqa: E402
from mlflow.models import infer_signature  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402

NAME = sys.argv[1]
client = MlflowClient()
found: dict[str, Any] = {}
_IDS = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
numbers: dict[str, str] = {}


def plain(value: Any) -> Any:
    """Without ids, and NaN as a word."""
    text = json.dumps(value, default=str, sort_keys=True)
    text = text.replace(NAME, "<name>")
    return json.loads(_IDS.sub(lambda m: numbers.setdefault(m[0], f"<id {len(numbers)}>"), text))


def behaviour(function: Callable[[], Any]) -> Callable[[], Any]:
    """Run it at once; an MLflow error is a result, too."""
    try:
        result = function()
    except MlflowException as error:
        result = {
            "error": error.error_code,
            "message": re.sub(r"\b\d{3,}\b", "<n>", str(error))
            .partition("\n")[0]
            .partition(" Error:")[0],
        }
    while mlflow.active_run():
        mlflow.end_run()
    found[function.__name__] = plain(result)
    return function


def of_run(run_id: str) -> dict[str, Any]:
    run = client.get_run(run_id)
    tags = {k: v for k, v in run.data.tags.items() if k not in {"trackstack.id", "mlflow.runName"}}
    return {
        "status": run.info.status,
        "params": run.data.params,
        "metrics": run.data.metrics,
        "tags": tags,
        "lifecycle": run.info.lifecycle_stage,
        "datasets": [one.dataset.name for one in run.inputs.dataset_inputs],
        "models": len(run.outputs.model_outputs) if run.outputs else 0,
    }


@behaviour
def an_experiment_is_made_and_found() -> Any:
    assert client.get_experiment_by_name(NAME) is None
    made = mlflow.set_experiment(NAME)
    again = mlflow.set_experiment(NAME)
    return [made.name, made.lifecycle_stage, made.experiment_id == again.experiment_id]


@behaviour
def an_experiment_is_not_made_twice() -> Any:
    return client.create_experiment(NAME)


@behaviour
def a_run_carries_params_tags_and_curves() -> Any:
    with mlflow.start_run(run_name="first", tags={"team": "a"}, description="why") as run:
        mlflow.log_params({"lr": 0.1, "depth": 3})
        for step in range(4):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_metrics({"acc": 0.5, "f1": float("nan"), "inf": float("inf")}, step=7)
        mlflow.set_tags({"a": 1, "b": "two"})
        mlflow.delete_tag("a")
    history = client.get_metric_history(run.info.run_id, "loss")
    return [of_run(run.info.run_id), [(m.value, m.step) for m in history], run.info.run_name]


@behaviour
def the_last_point_is_the_one_of_the_last_step() -> Any:
    with mlflow.start_run() as run:
        for value, step in ((1.0, 5), (2.0, 3), (3.0, 5)):
            mlflow.log_metric("m", value, step=step)
    return of_run(run.info.run_id)["metrics"]


@behaviour
def nested_runs_know_their_parent() -> Any:
    with mlflow.start_run() as parent, mlflow.start_run(nested=True) as child:
        mlflow.log_metric("m", 1)
    return [parent.info.run_id, of_run(child.info.run_id)]


@behaviour
def a_run_that_raises_has_failed() -> Any:
    with contextlib.suppress(ZeroDivisionError), mlflow.start_run() as run:
        mlflow.log_param("x", 1 / 0)
    return of_run(run.info.run_id)["status"]


@behaviour
def a_run_is_taken_up_again() -> Any:
    with mlflow.start_run() as run:
        mlflow.log_param("a", 1)
    with mlflow.start_run(run_id=run.info.run_id):
        mlflow.log_param("b", 2)
    return of_run(run.info.run_id)


@behaviour
def a_changed_param_raises() -> Any:
    with mlflow.start_run() as run:
        mlflow.log_param("a", 1)
        mlflow.log_param("a", 1)
        client.log_param(run.info.run_id, "a", 2)


@behaviour
def a_changed_param_in_a_batch_raises() -> Any:
    with mlflow.start_run() as run:
        client.log_batch(run.info.run_id, params=[Param("a", "1")])
        client.log_batch(run.info.run_id, params=[Param("b", "1"), Param("a", "2")])


@behaviour
def a_bad_key_raises() -> Any:
    with mlflow.start_run() as run:
        client.log_metric(run.info.run_id, "a\nb", 1)


@behaviour
def a_long_key_raises() -> Any:
    with mlflow.start_run() as run:
        client.log_batch(run.info.run_id, tags=[RunTag("k" * 251, "v")])


@behaviour
def a_key_that_climbs_raises() -> Any:
    with mlflow.start_run() as run:
        client.set_tag(run.info.run_id, "../x", "v")


@behaviour
def too_many_entries_raise() -> Any:
    with mlflow.start_run() as run:
        points = [Metric("m", 1.0, 1, step) for step in range(1001)]
        client._tracking_client.store.log_batch(run.info.run_id, points, [], [])


@behaviour
def a_tag_that_is_not_there_can_t_be_deleted() -> Any:
    with mlflow.start_run() as run:
        client.delete_tag(run.info.run_id, "none")


@behaviour
def a_run_that_is_not_there_is_not_found() -> Any:
    return client.get_run("0" * 32)


@behaviour
def a_large_batch_arrives_whole() -> Any:
    with mlflow.start_run() as run:
        points = [Metric("m", float(step), 1700000000000 + step, step) for step in range(2500)]
        client.log_batch(run.info.run_id, points, [Param(f"p{n}", "v") for n in range(150)])
    history = client.get_metric_history(run.info.run_id, "m")
    return [len(history), history[-1].value, len(of_run(run.info.run_id)["params"])]


@behaviour
def artifacts_are_listed_and_read_back() -> Any:
    folder = Path("to-log/inner")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "b.bin").write_bytes(bytes(range(256)) * 100)
    with mlflow.start_run() as run:
        mlflow.log_text("hello", "texts/a.txt")
        mlflow.log_dict({"k": 1}, "d.json")
        mlflow.log_artifacts("to-log", "folder")
        mlflow.log_table({"q": ["a"], "n": [1]}, "t.json")
        mlflow.log_image(np.zeros((4, 4, 3), dtype=np.uint8), "i.png")
    root = run.info.run_id
    listed = {
        path: [(one.path, one.is_dir, one.file_size) for one in client.list_artifacts(root, path)]
        for path in ("", "texts", "folder", "folder/inner", "none")
    }
    for one in listed[""]:
        assert one
    listed[""] = [one for one in listed[""] if one[0] != "i.png"]
    local = mlflow.artifacts.download_artifacts(run_id=root, artifact_path="folder")
    return [
        listed,
        mlflow.artifacts.load_text(f"{run.info.artifact_uri}/texts/a.txt"),
        (Path(local) / "inner/b.bin").read_bytes() == (folder / "b.bin").read_bytes(),
        mlflow.load_table("t.json", run_ids=[root])[["q", "n"]].to_dict(),
    ]


@behaviour
def a_file_that_is_not_there_is_not_found() -> Any:
    with mlflow.start_run() as run:
        pass
    try:
        client.download_artifacts(run.info.run_id, "none.txt")
    except Exception as error:  # noqa: BLE001 - what kind it is, is the result
        return "404" in str(error) or "No such" in str(error) or type(error).__name__


@behaviour
def a_model_is_logged_loaded_and_registered() -> Any:
    x = np.arange(20.0).reshape(10, 2)
    model = LogisticRegression().fit(x, [0, 1] * 5)
    with mlflow.start_run() as run:
        mlflow.log_param("C", 1)
        for step in range(3):
            mlflow.log_metric("acc", step / 3, step=step)
        told = mlflow.sklearn.log_model(
            model,
            name="clf",
            signature=infer_signature(x, model.predict(x)),
            input_example=x[:2],
            registered_model_name=f"{NAME}-model",
        )
    loaded = mlflow.pyfunc.load_model(told.model_uri)
    by_run = mlflow.sklearn.load_model(f"runs:/{run.info.run_id}/clf")
    logged = mlflow.get_logged_model(told.model_id)
    client.set_logged_model_tags(told.model_id, {"k": "v"})
    return [
        of_run(run.info.run_id),
        bool((loaded.predict(x) == model.predict(x)).all()),
        bool((by_run.predict(x) == model.predict(x)).all()),
        [str(logged.status), logged.name, logged.params],
        sorted((m.key, m.value, m.step, m.run_id) for m in logged.metrics),
        loaded.metadata.run_id == run.info.run_id,
        loaded.metadata.model_id == told.model_id,
        mlflow.get_logged_model(told.model_id).tags.get("k"),
    ]


@behaviour
def a_model_version_has_tags_and_aliases() -> Any:
    name = f"{NAME}-model"
    versions = client.search_model_versions(f"name='{name}'")
    version = versions[0].version
    client.set_model_version_tag(name, version, "k", "v")
    client.set_registered_model_alias(name, "prod", version)
    by_alias = client.get_model_version_by_alias(name, "prod")
    client.update_model_version(name, version, description="good")
    got = client.get_model_version(name, version)
    return [
        len(versions),
        {k: v for k, v in by_alias.tags.items() if k != "trackstack.id"},
        got.description,
        got.status,
        client.get_registered_model(name).aliases,
    ]


@behaviour
def a_model_is_not_registered_twice() -> Any:
    return client.create_registered_model(f"{NAME}-model")


@behaviour
def runs_are_searched_in_pages() -> Any:
    experiment = client.get_experiment_by_name(f"{NAME}-pages") or client.get_experiment(
        client.create_experiment(f"{NAME}-pages")
    )
    for number in range(7):
        run = client.create_run(experiment.experiment_id, start_time=1700000000000 + number)
        client.log_metric(run.info.run_id, "n", number)
        client.set_terminated(run.info.run_id)
    pages, token = [], None
    while True:
        page = client.search_runs(
            [experiment.experiment_id],
            "metrics.n > 0",
            ViewType.ALL,
            max_results=4,
            order_by=["metrics.n DESC"],
            page_token=token,
        )
        pages.append([run.data.metrics["n"] for run in page])
        token = page.token
        if not token:
            return pages


@behaviour
def a_run_is_deleted_and_restored() -> Any:
    with mlflow.start_run() as run:
        mlflow.log_metric("m", 1)
    client.delete_run(run.info.run_id)
    deleted = client.get_run(run.info.run_id).info.lifecycle_stage
    client.restore_run(run.info.run_id)
    return [deleted, client.get_run(run.info.run_id).info.lifecycle_stage]


@behaviour
def datasets_are_linked() -> Any:
    with mlflow.start_run() as run:
        mlflow.log_input(mlflow.data.from_numpy(np.zeros((2, 2)), name="zeros"), "train")
    return of_run(run.info.run_id)["datasets"]


@behaviour
def a_traced_function_leaves_a_trace() -> Any:
    @mlflow.trace
    def double(x: int) -> int:
        return 2 * x

    double(21)
    mlflow.flush_trace_async_logging()
    experiment = client.get_experiment_by_name(NAME)
    traces = mlflow.search_traces(locations=[experiment.experiment_id], return_type="list")
    return [(one.info.request_preview, one.data.response, len(one.data.spans)) for one in traces]


@behaviour
def autolog_logs() -> Any:
    mlflow.sklearn.autolog(log_models=False, silent=True)
    with mlflow.start_run() as run:
        LogisticRegression().fit(np.arange(20.0).reshape(10, 2), [0, 1] * 5)
    mlflow.sklearn.autolog(disable=True)
    told = of_run(run.info.run_id)
    return [sorted(told["params"]), sorted(told["metrics"]), told["tags"].get("estimator_name")]


Path(sys.argv[2]).write_text(json.dumps(found, indent=1, sort_keys=True))
