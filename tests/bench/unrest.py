"""Everything killed at any time, for minutes: beside a stock server and beside ours."""

import contextlib
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.bench.processes import tree
from tests.client.tracking_server import serving
from tests.client.unrest import Server, unrest
from tests.live.stacks import Stack

COLUMNS = (
    *("server", "seconds", "kills: relay", "training", "server", "trainings", "runs there"),
    *("points acknowledged", "not there once", "runs in a wrong state", "longest call ms"),
)


class OurServer:
    """The tracking server of a stack, which starts it again by itself."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.uri = stack.uri

    def crash(self) -> None:
        """Kill its task."""
        for process in tree(self._stack.pids().get("tracking-1.serve", 0)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def wait(self) -> None:
        """Until it is back."""
        self._stack.wait_until_healthy()


def measure(options: Namespace, folder: Path, stack: Stack) -> Iterator[str]:
    """Go on for `options.minutes` with each server, and compare."""
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"|{' --- |' * len(COLUMNS)}"
    yield _row(options, folder / "on-ours", "ours", OurServer(stack))
    with serving(folder / "stock") as stock:
        yield _row(options, folder / "on-stock", "stock", stock)


def _row(options: Namespace, folder: Path, name: str, server: Server) -> str:
    folder.mkdir()
    seconds = options.minutes * 60
    tally = unrest(folder, server, seconds=seconds, seed=1)
    if tally.failed:
        raise AssertionError("\n".join(tally.failed))
    kills = [tally.kills[what] for what in ("relay", "training", "server")]
    told = [
        *(name, f"{seconds:.0f}", *kills, tally.trainings, tally.runs, tally.acknowledged),
        *(tally.lost, len(tally.wrong), f"{tally.longest_seconds * 1000:.0f}"),
    ]
    return f"| {' | '.join(map(str, told))} |"
