"""Finds the stack a verb is about: one that runs here, or one on AWS."""

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from trackstack.client import deployed, environment, health, storage
from trackstack.client.report import Cache
from trackstack.client.server import Login, Server
from trackstack.client.tracking import Tracking
from trackstack.core import client_settings
from trackstack.core.adoption import Stored
from trackstack.core.outputs import OUTPUT_NAMES
from trackstack.embedded.errors import NotRunningError, UsageError
from trackstack.embedded.state import SIGN_IN_PASSWORD, SUMMARY, StackState, home, write_private

if TYPE_CHECKING:
    from trackstack.client.service import Host, Relay, Stack


def find_state(stack: str, project: str = "") -> StackState:
    """The saved state of a stack of this machine.

    Raises:
        NotRunningError: it was never up here.
        UsageError: several projects have such a stack.
    """
    saved = StackState.all(project or None)
    found = [state for state in saved if state.stack == stack]
    if len(found) == 1:
        return found[0]
    if found:
        projects = ", ".join(sorted(state.project for state in found))
        raise UsageError(
            f"Several projects have a stack {stack!r} here ({projects}): say --project."
        )
    others = ", ".join(sorted({state.stack for state in saved}))
    hint = f" (here are: {others})" if others else ""
    raise NotRunningError(
        f"The stack {stack!r} has never been up on this machine{hint}:"
        f" `trackstack up --stack {stack}` starts it."
    )


def find_outputs(source: str, stack: str, project: str = "") -> Mapping[str, Any]:
    """The outputs of a stack, wherever it runs.

    Raises:
        NotRunningError, UsageError, ClientError: each with its sentence.
    """
    if source == "pulumi":
        return deployed.from_pulumi(stack)
    if _is_address(source):
        if "@" in urlsplit(source).netloc:
            raise UsageError(
                "A URI ends up in logs, so it must hold no password: leave user and password out of"
                f" it and set {environment.USERNAME} and {environment.PASSWORD}."
            )
        return {"tracking_uri": source.rstrip("/")}
    kind, _, name = source.partition(":")
    if kind == "ssm" and name:
        return deployed.from_parameter(name)
    if source != "here":
        raise UsageError(
            f"There is no source {source!r}; choose here, pulumi, ssm:/<project>/<stack>/client or"
            " the URI of a server."
        )
    state = find_state(stack, project)
    outputs = (state.read_json(SUMMARY) or {}).get("outputs")
    if not outputs:
        raise NotRunningError(
            f"The stack {stack!r} has never come up whole on this machine:"
            f" `trackstack up --stack {stack}` finishes it."
        )
    # The state keeps keys sorted; people read them in the order of the contract.
    known = [name for name in OUTPUT_NAMES if name in outputs]
    return {name: outputs[name] for name in [*known, *(k for k in outputs if k not in known)]}


def find_login(
    outputs: Mapping[str, Any], source: str, stack: str, project: str = "", *, admin: bool = False
) -> Login | None:
    """The user and password for a stack; None where it asks for none.

    For a server that is only an address they are those of this environment, if it has any.

    Args:
        outputs: what ``find_outputs`` found.
        source: where, as there.
        stack: its name.
        project: its project, when this machine has several.
        admin: as who may do everything, not as the user that jobs are handed.

    Raises:
        ClientError: the secret can't be read.
        UsageError: the source knows of no admin.
    """
    if admin and outputs.get("client_secret_arn") and not outputs.get("admin_secret_arn"):
        raise UsageError(
            "A stack's parameter tells clients alone what they need: the admin's secret is known"
            " to `--from here` and `--from pulumi`."
        )
    if _is_address(source):
        name = os.environ.get(environment.USERNAME, "")
        return Login(name, os.environ.get(environment.PASSWORD, "")) if name else None
    arn = str(outputs.get("admin_secret_arn" if admin else "client_secret_arn") or "")
    if not arn:
        return None
    if source == "here":
        return Login.from_secret(find_state(stack, project).read_secret(arn))
    return Login.from_secret(deployed.read_secret(arn))


def find_tracking(source: str, stack: str, project: str = "") -> Tracking:
    """The platform, asked as the admin where the source knows one: others may not see all of it."""
    outputs = find_outputs(source, stack, project)
    login = find_login(outputs, source, stack, project, admin=not source.startswith("ssm:"))
    certificate = str(outputs.get("tracking_certificate") or "")
    return Tracking(Server(str(outputs["tracking_uri"]), certificate, login, timeout=60))


def client_variables(
    source: str,
    stack: str,
    project: str = "",
    *,
    relay_port: int | None = None,
    timeout: int | None = None,
    unchecked: bool = False,
) -> dict[str, str]:
    """What a client exports to log into a stack, or into this machine's relay to it.

    Raises:
        NotRunningError: nothing answers there; training against it would hang or log nowhere.
        UsageError, ClientError: each with its sentence.
    """
    found = find_outputs(source, stack, project)
    if not unchecked:
        _must_answer(found, source, stack, relay_port)
    login = find_login(found, source, stack, project)
    told = environment.variables(found, home() / "certificates", login, timeout)
    if relay_port is None:
        return told
    from trackstack.client.relay import place

    token = place.service_token(place.root(os.environ))
    return client_settings.through_relay(told, token, relay_port)


