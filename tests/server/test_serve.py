"""``serve``: process 1, from the first credential to the last request."""

import http.client
import os
import signal
import socket
import stat
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest

pytestmark = pytest.mark.live
SEARCH = ("POST", "/api/2.0/mlflow/experiments/search", {"max_results": 5})


def test_the_stack_of_processes_is_two_and_the_first_stays_small(server: Any) -> None:
    first, mlflow = server.tree()  # no third one that only waits
    assert first.memory_info().rss < 30 * 2**20
    assert mlflow.cmdline()[1:3] == ["-m", "trackstack.server.web"]


def test_mlflow_gets_no_secret_and_the_driver_by_name(server: Any, migrated_for_all: Any) -> None:
    migrated = migrated_for_all
    for process in server.tree()[1:]:
        environment = process.environ()
        assert "TRACKSTACK_DATABASE_PASSWORD" not in environment
        assert migrated.password not in " ".join([*environment.values(), *process.cmdline()])
        assert environment["MLFLOW_BACKEND_STORE_URI"] == (
            f"postgresql+psycopg2://{migrated.user}@{migrated.url}"
        )
        assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"


def test_the_password_file_is_for_its_owner_only_and_opens_the_database(
    server: Any, migrated_for_all: Any
) -> None:
    migrated = migrated_for_all
    file = server.folder / "run" / "pgpass"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() == (
        f"127.0.0.1:{migrated.postgres.port}:*:{migrated.user}:role\\:secret\\\\of\n"
    )
    assert [path.name for path in file.parent.iterdir()] == ["pgpass"]
    with closing(
        psycopg2.connect(
            host="127.0.0.1",
            port=migrated.postgres.port,
            dbname=migrated.name,
            user=migrated.user,
            passfile=str(file),
        )
    ):
        pass


def test_sigterm_lets_an_upload_under_way_finish_and_exits_0(
    migrated: Any, start: Any, tmp_path: Path
) -> None:
    server = start("serve", migrated.environment())
    server.wait_until_healthy()
    body = os.urandom(256 * 1024)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/slow.bin")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    connection.send(body[:1000])
    time.sleep(0.5)
    server.process.send_signal(signal.SIGTERM)
    time.sleep(1.5)
    with (
        pytest.raises(OSError, match="refused"),
        closing(socket.create_connection(("127.0.0.1", server.port), 5)),
    ):
        pass  # nobody new is let in
    connection.send(body[1000:])
    assert connection.getresponse().status == 200
    connection.close()
    code, _, err = server.finish(20)
    assert code == 0, err
    assert (tmp_path / "artifacts" / "0" / "slow.bin").read_bytes() == body


def test_a_request_that_never_ends_does_not_hold_the_stop_for_ever(
    migrated: Any, start: Any
) -> None:
    server = start("serve", {**migrated.environment(), "TRACKSTACK_GRACEFUL_SHUTDOWN_SECONDS": "1"})
    server.wait_until_healthy()
    with closing(socket.create_connection(("127.0.0.1", server.port))) as client:
        client.sendall(
            b"PUT /api/2.0/mlflow-artifacts/artifacts/0/x HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Length: 100\r\n\r\nx"
        )
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        assert server.finish(15)[0] == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_kill_9_leaves_no_orphan_and_frees_the_port(
    migrated: Any, start: Any, wait: Any, workers: str
) -> None:
    server = start("serve", {**migrated.environment(), "MLFLOW_WORKERS": workers})
    server.wait_until_healthy()
    below = server.tree()[1:]
    assert len(below) == {"1": 1, "2": 4}[workers]  # uvicorn, two workers, Python's tracker
    server.process.kill()
    server.process.wait(10)  # not for its pipes: an orphan would hold them
    wait("no orphan", 10, lambda: not any(process.is_running() for process in below))
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", server.port))


def test_kill_9_while_mlflow_is_still_starting_leaves_no_orphan(
    migrated: Any, start: Any, wait: Any
) -> None:
    server = start("serve", migrated.environment())
    below = wait("a child", 10, lambda: server.tree()[1:])
    server.process.kill()
    server.process.wait(10)  # not for its pipes: an orphan would hold them
    wait("no orphan", 10, lambda: not any(process.is_running() for process in below))


def test_a_worker_of_a_killed_uvicorn_does_not_keep_the_port(
    migrated: Any, start: Any, wait: Any
) -> None:
    server = start("serve", {**migrated.environment(), "MLFLOW_WORKERS": "2"})
    server.wait_until_healthy()
    _, uvicorn, *workers = server.tree()
    uvicorn.kill()
    code, _, err = server.finish(20)
    assert code == 128 + signal.SIGKILL
    assert "MLflow ended by itself (SIGKILL).\n" in err  # the workers have last words, too
    wait("no orphan", 10, lambda: not any(process.is_running() for process in workers))


