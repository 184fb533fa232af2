"""The relay and a stack as services: files that the programs which read them accept."""

import getpass
import json
import os
import plistlib
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from trackstack.client import service
from trackstack.client.service import Host, Relay, ServiceError, Stack

ROOT = Path(__file__).parents[2]
PASSWORD = """it's "a" $HOME `id` \\n 100% #y"""
SERVER = {
    "MLFLOW_TRACKING_URI": "https://mlflow.example.com",
    "MLFLOW_TRACKING_USERNAME": "ada",
    "MLFLOW_TRACKING_PASSWORD": PASSWORD,
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
EVERY = pytest.mark.parametrize("kind", service.KINDS)


@pytest.fixture(params=["a home", "plain", "100% $mine"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    """Machines whose folders have the characters that units, shells and Compose replace."""
    return made_host(tmp_path / request.param)


def made_host(home: Path, *, whole: bool = False) -> Host:
    home.mkdir()
    python = home / "python"
    python.symlink_to(sys.executable)
    told = {"TRACKSTACK_JOURNAL": str(home / "journal")}
    return Host(home, home / ".config", getpass.getuser(), "1000:1000", str(python), whole, told)


def relay(host: Host, port: int = 5551) -> Relay:
    return Relay(port, SERVER, host.home / "journal")


def stack(host: Host) -> Stack:
    return Stack("dev", "mlflow-platform", host.home / "program")


def written(kind: str, what: Relay | Stack, host: Host, folder: Path) -> list[Path]:
    """The unit files, by their names in another folder: nothing of this machine is touched."""
    folder.mkdir(exist_ok=True)
    found = []
    for file in service.files(kind, what, host):
        target = folder / file.path.name
        target.write_text(file.text)
        found.append(target)
    return found


@EVERY
def test_no_password_is_in_a_file_that_others_may_read(host: Host, kind: str) -> None:
    files = service.files(kind, relay(host), host)
    secret = [file for file in files if "100%" in file.text and "ada" in file.text]
    assert [file.private for file in secret] == [True]
    assert not any("MLFLOW_TRACKING_PASSWORD" in file.text for file in files if not file.private)


@pytest.mark.parametrize("whole", [False, True])
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path, whole: bool) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not on PATH")
    host = made_host(tmp_path / "a 100%home $mine", whole=whole)
    (host.configuration / "trackstack").mkdir(parents=True)
    units = [
        file
        for what in (relay(host), stack(host))
        for file in written("systemd", what, host, tmp_path / "units")
        if file.suffix != ".env"
    ]
    assert [file.suffix for file in units] == [".socket", ".service", ".service"]
    done = subprocess.run(
        [program, "verify", "--man=no", "--recursive-errors=no", *units],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    # That it finds what is wrong.
    units[1].write_text(units[1].read_text().replace("RestartSec=1", "RestartSeconds=1"))
    done = subprocess.run([program, "verify", *units], capture_output=True, text=True, check=False)
    assert "RestartSeconds" in done.stderr


def test_launchd_gets_property_lists_whose_jobs_get_the_credentials(host: Host) -> None:
    secrets, job = service.files("launchd", relay(host), host)
    told = plistlib.loads(job.text.encode())
    assert (told["Label"], told["KeepAlive"]) == ("trackstack-relay", True)
    # The script itself, with a program that prints its environment for the relay.
    secrets.path.parent.mkdir(parents=True)
    secrets.path.write_text(secrets.text)
    Path(host.python).unlink()
    Path(host.python).write_text('#!/bin/sh\nprintf "%s|" "$@"\nenv -0\n')
    Path(host.python).chmod(0o700)
    done = subprocess.run(told["ProgramArguments"], env={}, capture_output=True, check=True)
    argv, _, environment = done.stdout.decode().rpartition("|")
    assert argv == "-m|trackstack.cli|relay|--port|5551"
    assert f"MLFLOW_TRACKING_PASSWORD={PASSWORD}\0" in environment
    (job,) = service.files("launchd", stack(host), host)
    told = plistlib.loads(job.text.encode())
    assert told["AbandonProcessGroup"] is True
    assert told["ProgramArguments"][-2:] == ["--cwd", str(host.home / "program")]


def test_compose_gets_yaml_that_builds_from_what_there_is(host: Host) -> None:
    for what in (relay(host), stack(host)):
        file = service.files("compose", what, host)[-1]
        told = yaml.safe_load(file.text)
        ((_, one),) = told["services"].items()
        assert one["network_mode"] == "host"
        # A single dollar would be a variable of Compose's own.
        assert "$" not in file.text.replace("$$", "")
        for line in one["build"]["dockerfile_inline"].splitlines():
            if line.startswith("COPY "):
                for name in line.split()[1:-1]:
                    assert (ROOT / name).exists(), name
    script = told["services"]["platform"]["command"][-1].replace("$$", "$")
    assert subprocess.run(["bash", "-n", "-c", script], check=False).returncode == 0


def test_compose_hands_the_relay_its_credentials_as_they_are(host: Host) -> None:
    secrets, file = service.files("compose", relay(host), host)
    told = yaml.safe_load(file.text.replace("$$", "$"))["services"]["relay"]
    assert told["env_file"] == [{"path": str(secrets.path), "format": "raw"}]
    assert f"MLFLOW_TRACKING_PASSWORD={PASSWORD}" in secrets.text.splitlines()
    assert told["volumes"][0]["source"] == str(host.home / "journal")


def test_what_a_shell_or_a_join_exports_does_not_reach_the_servers_credentials(
    host: Host,
) -> None:
    """A variable without a value is set all the same: a relay's token is not for the server."""
    secrets, *_ = service.files("systemd", relay(host), host)
    assert 'MLFLOW_TRACKING_TOKEN=""' in secrets.text.splitlines()


@EVERY
def test_a_line_break_in_a_path_or_a_password_is_refused(host: Host, kind: str) -> None:
    bad = Relay(5551, {**SERVER, "MLFLOW_TRACKING_PASSWORD": "a\nb"}, host.home / "journal")
    with pytest.raises(ServiceError, match="line break"):
        service.files(kind, bad, host)
    with pytest.raises(ServiceError, match="control character"):
        service.files(kind, Stack("dev", "p", Path("/a\nExecStart=/bin/sh")), host)


def test_under_systemds_socket_the_relay_answers_whoever_has_the_token(tmp_path: Path) -> None:
    """By systemd's own tool: the unit's command, its environment and its port."""
    program = shutil.which("systemd-socket-activate")
    if program is None:
        pytest.skip("systemd-socket-activate is not on PATH")
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    host = made_host(tmp_path / "home")
    away = {**SERVER, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    what = Relay(port, away, host.home / "journal")
    _, listening, unit = service.files("systemd", what, host)
    address = line(listening.text, "ListenStream")
    argv = shlex.split(line(unit.text, "ExecStart").removeprefix(":"))
    argv[0] = sys.executable  # a link to it would not find its packages
    variables = {**what.variables, **host.variables}
    with (tmp_path / "log").open("w") as log:
        running = subprocess.Popen(
            [program, "-l", address, *(f"--setenv={key}" for key in variables), "--", *argv],
            env={**os.environ, **variables, "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
        )
    try:
        uri = f"http://127.0.0.1:{port}"
        assert answered(f"{uri}/health") == 200
        body = {"experiment_id": "0", "start_time": 1}
        path = f"{uri}/api/2.0/mlflow/experiments/create"
        assert answered(path, {"name": "x"}) in {401, 403}
        done = command(
            tmp_path,
            *("env", "--from", away["MLFLOW_TRACKING_URI"], "--relay", "--format", "json"),
            *("--relay-port", str(port)),
            TRACKSTACK_JOURNAL=str(host.home / "journal"),
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["MLFLOW_TRACKING_URI"] == uri
        path = f"{uri}/api/2.0/mlflow/runs/create"
        assert answered(path, body, told["MLFLOW_TRACKING_TOKEN"]) == 200
    finally:
        running.terminate()
        running.wait(30)


def line(text: str, key: str) -> str:
    (found,) = [one.partition("=")[2] for one in text.splitlines() if one.startswith(f"{key}=")]
    return found


def answered(url: str, body: dict[str, Any] | None = None, token: str = "") -> int:
    """The status; a port that nobody holds yet is asked again."""
    headers = {"Content-Type": "application/json"}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    data = None if body is None else json.dumps(body).encode()
    for _ in range(100):
        with suppress(ConnectionError, urllib.error.URLError):
            try:
                request = urllib.request.Request(url, data, headers)
                with urllib.request.urlopen(request, timeout=20) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                return error.code
        time.sleep(0.1)
    raise AssertionError(f"{url} doesn't answer")


def command(home: Path, *argv: str, **more: str) -> subprocess.CompletedProcess[str]:
    own = {"HOME": str(home), "XDG_CONFIG_HOME": "", "COLUMNS": "200", **more}
    return subprocess.run(
        [sys.executable, "-m", "trackstack.cli", *argv],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        cwd=ROOT,
        env={**os.environ, **own},
    )


def test_the_command_prints_writes_once_and_removes(tmp_path: Path) -> None:
    what = ("service", "relay", "--kind", "systemd", "--from", "https://mlflow.example.com")
    who = {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    done = command(tmp_path, *what, **who)
    assert done.returncode == 0, done.stderr
    assert "[Socket]" in done.stdout
    assert "100%" not in done.stdout + done.stderr
    assert not (tmp_path / ".config").exists()
    done = command(tmp_path, *what, "--write", **who)
    assert (done.returncode, (tmp_path / ".config").exists()) == (2, False)
    done = command(tmp_path, *what, "--write", "--yes", **who)
    assert done.returncode == 0, done.stderr
    assert "100%" not in done.stdout + done.stderr
    assert "systemctl --user enable --now trackstack-relay.socket" in done.stderr
    secrets = tmp_path / ".config" / "trackstack" / "relay.env"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    done = command(tmp_path, *what, "--write", "--yes", **who)
    assert done.stdout == "Nothing to change.\n"
    done = command(tmp_path, *what, "--undo", "--yes", **who)
    assert "systemctl --user disable --now" in done.stderr
    assert [file for file in (tmp_path / ".config").rglob("*") if file.is_file()] == []


def test_a_stack_that_is_not_there_becomes_no_service(tmp_path: Path) -> None:
    done = command(tmp_path, "service", "stack", "--stack", "prdo")
    assert (done.returncode, done.stdout) == (2, "")
    assert "There is no stack 'prdo'" in done.stderr
    done = command(tmp_path, "service", "stack", "--kind", "upstart")
    assert done.returncode == 2
    assert "choose systemd, launchd, compose" in done.stderr
