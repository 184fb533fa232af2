"""The relay before a server that is away, slow, wrong or gone.

MLflow itself is asked in tests/live/test_relay.py.
"""

import contextlib
import hashlib
import http.client
import json
import os
import random
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.client.gateway import BLACK_HOLE, REFUSED, UNAVAILABLE, UP, Gateway
from tests.client.relayed import API, Client, Fake, relay, shipped
from trackstack.client.errors import ClientError
from trackstack.client.relay import journal as journals
from trackstack.client.relay import place, syncing, training
from trackstack.client.relay.supervisor import Supervisor

pytestmark = pytest.mark.timeout(120)
NOWHERE = "http://127.0.0.1:9"
FILES = "/api/2.0/mlflow-artifacts/artifacts/"


@pytest.fixture
def server() -> Iterator[Fake]:
    fake = Fake()
    yield fake
    fake.close()


def test_what_is_logged_reaches_the_server_in_batches_and_once(
    server: Fake, tmp_path: Path
) -> None:
    with relay(server.uri, tmp_path) as (_, client):
        run = client.run(tags=[{"key": "team", "value": "a"}])
        for step in range(300):
            client.point(run, step)
        client.post("runs/log-parameter", run_id=run, key="lr", value="0.1")
        client.post("runs/set-tag", run_id=run, key="team", value="b")
        client.post("runs/update", run_id=run, status="FINISHED", end_time=5)
        shipped(client)
    ((remote, info),) = server.runs.items()
    assert sorted(step for _, _, _, step in server.points) == list(range(300))
    assert info["status"] == "FINISHED"
    assert (info["end_time"], info["start_time"]) == (5, 1)
    assert server.params[remote] == {"lr": "0.1"}
    assert server.tags[remote]["team"] == "b"
    assert server.tags[remote]["trackstack.id"] == run
    batches = [path for _, path in server.asked if path.endswith("log-batch")]
    assert len(batches) < 100


def test_a_run_that_ended_is_the_servers_to_tell_of(server: Fake, tmp_path: Path) -> None:
    with relay(server.uri, tmp_path) as (_, client):
        run = client.run()
        client.post("runs/update", run_id=run, status="FINISHED", end_time=5)
        shipped(client)
        (remote,) = server.runs
        server.tags[remote]["by"] = "somebody in the UI"
        told = json.loads(client.ask("GET", f"{API}runs/get?run_id={run}")[1])["run"]
        assert {"key": "by", "value": "somebody in the UI"} in told["data"]["tags"]
        assert told["info"]["run_id"] == run, "in the id that the client was given"
        server.misbehaves = lambda *_: 503
        told = json.loads(client.ask("GET", f"{API}runs/get?run_id={run}")[1])["run"]
        assert told["info"]["status"] == "FINISHED", "what is known here is better than nothing"


def test_half_a_file_of_a_killed_relay_takes_no_room(tmp_path: Path) -> None:
    with relay(NOWHERE, tmp_path) as (supervisor, _):
        folder = supervisor.folder
    (folder / "spool" / "new-half").write_bytes(b"x" * 1000)
    journal = journals.Journal(folder)
    assert list(journal.spool.iterdir()) == []
    journal.close()


