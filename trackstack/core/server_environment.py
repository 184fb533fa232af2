"""The contract between a task definition and the container: variables, paths and ports.

The tracking server reads nothing but its environment. Whoever declares a task (a component) and
whoever runs one (``trackstack.server`` in the image) agree here; the embedded host relies on the
same names to translate what differs on one machine.
"""

# libpq's own names: psql, psycopg2 and the server understand them alike.
DATABASE_HOST = "PGHOST"
DATABASE_PORT = "PGPORT"
DATABASE_NAME = "PGDATABASE"
DATABASE_USER = "PGUSER"
DATABASE_SSL_MODE = "PGSSLMODE"
DATABASE_SSL_ROOT = "PGSSLROOTCERT"
PASSWORD_FILE = "PGPASSFILE"  # noqa: S105 - the name of a variable that holds a path

DATABASE_AUTH = "TRACKSTACK_DATABASE_AUTH"
"""``iam``: RDS tokens, renewed every 10 minutes; ``password``: the value of DATABASE_PASSWORD."""
DATABASE_PASSWORD = "TRACKSTACK_DATABASE_PASSWORD"  # noqa: S105 - a variable's name
"""Password of the role in PGUSER; only with ``password`` authentication. A secret."""
MASTER_USER = "TRACKSTACK_DATABASE_MASTER_USER"
"""Master user of the instance; only ``migrate`` gets it."""
MASTER_PASSWORD = "TRACKSTACK_DATABASE_MASTER_PASSWORD"  # noqa: S105 - a variable's name
"""Its password; only ``migrate`` gets it. A secret."""
ALLOW_SCHEMA_UPGRADE = "TRACKSTACK_ALLOW_SCHEMA_UPGRADE"
"""Alembic revision that ``migrate`` may upgrade a database with data to; absent: none."""
GRACEFUL_SECONDS = "TRACKSTACK_GRACEFUL_SHUTDOWN_SECONDS"
"""Seconds that requests under way may take after SIGTERM."""
KEEP_ALIVE_SECONDS = "TRACKSTACK_KEEP_ALIVE_SECONDS"
"""Seconds that an idle connection stays open; longer than the balancer's idle timeout."""
METRICS_STACK = "TRACKSTACK_METRICS_STACK"
"""Stack that the server's own metrics belong to, see ``server_metrics``; absent: it prints none."""
DELETED_RUNS_DAYS = "TRACKSTACK_DELETED_RUNS_DAYS"
"""Days that a run must have been deleted for before ``collect`` removes it for good."""

ACCESS = "TRACKSTACK_ACCESS"
"""``basic`` or ``oidc``: requests need credentials; absent: everybody who gets here may."""
DEFAULT_PERMISSION = "TRACKSTACK_DEFAULT_PERMISSION"
"""What users may do with what is not theirs: MLflow's ``READ``, ``EDIT``, ``MANAGE``, or
``NO_PERMISSIONS``."""
ADMIN_PASSWORD = "TRACKSTACK_ADMIN_PASSWORD"  # noqa: S105 - a variable's name
"""Password of the admin; only ``migrate`` gets it. A secret."""
CLIENT_PASSWORD = "TRACKSTACK_CLIENT_PASSWORD"  # noqa: S105 - a variable's name
"""Password of the user that jobs are handed; only ``migrate`` gets it. A secret."""
SESSION_KEY = "MLFLOW_FLASK_SERVER_SECRET_KEY"
"""What forms of the UI are signed with, the same in all tasks. A secret."""
OIDC_SIGNER = "TRACKSTACK_OIDC_SIGNER"
"""ARN of the balancer: nobody else's word is taken for who somebody is."""
OIDC_ISSUER = "TRACKSTACK_OIDC_ISSUER"
OIDC_CLIENT_ID = "TRACKSTACK_OIDC_CLIENT_ID"
OIDC_KEYS_URL = "TRACKSTACK_OIDC_KEYS_URL"
"""Where the balancer's public keys are published, without the key's id."""
OIDC_USER_CLAIM = "TRACKSTACK_OIDC_USER_CLAIM"
"""The claim that names the user: ``email`` or ``sub``."""
OIDC_EMAIL_DOMAINS = "TRACKSTACK_OIDC_EMAIL_DOMAINS"
"""Domains whose people may enter, separated by commas; absent: all whom the provider signs in."""

CONTAINER_PORT = 5000
"""Port that MLflow listens on inside a task (``MLFLOW_PORT``)."""
CONTAINER_USER = "10001"
"""Who runs in the container; the image makes the writable paths his."""
WORK_PATH = "/tmp"  # noqa: S108 - a volume of the task, private to its container
"""Working directory and spool of large transfers; a writable volume of the task."""
RUN_PATH = "/run/trackstack"
"""Where the password file is written; a writable volume of the task."""
DATABASE_CA_PATH = "/opt/trackstack/rds-global-bundle.pem"
"""AWS's certificate authorities for RDS, in the image."""
APP_PATH = "/opt/trackstack/app"
"""Parent of the ``trackstack`` package in the image (``PYTHONPATH``)."""
MIGRATE_COMMAND = ("python", "-m", "trackstack.server", "migrate")
SERVE_COMMAND = ("python", "-m", "trackstack.server", "serve")
COLLECT_COMMAND = ("python", "-m", "trackstack.server", "collect")
HEALTH_COMMAND = ("python", "-m", "trackstack.server", "healthy")
