"""The doctor beside the real things: MLflow's own server, and a stack of this machine."""

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path

import mlflow
import pytest

from tests.bench.processes import free_port
from tests.client.doctor.planted import Client
from tests.client.tracking_server import serving
from tests.live.stacks import ROOT, Stack, clean_environment
from trackstack.client.strays import find_strays

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("stack")]

BIN = Path(sysconfig.get_path("scripts"))
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Somebody with our commands and MLflow's on PATH, and no variable set."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{BIN}:{os.environ['PATH']}")
    return Client(folder, dict(QUIET))


def test_a_stock_server_is_found_right_and_each_fault_of_its_own_is_found(
    client: Client, tmp_path: Path
) -> None:
    served, port = tmp_path / "served", free_port()
    with serving(served, port, options=("--host", "127.0.0.1")) as server:
        client.environment["MLFLOW_TRACKING_URI"] = server.uri
        assert client.ill() == {}
        left = {one.name for one in served.rglob("*") if one.is_file()}
        assert left <= {"mlflow.db", "server.log"}  # nothing of the round trip

        # Artifacts: the folder they go to is none any more.
        artifacts = served / "mlartifacts"
        shutil.rmtree(artifacts, ignore_errors=True)
        artifacts.touch()
        assert client.ill() == {"artifact store": "error"}
        artifacts.unlink()

        # An experiment past the server: another one takes its name by the printed line.
        client.type(
            "mlflow experiments create --experiment-name churn --artifact-location s3://b/x"
        )
        assert client.ill() == {"artifact locations": "warning"}
        client.type(client.finding("artifact locations").command)
        assert client.ill() == {}

        # Training on the server's own file; its working tree is not full of strays for that.
        client.folder = served
        assert client.ill() == {}
        client.environment["MLFLOW_TRACKING_URI"] = "sqlite:///mlflow.db"
        found = client.finding("shared SQLite")
        assert found.level == "error"
        client.type(found.command)
        assert client.environment["MLFLOW_TRACKING_URI"] == server.uri
        assert client.ill() == {}

        # The database goes away behind a server that still says OK.
        (served / "mlflow.db").write_bytes(b"")
        assert client.ill() == {"database": "error"}
        assert client.finding("server").level == "ok"


def test_a_name_that_mlflow_refuses_is_let_in_by_the_printed_line(
    client: Client, tmp_path: Path
) -> None:
    served, port = tmp_path / "served", free_port()
    refusing = {"MLFLOW_SERVER_ALLOWED_HOSTS": "mlflow.example.com"}
    with serving(served, port, **refusing) as server:
        client.environment["MLFLOW_TRACKING_URI"] = server.uri
        assert client.ill() == {"host header": "error"}
        client.type(client.finding("host header").command)
    name = "MLFLOW_SERVER_ALLOWED_HOSTS"
    with serving(served, port, **{name: client.environment[name]}):
        assert client.ill() == {}


def test_a_server_that_passes_no_artifacts_on_is_not_judged_by_them(
    client: Client, tmp_path: Path
) -> None:
    options = ("--no-serve-artifacts", "--default-artifact-root", "s3://bucket/runs")
    with serving(tmp_path / "served", options=options) as server:
        client.environment["MLFLOW_TRACKING_URI"] = server.uri
        assert client.ill() == {"artifact locations": "warning"}
        assert client.finding("artifact store").level == "not judged"


def doctor(client: Client, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "trackstack", "doctor", *argv],
        cwd=client.folder,
        env={"PATH": os.environ["PATH"], **client.environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_the_command_prints_sets_a_client_right_with_a_stack(
    client: Client, dev_stack: Stack
) -> None:
    client.environment["TRACKSTACK_HOME"] = str(dev_stack.home)
    for wrong in (None, "", "htp://nowhere"):
        client.environment.pop("MLFLOW_TRACKING_URI", None)
        if wrong is not None:
            client.environment["MLFLOW_TRACKING_URI"] = wrong
        done = doctor(client, "--json")
        assert done.returncode == 7, done.stdout + done.stderr
        told = json.loads(done.stdout)
        assert not told["ok"]
        (first,) = (one for one in told["findings"] if one["level"] == "error")
        if wrong == "htp://nowhere":
            assert first["command"] == "export MLFLOW_TRACKING_URI=http://nowhere"
            continue
        client.type(first["command"])
        assert client.environment["MLFLOW_TRACKING_URI"] == dev_stack.uri
        done = doctor(client, "--strict")
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_run_that_went_astray_is_found_and_brought_home_by_the_printed_line(
    client: Client, dev_stack: Stack
) -> None:
    """What MLflow itself does when the variable is empty, and what the doctor says then."""
    script = "import mlflow\nwith mlflow.start_run(): mlflow.log_metric('a', 1)\n"
    subprocess.run(
        [sys.executable, "-c", script],
        cwd=client.folder,
        env={**clean_environment(), **QUIET, "MLFLOW_TRACKING_URI": ""},
        check=True,
        capture_output=True,
    )
    found = client.finding("strays")
    assert found.level == "error"
    assert "mlflow.db holds 1 experiment, 1 run that the server doesn't have" in found.sentence
    (stray,) = find_strays(client.folder).strays
    assert found.command == f"trackstack adopt --delete {stray.path}"
    client.environment |= dev_stack.client_environment
    assert client.ill() == {"strays": "error"}
    client.type(f"{found.command} --yes")  # here is nobody to ask
    assert client.ill() == {}
    home = mlflow.MlflowClient(dev_stack.uri)
    query = f"tags.`trackstack.adopted_from` = '{socket.gethostname()}:{stray.path}'"
    (run,) = home.search_runs(["0"], query)
    assert run.data.metrics == {"a": 1}


def test_it_needs_neither_mlflow_nor_pulumi(client: Client) -> None:
    script = (
        "import sys\nfrom trackstack.cli import main\n"
        "sys.argv = ['trackstack', 'doctor']\n"
        "try:\n    main()\nfinally:\n"
        "    heavy = {'mlflow', 'pulumi', 'grpc', 'yaml', 'requests', 'cryptography'}\n"
        "    assert not heavy & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=client.folder,
        env={"PYTHONPATH": str(ROOT), "HOME": str(client.folder), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (7, "")


def test_a_folder_that_is_none_is_wrong_usage(client: Client) -> None:
    done = doctor(client, "nowhere")
    assert done.returncode == 2
    assert done.stderr == "trackstack: nowhere is no folder: name the project that trains.\n"
