"""All that differs between a declared task and its process here, in one short table.

Everything else of command and environment reaches the process as declared; a test holds that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trackstack.core import server_environment as names
from trackstack.embedded.standins import bucket, database, identity
from trackstack.embedded.standins.base import LOOPBACK, Plan


@dataclass(frozen=True)
class Task:
    """What is particular to one task here."""

    port: int
    """Host port that stands for the container's port."""
    container_port: int
    folders: Mapping[str, Path]
    """Path of a volume in the container to the folder that stands for it."""
    uses_own_bucket: bool
    """Whether its artifacts lie in a bucket that this machine plays."""


def environment(
    plan: Plan, task: Task, declared: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """The environment of the process, and secrets that take the place of AWS credentials."""
    here = dict(declared)
    secrets: dict[str, str] = {}

    def put(what: str, key: str, value: str) -> None:
        plan.translated(what, f"{key}={declared.get(key, '')}", value)
        here[key] = value

    if declared.get("MLFLOW_PORT") == str(task.container_port):
        plan.translated(
            "port of a task", f"MLFLOW_PORT={task.container_port}", "a loopback port each"
        )
        here["MLFLOW_PORT"] = str(task.port)
    if declared.get("MLFLOW_HOST") == "0.0.0.0":  # noqa: S104 - what is replaced, not bound
        put("address a task listens on", "MLFLOW_HOST", LOOPBACK)
    if names.METRICS_STACK in declared:
        # A line a minute and worker that only CloudWatch reads.
        put("metrics of the server", names.METRICS_STACK, "none")
        del here[names.METRICS_STACK]
    if names.DATABASE_SSL_MODE in declared:
        # The PostgreSQL of the Python index is built without OpenSSL.
        put("TLS to the database", names.DATABASE_SSL_MODE, "disable")
        here.pop(names.DATABASE_SSL_ROOT, None)
    if declared.get(names.DATABASE_AUTH) == "iam":
        put("credentials of the database", names.DATABASE_AUTH, "password")
        secrets[names.DATABASE_PASSWORD] = database.ROLE_PASSWORD
    if names.OIDC_KEYS_URL in declared:
        put("keys of balancers", names.OIDC_KEYS_URL, identity.keys_url(plan.host))
    if task.uses_own_bucket:
        put("S3 endpoint", "MLFLOW_S3_ENDPOINT_URL", bucket.endpoint(plan))
        here["AWS_ENDPOINT_URL_S3"] = bucket.endpoint(plan)
        put("S3 addressing style", "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE", "path")
        plan.translated("credentials of S3", "the task's role", "a key pair of this stack")
        secrets["AWS_ACCESS_KEY_ID"] = bucket.ACCESS_KEY
        secrets["AWS_SECRET_ACCESS_KEY"] = bucket.SECRET_KEY
    for key, value in here.items():
        here[key] = _paths(plan, task, public(plan, value))
    return here, secrets


def public(plan: Plan, value: str) -> str:
    """Text with the public URL and name of the platform as they are here."""
    for url, local in plan.public_urls.items():
        value = value.replace(url, local)
    for host, local in plan.public_hosts.items():
        value = value.replace(host, local)
    return value


def _paths(plan: Plan, task: Task, value: str) -> str:
    for path, folder in task.folders.items():
        if value == path or value.startswith(path + "/"):
            plan.translated("volumes of a task", path, "a folder each")
            return str(folder) + value[len(path) :]
    return value
