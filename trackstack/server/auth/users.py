"""The tables of users and permissions: made once by ``migrate``, waited for by ``serve``.

MLflow's auth app makes them itself when it starts, without a lock: of three servers on an empty
database one survives. Here they are made where the rest of the schema is, under the same lock, and
the two users that the stack declares have the passwords of its secrets from then on.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg2

from trackstack.core import access
from trackstack.server.problem import MISUSED, NOT_ALLOWED, UNKNOWN_SCHEMA, Refusal
from trackstack.server.revisions import auth_migrations, current_revision, revisions_in

_VERSION_TABLE = "alembic_version_auth"
_WAIT_SECONDS = 540.0
"""A little less than a new task has before the balancer's check counts (600 s)."""


@dataclass(frozen=True)
class Passwords:
    """The passwords of the stack's own users, out of its secrets."""

    admin: str
    client: str


def prepare_users(
    connection: Any, passwords: Passwords, allowed_upgrade: str | None, say: Callable[[str], None]
) -> None:
    """Bring the tables to what this MLflow needs, and the stack's users to their passwords.

    The connection belongs to the role that the servers log in as; the caller holds the lock.

    Raises:
        Refusal: tables of another MLflow, or a password that MLflow would refuse.
    """
    revisions = revisions_in(auth_migrations() / "versions")
    with connection.cursor() as cursor:
        current = current_revision(cursor, _VERSION_TABLE)
    if current != revisions.head:
        if current is not None and current not in revisions.known:
            raise Refusal(
                f"The tables of users are at revision {current}, which this MLflow doesn't know"
                f" (its newest is {revisions.head}): deploy the MLflow that wrote them.",
                UNKNOWN_SCHEMA,
            )
        if current is not None and allowed_upgrade is None:
            raise Refusal(
                f"The tables of users are at revision {current}, and this MLflow needs"
                f" {revisions.head}: set `allow_schema_upgrade: {revisions.head}` to upgrade them;"
                " nothing was changed and the old tasks keep serving.",
                NOT_ALLOWED,
            )
        _upgrade(connection, revisions.head)
        say(f"The tables of users are at revision {revisions.head}.")
    connection.commit()
    for name, password, is_admin in (
        (access.ADMIN_USER, passwords.admin, True),
        (access.CLIENT_USER, passwords.client, False),
    ):
        if _set_user(connection, name, password, is_admin=is_admin):
            say(f"The user {name} has the password of the stack's secret.")


def wait_for_users(
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    say: Callable[[str], None] = lambda line: print(line, flush=True),
) -> None:
    """Return once another task's ``migrate`` has made the tables; libpq's variables say where.

    Raises:
        Refusal: it didn't within 9 minutes.
    """
    head = revisions_in(auth_migrations() / "versions").head
    deadline = clock() + _WAIT_SECONDS
    waiting = False
    while True:
        try:
            connection = psycopg2.connect("", connect_timeout=10)
            try:
                with connection.cursor() as cursor:
                    found = current_revision(cursor, _VERSION_TABLE)
                    problem = f"the tables of users are at revision {found or 'none'}, not {head}"
                    if found == head and _hash_of(cursor, access.ADMIN_USER):
                        return
            finally:
                connection.close()
        except psycopg2.Error as error:
            problem = str(error).strip().splitlines()[0] if str(error).strip() else "no answer"
        if clock() >= deadline:
            raise Refusal(f"No tracking task has prepared the database yet: {problem}.")
        if not waiting:
            say(f"Waiting for a tracking task to prepare the database: {problem}.")
            waiting = True
        sleep(1)


def _upgrade(connection: Any, head: str) -> None:
    """Run MLflow's migrations on this connection, in one transaction.

    MLflow's own function opens another connection by a URL, and the role may have no password.
    """
    from alembic.config import Config  # noqa: PLC0415 - seconds, and needed once a version
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415
    from sqlalchemy import create_engine  # noqa: PLC0415
    from sqlalchemy.pool import StaticPool  # noqa: PLC0415

    script = ScriptDirectory(str(auth_migrations()))

    def steps(revision: Any, _: Any) -> Any:
        return script._upgrade_revs(head, revision)  # noqa: SLF001 - what alembic's command calls

    engine = create_engine(
        "postgresql+psycopg2://", creator=lambda: connection, poolclass=StaticPool
    )
    with (
        engine.connect() as own,
        EnvironmentContext(Config(), script, fn=steps) as environment,
    ):
        environment.configure(connection=own, version_table=_VERSION_TABLE, fn=steps)
        with environment.begin_transaction():
            environment.run_migrations()
        own.commit()


def _set_user(connection: Any, name: str, password: str, *, is_admin: bool) -> bool:
    """Make the user or mend its password; whether there was anything to do."""
    from werkzeug.security import check_password_hash, generate_password_hash  # noqa: PLC0415

    if len(password) < access.PASSWORD_LENGTH_MIN:
        raise Refusal(
            f"The password of {name} has fewer than {access.PASSWORD_LENGTH_MIN} characters,"
            " which MLflow refuses.",
            MISUSED,
        )
    with connection.cursor() as cursor:
        kept = _hash_of(cursor, name)
        if kept and check_password_hash(kept, password):
            return False
        cursor.execute(
            "INSERT INTO users (username, password_hash, is_admin) VALUES (%s, %s, %s)"
            " ON CONFLICT (username) DO UPDATE"
            " SET password_hash = excluded.password_hash, is_admin = excluded.is_admin",
            (name, generate_password_hash(password), is_admin),
        )
    connection.commit()
    return True


def _hash_of(cursor: Any, name: str) -> str | None:
    cursor.execute("SELECT password_hash FROM users WHERE username = %s", (name,))
    row = cursor.fetchone()
    return None if row is None else str(row[0])
