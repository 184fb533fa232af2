"""The wheel beside an old MLflow: a data scientist's environment is not ours to change."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.bench.processes import free_port
from tests.client.gateway import REFUSED, UP, Gateway
from tests.live.stacks import ROOT, Stack, clean_environment

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("stack")]

WITHOUT_HEAVY = """
import sys
from trackstack.cli import main
sys.argv = ["trackstack", *sys.argv[1:]]
try:
    main()
finally:
    heavy = {"mlflow", "pulumi", "pulumi_aws", "grpc", "yaml"} & set(sys.modules)
    assert not heavy, f"imported {heavy}"
"""


def uv(*argv: str | Path) -> None:
    program = Path(sysconfig.get_path("scripts")) / "uv"
    subprocess.run([program, *argv], check=True, capture_output=True, cwd=ROOT)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our wheel, as whoever installs it gets it."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        check=True,
        capture_output=True,
        cwd=ROOT,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "trackstack/server/requirements.txt" in names
    assert not [name for name in names if name.startswith(("tests", "infra", "components"))]
    return wheel


def environment(folder: Path, mlflow: str, wheel: Path) -> Path:
    """The interpreter of a virtual environment with an MLflow and our wheel."""
    uv("venv", "--python", sys.executable, folder / "venv")
    python = folder / "venv" / "bin" / "python"
    uv("pip", "install", "--python", python, f"mlflow=={mlflow}", "setuptools<81", wheel)
    return python


@pytest.fixture(scope="session")
def old_environment(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """A virtual environment with mlflow 2.16 and our wheel."""
    return environment(tmp_path_factory.mktemp("old"), "2.16.2", wheel)


@pytest.fixture(scope="session")
def middle_environment(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """A virtual environment with mlflow 3.5 and our wheel."""
    return environment(tmp_path_factory.mktemp("middle"), "3.5.1", wheel)


def ask(python: Path, stack: Stack, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-I", "-c", WITHOUT_HEAVY, *argv],
        capture_output=True,
        text=True,
        check=True,
        cwd=stack.home,
        env={**clean_environment(), "TRACKSTACK_HOME": str(stack.home)},
    )


def test_help_env_and_status_need_neither_mlflow_nor_pulumi(
    old_environment: Path, dev_stack: Stack
) -> None:
    assert "trackstack up" in ask(old_environment, dev_stack, "--help").stdout
    told = json.loads(ask(old_environment, dev_stack, "env", "--format", "json").stdout)
    assert told["MLFLOW_TRACKING_URI"] == dev_stack.uri
    assert json.loads(ask(old_environment, dev_stack, "status", "--json").stdout)["ok"]


def test_the_doctor_finds_nothing_wrong_with_an_old_client(
    old_environment: Path, dev_stack: Stack, tmp_path: Path
) -> None:
    done = subprocess.run(
        [old_environment, "-I", "-c", WITHOUT_HEAVY, "doctor", str(tmp_path), "--json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, **dev_stack.client_environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    levels = {one["check"]: one["level"] for one in json.loads(done.stdout)["findings"]}
    assert levels["versions"] == "ok"
    assert set(levels.values()) == {"ok", "not judged"}


def test_an_old_client_logs_into_the_stack(
    old_environment: Path, dev_stack: Stack, tmp_path: Path
) -> None:
    script = (
        "import mlflow\n"
        "assert mlflow.__version__.startswith('2.16')\n"
        "mlflow.set_experiment('old-client')\n"
        "with mlflow.start_run() as run:\n"
        "    mlflow.log_metric('a', 1.5)\n"
        "    mlflow.log_text('hello', 'note.txt')\n"
        "print(mlflow.get_run(run.info.run_id).data.metrics['a'])\n"
    )
    done = subprocess.run(
        [old_environment, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, **dev_stack.client_environment},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "1.5"
    assert [file.name for file in tmp_path.iterdir()] == []


@pytest.mark.parametrize("installed", ["old_environment", "middle_environment"])
def test_clients_of_other_versions_lose_nothing_through_the_relay(
    installed: str, request: pytest.FixtureRequest, dev_stack: Stack, tmp_path: Path
) -> None:
    """The server isn't there before the training has ended."""
    python: Path = request.getfixturevalue(installed)
    (tmp_path / "train.py").write_text(
        "import sys, mlflow\n"
        "from sklearn.linear_model import LogisticRegression\n"
        "mlflow.set_experiment(sys.argv[1])\n"
        "with mlflow.start_run() as run:\n"
        "    mlflow.log_param('a', 1)\n"
        "    for step in range(20):\n"
        "        mlflow.log_metric('m', step, step=step)\n"
        "    mlflow.log_text('hello', 'note.txt')\n"
        "    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])\n"
        "    info = mlflow.sklearn.log_model(model, 'clf')\n"
        "    assert list(mlflow.sklearn.load_model(info.model_uri).predict([[1.0]])) == [1]\n"
        "print(run.info.run_id)\n"
    )
    port = free_port()
    told = {
        **clean_environment(),
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
        "TRACKSTACK_JOURNAL": str(tmp_path / "journal"),
    }
    train = ["run", "--drain", "0", "--", str(python), "train.py", installed]
    for argv in (train, ["sync"]):
        with Gateway(urlsplit(dev_stack.uri).port or 80, port, UP if argv == ["sync"] else REFUSED):
            done = subprocess.run(
                [python, "-I", "-c", WITHOUT_HEAVY, *argv],
                capture_output=True,
                text=True,
                check=False,
                cwd=tmp_path,
                env=told,
            )
        assert done.returncode == 0, done.stdout + done.stderr
        if argv is train:
            given = done.stdout.split()[-1]
    run = dev_stack.call(f"runs/get?run_id={given}")["run"]
    assert run["info"]["status"] == "FINISHED"
    assert run["data"]["params"] == [{"key": "a", "value": "1"}]
    history = dev_stack.call(f"metrics/get-history?run_id={given}&metric_key=m")["metrics"]
    assert [one.get("step", 0) for one in history] == list(range(20))
    files = {one["path"] for one in dev_stack.call(f"artifacts/list?run_id={given}")["files"]}
    assert files == ({"note.txt", "clf"} if installed == "old_environment" else {"note.txt"})


