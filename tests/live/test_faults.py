"""What a bad day does to a stack here: it comes back, and nothing acknowledged is lost."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.live.conftest import StackFactory
from tests.live.stacks import Stack, clean_environment, copy_of_the_program

pytestmark = [pytest.mark.live, pytest.mark.timeout(280), pytest.mark.xdist_group("faults")]


@pytest.fixture(scope="module")
def worn_stack(stack_factory: StackFactory) -> Stack:
    """One stack for faults that it survives: each test begins with ``be_up``."""
    return stack_factory()


class Logger(threading.Thread):
    """A client that logs a metric point after point and remembers which were acknowledged.

    It tries a point again until it is acknowledged, as MLflow's client does on a broken
    connection or a 5xx: a point may then be stored twice, but never less than once.
    """

    def __init__(self, stack: Stack, key: str = "loss") -> None:
        super().__init__(daemon=True)
        self._uri, self._key = stack.uri, key
        self._done = threading.Event()
        self.acknowledged: list[int] = []
        self.failures = 0
        self.run_id = stack.call(
            "runs/create", {"experiment_id": "0", "start_time": int(time.time() * 1000)}
        )["run"]["info"]["run_id"]

    def run(self) -> None:
        step = 0
        while not self._done.is_set():
            if self._log(step):
                self.acknowledged.append(step)
                step += 1
            else:
                self.failures += 1
                time.sleep(0.1)

    def _log(self, step: int) -> bool:
        body = {"run_id": self.run_id, "key": self._key, "value": step, "step": step}
        request = urllib.request.Request(
            f"{self._uri}/api/2.0/mlflow/runs/log-metric",
            json.dumps({**body, "timestamp": int(time.time() * 1000)}).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError, ValueError):
            return False

    def wait_for_more(self, points: int = 5, seconds: float = 90) -> None:
        """Wait until that many further points were acknowledged."""
        aim = len(self.acknowledged) + points
        deadline = time.monotonic() + seconds
        while len(self.acknowledged) < aim:
            assert time.monotonic() < deadline, f"no acknowledgement for {seconds} s"
            time.sleep(0.05)

    def finish(self) -> None:
        self._done.set()
        self.join(30)


def stored(stack: Stack, run_id: str, key: str = "loss") -> set[int]:
    """The steps that the server has."""
    steps: set[int] = set()
    page = ""
    while True:
        told = stack.call(
            f"metrics/get-history?run_id={run_id}&metric_key={key}&max_results=5000{page}"
        )
        steps |= {int(point.get("step", 0)) for point in told.get("metrics", [])}
        if not told.get("next_page_token"):
            return steps
        page = f"&page_token={told['next_page_token']}"


@contextmanager
def logging(stack: Stack) -> Iterator[Logger]:
    """A client logs meanwhile; at the end every acknowledged point is there."""
    client = Logger(stack)
    client.start()
    try:
        client.wait_for_more()
        yield client
        client.wait_for_more()
    finally:
        client.finish()
    missing = set(client.acknowledged) - stored(stack, client.run_id)
    assert not missing, f"{len(missing)} of {len(client.acknowledged)} acknowledged points are lost"


def tree(stack: Stack) -> list[psutil.Process]:
    """Every process whose command line or environment names the stack's folder, and its children.

    A server of PostgreSQL's has neither: it is found as a child.
    """
    mark = str(stack.state)
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            told = " ".join(process.cmdline()) + " ".join(process.environ().values())
            if mark in told and process.pid != os.getpid():
                for one in (process, *process.children(recursive=True)):
                    found[one.pid] = one
        except psutil.Error:
            continue
    return list(found.values())


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def test_every_killed_process_comes_back_and_no_acknowledged_point_is_lost(
    worn_stack: Stack,
) -> None:
    worn_stack.be_up()
    with logging(worn_stack) as client:
        for name, pid in worn_stack.pids().items():
            for victim in (pid, *children(pid)):
                if psutil.pid_exists(victim):
                    kill(victim)
                    client.wait_for_more()
            worn_stack.wait_until_healthy()
            assert name in worn_stack.pids(), f"{name} did not come back"
    assert all(one["state"] in {"ready", "exited"} for one in worn_stack.status()["processes"])


def children(pid: int) -> list[int]:
    """The servers below a process; PostgreSQL's own workers are killed once, as one of them."""
    try:
        found = psutil.Process(pid).children(recursive=True)
        own = [child.pid for child in found if not child.name().startswith("postgres")]
        backends = [child.pid for child in found if child.name().startswith("postgres")]
    except psutil.Error:
        return []
    return own + backends[-1:]


