"""The first container of the tracking task: one role, one schema, then nothing to do.

Replicas that start together on an empty or an older database kill one another inside MLflow (its
store initialises without a lock: one of three survives). Here the first one works under a
PostgreSQL advisory lock, the others wait for it and find the schema current.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import encrypt_password

from trackstack.core import access
from trackstack.core import server_environment as names
from trackstack.server.auth.users import Passwords, prepare_users
from trackstack.server.environment import Database, Reader
from trackstack.server.problem import FAILED, NOT_ALLOWED, UNKNOWN_SCHEMA, Refusal
from trackstack.server.revisions import Revisions, current_revision, installed_revisions

_LOCK = 0x747261636B_5DB  # "track" and a tail; any number does, but it must never change
_WAIT_SECONDS = 120.0
# What libpq says about mistakes that waiting doesn't mend.
_LASTING = (
    "authentication failed",
    "no password supplied",
    "does not exist",
    "certificate",
    "does not support SSL",
    "invalid sslmode",
)
# A killed migration must not hold its lock: the server looks for its client every 10 s even while
# a statement runs, and probes a silent connection after a minute. A migration has no time limit.
_SESSION = " ".join(
    f"-c {setting}"
    for setting in (
        "client_connection_check_interval=10000",
        "tcp_keepalives_idle=60",
        "tcp_keepalives_interval=10",
        "tcp_keepalives_count=6",
        "statement_timeout=0",
        "lock_timeout=0",
        "idle_in_transaction_session_timeout=0",
    )
)


@dataclass(frozen=True)
class _Settings:
    """What the environment asks of a migration."""

    database: Database
    master_user: str
    master_password: str
    role_password: str | None
    """None: the role logs in with RDS tokens."""
    allowed_upgrade: str | None
    passwords: Passwords | None
    """None: the server asks nobody for a password."""


def migrate() -> int:
    """Bring role and schema to what this image needs, or refuse; return the exit code."""
    settings = _read_environment()
    revisions = installed_revisions()
    try:
        with closing(_connect_patiently(settings)) as connection, _alone(connection):
            _prepare_role(connection, settings)
            _prepare_schema(connection, settings, revisions)
            if settings.passwords is not None:
                with closing(_become_role(settings)) as own:
                    prepare_users(own, settings.passwords, settings.allowed_upgrade, _say)
    except psycopg2.Error as error:
        raise Refusal(f"The database stopped the migration: {_line(error)}.", FAILED) from error
    return 0


def _read_environment() -> _Settings:
    reader = Reader()
    database = reader.database()
    master_user = reader.text(names.MASTER_USER)
    master_password = reader.text(names.MASTER_PASSWORD)
    by_password = reader.choice(names.DATABASE_AUTH, ("iam", "password")) == "password"
    role_password = reader.text(names.DATABASE_PASSWORD) if by_password else None
    if database.user and database.user == master_user:
        reader.complain(
            f"{names.DATABASE_USER} and {names.MASTER_USER} are both {master_user!r}, but the"
            " server needs a role of its own"
        )
    passwords = None
    if reader.optional(names.ACCESS):
        passwords = Passwords(
            admin=reader.text(names.ADMIN_PASSWORD), client=reader.text(names.CLIENT_PASSWORD)
        )
    reader.close("migrate")
    return _Settings(
        database=database,
        master_user=master_user,
        master_password=master_password,
        role_password=role_password,
        allowed_upgrade=reader.optional(names.ALLOW_SCHEMA_UPGRADE),
        passwords=passwords,
    )


def _connect(settings: _Settings) -> Any:
    # TLS comes from PGSSLMODE and PGSSLROOTCERT, which libpq reads itself.
    connection = psycopg2.connect(
        host=settings.database.host,
        port=settings.database.port,
        dbname=settings.database.name,
        user=settings.master_user,
        password=settings.master_password,
        application_name="trackstack migrate",
        connect_timeout=10,
        options=_SESSION,
    )
    connection.autocommit = True
    return connection


def _connect_patiently(
    settings: _Settings,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Any:
    where = f"{settings.database.host}:{settings.database.port}"
    deadline = clock() + _WAIT_SECONDS
    waiting = False
    while True:
        try:
            return _connect(settings)
        except psycopg2.OperationalError as error:
            reason = _line(error)
            if any(mark in reason for mark in _LASTING):
                raise Refusal(f"The database at {where} refuses: {reason}.") from error
            if clock() >= deadline:
                raise Refusal(
                    f"The database at {where} can't be reached for {_WAIT_SECONDS:.0f} s: {reason}."
                ) from error
            if not waiting:
                _say(f"Waiting up to {_WAIT_SECONDS:.0f} s for the database at {where}: {reason}.")
                waiting = True
            sleep(0.5)


@contextmanager
def _alone(connection: Any) -> Iterator[None]:
    """Hold the advisory lock of this database; closing the connection gives it back as well."""
    with connection.cursor() as cursor:
        if not _one(cursor, "SELECT pg_try_advisory_lock(%s)", _LOCK):
            _say("Another task migrates this database; waiting for it.")
            cursor.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        yield
        cursor.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


def _prepare_role(connection: Any, settings: _Settings) -> None:
    """Create what is absent with the rights of RDS's master, who is no superuser."""
    user = settings.database.user
    role = sql.Identifier(user)
    with connection.cursor() as cursor:
        if not _one(cursor, "SELECT count(*) FROM pg_roles WHERE rolname = %s", user):
            cursor.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
            _say(f"Role {user} created.")
        if settings.role_password is None:
            _let_in_by_token(cursor, user)
        else:
            # Only the verifier leaves this process: the statement may end up in the server's log.
            verifier = encrypt_password(
                settings.role_password, user, connection, algorithm="scram-sha-256"
            )
            cursor.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD %s").format(role), (verifier,))
        # To give something to a role one must be able to become that role. PostgreSQL 16 no longer
        # lets the creator do so by itself.
        cursor.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))
        owner = _one(
            cursor,
            "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()",
        )
        if owner != user:
            database = sql.Identifier(settings.database.name)
            cursor.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, role))
        # From PostgreSQL 15 on the database's owner owns the schema; before, somebody else may.
        if not _one(cursor, "SELECT has_schema_privilege(%s, 'public', 'CREATE')", user):
            cursor.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(role))
        _hand_over(cursor, role)


