"""What a task runs, as ECS takes it; the roles, networks and services around it are a component's.

Plain values in, plain values out, so that the containers can be read and tested without AWS.
Secrets appear as references only: ECS resolves them when it starts a task.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trackstack.core import access as modes
from trackstack.core import database
from trackstack.core import server_environment as names
from trackstack.core.timeouts import Timeouts

TRACKING = "tracking"
ARTIFACTS = "artifacts"
"""The two roles of one image; also the names of services, logs and target groups."""
MIGRATE = "migrate"
SERVE = "serve"
COLLECT = "collect"


@dataclass(frozen=True)
class DatabaseFacts:
    """Where the database is and which secret holds its master user."""

    address: str
    port: int
    name: str
    user: str
    master_secret_arn: str


@dataclass(frozen=True)
class OidcFacts:
    """Whose word for who somebody is the servers take."""

    signer: str
    """ARN of the balancer."""
    issuer: str
    client_id: str
    user_claim: str
    email_domains: tuple[str, ...] = ()


@dataclass(frozen=True)
class AccessFacts:
    """How requests prove who they are."""

    default_permission: str
    admin_secret_arn: str
    client_secret_arn: str
    session_secret_arn: str
    database: DatabaseFacts
    """Where users and permissions are kept: the artifacts service needs it for them alone."""
    oidc: OidcFacts | None = None
    """None: by user and password alone."""


@dataclass(frozen=True)
class ServerFacts:
    """All that the containers of one task need to know of the rest of the stack."""

    image: str
    region: str
    url: str
    host: str
    workers: int
    timeouts: Timeouts
    log_group: str
    artifacts_destination: str
    artifact_endpoint_url: str = ""
    artifact_credentials_secret_arn: str = ""
    database: DatabaseFacts | None = None
    """None: the artifacts service, which has no runs."""
    allow_schema_upgrade: str = ""
    metrics_stack: str = ""
    """Stack that the tracking service prints its metrics for; empty: it prints none."""
    allow_exec: bool = False
    """Whether the server's container has the places that ECS Exec's agent writes to."""
    access: AccessFacts | None = None
    """None: whoever reaches the server may do everything."""


def container_definitions(facts: ServerFacts) -> list[dict[str, Any]]:
    """The task's containers: the server, and before it the migration where there is a database."""
    if facts.database is None:
        return [_serve(facts, ARTIFACTS)]
    serve = _serve(facts, TRACKING)
    serve["dependsOn"] = [{"containerName": MIGRATE, "condition": "SUCCESS"}]
    return [_migrate(facts, facts.database), serve]


def collection_definitions(facts: ServerFacts, days: int) -> list[dict[str, Any]]:
    """The one container of the task that removes runs deleted so many days ago for good."""
    if facts.database is None:
        raise ValueError("runs are removed from a database, and these facts have none")
    told = serve_environment(facts)
    environment = {
        **{name: told[name] for name in _ARTIFACTS_TOLD if name in told},
        **_database_environment(facts.database),
        names.DELETED_RUNS_DAYS: str(days),
    }
    return [
        _container(
            facts,
            COLLECT,
            role=COLLECT,
            command=names.COLLECT_COMMAND,
            essential=True,
            environment=environment,
            secrets=_artifact_secrets(facts),
        )
        | {"stopTimeout": facts.timeouts.stop_seconds}
    ]


def volumes(*containers: str, allow_exec: bool = False) -> tuple[str, ...]:
    """The writable places of a task by name: the root file systems are read-only."""
    return tuple(
        f"{container}-{place}"
        for container in containers
        for place in _places(container, allow_exec=allow_exec)
    )


