"""What is measured; each case gives the lines of a Markdown table."""

import contextlib
import hashlib
import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psutil
import psycopg2
import sqlalchemy
import yaml
from mlflow.entities import RunStatus, RunTag
from mlflow.store.tracking.file_store import FileStore

from tests.bench import load, relay, unrest
from tests.bench.processes import (
    MIB,
    Memory,
    Peaks,
    free_port,
    memory,
    say,
    settle,
    stock_server,
    wait_for,
)
from tests.live.stacks import ROOT, Stack, clean_environment, copy_of_the_program
from trackstack.core import server_environment as names
from trackstack.embedded.state import StackState

KEY = "mlflow-platform:"
SCRIPT = ROOT / "tests" / "live" / "scripts" / "artifacts.py"


def set_key(project: Path, key: str, value: object) -> None:
    """Change a setting of the stack file ``dev``."""
    file = project / "stacks" / "Pulumi.dev.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["config"][KEY + key] = value
    file.write_text(yaml.safe_dump(content), encoding="utf-8")


def _copy(folder: Path, **settings: object) -> Stack:
    project = copy_of_the_program(folder / "project")
    for key, value in settings.items():
        set_key(project, key, value)
    set_key(project, "workers", 2)
    set_key(project, "database_instance_class", "db.t4g.small")  # connections for two workers
    return Stack(home=folder / "home", project=project)


@contextlib.contextmanager
def our_stack(folder: Path, **settings: object) -> Iterator[Stack]:
    """The stack ``dev`` of a copy of the program, with two workers; deleted with the block."""
    stack = _copy(folder, **settings)
    try:
        stack.up()
        yield stack
    finally:
        stack.delete()


def _secret(stack: Stack, name: str) -> str:
    return StackState(stack.state).read_secret(name)


def _address(stack: Stack) -> tuple[str, int]:
    host, _, port = stack.outputs["backend_endpoint"].partition(":")
    return host, int(port)


def _second_database(stack: Stack) -> str:
    """A database for stock in the stack's PostgreSQL; its URI."""
    host, port = _address(stack)
    identities = json.loads((stack.state / "identities.json").read_text(encoding="utf-8"))
    (user,) = [one["master user"] for one in identities.values() if "master user" in one]
    password = _secret(stack, "backend/mlflow-backend-postgres/master-password")
    connection = psycopg2.connect(
        host=host, port=port, user=user, password=password, dbname="postgres"
    )
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE stock")
    connection.close()
    return f"postgresql+psycopg2://{user}:{quote(password, safe='')}@{host}:{port}/stock"


def _our_database(stack: Stack) -> str:
    host, port = _address(stack)
    password = quote(_secret(stack, "backend/role-password"), safe="")
    return f"postgresql+psycopg2://mlflow:{password}@{host}:{port}/mlflow"


def _fill(uri: str, store: str, runs: int, days: int = 0) -> str:
    """An experiment with so many runs, copied in the database from one made by the API.

    With ``days`` they began at random times within the last so many.
    """
    client = load.Client(uri)
    experiment = client.experiment("search")
    run = client.run(experiment)
    now = int(time.time() * 1000)
    metrics = [
        {"key": key, "value": 0.5, "timestamp": now, "step": 1} for key in ("loss", "accuracy")
    ]
    params = [{"key": "optimizer", "value": "sgd"}, {"key": "layers", "value": "2"}]
    client.call("runs/log-batch", {"run_id": run, "metrics": metrics, "params": params})
    client.close()
    engine = sqlalchemy.create_engine(store)
    fresh = [uuid.uuid4().hex for _ in range(runs - 1)]
    with engine.begin() as connection:
        for name in ("runs", "metrics", "latest_metrics", "params", "tags"):
            table = sqlalchemy.Table(name, sqlalchemy.MetaData(), autoload_with=connection)
            chosen = sqlalchemy.select(table).where(table.c.run_uuid == run)
            rows = [dict(row) for row in connection.execute(chosen).mappings()]
            copies = [{**row, "run_uuid": name} for name in fresh for row in rows]
            if days and table.name == "runs":
                for copy in copies:
                    copy["start_time"] = now - random.randrange(days * 86_400_000)
            if copies:
                connection.execute(table.insert(), copies)
    engine.dispose()
    return experiment


