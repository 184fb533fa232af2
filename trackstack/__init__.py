"""Run an MLflow tracking platform: the same Pulumi program on AWS and on this machine."""

__version__ = "0.1.0"
