"""A relay, or a stack that runs here, as a service of the machine: systemd, launchd or Compose.

The files are plain text that somebody may read before anything runs. Credentials are in none of
them: a service gets them from a file that its owner alone can read.
"""

import json
import plistlib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trackstack.client.environment import render
from trackstack.client.errors import ClientError
from trackstack.core import client_settings as names

KINDS = ("systemd", "launchd", "compose")
_STOP_SECONDS = 120
_IMAGE = "python:3.11-slim-bookworm"
_USER = 10001
_PROGRAM_FILES = ("Pulumi.yaml", "__main__.py", "pyproject.toml", "README.md", "LICENSE")
_PROGRAM_FOLDERS = ("components", "infra", "policy", "stacks", "trackstack")
"""What the image of a stack is made from: this repository's program, not what lies around it."""
_SERVER = (names.TRACKING_URI, names.CERTIFICATE_PATH, names.USERNAME, names.PASSWORD, names.TOKEN)


class ServiceError(ClientError):
    """It can't be made a service as asked."""

    exit_code = 2


@dataclass(frozen=True)
class File:
    """A file of a service."""

    path: Path
    text: str
    private: bool = False


@dataclass(frozen=True)
class Host:
    """The machine, as far as services differ on it."""

    home: Path
    configuration: Path
    """The user's, such as ``~/.config``."""
    user: str
    ids: str
    """``uid:gid`` of the user."""
    python: str
    whole: bool
    """A service of the machine, not of one user who has logged in."""
    variables: Mapping[str, str]
    """What the service needs of who writes it, such as ``TRACKSTACK_JOURNAL``; no secret."""

    @property
    def credentials(self) -> Path:
        """The folder of owner-only files."""
        return Path("/etc/trackstack") if self.whole else self.configuration / "trackstack"


@dataclass(frozen=True)
class Relay:
    """``trackstack relay`` that ships to a server."""

    port: int
    server: Mapping[str, str]
    """MLflow's variables for the server; a password may be among them."""
    journal: Path

    @property
    def name(self) -> str:
        """The service's name."""
        return "trackstack-relay"

    @property
    def argv(self) -> list[str]:
        """What runs, in the package's Python."""
        return ["relay", "--port", str(self.port)]

    @property
    def variables(self) -> dict[str, str]:
        """What it ships to; names that have no value are empty, whatever is inherited."""
        return {key: self.server.get(key, "") for key in _SERVER}


@dataclass(frozen=True)
class Stack:
    """``trackstack up`` of a stack."""

    stack: str
    project: str
    folder: Path
    """Of the Pulumi program."""

    @property
    def name(self) -> str:
        """The service's name."""
        return re.sub(r"[^A-Za-z0-9_.-]", "-", f"trackstack-{self.project}-{self.stack}")

    @property
    def up(self) -> list[str]:
        """What starts it, and returns when it serves."""
        return ["up", "--stack", self.stack, "--cwd", str(self.folder)]

    @property
    def down(self) -> list[str]:
        """What stops it and keeps its data."""
        return ["down", "--stack", self.stack, "--project", self.project]


def files(kind: str, what: Relay | Stack, host: Host) -> list[File]:
    """The files of a service of a kind; ServiceError for another than ``KINDS``."""
    makers = {"systemd": _systemd, "launchd": _launchd, "compose": _compose}
    if kind not in makers:
        raise ServiceError(f"There is no service of kind {kind!r}; choose {', '.join(KINDS)}.")
    for text in (host.python, host.user, *host.variables.values(), *_words(what)):
        if re.search(r"[\x00-\x1f]", text):
            raise ServiceError(f"{text!r} holds a control character, which no unit can.")
    return makers[kind](what, host)


def next_steps(kind: str, what: Relay | Stack, host: Host) -> list[str]:
    """The commands that start what was written."""
    if kind == "systemd":
        control = "systemctl" if host.whole else "systemctl --user"
        units = f"{what.name}.service"
        if isinstance(what, Relay):
            units = f"{what.name}.socket {units}"
        steps = [f"{control} daemon-reload", f"{control} enable --now {units}"]
        # Else it ends with the last session, and doesn't begin at boot.
        return steps if host.whole else [*steps, f"loginctl enable-linger {host.user}"]
    if kind == "launchd":
        domain = "system" if host.whole else "gui/$(id -u)"
        return [f"launchctl bootstrap {domain} {shlex.quote(str(_plist(what, host)))}"]
    start = f"docker compose -f {shlex.quote(str(_compose_path(what, host)))} up -d --build"
    if isinstance(what, Relay):  # else Docker makes the folder, as root's
        return [f"install -d -m 700 {shlex.quote(str(what.journal))}", start]
    return [start]


# --- systemd ------------------------------------------------------------------------------------