def throughput(options: Namespace, folder: Path) -> list[str]:
    """Operations a second and memory: ours, stock on SQLite, stock on the same PostgreSQL."""
    with contextlib.ExitStack() as ended:
        stack = ended.enter_context(our_stack(folder / "ours"))
        store = _second_database(stack)
        lite = ended.enter_context(stock_server(folder / "sqlite"))
        stock = ended.enter_context(stock_server(folder / "postgresql", store))
        pids = stack.pids()
        rest = [pids["balancer"], pids["artifact-store"], stack.supervisor_pid]
        servers = {
            "ours: PostgreSQL, 2 workers": (stack.uri, _our_database(stack)),
            "stock on the same PostgreSQL, 4 workers": (stock[0], store),
            "stock defaults: SQLite, 4 workers": (
                lite[0],
                f"sqlite:///{folder / 'sqlite' / 'mlflow.db'}",
            ),
        }
        settle(pids["tracking-1.serve"], stock[1], lite[1])
        measured = _rounds(options, servers)
        sizes = {
            "ours: PostgreSQL, 2 workers": memory(pids["tracking-1.serve"]),
            "stock on the same PostgreSQL, 4 workers": memory(stock[1]),
            "stock defaults: SQLite, 4 workers": memory(lite[1]),
        }
        # The supervisor is the parent of all: without its children.
        others = {
            "balancer, artifact store": memory(*rest[:2]),
            "PostgreSQL, of both": memory(pids["backend"]),
        }
    return [*_table(measured, sizes), "", *_memory_lines(others)]


def access(options: Namespace, folder: Path) -> list[str]:
    """Operations a second with and without users, asked of the server itself, without TLS."""
    with contextlib.ExitStack() as ended:
        free = ended.enter_context(our_stack(folder / "none"))
        settings = {"access": "basic", "tls": "generated"}
        guarded = ended.enter_context(our_stack(folder / "basic", **settings))
        servers = {"access: none": (_server(free), _our_database(free))}
        for who, name in (("client", "basic, as a user"), ("admin", "basic, as the admin")):
            servers[name] = (_server(guarded, who), _our_database(guarded))
        pids = {
            name: stack.pids()["tracking-1.serve"]
            for name, stack in zip(servers, (free, guarded, guarded), strict=True)
        }
        settle(*pids.values())
        measured = _rounds(options, servers)
        sizes = {name: memory(pid) for name, pid in pids.items()}
    lines = list(_table(measured, sizes))
    plain = measured["access: none"]
    for name, found in measured.items():
        shares = [
            f"{what} {one.per_second / plain[what].per_second:.0%}" for what, one in found.items()
        ]
        lines.append(f"- {name}, of the throughput without users: {', '.join(shares)}")
    return lines


def relayed(options: Namespace, folder: Path) -> list[str]:
    """Single points through the relay, with the server there, away and in between."""
    with our_stack(folder / "ours") as stack:
        return list(relay.measure(options, folder, stack.uri))


def unrested(options: Namespace, folder: Path) -> list[str]:
    """Trainings, relays and servers killed in random order, and what is on the server after."""
    with our_stack(folder / "ours") as stack:
        return list(unrest.measure(options, folder, stack))


def _server(stack: Stack, who: str = "client") -> str:
    """URI of the tracking server's own port, with user and password where it asks for them."""
    (child,) = psutil.Process(stack.pids()["tracking-1.serve"]).children()
    login = stack.login(who)
    user = f"{login[0]}:{login[1]}@" if login else ""
    return f"http://{user}127.0.0.1:{child.environ()['MLFLOW_PORT']}"


