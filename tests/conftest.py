"""What every test may use: the embedded host's own monitor, and throw-away projects."""

import os
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import pytest
import yaml

from trackstack.client.environment import CI_SERVICES
from trackstack.embedded import monitor
from trackstack.embedded.host import PreviewHost, StackAnswers
from trackstack.embedded.project import Project
from trackstack.embedded.record import Recording

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees or touches the stacks of whoever runs it, nor whether that is a CI job."""
    monkeypatch.setenv("TRACKSTACK_HOME", str(tmp_path / "trackstack-home"))
    monkeypatch.setenv("TRACKSTACK_JOURNAL", str(tmp_path / "trackstack-journal"))
    for name in ("MLFLOW_TRACKING_URI", "TRACKSTACK_STACK", *CI_SERVICES):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For a stock MLflow server to begin with: its migrations take seconds."""
    from tests.client import tracking_server  # noqa: PLC0415 - it imports MLflow

    return tracking_server.empty_database(tmp_path_factory.mktemp("empty"))


@pytest.fixture
def record() -> Callable[..., Recording]:
    """``record(program)``: run it against the embedded host's monitor, in this process."""

    def run(program: Callable[[], None], *, stack: str = "test", **config: Any) -> Recording:
        return monitor.record(program, StackAnswers(PreviewHost()), stack=stack, **config)

    return run


@pytest.fixture(scope="session")
def evaluate() -> Callable[[str], Recording]:
    """``evaluate("prod")``: this repository's program, evaluated once a session for each stack."""
    known: dict[str, Recording] = {}

    def run(stack: str) -> Recording:
        if stack not in known:
            project = Project.find(ROOT)
            known[stack] = monitor.evaluate(
                project, stack, project.configuration(stack), StackAnswers(PreviewHost())
            )
        return known[stack]

    return run


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[..., Path]:
    """``make_project(program, config)``: a folder with a Pulumi project and a stack ``dev``."""

    def make(program: str, config: Mapping[str, object] | None = None, **declared: object) -> Path:
        folder = tmp_path / "project"
        (folder / "stacks").mkdir(parents=True, exist_ok=True)
        settings = {
            "name": "shop",
            "runtime": "python",
            "stackConfigDir": "stacks",
            "config": declared,
        }
        (folder / "Pulumi.yaml").write_text(yaml.safe_dump(settings))
        (folder / "stacks" / "Pulumi.dev.yaml").write_text(
            yaml.safe_dump({"config": dict(config or {})})
        )
        (folder / "__main__.py").write_text(textwrap.dedent(program))
        return folder

    return make
