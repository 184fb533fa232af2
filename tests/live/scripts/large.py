"""Logs a file of so many MiB and reads it back before it can be on the server."""

import hashlib
import sys
from pathlib import Path

import mlflow

size = int(sys.argv[1]) << 20
file = Path("large.bin")
with file.open("wb") as out:
    out.write(b"head")
    out.truncate(size)
mlflow.set_experiment("large")
with mlflow.start_run() as run:
    mlflow.log_artifact(str(file))
back = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path=file.name))
with back.open("rb") as found:
    print("SHA", hashlib.file_digest(found, "sha256").hexdigest())
