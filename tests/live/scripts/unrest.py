"""Logs points until told to end; what was acknowledged is in a file, a line each.

``python unrest.py <file> <its end, a file that appears> <points>``
"""

import sys
import time
from pathlib import Path

import mlflow

end = Path(sys.argv[2])
clock = time.perf_counter
mlflow.set_experiment("unrest")
with Path(sys.argv[1]).open("w") as acknowledged, mlflow.start_run() as run:
    for step in range(int(sys.argv[3])):
        before = clock()
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
        acknowledged.write(f"{run.info.run_id} {step} {clock() - before:.4f}\n")
        acknowledged.flush()
        if end.exists():
            break