def test_mlflows_own_failure_becomes_the_exit_status(migrated: Any, start: Any) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, _, err = start("serve", {**migrated.environment(), "MLFLOW_PORT": port}).finish()
    assert code == 3  # uvicorn's word for a server that could not start
    assert "address already in use" in err
    assert err.endswith("MLflow ended by itself (status 3).\n")


def test_a_database_that_goes_away_and_comes_back_needs_no_restart(
    server: Any, migrated_for_all: Any, wait: Any
) -> None:
    migrated = migrated_for_all
    assert server.request(*SEARCH)[0] == 200
    before = {process.pid for process in server.tree()}
    migrated.postgres.stop()
    try:
        assert server.request(*SEARCH, timeout=60)[0] >= 500
        assert server.request("GET", "/health")[0] == 200
    finally:
        migrated.postgres.start()
    wait("the API", 20, lambda: server.request(*SEARCH)[0] == 200)
    assert {process.pid for process in server.tree()} == before


def test_requests_that_come_together_are_served_by_two_workers_without_a_stall(
    migrated: Any, start: Any
) -> None:
    server = start("serve", {**migrated.environment(), "MLFLOW_WORKERS": "2"})
    server.wait_until_healthy()
    statuses: list[int] = []

    def ask() -> None:
        statuses.extend(server.request(*SEARCH)[0] for _ in range(5))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 20
    server.process.send_signal(signal.SIGTERM)
    assert server.finish(30)[0] == 0


def test_an_artifacts_server_needs_no_database_and_knows_none(start: Any, tmp_path: Path) -> None:
    server = start("serve", {"MLFLOW_ARTIFACTS_ONLY": "true"})
    server.wait_until_healthy()
    assert server.request("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/a.txt", "x")[0] == 200
    status, answer = server.request("GET", "/api/2.0/mlflow-artifacts/artifacts?path=0")
    assert (status, answer["files"][0]["path"]) == (200, "a.txt")
    assert not {"PGHOST", "PGPASSFILE", "PGUSER"} & set(server.tree()[1].environ())
    assert not (server.folder / "run").exists()
    # MLflow may leave a stray mlflow.db: in the working directory, which is a volume.
    assert not (tmp_path / "mlflow.db").exists()
    server.process.send_signal(signal.SIGTERM)
    assert server.finish(20)[0] == 0


def test_every_missing_variable_is_named_at_once(start: Any) -> None:
    code, out, err = start(
        "serve",
        {
            "MLFLOW_HOST": "",
            "PGPASSFILE": "",
            "MLFLOW_PORT": "http",
            "TRACKSTACK_KEEP_ALIVE_SECONDS": "-1",
        },
    ).finish()
    assert (code, out, err) == (
        2,
        "",
        (
            "serve can't start with this environment: it lacks MLFLOW_HOST, PGHOST, PGPORT,"
            " PGDATABASE, PGUSER, PGPASSFILE, TRACKSTACK_DATABASE_AUTH; MLFLOW_PORT must be a whole"
            " number above 0, it is 'http'; TRACKSTACK_KEEP_ALIVE_SECONDS must be a whole number"
            " above 0, it is '-1'.\n"
        ),
    )


def test_the_health_check_is_quick_and_tells(server: Any, start: Any) -> None:
    good = start("healthy", {"MLFLOW_PORT": str(server.port)})
    assert good.finish(10) == (0, "", "")
    started = time.monotonic()
    code, _, err = start("healthy", {"MLFLOW_PORT": "9"}).finish(10)
    assert time.monotonic() - started < 2
    assert (code, err) == (1, "127.0.0.1:9 doesn't answer: [Errno 111] Connection refused.\n")


def test_an_unknown_verb_is_a_sentence(start: Any) -> None:
    code, _, err = start("server", {}).finish(10)
    assert (code, err) == (
        2,
        "trackstack.server takes one of migrate, serve, collect, healthy; it was given server.\n",
    )


def test_an_iam_server_writes_a_token_before_mlflow_starts(
    migrated: Any, start: Any, wait: Any
) -> None:
    environment = migrated.environment() | {
        "TRACKSTACK_DATABASE_AUTH": "iam",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "example",
    }
    server = start("serve", environment)
    file = server.folder / "run" / "pgpass"
    wait("the token", 20, file.exists)
    line = file.read_text()
    assert line.startswith(f"127.0.0.1:{migrated.postgres.port}:*:{migrated.user}:127.0.0.1\\:")
    assert "Action=connect" in line
    assert "eu-central-1" in line
    assert psutil.pid_exists(server.process.pid)


def test_an_iam_server_without_aws_credentials_is_a_sentence(migrated: Any, start: Any) -> None:
    environment = migrated.environment() | {
        "TRACKSTACK_DATABASE_AUTH": "iam",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    code, _, err = start("serve", environment).finish(20)
    assert (code, err) == (1, "No database token can be made: Unable to locate credentials.\n")
