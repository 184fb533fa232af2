"""A stack in a real Pulumi engine: the CLI of PATH, and a moto server of the stack's own for AWS.

Nothing here builds or fetches a CLI or a plugin; who has them gets the tests, who hasn't a reason.
"""

import contextlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import psutil

from tests.live.stacks import clean_environment, copy_of_the_program

# pulumi-resource-aws must be one that takes MOTO_AWS_ENDPOINT or AWS_ENDPOINT_URL for AWS.
NEEDED = (
    "pulumi",
    "pulumi-language-python",
    "pulumi-resource-aws",
    "pulumi-resource-docker-build",
    "pulumi-resource-random",
    "pulumi-resource-tls",
)
ROOT = Path(__file__).parents[2]
REGION = "us-east-1"
STEP_SECONDS = 600
"""No step of any stack may take longer; the longest, an ``up``, took 237 s on 2 busy cores."""
SPARES_MOTO: Mapping[str, object] = {
    # moto runs no task: a service of its never gets as many as it was asked for.
    "wait_for_steady_state": False,
    # And its create_service doesn't know capacity providers, so a service on Spot is read back as
    # one that isn't, which an older AWS provider wants to replace.
    "spot": False,
    # Its application-autoscaling answers "list_tags_for_resource … not been implemented" by 500,
    # which the provider tries again for a quarter of an hour.
    "tracking_tasks_max": 0,
    "artifacts_tasks_max": 0,
}
"""Settings of every stack here, with what moto lacks."""
_CHANGES_NOTHING = {"same", "read", "refresh"}
_COMPONENTS = "trackstack:"  # AWS never hears of them; the engine shows their inputs as changed


def missing() -> str:
    """What a real engine lacks here, as the reason of a skip; empty when all is there."""
    absent = [name for name in NEEDED if shutil.which(name) is None]
    if absent:
        return f"not on PATH: {', '.join(absent)}"
    if importlib.util.find_spec("pip") is None:
        # Pulumi's pip toolchain asks `python -m pip list` which plugins the program needs.
        return f"no pip in {sys.prefix}"
    return ""


@dataclass(frozen=True)
class Change:
    """What the engine did, or would do, to one resource; components left out."""

    op: str
    """``create``, ``update``, ``replace``, ``delete``, …"""
    type: str
    """Such as ``aws:ecs/service:Service``."""
    name: str
    properties: frozenset[str]
    """Properties that differ, by the provider's detailed diff."""


@dataclass
class Told:
    """How a CLI call ended, and what it said."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def text(self) -> str:
        """All of it."""
        return f"pulumi {' '.join(self.argv)}: {self.returncode}\n{self.stdout}{self.stderr}"


@dataclass
class Engine:
    """One stack of a copy of the program, its file backend and its AWS."""

    project: Path
    stack: str
    endpoint: str
    environment: Mapping[str, str]
    steps: list[Told] = field(default_factory=list)
    """Every call so far, for whoever wants to know where the time went."""

    def pulumi(self, *argv: str, check: bool = True, record: bool = True) -> Told:
        """``pulumi <argv>`` in the project; with ``check`` a failure carries what it said."""
        begun = time.monotonic()
        with subprocess.Popen(
            ["pulumi", *argv, "--non-interactive"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.project,
            env=self.environment,
        ) as process:
            try:
                stdout, stderr = process.communicate(timeout=STEP_SECONDS)
            except BaseException:
                end(process)
                raise
        told = Told(argv, process.returncode, stdout, stderr, time.monotonic() - begun)
        if record:
            self.steps.append(told)
        if check:
            assert told.returncode == 0, told.text
        return told

    def preview(self) -> list[Change]:
        """What an ``up`` would change, same resources left out."""
        told: dict[str, Any] = json.loads(self.pulumi("preview", "--json", "--diff").stdout)
        return _changes(
            {**step, "type": (step.get("newState") or step["oldState"])["type"]}
            for step in told["steps"]
        )

    def up(self) -> list[Change]:
        """Deploy; what it changed, by the engine's own events."""
        told = self.pulumi("up", "--skip-preview", "--yes", "--json").stdout
        events = [json.loads(line) for line in told.splitlines()]
        return _changes(
            event["resourcePreEvent"]["metadata"] for event in events if "resourcePreEvent" in event
        )

    def set(self, key: str, value: object) -> None:
        """``pulumi config set``."""
        self.pulumi("config", "set", key, json.dumps(value))

    def outputs(self) -> dict[str, Any]:
        """``pulumi stack output --json``."""
        found: dict[str, Any] = json.loads(self.pulumi("stack", "output", "--json").stdout)
        return found

    def state(self) -> str:
        """``pulumi stack export``, secrets encrypted."""
        return self.pulumi("stack", "export").stdout

    def resources(self) -> Counter[str]:
        """How many resources of each type the state holds."""
        told = json.loads(self.state())["deployment"].get("resources", [])
        return Counter(resource["type"] for resource in told)

    def trackstack(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """``trackstack <argv>`` beside the engine: same backend, same AWS."""
        return subprocess.run(
            [sys.executable, "-m", "trackstack.cli", *argv],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.project,
            timeout=60,
            env=self.environment,
        )

    def aws(self, service: str) -> Any:
        """A boto3 client of the stack's AWS."""
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )


