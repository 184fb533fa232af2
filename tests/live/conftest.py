"""Stacks for tests that need real processes: one to share, and fresh ones to hurt.

Whoever shares ``dev_stack`` reads and adds, never breaks; its tests carry ``SHARED``.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live.stacks import EXAMPLE, Stack

StackFactory = Callable[..., Stack]


@pytest.fixture(scope="session")
def stack_factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackFactory]:
    """Makes stacks, each below a TRACKSTACK_HOME of its own; all are deleted at the end.

    A made stack is not up yet: call ``up()``. Keywords are those of ``Stack``.
    """
    made: list[Stack] = []

    def make(**what: object) -> Stack:
        stack = Stack(home=tmp_path_factory.mktemp("home"), **what)
        made.append(stack)
        return stack

    yield make
    failures = []
    for stack in made:
        try:
            stack.delete()
        except AssertionError as error:  # the others must go, too
            failures.append(str(error))
    assert not failures, "\n".join(failures)


@pytest.fixture
def fresh_stack(stack_factory: StackFactory) -> Iterator[Stack]:
    """A stack of this test's own, not up yet; gone when the test ends."""
    stack = stack_factory()
    yield stack
    stack.delete()


@pytest.fixture(scope="session")
def dev_stack(stack_factory: StackFactory) -> Stack:
    """The stack ``dev`` of this checkout, up and shared by the whole session."""
    stack = stack_factory()
    stack.up()
    return stack


@dataclass(frozen=True)
class ExampleRun:
    """What the example left behind."""

    experiment_id: str
    run_id: str
    folder: Path
    """Where it was started."""
    printed: str


def run_example(stack: Stack, folder: Path) -> ExampleRun:
    """Run the example against a stack, from an empty folder."""
    folder.mkdir(parents=True, exist_ok=True)
    printed = stack.client(EXAMPLE, cwd=folder).stdout
    last = printed.splitlines()[-1]
    found = re.fullmatch(rf"{re.escape(stack.uri)}/#/experiments/(\d+)/runs/([0-9a-f]{{32}})", last)
    assert found, printed
    return ExampleRun(found[1], found[2], folder, printed)


@pytest.fixture(scope="session")
def example_run(dev_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> ExampleRun:
    """The example, run once against the shared stack."""
    return run_example(dev_stack, tmp_path_factory.mktemp("example"))