@pytest.mark.parametrize("installed", ["old_environment", "middle_environment"])
def test_clients_of_other_versions_adopt_what_they_left_beside_the_code(
    installed: str, request: pytest.FixtureRequest, dev_stack: Stack, tmp_path: Path
) -> None:
    python: Path = request.getfixturevalue(installed)
    script = (
        "import mlflow\n"
        "with mlflow.start_run() as run:\n"
        "    mlflow.log_param('a', 1)\n"
        "    for step in range(20):\n"
        "        mlflow.log_metric('m', step, step=step)\n"
        "    mlflow.log_text('hello', 'note.txt')\n"
    )
    adopt = "from trackstack.cli import main; main()"
    for argv, told in (
        (["-c", script], {"MLFLOW_TRACKING_URI": ""}),
        (["-I", "-c", adopt, "adopt", ".", "--json"], dev_stack.client_environment),
    ):
        done = subprocess.run(
            [python, *argv],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={**clean_environment(), **told},
        )
        assert done.returncode == 0, done.stdout + done.stderr
    (store,) = json.loads(done.stdout)["stores"]
    assert store["verified"]
    (row,) = [row for one in store["experiments"] for row in one["runs"]]
    run = dev_stack.call(f"runs/get?run_id={row['id_there']}")["run"]
    assert run["data"]["params"] == [{"key": "a", "value": "1"}]
    history = dev_stack.call(f"metrics/get-history?run_id={row['id_there']}&metric_key=m")
    assert [one.get("step", 0) for one in history["metrics"]] == list(range(20))
    files = dev_stack.call(f"artifacts/list?run_id={row['id_there']}")["files"]
    assert [one["path"] for one in files] == ["note.txt"]


def test_an_mlflow_that_can_read_no_database_is_told_with_what_mends_it(
    middle_environment: Path, empty_database: Path, tmp_path: Path
) -> None:
    """MLflow 3.5 lets SQLAlchemy 2.1 be installed, and can't be imported beside it."""
    shutil.copyfile(empty_database, tmp_path / "mlflow.db")
    done = subprocess.run(
        [middle_environment, "-I", "-c", "from trackstack.cli import main; main()", "adopt", "."],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**clean_environment(), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"},
    )
    assert done.returncode == 5
    assert "mlflow.db is a database, and the MLflow installed here can't read one" in done.stderr
    assert done.stderr.endswith("pip install 'sqlalchemy<2.1' 'trackstack[mlflow]'\n")


def test_the_host_needs_nothing_but_its_own_lock(tmp_path: Path) -> None:
    """What `make up` installs is enough: the tests' own environment holds much more."""
    uv("venv", "--python", sys.executable, tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    uv("pip", "install", "--python", python, "--require-hashes", "-r", "requirements.txt")
    for argv in (["--help"], ["preview", "--stack", "prod", "--json"]):
        done = subprocess.run(
            [python, "-m", "trackstack.cli", *argv],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env={**clean_environment(), "TRACKSTACK_HOME": str(tmp_path)},
        )
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outputs"]["tracking_uri"].startswith("https://")


def test_what_needs_the_host_says_which_extra(old_environment: Path, dev_stack: Stack) -> None:
    done = subprocess.run(
        [old_environment, "-m", "trackstack.cli", "up", "-C", ROOT],
        capture_output=True,
        text=True,
        check=False,
        cwd=dev_stack.home,
        env=clean_environment(),
    )
    assert done.returncode == 1
    assert "pip install 'trackstack[host]'" in done.stderr
    assert "Traceback" not in done.stderr