def _changes(steps: Iterable[Mapping[str, Any]]) -> list[Change]:
    return [
        Change(
            step["op"],
            step["type"],
            step["urn"].rpartition("::")[2],
            # "tags.owner" and "containerDefinitions[0].name" are changes of the property before.
            frozenset(re.split(r"[.\[]", path)[0] for path in step.get("detailedDiff") or {}),
        )
        for step in steps
        if step["op"] not in _CHANGES_NOTHING and not step["type"].startswith(_COMPONENTS)
    ]


@contextlib.contextmanager
def engine_of(
    stack: str,
    folder: Path,
    program: Callable[[Path], Path] = copy_of_the_program,
    settings: Mapping[str, object] = SPARES_MOTO,
) -> Iterator[Engine]:
    """A stack that is initialised and not up yet; its processes are gone afterwards.

    Args:
        stack: its name.
        folder: an empty one.
        program: puts the program into the folder that it is given.
        settings: what the stack file doesn't say.
    """
    project = program(folder / "project")
    (project / ".venv").symlink_to(sys.prefix)  # what Pulumi.yaml calls the virtualenv
    (folder / "backend").mkdir()
    with moto(folder / "moto.log") as endpoint:
        engine = Engine(
            project,
            stack,
            endpoint,
            {
                **clean_environment(),
                "PULUMI_HOME": str(folder / "home"),
                "PULUMI_BACKEND_URL": (folder / "backend").as_uri(),
                "PULUMI_CONFIG_PASSPHRASE": "a passphrase for tests",
                "PULUMI_SKIP_UPDATE_CHECK": "true",
                "TRACKSTACK_HOME": str(folder / "trackstack"),
                "MOTO_AWS_ENDPOINT": endpoint,
                "AWS_ENDPOINT_URL": endpoint,
                "AWS_DEFAULT_REGION": REGION,
                "AWS_ACCESS_KEY_ID": "testing",
                "AWS_SECRET_ACCESS_KEY": "testing",
                "AWS_EC2_METADATA_DISABLED": "true",
            },
        )
        try:
            engine.pulumi("stack", "init", stack)
            for key, value in settings.items():
                engine.set(key, value)
            if stack == "prod":  # its domain's zone is there before the stack
                engine.aws("route53").create_hosted_zone(Name="example.com", CallerReference="test")
            yield engine
        finally:
            for step in engine.steps:  # pytest -rP shows where the time went
                print(f"{stack}: {step.seconds:6.1f} s  pulumi {' '.join(step.argv)}")
            _end_those_that_speak_to(endpoint)


@contextlib.contextmanager
def moto(log: Path) -> Iterator[str]:
    """A fresh AWS on a free port; its address.

    A process, not moto's thread: an account of its own for each stack. One holds one database.
    """
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.live.moto_server", "-H", "127.0.0.1", "-p", "0"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=clean_environment(),
        )
    try:
        deadline = time.monotonic() + 60
        while not (found := re.search(r"Running on (http://\S+:\d+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "moto did not start within 60 s"
            time.sleep(0.1)
        yield found[1]
    finally:
        end(process)


def end(process: subprocess.Popen[Any]) -> None:
    """End a process that was started here, with its children."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    process.kill()
    process.wait(10)


def _end_those_that_speak_to(endpoint: str) -> None:
    """The engine ends its plugins; one that it forgot fails the test and ends here."""
    deadline = time.monotonic() + 10
    while left := list(_those_that_speak_to(endpoint)):
        if time.monotonic() > deadline:
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            raise AssertionError(f"the engine left behind {left}")
        time.sleep(0.2)


def _those_that_speak_to(endpoint: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("MOTO_AWS_ENDPOINT") == endpoint:
                yield process