def serve_environment(facts: ServerFacts) -> dict[str, str]:
    """The server's configuration; MLflow's own names, see its ``mlflow server --help``."""
    environment = {
        "MLFLOW_HOST": "0.0.0.0",  # noqa: S104 - the balancer comes from outside the task
        "MLFLOW_PORT": str(names.CONTAINER_PORT),
        "MLFLOW_WORKERS": str(facts.workers),
        "MLFLOW_SERVE_ARTIFACTS": "true",
        "MLFLOW_ARTIFACTS_DESTINATION": facts.artifacts_destination,
        # Clients then move large files straight from and to S3, by presigned URLs.
        "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "true",
        "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "true",
        # By default the URLs are signed for bucket.s3.amazonaws.com: SignatureDoesNotMatch
        # outside us-east-1. Path style is what MinIO and its kin answer.
        "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": "path" if facts.artifact_endpoint_url else "virtual",
        "AWS_DEFAULT_REGION": facts.region,
        # Host check by exact string, port included: a client may write :443.
        "MLFLOW_SERVER_ALLOWED_HOSTS": (f"{facts.host},{facts.host}:*,localhost:*,127.0.0.1:*"),
        # Without it the UI's own POSTs get 403 "Cross-origin request blocked".
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": facts.url,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # 8 of 16 processes
        "MLFLOW_DISABLE_TELEMETRY": "true",
        names.KEEP_ALIVE_SECONDS: str(facts.timeouts.keep_alive_seconds),
        names.GRACEFUL_SECONDS: str(facts.timeouts.graceful_seconds),
    }
    if facts.artifact_endpoint_url:
        environment["MLFLOW_S3_ENDPOINT_URL"] = facts.artifact_endpoint_url
    if facts.database is None:
        environment["MLFLOW_ARTIFACTS_ONLY"] = "true"
    else:
        environment |= _database_environment(facts.database)
        if facts.metrics_stack:
            environment[names.METRICS_STACK] = facts.metrics_stack
    if facts.access is not None:
        environment |= _database_environment(facts.access.database)
        environment |= _access_environment(facts.access, facts.region)
        role = ARTIFACTS if facts.database is None else TRACKING
        pool = database.POOLS_WITH_USERS[role]
        environment["MLFLOW_SQLALCHEMYSTORE_POOL_SIZE"] = str(pool.kept)
        environment["MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW"] = str(pool.overflow)
    return environment


def migrate_environment(facts: ServerFacts, at: DatabaseFacts) -> dict[str, str]:
    """What the migration knows: the database, and whether it may cross a schema."""
    environment = {"AWS_DEFAULT_REGION": facts.region, **_database_environment(at)}
    if facts.access is not None:
        environment[names.ACCESS] = _mode(facts.access)
    if facts.allow_schema_upgrade:
        environment[names.ALLOW_SCHEMA_UPGRADE] = facts.allow_schema_upgrade
    return environment


_PLACES = {"work": names.WORK_PATH, "run": names.RUN_PATH}
# AWS calls a read-only root unsupported with ECS Exec; with these it works all the same, as users
# report (aws/containers-roadmap#1359).
AGENT_PLACES = {
    "agent": "/managed-agents",
    "agent-state": "/var/lib/amazon/ssm",
    "agent-log": "/var/log/amazon/ssm",
}
# What finding an artifact takes; the rest of the server's environment is about serving.
_ARTIFACTS_TOLD = (
    "AWS_DEFAULT_REGION",
    "MLFLOW_ARTIFACTS_DESTINATION",
    "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE",
    "MLFLOW_DISABLE_TELEMETRY",
    "MLFLOW_S3_ENDPOINT_URL",
)


def _places(container: str, *, allow_exec: bool) -> dict[str, str]:
    """Name and path of what a container may write to."""
    return _PLACES | (AGENT_PLACES if allow_exec and container == SERVE else {})


def _mode(access: AccessFacts) -> str:
    return modes.BASIC if access.oidc is None else modes.OIDC


def _access_environment(access: AccessFacts, region: str) -> dict[str, str]:
    environment = {
        names.ACCESS: _mode(access),
        names.DEFAULT_PERMISSION: access.default_permission,
    }
    if access.oidc is not None:
        environment |= {
            names.OIDC_SIGNER: access.oidc.signer,
            names.OIDC_ISSUER: access.oidc.issuer,
            names.OIDC_CLIENT_ID: access.oidc.client_id,
            names.OIDC_KEYS_URL: modes.balancer_keys_url(region),
            names.OIDC_USER_CLAIM: access.oidc.user_claim,
        }
        if access.oidc.email_domains:
            environment[names.OIDC_EMAIL_DOMAINS] = ",".join(access.oidc.email_domains)
    return environment