def _let_in_by_token(cursor: Any, user: str) -> None:
    if not _one(cursor, "SELECT count(*) FROM pg_roles WHERE rolname = 'rds_iam'"):
        _say("This database has no role rds_iam: it will not accept the server's IAM tokens.")
    elif not _one(cursor, "SELECT pg_has_role(%s, 'rds_iam', 'MEMBER')", user):
        cursor.execute(sql.SQL("GRANT rds_iam TO {}").format(sql.Identifier(user)))


def _hand_over(cursor: Any, role: sql.Identifier) -> None:
    """Give the role what the master owns: a database that a stock MLflow filled as master."""
    cursor.execute(
        "SELECT 'TABLE', oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p')"
        " AND relnamespace = 'public'::regnamespace AND relowner = CURRENT_USER::regrole"
        " UNION ALL"
        " SELECT 'FUNCTION', oid::regprocedure::text FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace AND proowner = CURRENT_USER::regrole"
        " AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')"
    )
    for kind, name in cursor.fetchall():  # PostgreSQL has quoted the names
        cursor.execute(sql.SQL(f"ALTER {kind} {name} OWNER TO {{}}").format(role))


def _prepare_schema(connection: Any, settings: _Settings, revisions: Revisions) -> None:
    with connection.cursor() as cursor:
        current = current_revision(cursor)
        if current == revisions.head:
            _say(f"The schema is current ({current}).")
            return
        if current is not None and current not in revisions.known:
            raise Refusal(
                f"This database's schema is at revision {current}, which MLflow"
                f" {version('mlflow')} doesn't know (its newest is {revisions.head}): deploy the"
                " MLflow that wrote it, or restore a snapshot from before.",
                UNKNOWN_SCHEMA,
            )
        holds_data = _holds_data(cursor)
        if holds_data and settings.allowed_upgrade != revisions.head:
            raise Refusal(
                f"This database holds data at schema revision {current or 'none'}, and MLflow"
                f" {version('mlflow')} needs {revisions.head}: set"
                f" `allow_schema_upgrade: {revisions.head}` to upgrade it, after which older"
                " tasks can no longer start; nothing was changed and the old tasks keep serving.",
                NOT_ALLOWED,
            )
    started = time.monotonic()
    if current is None and not holds_data:
        _say(f"Creating the schema at revision {revisions.head}.")
    else:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        _say(
            f"Upgrading the schema from revision {current or 'none'} to {revisions.head};"
            f" the point in time to restore to is {now}."
        )
    _run_migrations(settings, from_nothing=current is None)
    _say(f"The schema is at revision {revisions.head} after {time.monotonic() - started:.1f} s.")


def _holds_data(cursor: Any) -> bool:
    """Tell whether any table has more than what a server writes that was only started."""
    of_nobody = {
        "experiments": "experiment_id <> 0",
        "workspaces": "name <> 'default'",
        "users": f"username NOT IN ('{access.ADMIN_USER}', '{access.CLIENT_USER}')",
    }
    cursor.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        " AND tablename NOT LIKE 'alembic\\_%' ORDER BY tablename"
    )
    checks = [
        sql.SQL("EXISTS (SELECT FROM public.{} WHERE {})").format(
            sql.Identifier(table), sql.SQL(of_nobody.get(table, "TRUE"))
        )
        for (table,) in cursor.fetchall()
    ]
    if not checks:
        return False
    cursor.execute(sql.SQL("SELECT {}").format(sql.SQL(" OR ").join(checks)))
    return bool(cursor.fetchone()[0])


def _run_migrations(settings: _Settings, *, from_nothing: bool) -> None:
    """Let MLflow create or upgrade its tables, as the role that will own them.

    The role may have no password (IAM), so the master connects and becomes the role. MLflow's
    upgrade is one transaction: a killed one leaves the tables of its first version at most,
    which the next one takes up.
    """
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    from mlflow.store.db.utils import _initialize_tables, _upgrade_db  # noqa: PLC0415
    from sqlalchemy import create_engine  # noqa: PLC0415
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

    for noisy in ("alembic", "mlflow"):
        logging.getLogger(noisy).setLevel(logging.WARNING)

    # The driver by name: SQLAlchemy 2.1 takes postgresql:// for psycopg 3.
    engine = create_engine(
        "postgresql+psycopg2://", creator=lambda: _become_role(settings), poolclass=NullPool
    )
    try:
        (_initialize_tables if from_nothing else _upgrade_db)(engine)
    except DBAPIError as error:
        raise Refusal(
            f"The migration failed and nothing of it was kept: {_line(error.orig)}."
        ) from error


def _become_role(settings: _Settings) -> Any:
    connection = _connect(settings)
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(settings.database.user)))
    connection.autocommit = False
    return connection


def _one(cursor: Any, statement: str, *values: object) -> Any:
    cursor.execute(statement, values)
    return cursor.fetchone()[0]


def _line(error: BaseException | None) -> str:
    """Return a message of libpq or the server without its hints, as part of one sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__


def _say(sentence: str) -> None:
    print(sentence, flush=True)