def _rounds(
    options: Namespace, servers: dict[str, tuple[str, str]]
) -> dict[str, dict[str, load.Measured]]:
    operations: dict[str, load.Operation] = {
        "log_metric": load.log_metric,
        "log_batch(100)": load.log_batch,
        "create_run": load.create_run,
        f"search_runs, 100 of {options.runs}": load.search_runs,
    }
    targets: dict[str, dict[str, list[str]]] = {}
    for name, (uri, store) in servers.items():
        client = load.Client(uri)
        experiment = client.experiment("bench")
        found = _fill(uri, store, options.runs)
        targets[name] = {
            operation: [client.run(experiment) for _ in range(load.CLIENTS)]
            if operation.startswith("log")
            else [experiment if operation == "create_run" else found] * load.CLIENTS
            for operation in operations
        }
        client.close()
        load.hammer(uri, load.log_metric, targets[name]["log_metric"], 2)  # every worker is warm
    measured = {name: {what: load.Measured() for what in operations} for name in servers}
    for number in range(options.rounds):
        for what, operation in operations.items():
            for name, (uri, _) in servers.items():
                one = load.hammer(uri, operation, targets[name][what], options.seconds)
                measured[name][what].rounds += one.rounds
                measured[name][what].latencies += one.latencies
                say(f"round {number + 1}: {what}, {name}: {one.per_second:.0f} a second")
    return measured


def _table(
    measured: dict[str, dict[str, load.Measured]], sizes: dict[str, Memory]
) -> Iterator[str]:
    operations = list(next(iter(measured.values())))
    yield f"| req/s (p50 / p95 ms) | {' | '.join(operations)} | processes | RSS MiB | PSS MiB |"
    yield f"| --- | {' | '.join('---' for _ in operations)} | --- | --- | --- |"
    for name, found in measured.items():
        cells = [
            f"{one.per_second:.0f} ({one.milliseconds(50):.0f} / {one.milliseconds(95):.0f})"
            for one in found.values()
        ]
        size = sizes[name]
        yield (
            f"| {name} | {' | '.join(cells)} | {size.processes} | {size.rss:.0f} | {size.pss:.0f} |"
        )


def _memory_lines(sizes: dict[str, Memory]) -> Iterator[str]:
    for name, size in sizes.items():
        yield f"- {name}: {size.processes} processes, RSS {size.rss:.0f}, PSS {size.pss:.0f} MiB"


def artifact(options: Namespace, folder: Path) -> list[str]:
    """One large artifact up and down, both ways; memory, and log_metric meanwhile."""
    heading = (
        f"| {options.mib} MiB artifact | up s | down s | identical | log_metric p50 / p95 / worst"
        " ms | highest RSS of a process, MiB (before) |"
    )
    lines = [heading, "| --- | --- | --- | --- | --- | --- |"]
    source = folder / "source" / "weights.bin"
    source.parent.mkdir(parents=True)
    sent = hashlib.sha256()
    with source.open("wb") as out:
        for _ in range(options.mib):
            block = os.urandom(MIB)
            sent.update(block)
            out.write(block)
    with our_stack(folder / "ours") as stack:
        quiet = _Logging(stack.uri)
        with quiet:
            time.sleep(options.seconds)
        lines.append(f"| none: log_metric alone | | | | {quiet.cell()} | |")
        for way, carry in (("through the server", _proxied), ("presigned multipart", _presigned)):
            logging = _Logging(stack.uri)
            with Peaks(stack.pids) as peaks, logging:
                up, down, received = carry(stack, source, folder)
            told = ", ".join(
                f"{name} {peak:.0f} ({peaks.before[name]:.0f})"
                for name, peak in peaks.highest.items()
            )
            same = "yes" if received == sent.hexdigest() else "NO"
            lines.append(f"| {way} | {up:.1f} | {down:.1f} | {same} | {logging.cell()} | {told} |")
            say(lines[-1])
            if same == "NO":
                raise AssertionError(f"{way}: {received} came back for {sent.hexdigest()}")
    return lines


