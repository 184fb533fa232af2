"""What the image promises, read from its files: no container engine is needed for that."""

import ast
import json
import re
import subprocess
import sys
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest

from trackstack.core import server_environment as names
from trackstack.core.image_content import belongs
from trackstack.server.problem import Refusal
from trackstack.server.revisions import installed_revisions, revisions_in

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "trackstack" / "server"
LOCK = (SERVER / "requirements.txt").read_text()


def _instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^\s*#.*\n", "", (SERVER / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [
        (word, " ".join(rest.split()))
        for word, _, rest in (line.partition(" ") for line in lines if line.strip())
    ]


def _values(word: str) -> list[str]:
    return [rest for name, rest in _instructions() if name == word]


def _environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for line in _values("ENV") for pair in line.split())


def test_the_image_runs_as_a_user_without_rights() -> None:
    assert _values("USER") == ["10001:10001"]
    last = [word for word, _ in _instructions()][-6:]
    assert "RUN" not in last[last.index("USER") :]


def test_the_commands_are_the_ones_that_tasks_use() -> None:
    assert json.loads(_values("CMD")[0]) == list(names.SERVE_COMMAND)
    health = _values("HEALTHCHECK")[0]
    assert json.loads(health[health.index("[") :]) == list(names.HEALTH_COMMAND)


def test_paths_and_port_are_the_ones_that_tasks_use() -> None:
    environment = _environment()
    assert environment["PYTHONPATH"] == names.APP_PATH
    assert environment["MLFLOW_PORT"] == str(names.CONTAINER_PORT)
    assert _values("WORKDIR") == [names.WORK_PATH]
    assert json.loads(_values("VOLUME")[0]) == [names.WORK_PATH, names.RUN_PATH]
    (authorities,) = [line for line in _values("COPY") if "rds" in line]
    assert authorities.split()[-1] == names.DATABASE_CA_PATH
    assert _values("EXPOSE") == [str(names.CONTAINER_PORT)]
    made = " ".join(_values("RUN"))
    for path in (names.WORK_PATH, names.RUN_PATH):
        assert re.search(rf"install -d -o 10001 -g 10001 -m \d+ {path}( |$)", made)


def test_libraries_come_from_the_lock_and_nowhere_else() -> None:
    installing = [line for line in _values("RUN") if re.search(r"\b(pip|uv|apt-get)\b", line)]
    assert len(installing) == 1
    for option in ("--require-hashes", "--no-deps", "--requirement /build/requirements.txt"):
        assert option in installing[0]
    assert "COPY trackstack/server/requirements.txt /build/requirements.txt" in [
        f"{word} {rest}" for word, rest in _instructions()
    ]


def test_nothing_of_the_checkout_but_the_server_is_copied() -> None:
    sources = [
        source
        for line in _values("COPY")
        if not line.startswith("--from")
        for source in line.split()[:-1]
    ]
    assert sources == [
        "trackstack/server/requirements.txt",
        "trackstack/__init__.py",
        "trackstack/core",
        "trackstack/server",
    ]
    allowed = (SERVER / "Dockerfile.dockerignore").read_text().splitlines()
    assert [line[1:] for line in allowed if line.startswith("!")] == sources[1:]
    assert "*" in allowed


def test_no_secret_is_built_in() -> None:
    assert not [name for name in _environment() if re.search("PASSWORD|SECRET|TOKEN|KEY", name)]
    assert _values("ARG") == ["PYTHON=3.11-slim-bookworm"]


def test_nobody_gains_rights_in_the_image() -> None:
    assert "find / -xdev -perm /6000 -type f -exec chmod a-s {} +" in _values("RUN")


def test_every_locked_library_has_hashes_and_mlflow_is_the_pinned_one() -> None:
    entries = re.split(r"\n(?=[a-z])", LOCK)
    assert all("--hash=sha256:" in entry for entry in entries)
    locked = re.search(r"^mlflow==(\S+)", LOCK, re.MULTILINE)
    assert locked is not None
    assert locked[1] == version("mlflow") == "3.17.2"


def _imported(file: Path) -> set[str]:
    """The modules that a file asks for by absolute names, and what it takes from them."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{file} imports by a relative name"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_what_the_server_imports_is_in_the_image_and_its_lock() -> None:
    locked = set(re.findall(r"^([a-z0-9-]+)==", LOCK, re.MULTILINE))
    distributions = packages_distributions()
    server = set(SERVER.rglob("*.py"))
    waiting, seen = set(server), set()
    while waiting:
        file = waiting.pop()
        seen.add(file)
        assert belongs(file.relative_to(ROOT).as_posix()), f"{file} is not in the image"
        for module in _imported(file):
            top, *rest = module.split(".")
            known = top in sys.stdlib_module_names or top == "trackstack"
            brought = {name.lower() for name in distributions.get(top, ())}
            assert known or brought & locked, f"{file} imports {module}"
            ours = SERVER.parent.joinpath(*rest).with_suffix(".py")
            if top == "trackstack" and ours.is_file() and ours not in seen:
                waiting.add(ours)
    assert seen > server, "nothing of the core was followed"


@pytest.mark.live
def test_the_locked_environment_alone_loads_the_server(server_python: Path) -> None:
    """MLflow's web application too: it needs pandas where ``mlflow.server`` does not."""
    code = (
        "import mlflow.server.fastapi_app, mlflow.server.auth, uvloop, httptools, boto3, sys\n"
        "import trackstack.server.migrate, trackstack.server.serve\n"
        "print({'pulumi', 'typer', 'sklearn', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run(
        [server_python, "-W", "ignore", "-c", code],
        env={"PYTHONPATH": str(SERVER.parents[1]), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "set()\n"), done.stderr


def test_the_head_read_from_files_is_the_one_that_alembic_finds() -> None:
    from mlflow.store.db.utils import _get_latest_schema_revision  # noqa: PLC0415

    revisions = installed_revisions()
    assert revisions.head == _get_latest_schema_revision()
    assert {"451aebb31d03", "4465047574b1"} <= revisions.known


def test_migrations_without_one_head_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text('revision = "a"\ndown_revision = None\n')
    (tmp_path / "b.py").write_text('revision: str = "b"\ndown_revision: str = "a"  # why\n')
    (tmp_path / "c.py").write_text('revision = "c"\ndown_revision = ("a", "b")\n')
    assert revisions_in(tmp_path).head == "c"
    (tmp_path / "c.py").write_text('revision = "c"\ndown_revision = "a"\n')
    with pytest.raises(Refusal, match=r"don't end in one head: \['b', 'c'\]"):
        revisions_in(tmp_path)
