"""Learn to read handwritten digits, and log everything that another person needs to trust it.

Nothing here knows where it logs: MLflow reads MLFLOW_TRACKING_URI, which ``trackstack env`` prints.
"""

import os
import sys

import matplotlib as mpl

mpl.use("Agg")  # a figure without a screen

import mlflow
from matplotlib import pyplot as plt
from mlflow.models import infer_signature
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score, log_loss
from sklearn.model_selection import train_test_split

EXPERIMENT = "digits"
MODEL = "digits-classifier"
EPOCHS = 30
PARAMETERS = {"loss": "log_loss", "alpha": 0.0001, "learning_rate": "optimal", "random_state": 7}


def main() -> None:
    """Train, log, register; print where the run can be seen."""
    images, digits = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        images / images.max(), digits, test_size=0.25, stratify=digits, random_state=7
    )
    mlflow.set_experiment(EXPERIMENT)
    with mlflow.start_run() as run:
        mlflow.log_params({**PARAMETERS, "epochs": EPOCHS, "training_images": len(train_x)})
        model = SGDClassifier(**PARAMETERS)
        for epoch in range(EPOCHS):
            model.partial_fit(train_x, train_y, classes=range(10))
            accuracy = accuracy_score(test_y, model.predict(test_x))
            losses = {
                "train_loss": log_loss(train_y, model.predict_proba(train_x)),
                "test_loss": log_loss(test_y, model.predict_proba(test_x)),
            }
            mlflow.log_metrics({**losses, "test_accuracy": accuracy}, step=epoch)
        figure, axes = plt.subplots(figsize=(6, 6))
        ConfusionMatrixDisplay.from_predictions(
            test_y, model.predict(test_x), ax=axes, colorbar=False
        )
        axes.set_title(f"{accuracy:.1%} of {len(test_x)} unseen digits read correctly")
        mlflow.log_figure(figure, "figures/confusion_matrix.png")
        logged = mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(test_x, model.predict(test_x)),
            input_example=test_x[:3],
            registered_model_name=MODEL,
        )
    uri = mlflow.get_tracking_uri().rstrip("/")
    print(f"test accuracy {accuracy:.3f}, registered as {MODEL} {logged.registered_model_version}")
    print(f"{uri}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}")


if __name__ == "__main__":
    if not os.environ.get("MLFLOW_TRACKING_URI", "").strip():
        print(
            'MLFLOW_TRACKING_URI is not set: eval "$(trackstack env)" sets it, so that no run is'
            " lost in a stray local store.",
            file=sys.stderr,
        )
        sys.exit(2)
    main()