def metrics(options: Namespace, folder: Path) -> list[str]:
    """What it costs that workers measure themselves: two servers of one database, by turns."""
    with contextlib.ExitStack() as ended:
        stack = ended.enter_context(our_stack(folder / "ours"))
        told = psutil.Process(stack.pids()["tracking-1.serve"]).environ()
        uris = {
            name: ended.enter_context(_beside(folder / name, told | more))
            for name, more in {
                "measured": {names.METRICS_STACK: "mlflow-platform/bench"},
                "not measured": {},
            }.items()
        }
        client = load.Client(uris["measured"])
        experiment = client.experiment("metrics")
        runs = [client.run(experiment) for _ in range(load.CLIENTS)]
        client.close()
        rates: dict[str, list[float]] = {name: [] for name in uris}
        for number in range(options.rounds * 2):
            # Who is second in a round has a warmer database: they take turns.
            for name in sorted(uris, reverse=bool(number % 2)):
                found = load.hammer(uris[name], load.log_metric, runs, options.seconds)
                rates[name] += found.rounds
                say(f"round {number + 1}, {name}: {found.per_second:.0f} log_metric a second")
    middle = {name: statistics.median(found) for name, found in rates.items()}
    lines = ["| log_metric | req/s, median | of the rounds |", "| --- | --- | --- |"]
    lines += [
        f"| {name} | {middle[name]:.0f} | {', '.join(f'{rate:.0f}' for rate in found)} |"
        for name, found in rates.items()
    ]
    return [
        *lines,
        "",
        f"measured / not measured: {middle['measured'] / middle['not measured']:.3f}",
    ]


@contextlib.contextmanager
def _beside(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """One more server of a running stack's database; its URI."""
    folder.mkdir()
    port = free_port()
    own = {"MLFLOW_PORT": str(port), names.PASSWORD_FILE: str(folder / "run" / "pgpass")}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [*_server_command(environment), "-m", "trackstack.server", "serve"],
            cwd=folder,
            env=environment | own,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        uri = f"http://127.0.0.1:{port}"
        wait_for(uri, server, folder / "log")
        yield uri
    finally:
        server.terminate()
        server.wait(60)


def _server_command(environment: dict[str, str]) -> list[str]:
    """The Python of the server's environment, which stands first on its PATH."""
    return [str(Path(environment["PATH"].partition(":")[0]) / "python")]


class _Logging:
    """A client that logs a metric again and again, as a training loop beside the transfer."""

    def __init__(self, uri: str) -> None:
        self._client = load.Client(uri)
        self._run = self._client.run(self._client.experiment("beside"))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._failure: BaseException | None = None
        self.latencies: list[float] = []

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._client.close()
        if self._failure:
            raise self._failure

    def _work(self) -> None:
        number = 0
        try:
            while not self._ended.wait(0.02):
                before = time.monotonic()
                load.log_metric(self._client, self._run, number)
                self.latencies.append(time.monotonic() - before)
                number += 1
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            self._failure = error

    def cell(self) -> str:
        """Median, 95th percentile and worst, in milliseconds."""
        found = [load.percentile(self.latencies, percent) * 1000 for percent in (50, 95, 100)]
        return " / ".join(f"{one:.0f}" for one in found)


def _proxied(stack: Stack, source: Path, folder: Path) -> tuple[float, float, str]:
    del folder
    parts = urlsplit(stack.uri)
    path = "/api/2.0/mlflow-artifacts/artifacts/bench/weights.bin"
    before = time.monotonic()
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=600)
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(source.stat().st_size),
    }
    with source.open("rb") as body:
        connection.request("PUT", path, body, headers)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise AssertionError(f"PUT {path}: {answer.status} {said[:300]!r}")
    middle = time.monotonic()
    connection.request("GET", path)
    answer = connection.getresponse()
    received = hashlib.sha256()
    while block := answer.read(MIB):
        received.update(block)
    connection.close()
    return middle - before, time.monotonic() - middle, received.hexdigest()