def _must_answer(found: Mapping[str, Any], source: str, stack: str, relay_port: int | None) -> None:
    if relay_port is not None:  # what it is for is a platform that doesn't answer
        uri = client_settings.relay_uri(relay_port)
        detail = health.listens(client_settings.RELAY_HOST, relay_port)
        remedy = "`trackstack service relay --write` makes it a service"
    else:
        uri = str(found["tracking_uri"])
        certificate = str(found.get("tracking_certificate") or "")
        check = health.Platform(uri, certificate).answers()
        detail = "" if check.ok else check.detail
        remedy = "check that this machine reaches it (VPN, allowed_cidrs)"
        if source == "here":
            remedy = f"`trackstack up --stack {stack}` starts it"
    if detail:
        raise NotRunningError(
            f"{uri} does not answer ({detail}), so it is not handed out: {remedy}, or say"
            " --unchecked."
        )


def _is_address(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def find_stored(source: str, stack: str, project: str = "") -> Stored:
    """What the artifact store holds; without figures where nobody here can tell."""
    outputs = find_outputs(source, stack, project)
    bucket = str(outputs.get("artifact_bucket") or "")
    if source == "here":
        return storage.of_folder(find_state(stack, project).run_path / "buckets" / bucket)
    if not bucket:
        return Stored(
            problem="neither a parameter nor an address names the bucket; `--from pulumi` does."
        )
    region = str(outputs.get("backend_secret_arn")).split(":")[3]
    return storage.of_bucket(bucket, region)


def report_cache(uri: str, *, fresh: bool) -> Cache:
    """What earlier reports counted of a platform; nothing when it shall be counted anew."""
    file = home() / "reports" / f"{hashlib.sha256(uri.encode()).hexdigest()[:16]}.json"
    if fresh:
        file.unlink(missing_ok=True)
    return Cache(file, uri)


def how_to_log_in(outputs: Mapping[str, Any], source: str, stack: str, project: str = "") -> str:
    """A sentence for whoever opens the UI in a browser; the password only to who owns it."""
    if source != "here":
        return (
            "Log in by your identity provider, or as a user of `trackstack users`; the admin's"
            f" password is in the secret {outputs.get('admin_secret_arn') or 'of the stack'}."
        )
    state = find_state(stack, project)
    if SIGN_IN_PASSWORD in state.secret_names():
        return (
            "Sign in with any e-mail address that the stack admits and the password"
            f" {state.read_secret(SIGN_IN_PASSWORD)}."
        )
    login = find_login(outputs, source, stack, project, admin=True)
    return f"Log in as {login.username} with the password {login.password}." if login else ""


@dataclass(frozen=True)
class Keeper:
    """Where a new password goes, decided before it is made."""

    file: Path | None
    secret: str
    region: str
    silent: bool
    """Whoever gave the password knows it."""

    @staticmethod
    def find(
        outputs: Mapping[str, Any],
        source: str,
        file: Path | None,
        secret: str,
        *,
        silent: bool,
    ) -> "Keeper":
        """Check that the place exists; UsageError when it can't."""
        if secret and source == "here":
            raise UsageError(
                "--to-secret is for a stack on AWS; on this machine say --to-file PATH."
            )
        if secret and file:
            raise UsageError("Say --to-secret or --to-file, not both.")
        if file and file.exists():
            raise UsageError(f"{file} exists: name a new file for the password.")
        arn = str(outputs.get("admin_secret_arn") or "")
        return Keeper(file, secret, arn.split(":")[3] if arn else "", silent)

    def keep(self, login: Login) -> None:
        """Hand the credentials over, once."""
        variables = {environment.USERNAME: login.username, environment.PASSWORD: login.password}
        if self.secret:
            text = json.dumps({"username": login.username, "password": login.password})
            deployed.write_secret(self.secret, self.region, text, f"MLflow's user {login.username}")
        elif self.file:
            write_private(self.file, environment.render(variables, "dotenv") + "\n")
        elif not self.silent:
            print(environment.render(variables, "shell"))


def find_service_relay(source: str, stack: str, project: str, port: int) -> "Relay":
    """The relay that ships to a stack, whether that answers now or not."""
    from trackstack.client.relay import place
    from trackstack.client.service import Relay

    server = client_variables(source, stack, project, unchecked=True)
    return Relay(port, server, place.root(os.environ).absolute())


def find_service_stack(stack: str, cwd: Path | None) -> "Stack":
    """A stack of a program that is there."""
    from trackstack.client.service import Stack
    from trackstack.embedded.project import Project

    project = Project.find(cwd)
    project.configuration(stack)
    return Stack(stack, project.name, project.root)


def find_service_host(user: str, *, whole: bool) -> "Host":
    """This machine, and what of this environment a service of its needs to be told."""
    from trackstack.client.service import Host

    home = Path.home()
    user = (whole and os.environ.get("SUDO_USER")) or user
    told = ("TRACKSTACK_HOME", "TRACKSTACK_JOURNAL", "TRACKSTACK_JOURNAL_BYTES")
    return Host(
        home=home,
        configuration=Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config"),
        user=user,
        ids=f"{os.getuid()}:{os.getgid()}",
        python=sys.executable,
        whole=whole,
        variables={name: os.environ[name] for name in told if os.environ.get(name)},
    )
