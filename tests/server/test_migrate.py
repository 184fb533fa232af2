"""``migrate``: one role, one schema, and never a surprise for data that exists."""

import re
import subprocess
import time
from contextlib import closing
from typing import Any

import pytest

from trackstack.server.revisions import installed_revisions

pytestmark = pytest.mark.live
HEAD = installed_revisions().head
SCHEMA_OF_2_16 = "4465047574b1"


def _all(commands: list[Any]) -> list[tuple[int, str, str]]:
    return [command.finish() for command in commands]


def test_three_at_once_on_an_empty_database_all_succeed_and_all_serve(
    database: Any, start: Any
) -> None:
    ended = _all([start("migrate", database.migrate_environment()) for _ in range(3)])
    assert [code for code, _, _ in ended] == [0, 0, 0], ended
    assert sum("Creating the schema" in out for _, out, _ in ended) == 1
    assert database.revision() == HEAD
    servers = [start("serve", database.environment()) for _ in range(3)]
    for server in servers:
        server.wait_until_healthy()
    for server in servers:
        status, answer = server.request(
            "POST", "/api/2.0/mlflow/experiments/search", {"max_results": 5}
        )
        assert (status, len(answer["experiments"])) == (200, 1)


def test_three_at_once_on_a_database_of_2_16_keep_its_runs_and_all_serve(
    database: Any, written_by_2_16: Any, start: Any
) -> None:
    run_id = written_by_2_16("run")
    assert database.revision() == SCHEMA_OF_2_16
    environment = database.migrate_environment(TRACKSTACK_ALLOW_SCHEMA_UPGRADE=HEAD)
    ended = _all([start("migrate", environment) for _ in range(3)])
    assert [code for code, _, _ in ended] == [0, 0, 0], ended
    upgrades = [out for _, out, _ in ended if "Upgrading" in out]
    assert len(upgrades) == 1
    assert re.search(
        rf"^Upgrading the schema from revision {SCHEMA_OF_2_16} to {HEAD}; the point in time to"
        r" restore to is \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\.$",
        upgrades[0],
        re.MULTILINE,
    )
    servers = [start("serve", database.environment()) for _ in range(3)]
    for server in servers:
        server.wait_until_healthy()
    for server in servers:
        status, answer = server.request("GET", f"/api/2.0/mlflow/runs/get?run_id={run_id}")
        assert status == 200
        assert answer["run"]["data"]["params"] == [{"key": "rate", "value": "0.1"}]
        status, answer = server.request(
            "GET", f"/api/2.0/mlflow/metrics/get-history?run_id={run_id}&metric_key=loss"
        )
        assert (status, len(answer["metrics"])) == (200, 10)


@pytest.mark.parametrize("allowance", [None, SCHEMA_OF_2_16])
def test_data_of_an_older_schema_is_not_touched_unless_this_very_upgrade_is_allowed(
    database: Any, written_by_2_16: Any, start: Any, allowance: str | None
) -> None:
    written_by_2_16("run")
    tables = "SELECT table_name, column_name FROM information_schema.columns ORDER BY 1, 2"
    before = database.query(tables)
    more = {} if allowance is None else {"TRACKSTACK_ALLOW_SCHEMA_UPGRADE": allowance}
    code, _, err = start("migrate", database.migrate_environment(**more)).finish()
    assert (code, err) == (
        3,
        (
            "The migration stopped: This database holds data at schema revision"
            f" {SCHEMA_OF_2_16}, and MLflow 3.17.2 needs {HEAD}: set"
            f" `allow_schema_upgrade: {HEAD}` to upgrade it, after which older"
            " tasks can no longer start; nothing was changed and the old tasks keep serving.\n"
        ),
    )
    assert database.revision() == SCHEMA_OF_2_16
    assert database.query(tables) == before
    assert database.query("SELECT count(*) FROM runs") == [(1,)]


def test_an_older_schema_without_data_is_upgraded_without_asking(
    database: Any, written_by_2_16: Any, start: Any
) -> None:
    written_by_2_16("nothing")
    assert database.query("SELECT count(*) FROM experiments") == [(1,)]  # the default one
    code, _, err = start("migrate", database.migrate_environment()).finish()
    assert (code, database.revision()) == (0, HEAD), err