def _presigned(stack: Stack, source: Path, folder: Path) -> tuple[float, float, str]:
    target = folder / "target"
    (folder / "cwd").mkdir()
    more = {
        "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "true",
        "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "true",
    }
    printed = stack.client(SCRIPT, source.parent, target, cwd=folder / "cwd", more=more).stdout
    told = json.loads(printed.splitlines()[-1])
    parts = [one for one in told["up"] if one.startswith("PUT ") and "X-Amz-" in one]
    if not parts:
        raise AssertionError("the upload was not presigned")
    received = hashlib.sha256()
    with (target / source.name).open("rb") as file:
        while block := file.read(MIB):
            received.update(block)
    return told["up_seconds"], told["down_seconds"], received.hexdigest()


def starting(options: Namespace, folder: Path) -> list[str]:
    """How long ``up`` takes in each situation, and what a changed setting restarts."""
    del options
    stack = _copy(folder)
    project = stack.project
    lines = ["| `trackstack` | s | where the time goes |", "| --- | --- | --- |"]

    def up(what: str) -> None:
        before = time.monotonic()
        summary = stack.up()
        took = time.monotonic() - before
        parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in summary["seconds"].items())
        lines.append(f"| {what} | {took:.1f} | {parts} |")
        say(lines[-1])

    try:
        up("`up`, first time, programs installed")
        stack.down()
        up("`up` from existing data")
        before = _births(stack)
        up("`up`, nothing changed")
        lines[-1] += f" restarted: {_restarted(before, _births(stack))} |"
        set_key(project, "workers", 1)
        up("`up`, `workers` changed from 2 to 1")
        lines[-1] += f" restarted: {_restarted(before, _births(stack))} |"
    finally:
        stack.delete()
    previews = []
    for _ in range(3):
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "trackstack.cli", "preview", "--stack", "prod"],
            cwd=project,
            check=True,
            capture_output=True,
            env=clean_environment() | {"TRACKSTACK_HOME": str(folder / "nothing")},
        )
        previews.append(time.monotonic() - began)
    lines.append(f"| `preview --stack prod`, median of 3 | {statistics.median(previews):.1f} | |")
    # The remark on what was restarted belongs into the last column.
    return [line.replace(" | restarted:", "; restarted:") for line in lines]


def _births(stack: Stack) -> dict[str, int]:
    return stack.pids() | {"supervisor": stack.supervisor_pid}


def _restarted(before: dict[str, int], after: dict[str, int]) -> str:
    changed = [name for name, pid in after.items() if before.get(name) != pid]
    return ", ".join(changed) or "nothing"


def adopting(options: Namespace, folder: Path) -> list[str]:
    """A file store moved into a stack: how long, in how much memory, and whether all arrived."""
    source = folder / "mlruns"
    stray_runs(source, options.adopt_runs, options.adopt_points)
    wanted = options.adopt_runs * options.adopt_points
    lines = [
        (
            f"| `adopt`, {options.adopt_runs} runs with {options.adopt_points} points of 4 metrics"
            " | s | points a second | highest RSS, MiB |"
        ),
        "| --- | --- | --- | --- |",
    ]
    with our_stack(folder / "ours") as stack:
        for what, *more in (
            ("moved and compared",),
            ("again: nothing to do",),
            ("`--delete`: all compared again, removed", "--delete", "--yes"),
        ):
            seconds, highest, told = _adopt(stack, source, *more)
            rate = f"{wanted / seconds:.0f}"
            lines.append(f"| {what} | {seconds:.1f} | {rate} | {highest:.0f} |")
            say(lines[-1])
            (store,) = told["stores"]
            runs = [one for each in store["experiments"] for one in each["runs"]]
            if not store["verified"] or len(runs) != options.adopt_runs:
                raise AssertionError(f"{what}: {len(runs)} runs, verified: {store['verified']}")
        engine = sqlalchemy.create_engine(_our_database(stack))
        with engine.begin() as connection:
            asked = sqlalchemy.text("SELECT count(*), count(DISTINCT run_uuid) FROM metrics")
            points, runs = connection.execute(asked).one()
        engine.dispose()
    if (points, runs, source.exists()) != (wanted, options.adopt_runs, False):
        raise AssertionError(f"{points} points of {runs} runs arrived, {wanted} were to")
    return [*lines, "", f"PostgreSQL holds {points} points of {runs} runs."]


