"""What lies on this machine: stray stores, SQLite on a network, a file that two write to."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from trackstack.client.doctor.address import sqlite_file
from trackstack.client.doctor.finding import Finding, error, ok, warning
from trackstack.client.doctor.setup import SetUp, set_uri
from trackstack.client.filesystems import network_file_system
from trackstack.client.strays import Search, Stray
from trackstack.core.client_settings import TRACKING_URI

_KEPT_BY = ("MLFLOW_BACKEND_STORE_URI", "_MLFLOW_SERVER_FILE_STORE")


@dataclass(frozen=True)
class LocalServer:
    """An ``mlflow server`` of this machine, and the file or folder it keeps runs in."""

    pid: int
    store: Path
    uri: str


def local_servers() -> list[LocalServer]:
    """Those whose command this user may read."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        command = " ".join(words)
        if "mlflow" in command and ({"server", "ui"} & set(words) or "mlflow.server" in command):
            try:
                environment, folder = process.environ(), Path(process.cwd())
            except (psutil.Error, OSError):
                continue
            store = _store(words, environment, folder)
            if store is not None:
                found.append(LocalServer(process.pid, store, _uri(words, environment)))
    return found


def _store(words: list[str], environment: Mapping[str, str], folder: Path) -> Path | None:
    told = _option(words, "--backend-store-uri") or next(
        (environment[name] for name in _KEPT_BY if environment.get(name)), "sqlite:///mlflow.db"
    )
    file = sqlite_file(told, folder)
    if file is None and "://" not in told:
        file = folder / told.removeprefix("file:")
    return file and file.resolve()


def _uri(words: list[str], environment: Mapping[str, str]) -> str:
    host = _option(words, "--host", "-h") or environment.get("MLFLOW_HOST", "127.0.0.1")
    port = _option(words, "--port", "-p") or environment.get("MLFLOW_PORT", "5000")
    return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"  # noqa: S104


def _option(words: list[str], *names: str) -> str:
    for position, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else " ".join(words[position + 1 : position + 2])
    return ""


def strays(setup: SetUp, search: Search, servers: list[LocalServer]) -> list[Finding]:
    """Stores below the working tree, with what they hold."""
    check = "strays"
    kept = {server.store: server for server in servers}
    found = []
    for stray in search.strays:
        server = kept.get(stray.path.resolve())
        if server is None:
            found.append(_stray(stray))
        else:
            sentence = f"{stray.path} is what the server of process {server.pid} keeps runs in"
            found.append(ok(check, sentence))
    if not search.whole:
        found.append(warning(check, f"{setup.folder} holds too many files to look at all of them."))
    return found or [ok(check, f"no stray store below {setup.folder}")]


def _stray(stray: Stray) -> Finding:
    check = "strays"
    if stray.problem:
        return error(check, f"{stray.path} can't be read: {stray.problem}.")
    if stray.empty:
        remove = "rm -r" if stray.kind == "files" else "rm"
        return warning(
            check,
            f"{stray.path} is an MLflow store without a run.",
            f"{remove} {shlex.quote(str(stray.path))}",
        )
    words = [
        f"{number} {name if number == 1 else name + 's'}"
        for name, number in zip(
            ("experiment", "run", "model", "registered model", "trace"), stray.holds, strict=True
        )
        if number or name == "run"
    ]
    held = ", ".join(words)
    sentence = (
        f"{stray.path} holds {held} that the server doesn't have, last written"
        f" {stray.written:%Y-%m-%d %H:%M} UTC."
    )
    return error(check, sentence, _bring_home(stray.path))


def _bring_home(store: Path) -> str:
    """The command that moves a store into the server, and removes it when it is there."""
    return f"trackstack adopt --delete {shlex.quote(str(store))}"


def file_system(setup: SetUp, search: Search) -> list[Finding]:
    """SQLite's locks don't hold on a network file system."""
    check = "file system"
    own = sqlite_file(setup.tracking_uri, setup.folder)
    files = [one.path for one in search.strays if one.kind == "sqlite"]
    found = []
    for file in dict.fromkeys([*([own] if own else []), *files]):
        kind = network_file_system(file)
        if kind is None:
            continue
        sentence = (
            f"{file} is a SQLite file on {kind}: two machines that write to it spoil it, and its"
            " locks may wait for ever."
        )
        if file == own:
            found.append(error(check, sentence, setup.take_variables()))
        else:
            found.append(warning(check, sentence, _bring_home(file)))
    return found or [ok(check, "no SQLite file of MLflow's lies on a network file system")]


def shared_file(setup: SetUp, servers: list[LocalServer]) -> Finding:
    """Whether training writes to the very file that a server writes to."""
    check = "shared SQLite"
    own = sqlite_file(setup.tracking_uri, setup.folder)
    if own is None:
        return ok(check, "training writes to no SQLite file itself")
    for server in servers:
        if server.store == own.resolve():
            sentence = (
                f"{TRACKING_URI} names {own}, which process {server.pid} serves from, too:"
                " SQLite lets one write at a time, the others get `database is locked`."
            )
            return error(check, sentence, set_uri(server.uri))
    return ok(check, f"no server of this machine writes to {own}")
