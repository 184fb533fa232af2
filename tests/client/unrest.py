"""Trainings of which everything is killed at any time, and what the server has of them after."""

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import mlflow
import psutil

from tests.live.stacks import clean_environment

TRAINING = Path(__file__).parents[1] / "live" / "scripts" / "unrest.py"
POINTS = 3000
"""After which a training that nobody kills ends by itself."""
SYNC_SECONDS = 300
KILLED = -9
EXIT_KILLED = 137


class Server(Protocol):
    """One that can be killed."""

    uri: str

    def crash(self) -> None:
        """Kill it; it begins to come back."""

    def wait(self) -> None:
        """Until it has come back."""


@dataclass
class Tally:
    """What was done, and what came of it."""

    kills: Counter[str] = field(default_factory=Counter)
    trainings: int = 0
    acknowledged: int = 0
    longest_seconds: float = 0
    """Of the calls that log a point."""
    runs: int = 0
    """On the server."""
    lost: int = 0
    """Points that were acknowledged and are not there exactly once."""
    wrong: list[str] = field(default_factory=list)
    """A sentence for each run that isn't there once and in its right state."""
    failed: list[str] = field(default_factory=list)
    """What a training that nobody killed, or the last sync, said when it failed."""

    @property
    def whole(self) -> bool:
        """Whether nothing is amiss."""
        return not (self.lost or self.wrong or self.failed)


def unrest(folder: Path, server: Server, *, seconds: float, seed: int) -> Tally:
    """Train twice at a time and kill trainings, their relays and the server in random order.

    Args:
        folder: an empty one.
        seconds: how long.
        seed: of the order.
    """
    tally, chance = Tally(), random.Random(seed)
    ended, end = threading.Event(), folder / "end"
    running: dict[int, subprocess.Popen[bytes]] = {}
    expected: dict[Path, str] = {}
    environment = clean_environment() | {
        "MLFLOW_TRACKING_URI": server.uri,
        "TRACKSTACK_JOURNAL": str(folder / "journal"),
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }

    def train(lane: int) -> None:
        while not ended.is_set():
            tally.trainings += 1
            told = folder / f"training-{lane}-{tally.trainings}"
            command = [sys.executable, TRAINING, told, end, str(POINTS)]
            run = [sys.executable, "-m", "trackstack.cli", "run", "--drain", "1", "--", *command]
            with told.with_suffix(".log").open("wb") as log:
                running[lane] = subprocess.Popen(run, env=environment, stdout=log, stderr=log)
                code = running[lane].wait()
            if code not in {0, EXIT_KILLED}:
                tally.failed.append(f"{told.name}: {told.with_suffix('.log').read_text()}")
            expected[told] = "KILLED" if code else "FINISHED"

    lanes = [threading.Thread(target=train, args=[lane]) for lane in range(2)]
    for lane in lanes:
        lane.start()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(chance.uniform(0.2, 3))
        what = chance.choice(["relay", "relay", "relay", "training", "server"])
        if what == "server":
            server.crash()
            tally.kills[what] += 1
        else:
            tally.kills[what] += _kill(running[chance.randrange(2)], what)
    ended.set()
    end.touch()
    for lane in lanes:
        lane.join()
    server.wait()
    _sync(environment, tally)
    _compare(server.uri, expected, tally)
    return tally


def _kill(run: subprocess.Popen[bytes], what: str) -> int:
    """Kill what `trackstack run` started; how many that were."""
    try:
        children = {
            "relay" if "trackstack.client.relay.process" in child.cmdline() else "training": child
            for child in psutil.Process(run.pid).children()
        }
        children[what].kill()
    except (psutil.Error, KeyError):
        return 0
    return 1


def _sync(environment: dict[str, str], tally: Tally) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trackstack.cli", "sync"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=SYNC_SECONDS,
    )
    if done.returncode:
        tally.failed.append(f"sync: {done.returncode} {done.stdout}{done.stderr}")


def _compare(uri: str, expected: dict[Path, str], tally: Tally) -> None:
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("unrest")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=50_000)
    there = {run.data.tags.get("trackstack.id", run.info.run_id): run for run in runs}
    tally.runs = len(runs)
    if len(there) != len(runs):
        tally.wrong.append(f"{len(runs)} runs for {len(there)} that were started")
    tally.wrong += [
        f"{run.info.run_id} is {run.info.status}"
        for run in runs
        if run.info.status not in {"KILLED", "FINISHED"}
    ]
    for told, state in expected.items():
        lines = [line.split() for line in told.read_text().splitlines()] if told.exists() else []
        acknowledged = [(run, int(step)) for run, step, _ in lines]
        tally.acknowledged += len(acknowledged)
        tally.longest_seconds = max([tally.longest_seconds, *(float(line[2]) for line in lines)])
        if not acknowledged:
            continue
        run = there.get(acknowledged[0][0])
        if run is None:
            tally.wrong.append(f"{told.name}: run {acknowledged[0][0]} is not there")
            tally.lost += len(acknowledged)
            continue
        if run.info.status != state:
            tally.wrong.append(f"{told.name}: {run.info.status} instead of {state}")
        if state == "KILLED" and run.data.tags.get("trackstack.ended_by") != "SIGKILL":
            tally.wrong.append(f"{told.name}: no tag tells the signal: {run.data.tags}")
        found = Counter(
            (one.step, one.value) for one in client.get_metric_history(run.info.run_id, "loss")
        )
        tally.lost += sum(found[(step, 1 / (step + 1))] != 1 for _, step in acknowledged)
        # One more may have been taken whose answer nobody lived to see.
        if found.total() > len(acknowledged) + 1:
            tally.wrong.append(f"{told.name}: {found.total()} points of {len(acknowledged)}")
