"""A way to a balancer that only the VPC reaches: one small task, a forwarded port, and their end.

Session Manager's own plugin forwards the port; boto3 starts and stops what is at the other end.
With TLS the port leads through a proxy of ours on loopback: a client keeps the platform's own URL
and goes there by ``HTTPS_PROXY``, so that the name, the certificate and the hosts that MLflow
accepts stay what they are, and no hosts file is edited. Every other connection the proxy makes
itself, past the tunnel. Without TLS a client goes to the port itself, which MLflow accepts.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from trackstack.client import sdk
from trackstack.client.errors import ClientError
from trackstack.client.loopback_proxy import LoopbackProxy
from trackstack.core.tunnel import CONTAINER

LOOPBACK = "127.0.0.1"
PLUGIN = "session-manager-plugin"
DOCUMENT = "AWS-StartPortForwardingSessionToRemoteHost"
RESPONSE_VARIABLE = "AWS_SSM_START_SESSION_RESPONSE"
LAST_PLUGIN_WITHOUT_IT = (1, 2, 497, 0)
"""Older ones take the session's token as an argument only, where ``ps`` shows it (aws-cli)."""
START_SECONDS = 300
"""Pulling the image takes most of it."""
PORT_SECONDS = 30
POLL_SECONDS = 3.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Services:
    """The clients of AWS that a tunnel needs."""

    ecs: Any
    ssm: Any


def services(region: str) -> Services:
    """boto3's, with the credentials of whoever calls; ClientError when it isn't installed."""
    session = sdk.session("A tunnel needs")
    return Services(*(session.client(one, region_name=region) for one in ("ecs", "ssm")))


def facts_of(outputs: Mapping[str, Any], stack: str) -> dict[str, str]:
    """What the stack tells of its tunnel; ClientError when it has none."""
    facts: dict[str, str] = outputs.get("tunnel") or {}
    if not facts:
        raise ClientError(
            f"The stack {stack!r} has no tunnel: `pulumi config set tunnel true --stack {stack}`"
            " and `pulumi up` declare one."
        )
    return facts


def find_plugin() -> str:
    """Path of the Session Manager plugin; ClientError when it is missing or too old."""
    found = shutil.which(PLUGIN)
    where = (
        "https://docs.aws.amazon.com/systems-manager/latest/userguide/"
        "session-manager-working-with-install-plugin.html"
    )
    if found is None:
        raise ClientError(f"{PLUGIN} is not on PATH: install it as {where} says.")
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    try:
        version = tuple(int(part) for part in told.strip().split("."))
    except ValueError:
        version = ()
    if version <= LAST_PLUGIN_WITHOUT_IT:
        least = ".".join(map(str, LAST_PLUGIN_WITHOUT_IT))
        raise ClientError(
            f"{PLUGIN} {told.strip() or 'of an unknown version'} would show the session's token to"
            f" everybody on this machine: install one newer than {least} from {where}."
        )
    return found


class EndedError(KeyboardInterrupt):
    """A signal other than Ctrl-C asks us to end; what we started doesn't know of it."""


def run(command: list[str], variables: Mapping[str, str]) -> int:
    """A command's status; Ctrl-C is the command's own, and any other end is passed on to it.

    Raises:
        ClientError: it can't be started.
    """
    try:
        process = subprocess.Popen(command, env={**os.environ, **variables})
    except OSError as error:
        raise ClientError(f"{command[0]} can't be started: {error.strerror}.") from None
    while True:
        try:
            status = process.wait()
        except EndedError:
            process.terminate()
        except KeyboardInterrupt:
            continue
        else:
            return status if status >= 0 else 128 - status


@contextlib.contextmanager
def opened(
    facts: Mapping[str, str], uri: str, *, port: int, aws: Services, say: Say
) -> Iterator[tuple[dict[str, str], "Forwarder"]]:
    """The variables that lead a client through, for as long as the block lasts.

    Args:
        facts: what the stack tells of its tunnel.
        uri: the platform's tracking URI.
        port: loopback port that clients go to.
        aws: clients of AWS.
        say: told each step.

    Raises:
        ClientError: a port is taken, AWS said no, or the task or the plugin ended early.
    """
    plugin = find_plugin()
    secure = urlsplit(uri).scheme == "https"
    if not _is_free(port):
        raise ClientError(f"Port {port} of this machine is taken: choose another with --port.")
    with _ended_by_signals(), contextlib.ExitStack() as stack:
        task = stack.enter_context(_task(facts, aws, say))
        inner = _free_port() if secure else port
        session = stack.enter_context(
            Forwarder.started(plugin, facts, target=task, port=inner, aws=aws)
        )
        if not secure:
            yield {"MLFLOW_TRACKING_URI": f"http://{LOOPBACK}:{port}"}, session
            return
        host = str(urlsplit(uri).hostname)
        stack.enter_context(LoopbackProxy(port, host, urlsplit(uri).port or 443, inner))
        proxy = f"http://{LOOPBACK}:{port}"
        # requests reads the lower-case name first.
        yield {"MLFLOW_TRACKING_URI": uri, "HTTPS_PROXY": proxy, "https_proxy": proxy}, session


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """A closed terminal or a ``kill`` unwinds as Ctrl-C does, so that the task is stopped."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: object) -> None:
        raise EndedError

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _task(facts: Mapping[str, str], aws: Services, say: Say) -> Iterator[str]:
    """Target of a running task's agent; the task is stopped at the end, whatever happened."""
    say("starting the task")
    with _told("The tunnel's task can't be started"):
        answer = aws.ecs.run_task(
            cluster=facts["cluster"],
            taskDefinition=facts["task_definition"],
            launchType="FARGATE",
            enableExecuteCommand=True,
            propagateTags="TASK_DEFINITION",
            startedBy="trackstack tunnel",
            count=1,
            networkConfiguration={
                "awsvpcConfiguration": {
                    "subnets": facts["subnet_ids"].split(","),
                    "securityGroups": [facts["security_group_id"]],
                    "assignPublicIp": facts["assign_public_ip"],
                }
            },
        )
    if not answer["tasks"]:
        reasons = ", ".join(f.get("reason", "no reason") for f in answer.get("failures", []))
        raise ClientError(f"ECS did not start the tunnel's task: {reasons or 'no reason given'}.")
    arn = answer["tasks"][0]["taskArn"]
    try:
        yield _target(facts, _running(facts, arn, aws, say))
    finally:
        say("stopping the task")
        with _told(f"The task {arn} could not be stopped, and ends by itself within a day"):
            aws.ecs.stop_task(cluster=facts["cluster"], task=arn, reason="trackstack tunnel ended")