def _database_environment(at: DatabaseFacts) -> dict[str, str]:
    return {
        names.DATABASE_HOST: at.address,
        names.DATABASE_PORT: str(at.port),
        names.DATABASE_NAME: at.name,
        names.DATABASE_USER: at.user,
        names.DATABASE_SSL_MODE: "verify-full",
        names.DATABASE_SSL_ROOT: names.DATABASE_CA_PATH,
        names.PASSWORD_FILE: f"{names.RUN_PATH}/pgpass",
        names.DATABASE_AUTH: "iam",
    }


def _migrate(facts: ServerFacts, at: DatabaseFacts) -> dict[str, Any]:
    # No startTimeout: Fargate's 120 s at most would stop the task in the middle of a migration.
    secret = at.master_secret_arn
    secrets = {
        names.MASTER_USER: f"{secret}:username::",
        names.MASTER_PASSWORD: f"{secret}:password::",
    }
    if facts.access is not None:
        secrets[names.ADMIN_PASSWORD] = f"{facts.access.admin_secret_arn}:password::"
        secrets[names.CLIENT_PASSWORD] = f"{facts.access.client_secret_arn}:password::"
    return _container(
        facts,
        MIGRATE,
        role=TRACKING,
        command=names.MIGRATE_COMMAND,
        essential=False,
        environment=migrate_environment(facts, at),
        secrets=secrets,
    )


def _artifact_secrets(facts: ServerFacts) -> dict[str, str]:
    secret = facts.artifact_credentials_secret_arn
    if not secret:
        return {}
    return {
        "AWS_ACCESS_KEY_ID": f"{secret}:access_key_id::",
        "AWS_SECRET_ACCESS_KEY": f"{secret}:secret_access_key::",
    }


def _serve(facts: ServerFacts, role: str) -> dict[str, Any]:
    secrets = _artifact_secrets(facts)
    if facts.access is not None:
        secrets[names.SESSION_KEY] = facts.access.session_secret_arn
    return _container(
        facts,
        SERVE,
        role=role,
        command=names.SERVE_COMMAND,
        essential=True,
        environment=serve_environment(facts),
        secrets=secrets,
    ) | {
        "portMappings": [
            {
                "containerPort": names.CONTAINER_PORT,
                "hostPort": names.CONTAINER_PORT,
                "protocol": "tcp",
            }
        ],
        "healthCheck": {
            "command": ["CMD", *names.HEALTH_COMMAND],
            "interval": 30,
            "timeout": 10,
            "retries": 3,
            "startPeriod": 60,  # up after 4-6 s with one worker; a small CPU takes longer
        },
        "stopTimeout": facts.timeouts.stop_seconds,
    }


def _container(
    facts: ServerFacts,
    name: str,
    *,
    role: str,
    command: tuple[str, ...],
    essential: bool,
    environment: Mapping[str, str],
    secrets: Mapping[str, str],
) -> dict[str, Any]:
    return {
        "name": name,
        "image": facts.image,
        "essential": essential,
        "command": list(command),
        "user": names.CONTAINER_USER,
        "workingDirectory": names.WORK_PATH,
        "readonlyRootFilesystem": True,
        "linuxParameters": {"capabilities": {"drop": ["ALL"]}},
        "environment": [{"name": k, "value": v} for k, v in sorted(environment.items())],
        "secrets": [{"name": k, "valueFrom": v} for k, v in sorted(secrets.items())],
        "mountPoints": [
            {"sourceVolume": f"{name}-{place}", "containerPath": path, "readOnly": False}
            for place, path in _places(name, allow_exec=facts.allow_exec).items()
        ],
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": facts.log_group,
                "awslogs-region": facts.region,
                "awslogs-stream-prefix": role,
                # A log service that stalls must not stall the server.
                "mode": "non-blocking",
                "max-buffer-size": "4m",
            },
        },
    }