def _systemd(what: Relay | Stack, host: Host) -> list[File]:
    folder = Path("/etc/systemd/system") if host.whole else host.configuration / "systemd" / "user"
    wanted = "multi-user.target" if host.whole else "default.target"
    common = [*([f"User={host.user}"] if host.whole else []), "UMask=0077", "NoNewPrivileges=yes"]
    common += [f"Environment={_unit_word(f'{k}={v}')}" for k, v in host.variables.items()]
    python = [host.python, "-m", "trackstack.cli"]
    if isinstance(what, Stack):
        unit = [
            "[Unit]",
            f"Description=MLflow platform {what.project}/{what.stack} on this machine",
            *(["After=network.target"] if host.whole else []),
            "",
            "[Service]",
            "# up returns when all serves; the processes it leaves are the unit's.",
            "Type=oneshot",
            "RemainAfterExit=yes",
            f"ExecStart={_command([*python, *what.up])}",
            f"ExecReload={_command([*python, *what.up])}",
            f"ExecStop={_command([*python, *what.down])}",
            "# The first start makes the server's environment.",
            "TimeoutStartSec=900",
            f"TimeoutStopSec={_STOP_SECONDS}",
            *common,
            "",
            "[Install]",
            f"WantedBy={wanted}",
        ]
        return [File(folder / f"{what.name}.service", _joined(unit))]
    credentials = host.credentials / "relay.env"
    service = [
        "[Unit]",
        "Description=MLflow relay: keeps what trainings log and ships it",
        f"Requires={what.name}.socket",
        f"After={what.name}.socket{' network-online.target' if host.whole else ''}",
        *(["Wants=network-online.target"] if host.whole else []),
        "",
        "[Service]",
        f"ExecStart={_command([*python, *what.argv])}",
        f"EnvironmentFile={_unit_path(credentials)}",
        *common,
        "Restart=on-failure",
        "RestartSec=1",
        f"TimeoutStopSec={_STOP_SECONDS}",
        "",
        "[Install]",
        "# Also without a client: what an earlier one left is shipped.",
        f"WantedBy={wanted}",
    ]
    socket = [
        "[Unit]",
        "Description=Port of the MLflow relay, which outlives it",
        "",
        "[Socket]",
        f"ListenStream={names.RELAY_HOST}:{what.port}",
        "NoDelay=yes",
        "",
        "[Install]",
        "WantedBy=sockets.target",
    ]
    return [
        _secrets(credentials, what, "environment-file"),
        File(folder / f"{what.name}.socket", _joined(socket)),
        File(folder / f"{what.name}.service", _joined(service)),
    ]


def _command(argv: list[str]) -> str:
    # The colon: no variable is put in, not even where a path has a dollar.
    return " ".join(_unit_word(word) for word in (f":{argv[0]}", *argv[1:]))