def _running(facts: Mapping[str, str], arn: str, aws: Services, say: Say) -> dict[str, Any]:
    """The container, once the agent in it answers."""
    deadline = time.monotonic() + START_SECONDS
    state = ""
    while time.monotonic() < deadline:
        with _told("The tunnel's task can't be watched"):
            (task,) = aws.ecs.describe_tasks(cluster=facts["cluster"], tasks=[arn])["tasks"]
        if task["lastStatus"] in {"DEPROVISIONING", "STOPPED", "STOPPING"}:
            raise ClientError(f"The tunnel's task ended: {task.get('stoppedReason', 'no reason')}.")
        if task["lastStatus"] != state:
            state = task["lastStatus"]
            say(f"the task is {state.lower()}")
        for container in task.get("containers", []):
            agents = {a["name"]: a.get("lastStatus") for a in container.get("managedAgents", [])}
            if container["name"] == CONTAINER and agents.get("ExecuteCommandAgent") == "RUNNING":
                return dict(container)
        time.sleep(POLL_SECONDS)
    raise ClientError(
        f"The tunnel's task did not come up within {START_SECONDS} s (it is {state.lower()}):"
        " look at its events in ECS; it needs a way out to the registry and to Session Manager."
    )


def _target(facts: Mapping[str, str], container: Mapping[str, Any]) -> str:
    """How Session Manager calls a container."""
    task_id = container["taskArn"].rpartition("/")[2]
    return f"ecs:{facts['cluster']}_{task_id}_{container['runtimeId']}"


class Forwarder:
    """The plugin, while it forwards a loopback port."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    @classmethod
    @contextlib.contextmanager
    def started(
        cls, plugin: str, facts: Mapping[str, str], *, target: str, port: int, aws: Services
    ) -> Iterator["Forwarder"]:
        """A session to the balancer's port; plugin and session end with the block."""
        request = {
            "Target": target,
            "DocumentName": DOCUMENT,
            "Parameters": {
                "host": [facts["balancer"]],
                "portNumber": [facts["port"]],
                "localPortNumber": [str(port)],
            },
        }
        with _told("Session Manager does not open the tunnel"):
            answer = aws.ssm.start_session(**request)
        told = {key: answer[key] for key in ("SessionId", "TokenValue", "StreamUrl")}
        region, endpoint = facts["region"], aws.ssm.meta.endpoint_url
        profile = os.environ.get("AWS_PROFILE", "")
        try:
            process = subprocess.Popen(
                # The session's token is a secret: the plugin reads it from the variable named.
                [
                    *(plugin, RESPONSE_VARIABLE, region, "StartSession", profile),
                    *(json.dumps(request), endpoint),
                ],
                env={**os.environ, RESPONSE_VARIABLE: json.dumps(told)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is ours to handle, and it ends in order
            )
            try:
                found = cls(process)
                found.wait_for(port)
                yield found
            finally:
                process.terminate()
                try:
                    process.wait(timeout=5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        finally:
            # The task's end ends it as well; what counts is that the task is stopped.
            with contextlib.suppress(Exception):
                aws.ssm.terminate_session(SessionId=answer["SessionId"])

    def wait_for(self, port: int) -> None:
        """Wait until the port takes connections; ClientError when the plugin ends first."""
        deadline = time.monotonic() + PORT_SECONDS
        while self.is_up():
            if not _is_free(port):
                return
            if time.monotonic() > deadline:
                raise ClientError(f"{PLUGIN} did not open port {port} within {PORT_SECONDS} s.")
            time.sleep(0.1)
        raise ClientError(f"{PLUGIN} ended with status {self._process.returncode} at its start.")

    def is_up(self) -> bool:
        """Whether it still forwards."""
        return self._process.poll() is None

    def wait(self) -> None:
        """Wait until the session is over: by its idle limit, or because the task ended."""
        self._process.wait()


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """AWS's refusal as a sentence."""
    import botocore.exceptions as aws  # noqa: PLC0415 - comes with the extra

    try:
        yield
    except (aws.BotoCoreError, aws.ClientError) as error:
        raise ClientError(f"{what}: {error}") from None


def _is_free(port: int) -> bool:
    with contextlib.closing(socket.socket()) as probe:
        return probe.connect_ex((LOOPBACK, port)) != 0


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
