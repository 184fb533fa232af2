"""Single points through the relay, beside direct, asynchronous and no-op logging, in one run."""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from argparse import Namespace
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from tests.bench.load import percentile
from tests.bench.processes import say
from tests.client.gateway import BLACK_HOLE, REFUSED, UNAVAILABLE, UP, Gateway
from trackstack.client.relay.supervisor import Supervisor
from trackstack.client.relay.training import client_environment

SCRIPT = Path(__file__).parent / "log_points.py"
NETWORK_SECONDS = 0.01
"""On each way: 20 ms there and back."""
IN_TURN, KILLED = "all in turn", "killed"
_KILLS = 5
_IMPORT_SECONDS = 5.0
"""Until MLflow's client is imported and logs points."""
Told = dict[str, Any]


def measure(options: Namespace, folder: Path, uri: str) -> Iterator[str]:
    """Measure against a server.

    Args:
        options: of the command line: ``points``, ``rounds``. Without a relay a fifth of the points
            is logged, a tenth over the slow network: they take minutes.
        folder: an empty one.
        uri: of the server, with user and password where it asks.
    """
    port = urlsplit(uri).port or 80
    rounds: dict[str, list[Told]] = {}

    def keep(name: str, told: Told) -> None:
        rounds.setdefault(name, []).append(told)
        say(f"{name}: p50 {_ms(told, 50):.2f} ms, {told['total']:.1f} s, lost {told['lost']}")

    for number in range(options.rounds):
        with _no_op() as nothing:
            keep("no-op server", _client(options, nothing, "sync") | {"lost": 0})
        some = Namespace(points=max(options.points // 5, 10))
        for how in ("sync", "async"):
            told = _client(some, uri, how)
            keep(
                "direct" if how == "sync" else "MLflow's async",
                told | {"lost": _lost(uri, told, some)},
            )
        for mode in (UP, REFUSED, BLACK_HOLE, UNAVAILABLE, IN_TURN):
            with Gateway(port, mode=UP if mode == IN_TURN else mode) as gateway:
                told = _relayed(options, folder / f"{number}-{mode}", gateway, mode)
            keep(f"relay, server {mode}", told | {"lost": _lost(uri, told, options)})
        with Gateway(port) as gateway:
            told = _relayed(options, folder / f"{number}-killed", gateway, KILLED)
        keep(f"relay, killed {told['kills']} times", told | {"lost": _lost(uri, told, options)})
        with Gateway(port, delay=NETWORK_SECONDS) as gateway:
            few = Namespace(points=max(options.points // 10, 10))
            told = _client(few, gateway.uri, "sync")
            keep("direct, 20 ms of network", told | {"lost": _lost(uri, told, few)})
            told = _relayed(options, folder / f"{number}-far", gateway, UP)
            keep("relay, 20 ms of network", told | {"lost": _lost(uri, told, options)})
    yield from _table(rounds)


def _table(rounds: dict[str, list[Told]]) -> Iterator[str]:
    yield (
        "| | p50 ms | p99 | p99.9 | max | total s | points/s | set_experiment s | end_run s |"
        " errors | lost | relay starts s, RSS MB |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for name, found in rounds.items():

        def median(of: Callable[[Told], float], found: list[Told] = found) -> float:
            return statistics.median(map(of, found))

        cells = [f"{median(lambda one, p=p: _ms(one, p)):.1f}" for p in (50, 99)]
        cells.append(f"{median(_per_mille):.1f}")
        cells.append(f"{median(lambda one: max(one['took']) * 1000):.0f}")
        cells.append(f"{median(lambda one: one['total']):.1f}")
        cells.append(f"{median(lambda one: len(one['took']) / one['total']):.0f}")
        cells += [f"{median(lambda one, w=w: one[w]):.2f}" for w in ("set_experiment", "end_run")]
        cells += [str(sum(one[what] for one in found)) for what in ("errors", "lost")]
        started = [one["started"] for one in found if "started" in one]
        sizes = [one["rss"] for one in found if "rss" in one]
        cells.append(f"{statistics.median(started):.2f}, {max(sizes):.0f}" if started else "")
        yield f"| {name} | {' | '.join(cells)} |"


def _ms(told: Told, percent: int) -> float:
    return percentile(told["took"], percent) * 1000


def _per_mille(told: Told) -> float:
    ordered = sorted(told["took"])
    return float(ordered[min(len(ordered) - 1, len(ordered) * 999 // 1000)]) * 1000


def _client(options: Namespace, uri: str, how: str, **environment: str) -> Told:
    done = subprocess.run(
        [sys.executable, SCRIPT, str(options.points), how, f"bench-{uuid.uuid4().hex[:8]}"],
        env={**os.environ, "MLFLOW_TRACKING_URI": uri, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    told: Told = json.loads(done.stdout.partition("TOLD ")[2].splitlines()[0])
    return told


def _relayed(options: Namespace, folder: Path, gateway: Gateway, mode: str) -> Told:
    told_of = {**os.environ, "MLFLOW_TRACKING_URI": gateway.uri, "TRACKSTACK_JOURNAL": str(folder)}
    supervisor = Supervisor(told_of)
    try:
        begun = time.monotonic()
        supervisor.start()
        started = time.monotonic() - begun
        token = supervisor.admit("bench")
        ended = threading.Event()
        kills: list[float] = []
        if mode == IN_TURN:
            threading.Thread(target=_turn, args=[gateway, ended], daemon=True).start()
        if mode == KILLED:
            threading.Thread(target=_kill, args=[supervisor, kills, ended], daemon=True).start()
        own = client_environment(told_of, supervisor.uri, token)
        told = _client(options, supervisor.uri, "sync", **own)
        ended.set()
        (relay,) = psutil.Process().children()
        rss = relay.memory_info().rss / 1e6
        gateway.mode = UP
        deadline = time.monotonic() + 300
        while supervisor.ask("status", token)["waiting"] and time.monotonic() < deadline:
            time.sleep(0.1)
        return told | {"started": started, "rss": rss, "kills": len(kills)}
    finally:
        supervisor.end()


def _turn(gateway: Gateway, ended: threading.Event) -> None:
    while not ended.is_set():
        for mode in (UP, REFUSED, UP, BLACK_HOLE, UP, UNAVAILABLE):
            gateway.mode = mode
            if ended.wait(1.5):
                return


def _kill(supervisor: Supervisor, kills: list[float], ended: threading.Event) -> None:
    ended.wait(_IMPORT_SECONDS)
    while len(kills) < _KILLS and not ended.wait(1.5):
        supervisor.kill()
        kills.append(time.monotonic())


def _lost(uri: str, told: Told, options: Namespace) -> int:
    """How many points the server doesn't have exactly once, under either id of the run."""
    parts = urlsplit(uri)
    plain = f"{parts.scheme}://{parts.hostname}:{parts.port}"

    def ask(path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{plain}/api/2.0/mlflow/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found

    # Our server took the relay's id.
    history = ask(f"metrics/get-history?run_id={told['run']}&metric_key=loss")
    steps = [int(one.get("step", 0)) for one in history.get("metrics", ())]
    return len(set(range(options.points)) ^ set(steps)) + len(steps) - len(set(steps))


@contextlib.contextmanager
def _no_op() -> Iterator[str]:
    """A server that answers at once and does nothing: what the client alone costs."""
    info = {"run_id": "0" * 32, "experiment_id": "1", "lifecycle_stage": "active"}
    experiment = {"experiment_id": "1", "name": "bench", "lifecycle_stage": "active"}
    run = {"run": {"info": info, "data": {}}}
    answers = {
        "get-by-name": {"experiment": experiment},
        "create": run,
        "get": run,
        "update": {"run_info": info},
    }

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def log_message(self, *_: Any) -> None:
            pass

        def handle_any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            what = self.path.partition("?")[0].rpartition("/")[2]
            text = json.dumps(answers.get(what, {})).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n"
            self.wfile.write(head.encode() + text)
            self.wfile.flush()

        do_GET = do_POST = handle_any  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    process = os.fork()
    if not process:  # its own interpreter lock: the client's is busy
        server.serve_forever()
        os._exit(0)
    server.socket.close()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        os.kill(process, 9)
        os.waitpid(process, 0)