def test_a_killed_supervisor_leaves_no_orphan_and_up_recovers(worn_stack: Stack) -> None:
    worn_stack.be_up()
    client = Logger(worn_stack)
    client.start()
    client.wait_for_more()
    before = tree(worn_stack)
    assert len(before) > 10
    kill(worn_stack.supervisor_pid)
    _gone, left = psutil.wait_procs(before, timeout=40)
    assert not left, [process.cmdline() for process in left]
    assert tree(worn_stack) == []
    worn_stack.up()
    client.wait_for_more()
    client.finish()
    assert set(client.acknowledged) <= stored(worn_stack, client.run_id)


def test_a_power_cut_loses_nothing_that_was_acknowledged(worn_stack: Stack) -> None:
    worn_stack.be_up()
    client = Logger(worn_stack)
    client.start()
    client.wait_for_more(20)
    everything = tree(worn_stack)
    for process in everything:  # stop first: nobody can react to another's end
        process.suspend()
    for process in everything:
        process.kill()
    psutil.wait_procs(everything, timeout=20)
    assert tree(worn_stack) == []
    worn_stack.up()
    client.wait_for_more()
    client.finish()
    assert set(client.acknowledged) <= stored(worn_stack, client.run_id)
    assert worn_stack.status()["ok"]


def test_an_unchanged_up_changes_nothing(worn_stack: Stack) -> None:
    worn_stack.up()
    before = worn_stack.pids()
    summary = worn_stack.up()
    assert worn_stack.pids() == before
    assert set(summary["processes"].values()) == {"same"}
    assert set(summary["resources"].values()) == {"same"}


def test_down_keeps_the_runs_and_the_address(worn_stack: Stack) -> None:
    worn_stack.be_up()
    uri = worn_stack.uri
    run = worn_stack.call("runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"]
    worn_stack.down()
    assert tree(worn_stack) == []
    assert worn_stack.cli("env", check=False).returncode == 5
    worn_stack.up()
    assert worn_stack.uri == uri
    assert worn_stack.call(f"runs/get?run_id={run}")["run"]["info"]["run_id"] == run


def test_a_server_setting_restarts_only_the_servers(
    stack_factory: StackFactory, tmp_path: Path
) -> None:
    project = copy_of_the_program(tmp_path / "program")
    stack = stack_factory(project=project)
    stack.up()
    before = stack.pids()
    file = project / "stacks" / "Pulumi.dev.yaml"
    more = {"workers": "2", "database_instance_class": "db.t4g.small"}  # the second for AWS only
    lines = "".join(f"  mlflow-platform:{key}: {value}\n" for key, value in more.items())
    file.write_text(file.read_text() + lines)
    summary = stack.up()
    after = stack.pids()
    changed = {name for name, pid in after.items() if before.get(name) != pid}
    assert changed == {"tracking-1.serve"}
    assert summary["processes"]["backend"] == "same"
    stack.delete()


def test_prod_runs_beside_dev_with_tls_and_strict_hosts(
    stack_factory: StackFactory, tmp_path: Path
) -> None:
    dev = stack_factory()
    dev.up()
    prod = Stack(home=dev.home, name="prod")
    try:
        prod.up()
        assert prod.uri.startswith("https://127.0.0.1:")
        assert prod.uri != dev.uri
        assert dev.status()["ok"]
        assert prod.status()["ok"]
        services = [one["name"] for one in prod.status()["processes"]]
        assert {"tracking-2.serve", "artifacts-2.serve"} <= set(services)
        environment = prod.client_environment
        script = tmp_path / "ask.py"
        script.write_text(
            "import mlflow, os, requests\n"
            "assert mlflow.search_experiments()\n"
            "pem = os.environ['MLFLOW_TRACKING_SERVER_CERT_PATH']\n"
            "uri = os.environ['MLFLOW_TRACKING_URI']\n"
            "bad = requests.get(uri + '/api/2.0/mlflow/experiments/search?max_results=1',\n"
            "                   headers={'Host': 'evil.example.com'}, verify=pem,\n"
            "                   auth=(os.environ['MLFLOW_TRACKING_USERNAME'],\n"
            "                         os.environ['MLFLOW_TRACKING_PASSWORD']))\n"
            "print(bad.status_code)\n"
        )
        assert prod.client(script, cwd=tmp_path).stdout.split()[-1] == "403"
        assert Path(environment["MLFLOW_TRACKING_SERVER_CERT_PATH"]).read_text().startswith("-----")
    finally:
        prod.delete()
        dev.delete()