def test_a_server_that_is_away_is_no_error_and_gets_all_when_it_is_there(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with relay(f"http://127.0.0.1:{port}", tmp_path) as (_, client):
        run = client.run()
        client.point(run, 1)
        told = json.loads(client.ask("GET", "/trackstack/status")[1])
        assert told == {
            "waiting": 2,
            "refused": 0,
            "away": "connection refused",
            "stuck": "",
        }
        server = Fake(port)
        shipped(client)
        server.close()
    assert [step for _, _, _, step in server.points] == [1]


@pytest.mark.parametrize(
    "status", [0, 302, 401, 403, 408, 429, 500, 502, 503, "<html>Please sign in</html>"]
)
def test_what_may_pass_is_tried_again_until_it_does(
    server: Fake, tmp_path: Path, status: int | str
) -> None:
    """A server that hangs up, wants other credentials, is busy, or hides behind a portal."""
    left = [2]

    def misbehaves(method: str, path: str, body: dict[str, Any]) -> int | str | None:
        if "log-batch" in path and left[0]:
            left[0] -= 1
            return status
        return None

    server.misbehaves = misbehaves
    with relay(server.uri, tmp_path) as (_, client):
        run = client.run()
        client.point(run, 1)
        assert shipped(client)["refused"] == 0
    assert left == [0]
    assert [step for _, _, _, step in server.points] == [1]


def test_what_the_server_will_never_take_holds_nothing_up_and_is_told(
    server: Fake, tmp_path: Path
) -> None:
    with relay(server.uri, tmp_path) as (supervisor, client):
        run = client.run()
        shipped(client)
        (remote,) = server.runs
        server.params[remote] |= {"lr": "somebody else's", "seed": "theirs"}
        entries = [{"key": "m", "value": 1.0, "timestamp": 1, "step": n} for n in range(50)]
        ours = [{"key": "lr", "value": "ours"}, {"key": "seed", "value": "ours"}]
        params = [*ours, {"key": "depth", "value": "3"}]
        client.post("runs/log-batch", run_id=run, metrics=entries, params=params, tags=[])
        client.post("runs/log-batch", run_id=run, metrics=[], params=[], tags=[])
        client.point(run, 99)
        assert shipped(client)["refused"] == 1
        folder, environment = supervisor.folder, {"TRACKSTACK_JOURNAL": str(tmp_path / "journal")}
    assert sorted(step for _, _, _, step in server.points) == [*range(50), 99]
    assert server.params[remote] == {"lr": "somebody else's", "seed": "theirs", "depth": "3"}
    with contextlib.closing(journals.read_only(folder)) as database:
        ((kept,),) = database.execute("SELECT body FROM writes WHERE state = 2")
    assert json.loads(kept) == {"metrics": [], "params": ours, "tags": []}
    assert server.tags[remote]["trackstack.refused"].startswith("1: 400: Changing param values")
    done = cli("sync", MLFLOW_TRACKING_URI=server.uri, **environment)
    assert done.returncode == 5
    assert f"{folder}: 0 writes wait." in done.stdout
    assert "Changing param values is not allowed: lr" in done.stdout
    # Whoever has seen it lets it go; it is named once more.
    done = cli("sync", "--forget", MLFLOW_TRACKING_URI=server.uri, **environment)
    assert (done.returncode, "not allowed: lr" in done.stdout) == (0, True)
    done = cli("sync", MLFLOW_TRACKING_URI=server.uri, **environment)
    assert (done.returncode, "lr" in done.stdout) == (0, False)
    assert cli("sync", "--show", "--forget", **environment).returncode == 2


def test_sync_ends_when_a_server_that_is_there_takes_nothing(server: Fake, tmp_path: Path) -> None:
    server.misbehaves = lambda _, path, __: 403 if "runs/" in path else None
    environment = {**os.environ, "TRACKSTACK_JOURNAL": str(tmp_path / "journal")}
    environment["MLFLOW_TRACKING_URI"] = server.uri
    with relay(server.uri, tmp_path) as (_, client):
        client.run()
    told: list[str] = []
    (left,) = syncing.sync(environment, lambda *_: None, told.append, patience=1)
    assert (left.waiting, told) == (1, [])
    assert (
        left.note
        == 'the server does not take them now (403: {"error_code": "OTHER", "message": "no"})'
    )


def test_a_run_that_is_resumed_ends_with_whoever_resumed_it(server: Fake, tmp_path: Path) -> None:
    with relay(server.uri, tmp_path) as (supervisor, client):
        run = client.run()
        client.post("runs/update", run_id=run, status="FINISHED", end_time=5)
        token = supervisor.admit("another training")
        Client(supervisor.uri, token).post("runs/update", run_id=run, status="RUNNING")
        supervisor.ask("ended", token, {"status": "KILLED", "why": "SIGKILL"})
        shipped(client)
    ((remote, info),) = server.runs.items()
    assert (info["status"], server.tags[remote]["trackstack.ended_by"]) == ("KILLED", "SIGKILL")


def test_a_lost_answer_leaves_one_run(server: Fake, tmp_path: Path) -> None:
    left = [3]

    def misbehaves(method: str, path: str, body: dict[str, Any]) -> int | None:
        if path.endswith("runs/create") and left[0]:
            left[0] -= 1
            return -1
        return None

    server.misbehaves = misbehaves
    with relay(server.uri, tmp_path) as (_, client):
        run = client.run()
        client.point(run, 1)
        shipped(client)
    assert len(server.runs) == 1
    assert [path for _, path in server.asked if path.endswith("runs/search")]
    assert len(server.points) == 1


def test_a_killed_relay_is_a_pause_and_every_point_arrives_once(
    server: Fake, tmp_path: Path
) -> None:
    """The client here is without any retry; what was cut off it asks again, as MLflow's does."""
    with relay(server.uri, tmp_path) as (supervisor, client):
        run = client.run()
        for step in range(200):
            if step % 40 == 20:
                threading.Timer(0.005, supervisor.kill).start()
            for _ in range(5):
                try:
                    client.point(run, step)
                    break
                except (urllib.error.URLError, ConnectionError):
                    continue
            else:
                raise AssertionError("the relay did not come back")
        shipped(client)
    assert len(server.runs) == 1
    assert {step for _, _, _, step in server.points} == set(range(200))


GONE = (urllib.error.URLError, ConnectionError, http.client.HTTPException)


def test_every_acknowledged_point_is_there_once_whatever_dies_and_when(
    server: Fake, tmp_path: Path
) -> None:
    """Kills of the relay and cuts of the network, in random order."""
    chance = random.Random(5)
    acknowledged: set[tuple[str, int]] = set()
    ended = threading.Event()

    def train(uri: str, token: str, number: int) -> None:
        client = Client(uri, token)
        run = ""
        step = 0
        while not ended.is_set():
            with contextlib.suppress(*GONE):
                run = run or client.run(run_name=f"run-{number}")
                client.point(run, step)
                acknowledged.add((run, step))
                step += 1
        while True:
            with contextlib.suppress(*GONE):
                client.post("runs/update", run_id=run, status="FINISHED", end_time=9)
                return

    port = int(server.uri.rpartition(":")[2])
    with Gateway(port) as gateway, relay(gateway.uri, tmp_path) as (supervisor, client):
        token = client.headers["Authorization"].partition(" ")[2]
        threads = [
            threading.Thread(target=train, args=(supervisor.uri, token, number))
            for number in range(3)
        ]
        for thread in threads:
            thread.start()
        for _ in range(40):
            time.sleep(chance.uniform(0.05, 0.3))
            if chance.random() < 0.4:
                supervisor.kill()
            else:
                gateway.mode = chance.choice([UP, UP, REFUSED, BLACK_HOLE, UNAVAILABLE])
        gateway.mode = UP
        ended.set()
        for thread in threads:
            thread.join()
        assert shipped(client, 60)["refused"] == 0
    given = {server.tags[remote]["trackstack.id"]: remote for remote in server.runs}
    assert len(server.runs) == 3, "a run for each training, and none more"
    assert {info["status"] for info in server.runs.values()} == {"FINISHED"}
    there = {(run, step) for run, _, _, step in server.points}
    assert {(given[run], step) for run, step in acknowledged} <= there
    assert len(acknowledged) > 100


def test_whoever_lost_the_answer_to_a_killed_relay_gets_the_same_run(tmp_path: Path) -> None:
    with relay(NOWHERE, tmp_path) as (supervisor, client):
        first = client.run(run_name="one")
        folder = supervisor.folder
    other = journals.Journal(folder)
    with other.writing():  # as if the relay had been killed between the journal and the socket
        text = f'a training {API}runs/create {{"experiment_id": "7", "start_time": 1}}'
        asked = hashlib.sha256(text.encode()).hexdigest()
        other.put_answer(asked, "the killed one", '{"run": {"info": {"run_id": "before"}}}')
    other.close()
    with relay(NOWHERE, tmp_path) as (_, client):
        assert client.run() == "before"
        again = client.run(run_name="one")
    assert again != first, "an answer that was sent is nobody else's"


def test_a_changed_param_and_a_bad_point_are_told_at_once(tmp_path: Path) -> None:
    with relay(NOWHERE, tmp_path) as (_, client):
        run = client.run()
        client.post("runs/log-parameter", run_id=run, key="lr", value="1")
        status, told = client.ask(
            "POST", f"{API}runs/log-parameter", {"run_id": run, "key": "lr", "value": "2"}
        )
        assert (status, b"Changing param values is not allowed" in told) == (400, True)
        for wrong in ({"key": "a\nb", "value": 1}, {"key": "a", "value": "x"}, {"key": "a"}):
            body = {"run_id": run, "timestamp": 1, "step": 0, **wrong}
            assert client.ask("POST", f"{API}runs/log-metric", body)[0] == 400
        assert json.loads(client.ask("GET", "/trackstack/status")[1])["waiting"] == 2


def test_what_needs_the_server_is_refused_at_once_with_what_to_know(tmp_path: Path) -> None:
    with relay(NOWHERE, tmp_path) as (_, client):
        run = client.run()
        client.point(run, 1)
        begun = time.monotonic()
        status, told = client.ask("POST", f"{API}runs/search", {"experiment_ids": ["1"]})
        assert time.monotonic() - begun < 10, "it waited for the server"
    assert status == 400
    sentence = json.loads(told)["message"]
    assert f"needs the tracking server {NOWHERE}, which is away since" in sentence
    assert "(connection refused)" in sentence
    assert "2 writes wait on this machine" in sentence


def test_files_are_read_back_before_they_are_shipped_and_shipped_to_the_servers_place(
    server: Fake, tmp_path: Path
) -> None:
    gone = [True]
    server.misbehaves = lambda *_: 503 if gone[0] else None
    with relay(server.uri, tmp_path) as (_, client):
        run = client.run()
        path = f"{FILES}7/{run}/artifacts/model/weights.bin"
        assert client.ask("PUT", path, b"\x00\x01" * 100_000)[0] == 200
        assert client.ask("PUT", f"{FILES}7/{run}/artifacts/MLmodel", run.encode())[0] == 200
        assert client.ask("GET", path)[1] == b"\x00\x01" * 100_000
        listed = json.loads(client.ask("GET", f"{FILES[:-1]}?path=7/{run}/artifacts")[1])
        assert listed["files"] == [
            {"path": "MLmodel", "is_dir": False, "file_size": 32},
            {"path": "model", "is_dir": True},
        ]
        assert not server.files
        gone[0] = False
        shipped(client)
    (remote,) = server.runs
    assert server.files == {
        f"{FILES}7/{remote}/artifacts/model/weights.bin": b"\x00\x01" * 100_000,
        f"{FILES}7/{remote}/artifacts/MLmodel": remote.encode(),
    }
    assert remote != run


def test_a_full_journal_refuses_files_and_goes_on_with_points(tmp_path: Path) -> None:
    with relay(NOWHERE, tmp_path, TRACKSTACK_JOURNAL_BYTES="100000") as (_, client):
        run = client.run()
        path = f"{FILES}7/{run}/artifacts/large"
        assert client.ask("PUT", path, b"x" * 80_000)[0] == 200
        status, told = client.ask("PUT", f"{path}-2", b"x" * 20_000)
        assert status == 507
        assert b"its bound is 100000 bytes" in told
        client.point(run, 1)


def test_points_are_refused_when_not_even_the_reserve_has_room(tmp_path: Path) -> None:
    with relay(NOWHERE, tmp_path, TRACKSTACK_JOURNAL_BYTES="400000") as (_, client):
        run = client.run()
        body = {"run_id": run, "key": "k", "value": 1, "timestamp": 1, "step": 0}
        answers = [
            client.ask("POST", f"{API}runs/log-metric", body | {"step": n}) for n in range(3000)
        ]
    statuses = [status for status, _ in answers]
    assert set(statuses) == {200, 507}
    assert statuses == sorted(statuses), "what fits is taken"
    assert b"has reached its bound of 400000 bytes" in answers[-1][1]


def test_a_run_that_goes_on_for_long_takes_no_more_than_its_share(
    server: Fake, tmp_path: Path
) -> None:
    with relay(server.uri, tmp_path) as (supervisor, client):
        run = client.run()
        for step in range(500):
            client.point(run, step)
        shipped(client)
        folder = supervisor.folder
    small = journals.Journal(folder, limit=1_000_000)
    assert small.size() > 50_000
    small.tidy()
    assert not small.of_lane(run, ("metric", "batch"))
    assert [one["step"] for one in small.latest(run)] == [499]
    small.close()


def test_nobody_without_the_token_gets_anything(tmp_path: Path) -> None:
    with relay(NOWHERE, tmp_path) as (supervisor, client):
        run = client.run()
        others: list[dict[str, str]] = [
            {},
            {"Authorization": "Bearer wrong"},
            {**client.headers, "Origin": "http://evil.example"},
            {**client.headers, "Host": "evil.example"},
        ]
        for headers in others:
            stranger = Client(supervisor.uri, "")
            stranger.headers = headers
            for path in (f"{API}runs/get?run_id={run}", f"{FILES}7/{run}/x", "/trackstack/status"):
                status, told = stranger.ask("GET", path)
                assert status in {401, 403}
                assert run.encode() not in told
        process = psutil.Process(supervisor._process.pid if supervisor._process else 0)
        (listening,) = process.net_connections("inet")
        assert listening.laddr.ip == "127.0.0.1"


def test_the_journal_is_the_owners_and_holds_no_credential(server: Fake, tmp_path: Path) -> None:
    who = {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "a-secret-of-hers"}
    with relay(server.uri, tmp_path, **who) as (supervisor, client):
        client.run()
        shipped(client)
        for path in (supervisor.folder, *supervisor.folder.rglob("*")):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
            assert path.is_dir() or b"a-secret-of-hers" not in path.read_bytes(), path
        for process in psutil.Process().children(recursive=True):
            assert "a-secret-of-hers" not in " ".join(process.cmdline())
    assert any(one.startswith("Basic ") for one in server.authorizations)


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "network_file_system", lambda _: "nfs4")
    with pytest.raises(ClientError, match=r"can't lie on a network file system.*is on nfs4"):
        place.claimed(NOWHERE, tmp_path)


