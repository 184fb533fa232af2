"""Everything that a tracking server holds, artifacts by their digests; prints JSON."""

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import ViewType

client = MlflowClient()


def history(run_id: str, key: str) -> list[list[float]]:
    """All points of a metric."""
    return [[p.value, p.timestamp, p.step] for p in client.get_metric_history(run_id, key)]


def artifacts(uri: str) -> dict[str, str]:
    """Path to digest of every file below a URI."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(download_artifacts(artifact_uri=uri, dst_path=folder))
        return {
            str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted(root.rglob("*"))
            if file.is_file()
        }


def run_of(run: Any) -> dict[str, Any]:
    """One run, wholly."""
    return {
        "info": {**dict(run.info), "lifecycle_stage": run.info.lifecycle_stage},
        "params": run.data.params,
        "tags": run.data.tags,
        "metrics": {key: history(run.info.run_id, key) for key in sorted(run.data.metrics)},
        "artifacts": artifacts(run.info.artifact_uri),
    }


experiments = client.search_experiments(view_type=ViewType.ALL)
ids = [experiment.experiment_id for experiment in experiments]
print(
    json.dumps(
        {
            "experiments": {e.name: [e.experiment_id, e.artifact_location] for e in experiments},
            "runs": {r.info.run_id: run_of(r) for r in client.search_runs(ids, "", ViewType.ALL)},
            "models": {
                m.name: [m.description, m.tags, m.aliases]
                for m in client.search_registered_models()
            },
            "versions": {
                f"{v.name}/{v.version}": [v.run_id, v.source, v.tags, artifacts(v.source)]
                for v in client.search_model_versions()
            },
        },
        default=str,
        sort_keys=True,
    )
)
