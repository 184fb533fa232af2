"""What a server has of the training in offline.py, as JSON on the last line."""

import json
import warnings

warnings.filterwarnings("ignore")

import mlflow  # noqa: E402
import numpy as np  # noqa: E402
from mlflow import MlflowClient  # noqa: E402

client = MlflowClient()
experiment = client.get_experiment_by_name("offline")
runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
parent, child, auto = runs["parent"], runs["child"], runs["auto"]
models = {
    one.source_run_id: one
    for one in mlflow.search_logged_models([experiment.experiment_id], output_format="list")
}
model = models[parent.info.run_id]
(version,) = client.search_model_versions("name='offline-model'")
loaded = mlflow.pyfunc.load_model("models:/offline-model/1")
traces = mlflow.search_traces(locations=[experiment.experiment_id], return_type="list")
(point,) = client.get_metric_history(child.info.run_id, "m")
found = {
    "status": sorted({run.info.status for run in runs.values()}),
    "ids": {
        "parent": parent.data.tags["trackstack.id"],
        "child": child.data.tags["trackstack.id"],
    },
    "given_ids_taken": parent.info.run_id == parent.data.tags["trackstack.id"],
    "nested": child.data.tags["mlflow.parentRunId"] == parent.info.run_id,
    "params": parent.data.params,
    "point": [point.value, point.step, point.timestamp],
    "curve": [one.value for one in client.get_metric_history(parent.info.run_id, "acc")],
    "datasets": [one.dataset.name for one in parent.inputs.dataset_inputs],
    "output": [one.model_id == model.model_id for one in parent.outputs.model_outputs],
    "files": [one.path for one in client.list_artifacts(parent.info.run_id)],
    "model": [str(model.status), model.name, model.params],
    "model_metrics": sorted({(m.key, m.run_id == parent.info.run_id) for m in model.metrics}),
    "version": [version.version, version.status, version.source == f"models:/{model.model_id}"],
    "version_run": version.run_id == parent.info.run_id,
    "mlmodel": [
        loaded.metadata.run_id == parent.info.run_id,
        loaded.metadata.model_id == model.model_id,
        loaded.metadata.signature is not None,
    ],
    "loads": len(loaded.predict(np.zeros((3, 2)))),
    "traces": [(one.data.response, len(one.data.spans)) for one in traces],
    "auto": [len(auto.data.params) > 5, "training_score" in auto.data.metrics],
    "auto_model": auto.info.run_id in models,
}
print(json.dumps(found))
