"""MLflow's application with ids from clients: what uvicorn runs where nobody is asked who he is."""

from mlflow.server.fastapi_app import app

from trackstack.server.ids import take_ids

__all__ = ["app"]

take_ids()