def _adopt(stack: Stack, source: Path, *more: str) -> tuple[float, float, dict[str, Any]]:
    before = time.monotonic()
    told = source.parent / "told.json"
    with told.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "trackstack.cli", "adopt", source, "--json", *more],
            cwd=ROOT,
            env=clean_environment() | {"MLFLOW_TRACKING_URI": stack.uri},
            stdout=out,
        )
        with Peaks(lambda: {"adopt": process.pid}) as peaks:
            process.wait()
    if process.returncode:
        raise AssertionError(f"adopt ended with {process.returncode}: {told.read_text()[-2000:]}")
    return time.monotonic() - before, peaks.highest["adopt"], json.loads(told.read_text())


def stray_runs(folder: Path, runs: int, points: int, keys: int = 4) -> None:
    """A file store as MLflow writes it, with histories in its own form but at once."""
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    store = FileStore(str(folder))
    experiment = store.create_experiment("stray")
    start = int(time.time() * 1000)
    for number in range(runs):
        tags = [RunTag("mlflow.user", "ada"), RunTag("kind", "sweep")]
        run = store.create_run(experiment, "ada", start + number, tags, f"run-{number}").info
        place = folder / experiment / run.run_id
        for name in range(10):
            (place / "params" / f"p{name}").write_text(f"value {number}", encoding="utf-8")
        (place / "artifacts" / "notes.txt").write_text(f"run {number}\n", encoding="utf-8")
        for key in range(keys):
            steps = range(points // keys + (key < points % keys))
            lines = "".join(f"{start + one} {number + 1 / (one + 1)} {one}\n" for one in steps)
            (place / "metrics" / f"metric-{key}").write_text(lines, encoding="utf-8")
        store.update_run_info(run.run_id, RunStatus.FINISHED, start + number + 1000, None)


def report(options: Namespace, folder: Path) -> list[str]:
    """What `trackstack report` takes and costs: the first time, and again; log_metric beside it."""
    heading = f"| {options.runs:,} runs of half a year | s | peak RSS MiB |"
    lines = [f"{heading} log_metric p50 / p95 / worst ms |", "| --- | --- | --- | --- |"]
    with our_stack(folder / "ours") as stack:
        _fill(stack.uri, _our_database(stack), options.runs, days=180)
        quiet = _Logging(stack.uri)
        with quiet:
            time.sleep(options.seconds)
        lines.append(f"| log_metric alone | | | {quiet.cell()} |")
        for what in ("first report", "the next one"):
            logging = _Logging(stack.uri)
            with logging:
                seconds, peak, told = _report(stack, folder)
            if told["runs"] < options.runs:
                raise AssertionError(f"{what}: {told['runs']} runs of {options.runs}")
            lines.append(f"| {what} | {seconds:.1f} | {peak:.0f} | {logging.cell()} |")
            say(lines[-1])
    load_average = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return [*lines, "", f"Load averages of the machine at the end: {load_average}."]


def _report(stack: Stack, folder: Path) -> tuple[float, float, dict[str, Any]]:
    (folder / "nothing").mkdir(exist_ok=True)
    before = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "trackstack.cli", "report", "--json"],
        cwd=folder / "nothing",
        env=clean_environment() | {"TRACKSTACK_HOME": str(stack.home), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    with Peaks(lambda: {"report": process.pid}) as peaks:
        printed, _ = process.communicate()
    if process.returncode:
        raise AssertionError(f"trackstack report: exit code {process.returncode}")
    return time.monotonic() - before, peaks.highest["report"], json.loads(printed)


CASES = {
    "throughput": throughput,
    "access": access,
    "relay": relayed,
    "unrest": unrested,
    "artifact": artifact,
    "starting": starting,
    "metrics": metrics,
    "adopt": adopting,
    "report": report,
}


def run(name: str, options: Namespace) -> list[str]:
    """Run one case in a folder of its own, which is deleted."""
    with tempfile.TemporaryDirectory(prefix="trackstack-bench-") as folder:
        return CASES[name](options, Path(folder))
