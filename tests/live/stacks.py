"""A stack as a user has it: brought up, asked and taken down by the CLI, in a home of its own."""

import contextlib
import fcntl
import itertools
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from trackstack.client.server import Login
from trackstack.embedded.state import StackState

ROOT = Path(__file__).parents[2]
PROJECT = "mlflow-platform"
EXAMPLE = ROOT / "examples" / "train.py"
PROGRAM = ("Pulumi.yaml", "__main__.py", "infra", "components", "trackstack")

# What a developer's shell may carry that would lead a test to another server, or say that it is CI.
_FOREIGN = (
    *("MLFLOW_", "TRACKSTACK_STACK", "TRACKSTACK_SECRET_", "AWS_", "PULUMI_"),
    *("CI", "GITHUB_", "GITLAB_", "JENKINS_"),
)


def clean_environment() -> dict[str, str]:
    """The environment of whoever runs the tests, without what would point elsewhere."""
    return {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two first ``up`` of different homes at the same moment choose the same free ports."""
    with (Path(tempfile.gettempdir()) / "trackstack-tests-up.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


_COUNTER = itertools.count()


@dataclass
class Stack:
    """One stack below one TRACKSTACK_HOME."""

    home: Path
    name: str = "dev"
    project: Path = ROOT
    """Folder of the Pulumi program."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Further environment of the CLI, such as TRACKSTACK_SECRET_<KEY>."""

    def cli(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """``trackstack <argv>``; with ``check`` a failure carries what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "trackstack.cli", *argv],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.project,
            timeout=280,
            env={**clean_environment(), **self.extra, "TRACKSTACK_HOME": str(self.home)},
        )
        if check and done.returncode:
            message = f"trackstack {' '.join(argv)}: {done.returncode}\n{done.stdout}{done.stderr}"
            raise AssertionError(message)
        return done

    def up(self, *options: str) -> dict[str, Any]:
        """Bring it up; what ``up --json`` says.

        Homes of several tests know nothing of each other's ports: the first time each gets a
        front door of its own, so that a stack that is down finds its port free again.
        """
        self._forget()
        if not self.state.exists() and "--port" not in options:
            options = ("--port", str(_front_door()), *options)
        with _one_at_a_time():
            told = self.cli("up", "--stack", self.name, "--json", *options).stdout
        summary: dict[str, Any] = json.loads(told)
        return summary

    def be_up(self) -> None:
        """Bring it up unless it is well: an ``up`` evaluates the program, which takes seconds."""
        self._forget()
        if self.cli("status", "--stack", self.name, check=False).returncode:
            self.up()

    def _forget(self) -> None:
        for cached in ("outputs", "credentials"):
            self.__dict__.pop(cached, None)

    def down(self) -> None:
        """Stop it; its data is kept."""
        self.cli("down", "--stack", self.name)

    def delete(self) -> None:
        """Stop it and delete everything, whether it is there or not."""
        # An ``up`` that was refused leaves a folder, but nothing to take down.
        if any((self.state / kept).exists() for kept in ("ports.json", "wanted.json", "secrets")):
            self.cli("down", "--stack", self.name, "--delete-data", "--yes")

    def status(self) -> dict[str, Any]:
        """What ``status --json`` says, healthy or not."""
        told: dict[str, Any] = json.loads(
            self.cli("status", "--stack", self.name, "--json", check=False).stdout
        )
        return told

    def pids(self) -> dict[str, int]:
        """Process name to pid, for those that run."""
        return {one["name"]: one["pid"] for one in self.status()["processes"] if one["pid"]}

    @property
    def supervisor_pid(self) -> int:
        """Pid of the supervisor, from its own file."""
        observed = json.loads((self.state / "observed.json").read_text(encoding="utf-8"))
        return int(observed["pid"])

    @property
    def state(self) -> Path:
        """The folder that keeps it."""
        return self.home / PROJECT / self.name

    @property
    def objects(self) -> Path:
        """The folder that stands for the artifact bucket."""
        (found,) = self.state.glob("data/*/objects")
        return found

    @cached_property
    def outputs(self) -> dict[str, Any]:
        """The stack's outputs; read again after ``up``."""
        found: dict[str, Any] = json.loads(
            self.cli("outputs", "--stack", self.name, "--json").stdout
        )
        return found

    @property
    def uri(self) -> str:
        """The tracking URI."""
        return str(self.outputs["tracking_uri"])

    def login(self, who: str = "client") -> tuple[str, str] | None:
        """User and password of ``client`` or ``admin``; None where nobody is asked."""
        arn = self.outputs.get(f"{who}_secret_arn")
        if not arn:
            return None
        kept = json.loads(StackState(self.state).read_secret(arn))
        return kept["username"], kept["password"]

    @cached_property
    def credentials(self) -> dict[str, str]:
        """The header that lets a client in; none where nobody is asked."""
        login = self.login()
        return {} if login is None else {"Authorization": Login(*login).header}

    @property
    def context(self) -> ssl.SSLContext | None:
        """Trust in the stack's certificate; None without TLS."""
        pem = self.outputs.get("tracking_certificate")
        return ssl.create_default_context(cadata=pem) if pem else None

    @property
    def client_environment(self) -> dict[str, str]:
        """What ``trackstack env`` tells a client to export."""
        told = self.cli("env", "--stack", self.name, "--format", "json").stdout
        found: dict[str, str] = json.loads(told)
        return found

    def client(
        self,
        *argv: str | Path,
        cwd: Path,
        more: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a Python script as a client of this stack, in a folder of its own."""
        done = subprocess.run(
            [sys.executable, *map(str, argv)],
            capture_output=True,
            text=True,
            check=False,
            cwd=cwd,
            timeout=280,
            env={**clean_environment(), **self.client_environment, **(more or {})},
        )
        if check and done.returncode:
            raise AssertionError(f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def call(
        self, path: str, body: Mapping[str, Any] | None = None, *, method: str = ""
    ) -> dict[str, Any]:
        """Ask MLflow's REST API (``runs/get?run_id=…``) without MLflow; GET, or POST a body."""
        request = urllib.request.Request(
            f"{self.uri}/api/2.0/mlflow/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **self.credentials},
            method=method or ("GET" if body is None else "POST"),
        )
        try:
            with urllib.request.urlopen(request, timeout=30, context=self.context) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            said = error.read().decode("utf-8", "replace")
            raise AssertionError(f"{path}: {error.code} {said}") from None

    def wait_until_healthy(self, seconds: float = 60) -> None:
        """Wait until ``status`` finds nothing wrong."""
        deadline = time.monotonic() + seconds
        while not (told := self.status())["ok"]:
            if time.monotonic() > deadline:
                raise AssertionError(f"not healthy after {seconds} s: {json.dumps(told, indent=1)}")
            time.sleep(0.5)


def _front_door() -> int:
    """A free port that no other test of this session gets; each worker has a range."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 10_000 + (os.getpid() % 40) * 200 + worker * 100
    return next(port for port in range(first + next(_COUNTER) * 3, first + 9000) if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def copy_of_the_program(folder: Path) -> Path:
    """A project folder with this program and the stack files, which a test may change."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PROGRAM:
        if (ROOT / name).is_dir():
            (folder / name).symlink_to(ROOT / name)
        else:  # a copy: a test that writes its own program wrote through a link to the checkout's
            shutil.copyfile(ROOT / name, folder / name)
    shutil.copytree(ROOT / "stacks", folder / "stacks")
    return folder


def program(name: str) -> str | None:
    """Path of a program beside the interpreter or on PATH."""
    return shutil.which(
        name, path=os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"]))
    )
