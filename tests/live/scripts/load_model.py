"""Loads a model version as a colleague would, beside the same model trained here; prints JSON."""

import json
import sys

import mlflow
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

uri, parameters, epochs = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
images, digits = load_digits(return_X_y=True)
train_x, test_x, train_y, _ = train_test_split(
    images / images.max(), digits, test_size=0.25, stratify=digits, random_state=7
)
trained = SGDClassifier(**parameters)
for _ in range(epochs):
    trained.partial_fit(train_x, train_y, classes=range(10))

model = mlflow.pyfunc.load_model(uri)
print(
    json.dumps(
        {
            "loaded": model.predict(test_x).tolist(),
            "trained": trained.predict(test_x).tolist(),
            "inputs": model.metadata.signature.inputs.to_dict(),
            "input_example": model.metadata.load_input_example().tolist(),
            "first_images": test_x[:3].tolist(),
        }
    )
)
