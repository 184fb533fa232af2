"""Carries a folder up to a new run and down again by MLflow's client; prints JSON.

Every request is told too (``PUT http://host:port/path 200``), so that a test can see which way
the bytes went.
"""

import json
import logging
import re
import sys
import time
from pathlib import Path

import mlflow

_REQUEST = re.compile(r'(https?://[^ ]+) "(\w+) ([^ ]+) HTTP/[\d.]+" (\d+)')


class Requests(logging.Handler):
    """Keeps what urllib3 says about each answered request."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        found = _REQUEST.search(record.getMessage())
        if found:
            host, method, path, status = found.groups()
            self.seen.append(f"{method} {host}{path} {status}")


requests = Requests()
log = logging.getLogger("urllib3.connectionpool")
log.addHandler(requests)
log.setLevel(logging.DEBUG)
log.propagate = False

source, target = Path(sys.argv[1]), Path(sys.argv[2])
mlflow.set_experiment("artifacts")
with mlflow.start_run() as run:
    before = time.monotonic()
    mlflow.log_artifacts(str(source))
    up_seconds = time.monotonic() - before
uploading = len(requests.seen)
before = time.monotonic()
mlflow.artifacts.download_artifacts(run_id=run.info.run_id, dst_path=str(target))
down_seconds = time.monotonic() - before
print(
    json.dumps(
        {
            "run_id": run.info.run_id,
            "experiment_id": run.info.experiment_id,
            "up": requests.seen[:uploading],
            "up_seconds": up_seconds,
            "down_seconds": down_seconds,
            "down": requests.seen[uploading:],
        }
    )
)
