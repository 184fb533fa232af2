"""Logs single points by MLflow's client, and prints what each call took, as JSON.

``python log_points.py <points> <sync|async> <experiment>``
"""

import json
import sys
import time
import warnings

warnings.filterwarnings("ignore")

import mlflow  # noqa: E402

points, how, experiment = int(sys.argv[1]), sys.argv[2], sys.argv[3]
clock = time.perf_counter
errors = 0
begun = clock()
mlflow.set_experiment(experiment)
set_experiment = clock() - begun
run = mlflow.start_run()
took = []
begun = clock()
for step in range(points):
    before = clock()
    try:
        mlflow.log_metric("loss", 1 / (step + 1), step=step, synchronous=how == "sync")
    except mlflow.MlflowException:
        errors += 1
    took.append(clock() - before)
if how == "async":
    mlflow.flush_async_logging()
total = clock() - begun
before = clock()
mlflow.end_run()
told = {
    "set_experiment": set_experiment,
    "end_run": clock() - before,
    "total": total,
    "took": took,
    "errors": errors,
    "run": run.info.run_id,
}
print("TOLD", json.dumps(told))
