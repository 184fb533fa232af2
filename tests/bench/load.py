"""Six clients over plain HTTP with kept-alive connections, and what they measured."""

import contextlib
import http.client
import json
import statistics
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from trackstack.client.server import Login

CLIENTS = 6


class Client:
    """One connection to MLflow's REST API; a refused or failed request is an error, never a 0.

    User and password may stand in the URI.
    """

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        assert parts.hostname
        self._headers = {"Content-Type": "application/json"}
        if parts.username:
            self._headers["Authorization"] = Login(parts.username, parts.password or "").header
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=120)

    def call(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """POST a body, or GET."""
        text = None if body is None else json.dumps(body)
        self._connection.request(
            "GET" if text is None else "POST",
            f"/api/2.0/mlflow/{path}",
            text,
            self._headers,
        )
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise AssertionError(f"{path}: {answer.status} {content[:300]!r}")
        found: dict[str, Any] = json.loads(content)
        return found

    def experiment(self, name: str) -> str:
        """A new experiment's id."""
        made = self.call("experiments/create", {"name": f"{name}-{uuid.uuid4().hex[:8]}"})
        return str(made["experiment_id"])

    def run(self, experiment: str) -> str:
        """A new run's id."""
        body = {"experiment_id": experiment, "start_time": int(time.time() * 1000)}
        return str(self.call("runs/create", body)["run"]["info"]["run_id"])

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


Operation = Callable[[Client, str, int], None]
"""``(client, run or experiment id, number of the call)``."""


def log_metric(client: Client, run: str, number: int) -> None:
    """One point of one curve."""
    body = {"run_id": run, "key": "loss", "value": 1 / (number + 1), "step": number}
    client.call("runs/log-metric", body | {"timestamp": int(time.time() * 1000)})


def log_batch(client: Client, run: str, number: int) -> None:
    """A hundred points of ten curves."""
    now = int(time.time() * 1000)
    points = [
        {"key": f"m{index % 10}", "value": 0.5, "timestamp": now, "step": number * 10 + index // 10}
        for index in range(100)
    ]
    client.call("runs/log-batch", {"run_id": run, "metrics": points})


def create_run(client: Client, experiment: str, number: int) -> None:
    """A new run."""
    del number
    client.run(experiment)


def search_runs(client: Client, experiment: str, number: int) -> None:
    """The first hundred runs by a metric, of however many the experiment holds."""
    del number
    body = {
        "experiment_ids": [experiment],
        "max_results": 100,
        "order_by": ["metrics.loss DESC"],
        "filter": "params.optimizer = 'sgd'",
    }
    found = client.call("runs/search", body)
    assert len(found["runs"]) == 100


@dataclass
class Measured:
    """Latencies of one operation against one server, over all rounds."""

    rounds: list[float] = field(default_factory=list)
    """Requests a second, one for each round."""
    latencies: list[float] = field(default_factory=list)
    """Seconds."""

    @property
    def per_second(self) -> float:
        """Median of the rounds."""
        return statistics.median(self.rounds)

    def milliseconds(self, percent: int) -> float:
        """A percentile over all requests."""
        return percentile(self.latencies, percent) * 1000


def percentile(values: Iterable[float], percent: int) -> float:
    """The value that so many percent don't exceed; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else 0.0


def hammer(uri: str, operation: Operation, targets: list[str], seconds: float) -> Measured:
    """Let a client for each target repeat an operation for some seconds."""
    took: list[list[float]] = [[] for _ in targets]
    failures: list[BaseException] = []
    start = threading.Barrier(len(targets) + 1)

    def work(index: int) -> None:
        client = Client(uri)
        try:
            operation(client, targets[index], 0)  # connect, and warm up
            start.wait()
            end = time.monotonic() + seconds
            number = 1
            while (before := time.monotonic()) < end:
                operation(client, targets[index], number)
                took[index].append(time.monotonic() - before)
                number += 1
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            failures.append(error)
            start.abort()
        finally:
            client.close()

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(targets))]
    for thread in threads:
        thread.start()
    with contextlib.suppress(threading.BrokenBarrierError):
        start.wait()
    began = time.monotonic()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    latencies = [one for series in took for one in series]
    return Measured([len(latencies) / (time.monotonic() - began)], latencies)