def test_relays_at_the_same_time_have_a_journal_each_and_the_next_one_takes_the_first(
    tmp_path: Path,
) -> None:
    with relay(NOWHERE, tmp_path) as (one, _), relay(NOWHERE, tmp_path) as (other, _):
        assert one.folder != other.folder
        first = one.folder
    with relay(NOWHERE, tmp_path) as (again, _):
        assert again.folder == first


def cli(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trackstack.cli", *argv],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )


TRAINING = """
import json, os, signal, sys, urllib.request
def post(what, **body):
    request = urllib.request.Request(os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/" + what,
        data=json.dumps(body).encode(),
        headers={"Authorization": "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"]})
    return json.load(urllib.request.urlopen(request))
assert "MLFLOW_TRACKING_PASSWORD" not in os.environ
post("runs/create", experiment_id="7", start_time=1)
"""


@pytest.mark.parametrize(
    ("end", "code", "told"),
    [
        ("sys.exit(3)", 3, ("FAILED", "exit code 3")),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, ("KILLED", "SIGKILL")),
        ("os.kill(os.getpid(), signal.SIGSEGV)", 139, ("FAILED", "SIGSEGV")),
        ("pass", 0, ("RUNNING", None)),
    ],
)
def test_run_ends_as_the_training_does_and_so_do_its_runs(
    server: Fake, tmp_path: Path, end: str, code: int, told: tuple[str, str | None]
) -> None:
    environment = {
        "MLFLOW_TRACKING_URI": server.uri,
        "MLFLOW_TRACKING_USERNAME": "ada",
        "MLFLOW_TRACKING_PASSWORD": "hers",
        "TRACKSTACK_JOURNAL": str(tmp_path),
    }
    done = cli("run", "--", sys.executable, "-c", TRAINING + end, **environment)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    ((run, info),) = server.runs.items()
    assert (info["status"], server.tags[run].get("trackstack.ended_by")) == told