def test_a_newer_schema_is_refused(migrated: Any, start: Any) -> None:
    migrated.query("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    code, _, err = start("migrate", migrated.migrate_environment()).finish()
    assert (code, err) == (
        4,
        (
            "The migration stopped: This database's schema is at revision ffffffffffff, which"
            " MLflow 3.17.2 doesn't know"
            f" (its newest is {HEAD}): deploy the MLflow that wrote it, or restore a snapshot from"
            " before.\n"
        ),
    )
    assert migrated.revision() == "ffffffffffff"


def test_a_current_schema_is_left_alone_without_loading_mlflow(migrated: Any, start: Any) -> None:
    started = time.monotonic()
    command = start("migrate", migrated.migrate_environment(), "-X", "importtime")
    code, out, err = command.finish()
    assert time.monotonic() - started < 2  # 0.1 s; importing MLflow alone takes longer
    assert (code, out) == (0, f"The schema is current ({HEAD}).\n")
    assert "psycopg2" in err
    assert not re.search(r"\| +(mlflow|alembic|sqlalchemy|boto3)\b", err)


def test_a_migration_killed_in_the_middle_is_taken_up_by_the_next(
    database: Any, written_by_2_16: Any, start: Any, wait: Any
) -> None:
    run_id = written_by_2_16("run")
    environment = database.migrate_environment(TRACKSTACK_ALLOW_SCHEMA_UPGRADE=HEAD)
    # A reader of `runs` holds the upgrade up at the first ALTER TABLE, in its transaction.
    with closing(database.postgres.connect(database.name)) as reader, reader.cursor() as cursor:
        cursor.execute("BEGIN; SELECT count(*) FROM metrics; SELECT count(*) FROM experiments")
        first = start("migrate", environment)
        wait(
            "an upgrade under way",
            30,
            lambda: database.query(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'ALTER'"
                " AND datname = current_database()"
            ),
        )
        first.process.kill()
        first.finish()
        cursor.execute("ROLLBACK")
    code, _, err = start("migrate", environment).finish()
    assert (code, database.revision()) == (0, HEAD), err
    assert database.query("SELECT name FROM runs WHERE run_uuid = %s", run_id) == [("old-run",)]


def test_a_creation_killed_after_its_first_tables_is_taken_up_by_the_next(
    database: Any, start: Any, wait: Any
) -> None:
    first = start("migrate", database.migrate_environment())
    wait(
        "the first tables",
        30,
        lambda: database.query("SELECT to_regclass('experiments') IS NOT NULL")[0][0],
    )
    first.process.kill()
    first.finish()
    code, _, err = start("migrate", database.migrate_environment()).finish()
    assert (code, database.revision()) == (0, HEAD), err


def test_the_role_is_nobody_special_and_owns_what_it_needs(database: Any, start: Any) -> None:
    code, _, err = start("migrate", database.migrate_environment()).finish()
    assert code == 0, err
    migrated = database
    assert migrated.query(
        "SELECT rolsuper, rolcreaterole, rolcreatedb, rolcanlogin FROM pg_roles WHERE rolname = %s",
        migrated.user,
    ) == [(False, False, False, True)]
    assert migrated.query(
        "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    ) == [(migrated.user,)]
    assert migrated.query(
        "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
    ) == [(migrated.user,)]


def test_tables_that_a_stock_server_made_as_master_change_hands(
    database: Any, written_by_2_16: Any, start: Any
) -> None:
    written_by_2_16("run")
    environment = database.migrate_environment(TRACKSTACK_ALLOW_SCHEMA_UPGRADE=HEAD)
    code, _, err = start("migrate", environment).finish()
    assert code == 0, err
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    assert database.query(owners) == [(database.user,)]


def test_with_tokens_the_role_has_no_password_and_joins_rds_iam(database: Any, start: Any) -> None:
    database.query(
        "DO $$ BEGIN CREATE ROLE rds_iam; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    )
    database.query("GRANT rds_iam TO master WITH ADMIN OPTION")
    environment = database.migrate_environment(TRACKSTACK_DATABASE_AUTH="iam")
    del environment["TRACKSTACK_DATABASE_PASSWORD"]
    for _ in range(2):
        code, out, err = start("migrate", environment).finish()
        assert code == 0, err
    assert out == f"The schema is current ({HEAD}).\n"
    assert database.query(
        "SELECT rolpassword FROM pg_authid WHERE rolname = %s", database.user
    ) == [(None,)]
    assert database.query("SELECT pg_has_role(%s, 'rds_iam', 'MEMBER')", database.user) == [(True,)]


def test_no_password_is_shown_anywhere(database: Any, start: Any) -> None:
    command = start("migrate", database.migrate_environment())
    argv: set[str] = set()
    while command.process.poll() is None:
        ps = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
        argv.add(ps.stdout)
        time.sleep(0.2)
    _, out, err = command.finish()
    server = database.postgres
    for secret in (server.master_password, database.password):
        doubled = secret.replace("'", "''")
        for place in (out, err, *argv, server.log().split("database system is ready")[-1]):
            assert secret not in place
            # The test's own CREATE ROLE of the master is the one statement that may show it.
            lines = [line for line in place.splitlines() if "CREATE ROLE master" not in line]
            assert doubled not in "\n".join(lines)


def test_every_missing_variable_is_named_at_once(start: Any) -> None:
    code, out, err = start("migrate", {"PGPORT": "x", "TRACKSTACK_DATABASE_AUTH": "md5"}).finish()
    assert (code, out, err) == (
        2,
        "",
        (
            "The migration stopped: migrate can't start with this environment: it lacks PGHOST,"
            " PGDATABASE, PGUSER,"
            " TRACKSTACK_DATABASE_MASTER_USER, TRACKSTACK_DATABASE_MASTER_PASSWORD; PGPORT must be"
            " a whole number above 0, it is 'x'; TRACKSTACK_DATABASE_AUTH must be iam or password,"
            " it is 'md5'.\n"
        ),
    )


def test_a_wrong_master_password_is_one_sentence_and_no_wait(database: Any, start: Any) -> None:
    environment = database.migrate_environment(TRACKSTACK_DATABASE_MASTER_PASSWORD="wrong")
    code, _, err = start("migrate", environment).finish(20)
    where = f"127.0.0.1:{database.postgres.port}"
    assert code == 1
    assert err.startswith(f"The migration stopped: The database at {where} refuses: ")
    assert err.endswith('password authentication failed for user "master".\n')
    assert err.count("\n") == 1