def _unit_word(text: str) -> str:
    """A word of a unit's line, where ``%`` would be replaced."""
    text = text.replace("%", "%%")
    if re.fullmatch(r"[A-Za-z0-9_@%$+=:,./-]+", text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _unit_path(path: Path) -> str:
    return str(path).replace("%", "%%")  # the rest of the line, without quotes


# --- launchd ------------------------------------------------------------------------------------


def _plist(what: Relay | Stack, host: Host) -> Path:
    folder = Path("/Library/LaunchDaemons") if host.whole else host.home / "Library/LaunchAgents"
    return folder / f"{what.name}.plist"


def _launchd(what: Relay | Stack, host: Host) -> list[File]:
    job: dict[str, object] = {
        "Label": what.name,
        "RunAtLoad": True,
        "ExitTimeOut": _STOP_SECONDS,
        "Umask": 0o077,
        "EnvironmentVariables": {"PATH": "/usr/local/bin:/usr/bin:/bin", **host.variables},
        **({"UserName": host.user} if host.whole else {}),
    }
    python = [host.python, "-m", "trackstack.cli"]
    if isinstance(what, Stack):
        # up returns when all serves; launchd would end what it leaves.
        job |= {"ProgramArguments": [*python, *what.up], "AbandonProcessGroup": True}
        return [File(_plist(what, host), plistlib.dumps(job).decode())]
    credentials = host.credentials / "relay.sh"
    # A job knows no file of variables.
    script = f". {shlex.quote(str(credentials))} && exec {shlex.join([*python, *what.argv])}"
    log = str(host.home / "Library/Logs" / f"{what.name}.log")
    job |= {
        "ProgramArguments": ["/bin/sh", "-c", script],
        "KeepAlive": True,
        "StandardErrorPath": log,
    }
    return [
        _secrets(credentials, what, "shell"),
        File(_plist(what, host), plistlib.dumps(job).decode()),
    ]


# --- Compose ------------------------------------------------------------------------------------


def _compose_path(what: Relay | Stack, host: Host) -> Path:
    return host.configuration / "trackstack" / f"{what.name}.compose.yaml"


def _compose(what: Relay | Stack, host: Host) -> list[File]:
    if isinstance(what, Relay):
        return _relay_compose(what, host)
    lines = [
        f"FROM {_IMAGE}",
        "COPY requirements.txt /program/",
        "RUN pip install --no-cache-dir --require-hashes -r /program/requirements.txt",
        f"COPY {' '.join(_PROGRAM_FILES)} /program/",
        *(f"COPY {folder} /program/{folder}" for folder in _PROGRAM_FOLDERS),
        "RUN pip install --no-cache-dir --no-deps /program",
        f"RUN useradd --uid {_USER} trackstack && install -d -o {_USER} -g {_USER} -m 0700 /data",
        f"USER {_USER}",
    ]
    up = shlex.join(["trackstack", "up", "--stack", what.stack, "--cwd", "/program"])
    down = shlex.join(["trackstack", *what.down])
    logs = shlex.join(["trackstack", "logs", "-f", "--stack", what.stack])
    # A trap doesn't wait for what is in the foreground.
    script = f"stop() {{ {down}; exit 0; }}; trap stop TERM INT; {up} && {{ {logs} & wait $!; }}"
    told: dict[str, object] = {
        "build": {"context": str(what.folder), "dockerfile_inline": _joined(lines)},
        "command": ["bash", "-c", script],
        "init": True,  # it reaps what up leaves
        "network_mode": "host",  # all listens on loopback
        "environment": {"TRACKSTACK_HOME": "/data", "HOME": "/data"},
        "volumes": ["data:/data"],
        "restart": "unless-stopped",
        "stop_grace_period": f"{_STOP_SECONDS}s",
    }
    text = {"name": what.name, "services": {"platform": told}, "volumes": {"data": {}}}
    return [File(_compose_path(what, host), _yaml(text))]


def _relay_compose(what: Relay, host: Host) -> list[File]:
    credentials = host.credentials / "relay.raw.env"
    source = Path(__file__).parents[2]
    if not (source / "pyproject.toml").is_file():
        raise ServiceError(
            "Compose builds the relay's image from a checkout of trackstack, and this one was"
            " installed from a wheel: run the command there, or choose --kind systemd."
        )
    lines = [
        f"FROM {_IMAGE}",
        "COPY pyproject.toml README.md LICENSE /source/",
        "COPY trackstack /source/trackstack",
        "RUN pip install --no-cache-dir /source",
    ]
    told: dict[str, object] = {
        "build": {"context": str(source), "dockerfile_inline": _joined(lines)},
        "command": ["trackstack", *what.argv],
        "network_mode": "host",  # it listens on loopback
        "user": host.ids,  # whose journal it is: clients read the token there
        "environment": {"TRACKSTACK_JOURNAL": "/journal", "HOME": "/tmp"},  # noqa: S108 - a tmpfs
        "env_file": [{"path": str(credentials), "format": "raw"}],
        "volumes": [{"type": "bind", "source": str(what.journal), "target": "/journal"}],
        "read_only": True,
        "tmpfs": ["/tmp"],  # noqa: S108 - the same
        "restart": "unless-stopped",
        "stop_grace_period": f"{_STOP_SECONDS}s",
    }
    if certificate := what.server.get(names.CERTIFICATE_PATH):
        mounted = {"type": "bind", "source": certificate, "target": certificate, "read_only": True}
        told["volumes"] = [*told["volumes"], mounted]  # type: ignore[misc]
    text = {"name": what.name, "services": {"relay": told}}
    return [_secrets(credentials, what, "gitlab"), File(_compose_path(what, host), _yaml(text))]


def _yaml(value: object, depth: int = 0) -> str:
    """The value in YAML: keys a line each, all else in JSON, which YAML includes."""
    if not isinstance(value, Mapping) or not value:
        # Compose puts variables in wherever one dollar stands.
        return f" {json.dumps(value, ensure_ascii=False).replace('$', '$$')}\n"
    lines = "" if depth == 0 else "\n"
    for key, inner in value.items():
        lines += f"{'  ' * depth}{key}:{_yaml(inner, depth + 1)}"
    return lines


# --- all ----------------------------------------------------------------------------------------


def _secrets(path: Path, relay: Relay, form: str) -> File:
    if any("\n" in value for value in relay.variables.values()):
        raise ServiceError("A value with a line break can't be handed to a service.")
    return File(path, f"{render(relay.variables, form)}\n", private=True)


def _words(what: Relay | Stack) -> list[str]:
    if isinstance(what, Relay):
        return [str(what.journal), *what.argv]
    return [what.stack, what.project, str(what.folder)]


def stopping(kind: str, what: Relay | Stack, host: Host) -> str:
    """The command that stops it for good, before its files go."""
    if kind == "systemd":
        control = "systemctl" if host.whole else "systemctl --user"
        socket = f"{what.name}.socket " if isinstance(what, Relay) else ""
        return f"{control} disable --now {socket}{what.name}.service"
    if kind == "launchd":
        domain = "system" if host.whole else "gui/$(id -u)"
        return f"launchctl bootout {domain}/{what.name}"
    return f"docker compose -f {shlex.quote(str(_compose_path(what, host)))} down"


def _joined(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"
