"""A training that never sees its server; prints the ids that it was given."""

import json
import warnings

warnings.filterwarnings("ignore")

import mlflow  # noqa: E402
import numpy as np  # noqa: E402
from mlflow.models import infer_signature  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402

x, y = np.arange(40.0).reshape(20, 2), [0, 1] * 10
mlflow.set_experiment("offline")
with mlflow.start_run(run_name="parent") as parent:
    mlflow.log_params({"a": 1, "b": "x"})
    with mlflow.start_run(nested=True, run_name="child") as child:
        mlflow.log_metric("m", 1.5, step=3, timestamp=1700000000000)
    mlflow.log_input(mlflow.data.from_numpy(x, name="grid"), "train")
    model = LogisticRegression().fit(x, y)
    for step in range(5):
        mlflow.log_metric("acc", 0.9 + step / 100, step=step)
    told = mlflow.sklearn.log_model(
        model,
        name="clf",
        signature=infer_signature(x, model.predict(x)),
        input_example=x[:2],
        registered_model_name="offline-model",
    )
    mlflow.log_table({"q": ["a"], "r": ["b"]}, "t.json")
    assert (mlflow.sklearn.load_model(told.model_uri).predict(x) == model.predict(x)).all()


@mlflow.trace
def double(number: int) -> int:
    """Leave a trace."""
    return 2 * number


double(21)
mlflow.sklearn.autolog(silent=True)
with mlflow.start_run(run_name="auto"):
    LogisticRegression().fit(x, y)
ids = {"parent": parent.info.run_id, "child": child.info.run_id, "model": told.model_id}
print("IDS", json.dumps(ids))
