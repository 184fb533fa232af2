"""What a stack promises to CI: the outputs, with the same names from both hosts."""

from typing import TypedDict


class StackOutputs(TypedDict):
    """Every value that ``pulumi stack output`` and ``trackstack outputs`` print."""

    tracking_uri: str
    """Where clients log: what ``MLFLOW_TRACKING_URI`` must be."""
    tracking_certificate: str
    """PEM that clients must trust for ``tracking_uri``; empty under a public authority."""
    artifact_destination: str
    """Root of all artifacts, as the server sees it: ``s3://<bucket>/<prefix>``."""
    artifact_bucket: str
    """The bucket in ``artifact_destination``."""
    backend_endpoint: str
    """``host:port`` of the PostgreSQL instance that holds runs and models."""
    backend_secret_arn: str
    """The Secrets Manager secret with the database's master user; never its value."""
    cluster: str
    """Name of the ECS cluster that runs the services."""
    services: dict[str, str]
    """Role (``tracking``, ``artifacts``) to ECS service name."""
    log_group: str
    """CloudWatch log group of all containers."""
    client_environment: dict[str, str]
    """Variables a client exports, ``MLFLOW_TRACKING_URI`` first; no secret among them."""
    ci_snippets: dict[str, str]
    """Text to paste into a repository whose jobs log here: ``github`` and ``gitlab``, as far as the
    stack lets their jobs in."""
    tunnel: dict[str, str]
    """What ``trackstack tunnel`` needs to reach a balancer inside the VPC; empty without one."""
    client_secret_arn: str
    """The Secrets Manager secret with the user and password for jobs; empty without users."""
    admin_secret_arn: str
    """The one with the admin's, for `trackstack users`; empty without users."""


OUTPUT_NAMES: tuple[str, ...] = tuple(StackOutputs.__annotations__)
"""The names in their order of presentation."""