def test_a_relay_that_never_answers_again_is_told(
    server: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*_: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(Supervisor, "ask", nothing)
    monkeypatch.setattr(training, "_ANSWER_SECONDS", 0.2)
    own = {"MLFLOW_TRACKING_URI": server.uri, "TRACKSTACK_JOURNAL": str(tmp_path)}
    told: list[str] = []
    assert training.train(["false"], {**os.environ, **own}, 60, told.append) == 1
    (sentence,) = told
    assert sentence.startswith("The relay does not answer any more; what was logged is kept in")


def test_run_says_what_is_left_and_sync_ships_it(server: Fake, tmp_path: Path) -> None:
    environment = {"MLFLOW_TRACKING_URI": server.uri, "TRACKSTACK_JOURNAL": str(tmp_path)}
    server.misbehaves = lambda *_: 503
    done = cli("run", "--drain", "0", "--", sys.executable, "-c", TRAINING, **environment)
    assert done.returncode == 0
    assert "1 writes are not on the server yet (it answers 503)" in done.stderr
    assert "`trackstack sync` ships them" in done.stderr
    shown = cli("sync", "--show", "--json", **environment)
    assert shown.returncode == 5
    ((waiting, note),) = [(one["waiting"], one["note"]) for one in json.loads(shown.stdout)]
    assert (waiting, note) == (1, "")
    server.misbehaves = lambda *_: None
    assert cli("sync", **environment).returncode == 0
    assert len(server.runs) == 1
    assert cli("sync", **environment).returncode == 0
    assert len(server.runs) == 1
    assert json.loads(cli("sync", "--show", "--json", **environment).stdout) == []


@pytest.mark.parametrize(
    ("argv", "environment", "code", "sentence"),
    [
        (["run", "--", "x"], {"MLFLOW_TRACKING_URI": ""}, 5, "MLFLOW_TRACKING_URI is not set"),
        (["run", "--", "x"], {"MLFLOW_TRACKING_URI": "host:5000"}, 5, "'host:5000', which is no"),
        (["run", "--", "no-such-program"], {}, 127, "There is no program 'no-such-program'."),
        (["run", "--", "/etc/passwd"], {}, 126, "/etc/passwd can't be run: Permission denied."),
        (
            ["run", "--", "true"],
            {"TRACKSTACK_JOURNAL_BYTES": "1 GB"},
            5,
            "TRACKSTACK_JOURNAL_BYTES must be a number of bytes above 0, it is '1 GB'.",
        ),
    ],
)
def test_what_is_wrong_gets_one_sentence(
    tmp_path: Path, argv: list[str], environment: dict[str, str], code: int, sentence: str
) -> None:
    done = cli(
        *argv,
        **{"MLFLOW_TRACKING_URI": NOWHERE, "TRACKSTACK_JOURNAL": str(tmp_path), **environment},
    )
    assert done.returncode == code, done.stderr
    assert sentence in done.stderr


def test_the_relay_imports_neither_mlflow_nor_pulumi_nor_the_terminals_tools() -> None:
    code = "import sys, trackstack.client.relay.process; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {one.partition(".")[0] for one in done.stdout.split()}
    assert not loaded & {"mlflow", "pulumi", "rich", "typer", "boto3", "pydantic", "sqlalchemy"}