def test_a_taken_front_door_is_named_and_nothing_is_touched(worn_stack: Stack) -> None:
    worn_stack.be_up()
    port = int(worn_stack.uri.rpartition(":")[2])
    worn_stack.down()
    with socket.create_server(("127.0.0.1", port)):
        done = worn_stack.cli("up", check=False)
    assert done.returncode == 4
    assert done.stderr.splitlines()[-1] == (
        f"trackstack: Port {port} of the front door is taken by python (pid {os.getpid()}): end"
        " that, or choose another with `trackstack up --port N`; clients must then be told the new"
        " URI."
    ).replace("python", psutil.Process().name())
    assert tree(worn_stack) == []
    other = next(n for n in range(port + 1, port + 50) if free(n))
    worn_stack.up("--port", str(other))
    assert worn_stack.uri.endswith(f":{other}")


def free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_taken_inner_port_moves(worn_stack: Stack) -> None:
    worn_stack.be_up()
    port = int(worn_stack.outputs["backend_endpoint"].rpartition(":")[2])
    worn_stack.down()
    with socket.create_server(("127.0.0.1", port)):
        worn_stack.up()
        assert worn_stack.status()["ok"]
        assert not worn_stack.outputs["backend_endpoint"].endswith(f":{port}")


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_a_state_file_cut_in_half_is_told_and_mended(worn_stack: Stack, *, running: bool) -> None:
    worn_stack.be_up()
    run = worn_stack.call("runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"]
    uri = worn_stack.uri
    if not running:
        worn_stack.down()
    files = [file for file in worn_stack.state.glob("*.json") if file.stat().st_size]
    assert len(files) > 4
    for file in files:
        text = file.read_bytes()
        file.write_bytes(text[: len(text) // 2])
    done = worn_stack.cli("up", check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert worn_stack.uri == uri
    assert worn_stack.status()["ok"]
    assert worn_stack.call(f"runs/get?run_id={run}")["run"]["info"]["run_id"] == run


def test_a_full_disk_is_an_error_for_the_client_and_corrupts_nothing(
    fresh_stack: Stack, tmp_path: Path
) -> None:
    fresh_stack.up()
    fresh_stack.down()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", str(fresh_stack.objects)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mount.returncode:
        pytest.skip(f"a small file system can't be mounted here: {mount.stderr.strip()}")
    try:
        fresh_stack.up()
        small, large = os.urandom(1_000_000), os.urandom(20_000_000)
        assert put(fresh_stack, "small", small) == 200
        assert put(fresh_stack, "large", large) >= 400
        assert get(fresh_stack, "small") == (200, small)
        assert get(fresh_stack, "large")[0] >= 400
        assert put(fresh_stack, "small-again", small) == 200
        assert get(fresh_stack, "small-again") == (200, small)
        run = fresh_stack.call("runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"]
        fresh_stack.call("runs/log-metric", {"run_id": run, "key": "a", "value": 1, "timestamp": 1})
        fresh_stack.down()
    finally:
        fresh_stack.cli("down", check=False)
        subprocess.run(["umount", str(fresh_stack.objects)], check=True)


def put(stack: Stack, name: str, content: bytes) -> int:
    return request(stack, "PUT", name, content)[0]


def get(stack: Stack, name: str) -> tuple[int, bytes]:
    return request(stack, "GET", name)


def request(
    stack: Stack, method: str, name: str, content: bytes | None = None
) -> tuple[int, bytes]:
    url = f"{stack.uri}/api/2.0/mlflow-artifacts/artifacts/{name}"
    asked = urllib.request.Request(url, content, {"Content-Type": "text/plain"}, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def starting_up(stack: Stack) -> subprocess.Popen[str]:
    """An ``up`` under way, in a process group of its own as in a terminal."""
    return subprocess.Popen(
        [sys.executable, "-m", "trackstack.cli", "up"],
        cwd=stack.project,
        env={**clean_environment(), "TRACKSTACK_HOME": str(stack.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_an_interrupted_up_says_so_and_the_next_one_goes_on(fresh_stack: Stack) -> None:
    starting = starting_up(fresh_stack)
    deadline = time.monotonic() + 60
    while not (fresh_stack.state / "observed.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(starting.pid, signal.SIGINT)  # what Ctrl-C does
    _, said = starting.communicate(timeout=30)
    assert said.splitlines()[-1] == (
        "trackstack: interrupted; what was started keeps running: `trackstack up` goes on from"
        " here, `trackstack down` stops it."
    )
    assert "Traceback" not in said
    assert starting.returncode == 130
    fresh_stack.up()
    assert fresh_stack.status()["ok"]


def test_an_interrupted_evaluation_has_touched_nothing(fresh_stack: Stack) -> None:
    starting = starting_up(fresh_stack)
    time.sleep(1.5)
    os.killpg(starting.pid, signal.SIGINT)
    _, said = starting.communicate(timeout=30)
    assert starting.returncode == 130
    assert said.splitlines()[-1].startswith("trackstack: interrupted;")
    assert "Traceback" not in said
    assert not (fresh_stack.state / "wanted.json").exists()


def test_no_secret_is_in_argv_outputs_logs_state_or_preview(worn_stack: Stack) -> None:
    worn_stack.be_up()
    worn_stack.status()
    secrets = values(worn_stack.state / "secrets")
    assert len(secrets) >= 4
    told = {
        "outputs": worn_stack.cli("outputs", "--json").stdout,
        "preview": worn_stack.cli("preview", "--json").stdout,
        "env": worn_stack.cli("env").stdout,
        "logs": worn_stack.cli("logs", "-n", "100000").stdout,
        "status": worn_stack.cli("status", "--json").stdout,
    }
    for process in tree(worn_stack):
        told[f"argv of {process.pid}"] = " ".join(process.cmdline())
    for file in worn_stack.state.rglob("*"):
        parts = file.relative_to(worn_stack.state).parts
        if file.is_file() and parts[0] in {"logs"} | {f.name for f in worn_stack.state.glob("*.*")}:
            told[str(file)] = file.read_text("utf-8", "replace")
    for where, text in told.items():
        for name, secret in secrets.items():
            assert secret not in text, f"{name} stands in {where}"
    for file in worn_stack.state.rglob("*"):
        if file.is_file() and not file.is_symlink() and file.stat().st_uid == os.getuid():
            assert not file.stat().st_mode & 0o077 or "buckets" in file.parts, file


def values(folder: Path) -> dict[str, str]:
    """Every secret value, JSON taken apart; short words that are no secrets left out."""
    found: dict[str, str] = {}

    def add(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key != "username":
                    add(f"{name}.{key}", inner)
        elif isinstance(value, str) and len(value) >= 12:
            found[name] = value

    for file in folder.rglob("*"):
        if not file.is_file():
            continue
        text = file.read_text("utf-8")
        try:
            add(file.name, json.loads(text))
        except ValueError:
            add(file.name, text.strip('"').rpartition(",")[2])
    # The client parameter holds the URI, which is public.
    return {name: value for name, value in found.items() if "MLFLOW_TRACKING_URI" not in name}


def test_lost_secrets_cost_no_run(worn_stack: Stack) -> None:
    worn_stack.be_up()
    run = worn_stack.call("runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"]
    assert put(worn_stack, "kept", b"kept") == 200
    worn_stack.down()
    shutil.rmtree(worn_stack.state / "secrets")
    worn_stack.up()
    assert worn_stack.status()["ok"]
    assert worn_stack.call(f"runs/get?run_id={run}")["run"]["info"]["run_id"] == run
    assert get(worn_stack, "kept") == (200, b"kept")


@pytest.mark.parametrize(
    ("service", "check"), [("artifact-store", "artifact store"), ("backend", "database")]
)
def test_status_finds_what_health_cannot(worn_stack: Stack, service: str, check: str) -> None:
    worn_stack.be_up()
    leader = psutil.Process(worn_stack.pids()[service])
    frozen = [leader, *leader.children(recursive=True)]
    for process in frozen:
        process.suspend()
    try:
        with urllib.request.urlopen(f"{worn_stack.uri}/health", timeout=10) as answer:
            assert answer.status == 200
        told = worn_stack.status()
        assert not told["ok"]
        assert check in [one["name"] for one in told["checks"] if not one["ok"]]
        assert worn_stack.cli("status", check=False).returncode == 5
    finally:
        for process in frozen:
            process.resume()
    worn_stack.wait_until_healthy()
