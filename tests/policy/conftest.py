"""The project's pack, started once as an engine starts it; every test asks that process."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trackstack.embedded.policy_packs import Finding, Packs
from trackstack.embedded.project import Configuration, Project
from trackstack.embedded.record import Recording

ROOT = Path(__file__).parents[2]
NOTHING = Configuration({}, (), ())


@pytest.fixture(scope="session")
def judge() -> Iterator[Callable[[Recording], tuple[Finding, ...]]]:
    """``judge(recording)``: what the pack says of it."""
    project = Project.find(ROOT)
    with Packs([ROOT / "policy"], project, "test", NOTHING, timeout=3600) as packs:
        yield packs.check
