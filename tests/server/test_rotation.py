"""The credential changes while requests run: real server, real PostgreSQL, tokens that end."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from tests.server.conftest import Command, Database
from tests.server.tokens import Authority

VALID_SECONDS = 12.0
RENEWAL_SECONDS = 2.0

# ``serve`` as it is, but for a clock that runs 300 times faster and tokens that need no AWS.
_SERVE = """
import os, sys, time
import trackstack.server.credentials as credentials
credentials.RENEWAL_SECONDS, credentials.VALID_SECONDS = {renewal}, {valid}
credentials._FIRST_RETRY_SECONDS = credentials._LAST_RETRY_SECONDS = 1.0
from trackstack.server import serve
from tests.server.tokens import make_token
def maker(database, region):
    def make():
        if os.path.exists("gone"):
            raise RuntimeError("the role is gone")
        return make_token("{key}", time.time())
    return make
credentials.rds_token_maker = maker
sys.exit(serve.serve())
"""


@pytest.fixture
def authority(migrated: Database) -> Iterator[Authority]:
    """PostgreSQL asks it who may be this database's role, and nobody else's."""
    server = migrated.postgres
    rules = server.data / "pg_hba.conf"
    before = rules.read_text()
    with Authority(VALID_SECONDS) as asked:
        rule = (
            f"host {migrated.name} {migrated.user} 127.0.0.1/32 radius "
            f'radiusservers="127.0.0.1" radiusports="{asked.port}" radiussecrets="{asked.secret}"\n'
        )
        rules.write_text(rule + before)
        _reload(migrated)
        yield asked
        rules.write_text(before)
        _reload(migrated)


def _reload(database: Database) -> None:
    with closing(database.postgres.connect("postgres")) as connection:
        connection.cursor().execute("SELECT pg_reload_conf()")


def _serve(start: Any, database: Database, authority: Authority) -> Command:
    code = _SERVE.format(renewal=RENEWAL_SECONDS, valid=VALID_SECONDS, key=authority.key)
    environment = database.environment() | {
        "TRACKSTACK_DATABASE_AUTH": "iam",
        "AWS_DEFAULT_REGION": "us-east-1",
        # The hardest case: no connection is used twice, so every request logs in.
        "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
    }
    del environment["TRACKSTACK_DATABASE_PASSWORD"]
    command: Command = start("serve", environment, "-c", code)
    command.wait_until_healthy()
    return command


def _log_a_point(server: Command, run_id: str, step: int) -> int:
    point = {"run_id": run_id, "key": "loss", "value": 1.0, "timestamp": step, "step": step}
    return server.request("POST", "/api/2.0/mlflow/runs/log-metric", point)[0]


def _new_run(server: Command) -> str:
    code, answer = server.request(
        "POST", "/api/2.0/mlflow/runs/create", {"experiment_id": "0", "start_time": 1}
    )
    assert code == 200, answer
    return str(answer["run"]["info"]["run_id"])


def test_the_credential_changes_under_load_and_no_request_fails(
    start: Any, migrated: Database, authority: Authority
) -> None:
    server = _serve(start, migrated, authority)
    run_id = _new_run(server)
    first = authority.accepted[0]
    answers: list[int] = []
    done = threading.Event()

    def load(worker: int) -> None:
        step = worker
        while not done.is_set():
            answers.append(_log_a_point(server, run_id, step))
            step += 4

    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(load, worker) for worker in range(4)]
        try:
            # Until the first credential has ended and four more were used after it.
            while authority.accepts(first) or len({*authority.accepted}) < 5 or len(answers) < 500:
                assert not any(one.done() for one in loads), [one.exception() for one in loads]
                done.wait(0.1)
        finally:
            done.set()
    assert set(answers) == {200}
    assert len(answers) >= 500
    assert authority.refused == []
    assert not authority.accepts(first)
    stored = migrated.query("SELECT count(*) FROM metrics WHERE run_uuid = %s", run_id)
    assert stored == [(len(answers),)]


def test_a_credential_that_can_t_be_renewed_is_told_while_requests_still_succeed(
    start: Any, migrated: Database, authority: Authority
) -> None:
    server = _serve(start, migrated, authority)
    run_id = _new_run(server)
    (server.folder / "gone").touch()
    heard = threading.Event()
    lines: list[str] = []

    def listen() -> None:
        assert server.process.stderr is not None
        for line in server.process.stderr:
            lines.append(line)
            if "could not be renewed" in line:
                heard.set()

    threading.Thread(target=listen, daemon=True).start()
    steps = iter(range(1_000_000))
    while not heard.is_set():
        assert _log_a_point(server, run_id, next(steps)) == 200, "it failed before it was told"
    complaint = next(line for line in lines if "could not be renewed" in line)
    assert "(the role is gone); the present one is valid for" in complaint
    # And then it ends, as it was told: the rehearsal could have failed.
    while _log_a_point(server, run_id, next(steps)) == 200:
        pass
    assert authority.refused
    assert not authority.accepts(authority.refused[0])
