"""The tunnel against botocore's stubs and a plugin that really forwards, to a real HTTPS server."""

import http.server
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from botocore.stub import ANY, Stubber
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from trackstack.cli import main
from trackstack.client import tunnel
from trackstack.client.errors import ClientError

HOST = "mlflow.example.com"
TASK = "arn:aws:ecs:us-east-1:123456789012:task/mlflow-server/0123abcd"
FACTS = {
    "region": "us-east-1",
    "cluster": "mlflow-server",
    "task_definition": "arn:aws:ecs:us-east-1:123456789012:task-definition/mlflow-tunnel:3",
    "subnet_ids": "subnet-1,subnet-2",
    "security_group_id": "sg-1",
    "assign_public_ip": "DISABLED",
    "balancer": "internal-door.us-east-1.elb.amazonaws.com",
    "port": "443",
}
PLUGIN = """
import json, os, pathlib, socket, sys, threading
if sys.argv[1] == "--version":
    sys.exit(print(os.environ.get("PLUGIN_VERSION", "1.2.707.0")))
told = json.loads(os.environ[sys.argv[1]])
asked = json.loads(sys.argv[5])
seen = {"argv": sys.argv, "told": told, "asked": asked}
pathlib.Path(os.environ["PLUGIN_SEEN"]).write_text(json.dumps(seen))
if os.environ.get("PLUGIN_FAILS"):
    sys.exit(7)

def pump(source, sink):
    try:
        while piece := source.recv(65536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass

server = socket.create_server(("127.0.0.1", int(asked["Parameters"]["localPortNumber"][0])))
while True:
    one, _ = server.accept()
    other = socket.create_connection(("127.0.0.1", int(os.environ["PLUGIN_TARGET"])))
    threading.Thread(target=pump, args=(one, other), daemon=True).start()
    threading.Thread(target=pump, args=(other, one), daemon=True).start()
"""


class Hello(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f"{self.headers['Host']} {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Port", str(self.server.server_address[1]))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for the platform's name, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("certificate") / "both.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return file


@contextmanager
def served(certificate: Path | None) -> Iterator[int]:
    """The port of a server that speaks TLS with this certificate, or none."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()


@pytest.fixture(scope="module")
def platform(certificate: Path) -> Iterator[int]:
    """Port of what stands for the balancer."""
    with served(certificate) as port:
        yield port


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A session-manager-plugin on PATH; returns the file in which it notes what it saw."""
    programs = tmp_path / "bin"
    programs.mkdir()
    script = programs / "session-manager-plugin"
    script.write_text(f"#!{sys.executable}\n{PLUGIN}")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    seen = tmp_path / "seen.json"
    monkeypatch.setenv("PLUGIN_SEEN", str(seen))
    monkeypatch.setattr(tunnel, "POLL_SECONDS", 0.01)
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    return seen


def state(status: str, agent: str = "", **more: Any) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "tunnel", "taskArn": TASK, "runtimeId": "0123abcd-42"}
    if agent:
        container["managedAgents"] = [{"name": "ExecuteCommandAgent", "lastStatus": agent}]
    task = {"taskArn": TASK, "lastStatus": status, "containers": [container], **more}
    return {"tasks": [task], "failures": []}


class Aws:
    """botocore's stubs, in the order of the calls that are expected."""

    def __init__(self) -> None:
        keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
        self.services = tunnel.Services(
            boto3.client("ecs", region_name="us-east-1", **keys),
            boto3.client("ssm", region_name="us-east-1", **keys),
        )
        self.ecs, self.ssm = Stubber(self.services.ecs), Stubber(self.services.ssm)
        self.ecs.activate()
        self.ssm.activate()

    def starts(self) -> "Aws":
        self.ecs.add_response(
            "run_task",
            {"tasks": [{"taskArn": TASK}], "failures": []},
            {
                "cluster": "mlflow-server",
                "taskDefinition": FACTS["task_definition"],
                "launchType": "FARGATE",
                "enableExecuteCommand": True,
                "propagateTags": "TASK_DEFINITION",
                "startedBy": "trackstack tunnel",
                "count": 1,
                "networkConfiguration": {
                    "awsvpcConfiguration": {
                        "subnets": ["subnet-1", "subnet-2"],
                        "securityGroups": ["sg-1"],
                        "assignPublicIp": "DISABLED",
                    }
                },
            },
        )
        return self

    def is_seen(self, *states: dict[str, Any]) -> "Aws":
        for one in states:
            self.ecs.add_response(
                "describe_tasks", one, {"cluster": "mlflow-server", "tasks": [TASK]}
            )
        return self

    def opens(self) -> "Aws":
        self.ssm.add_response(
            "start_session",
            {"SessionId": "s-1", "TokenValue": "hush", "StreamUrl": "wss://x"},
            {
                "Target": "ecs:mlflow-server_0123abcd_0123abcd-42",
                "DocumentName": "AWS-StartPortForwardingSessionToRemoteHost",
                "Parameters": {
                    "host": [FACTS["balancer"]],
                    "portNumber": [ANY],
                    "localPortNumber": [ANY],
                },
            },
        )
        self.ssm.add_response("terminate_session", {"SessionId": "s-1"}, {"SessionId": "s-1"})
        return self

    def stops(self) -> "Aws":
        self.ecs.add_response(
            "stop_task", {}, {"cluster": "mlflow-server", "task": TASK, "reason": ANY}
        )
        return self

    def all_done(self) -> None:
        self.ecs.assert_no_pending_responses()
        self.ssm.assert_no_pending_responses()


WHOLE = (state("PENDING"), state("RUNNING", "PENDING"), state("RUNNING", "RUNNING"))


def ready() -> Aws:
    return Aws().starts().is_seen(*WHOLE).opens().stops()


def test_a_client_reaches_the_platform_s_own_url_by_tls_that_it_verifies(
    plugin: Path, certificate: Path, platform: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLUGIN_TARGET", str(platform))
    aws, port = ready(), free_port()
    with tunnel.opened(
        FACTS, f"https://{HOST}", port=port, aws=aws.services, say=lambda _: None
    ) as (through, forwarder):
        assert through["MLFLOW_TRACKING_URI"] == f"https://{HOST}"
        for name, value in through.items():
            monkeypatch.setenv(name, value)
        answer = requests.get(f"https://{HOST}/health", verify=str(certificate), timeout=10)
        assert answer.text == f"{HOST} /health"
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(f"https://{HOST}/health", timeout=10)
        assert forwarder.is_up()
    aws.all_done()
    assert not forwarder.is_up()
    with pytest.raises(requests.exceptions.ProxyError):
        requests.get(f"https://{HOST}/health", verify=str(certificate), timeout=10)


def test_what_isn_t_the_platform_goes_out_directly(
    plugin: Path, certificate: Path, platform: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job also talks to S3: presigned uploads must not end up at the balancer."""
    monkeypatch.setenv("PLUGIN_TARGET", str(platform))
    aws, port = ready(), free_port()
    with (
        served(certificate) as elsewhere,
        tunnel.opened(FACTS, f"https://{HOST}", port=port, aws=aws.services, say=lambda _: None),
        closing(socket.create_connection(("127.0.0.1", port))) as asked,
    ):
        asked.sendall(f"CONNECT 127.0.0.1:{elsewhere} HTTP/1.1\r\n\r\n".encode())
        assert asked.recv(100).startswith(b"HTTP/1.1 200 ")
        context = ssl.create_default_context(cafile=str(certificate))
        with context.wrap_socket(asked, server_hostname=HOST) as secure:
            secure.sendall(b"GET /there HTTP/1.1\r\nHost: there\r\nConnection: close\r\n\r\n")
            text = b"".join(iter(lambda: secure.recv(1000), b""))
        assert f"X-Port: {elsewhere}\r\n".encode() in text


def test_without_tls_a_client_goes_to_the_port_itself(
    plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws, port = ready(), free_port()
    plain = {**FACTS, "port": "80"}
    with served(None) as there:
        monkeypatch.setenv("PLUGIN_TARGET", str(there))
        with tunnel.opened(
            plain, "http://internal", port=port, aws=aws.services, say=lambda _: None
        ) as (through, _):
            # MLflow takes localhost and 127.0.0.1 with any port (MLFLOW_SERVER_ALLOWED_HOSTS).
            assert through == {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
            answer = requests.get(f"http://127.0.0.1:{port}/x", timeout=10)
            assert answer.text == f"127.0.0.1:{port} /x"
    aws.all_done()


def test_the_session_s_token_is_in_no_argument(
    plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLUGIN_TARGET", "1")
    aws = ready()
    with tunnel.opened(
        FACTS, f"https://{HOST}", port=free_port(), aws=aws.services, say=lambda _: None
    ):
        pass
    seen = json.loads(plugin.read_text())
    assert seen["told"] == {"SessionId": "s-1", "TokenValue": "hush", "StreamUrl": "wss://x"}
    assert "hush" not in " ".join(seen["argv"])
    assert seen["argv"][2:5] == ["us-east-1", "StartSession", ""]
    assert seen["argv"][6] == "https://ssm.us-east-1.amazonaws.com"


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_the_task_is_stopped_whatever_ends_the_block(
    plugin: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    monkeypatch.setenv("PLUGIN_TARGET", "1")
    aws = ready()

    def use() -> None:
        with tunnel.opened(
            FACTS, f"https://{HOST}", port=free_port(), aws=aws.services, say=lambda _: None
        ):
            raise error

    with pytest.raises(error):
        use()
    aws.all_done()


def refused(aws: Aws, port: int = 0) -> str:
    def use() -> None:
        with tunnel.opened(
            FACTS,
            f"https://{HOST}",
            port=port or free_port(),
            aws=aws.services,
            say=lambda _: None,
        ):
            pytest.fail("open")

    with pytest.raises(ClientError) as caught:
        use()
    aws.all_done()
    assert caught.value.exit_code == 5
    return str(caught.value)


def test_a_plugin_that_ends_at_its_start_is_told_and_the_task_stopped(
    plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLUGIN_FAILS", "1")
    assert "session-manager-plugin ended with status 7" in refused(ready())


def test_a_task_that_ends_instead_of_answering_is_told_with_its_reason(plugin: Path) -> None:
    stopped = state("STOPPED", stoppedReason="CannotPullContainerError: 403")
    aws = Aws().starts().is_seen(state("PENDING"), stopped).stops()
    assert refused(aws) == "The tunnel's task ended: CannotPullContainerError: 403."


def test_a_task_that_never_answers_is_stopped(
    plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "START_SECONDS", -1)
    assert "did not come up within" in refused(Aws().starts().stops())


def test_a_task_that_ecs_doesn_t_start_is_told_with_its_reason(plugin: Path) -> None:
    aws = Aws()
    aws.ecs.add_response("run_task", {"tasks": [], "failures": [{"reason": "RESOURCE:ENI"}]}, None)
    assert refused(aws) == "ECS did not start the tunnel's task: RESOURCE:ENI."


def test_what_aws_refuses_is_a_sentence(plugin: Path) -> None:
    aws = Aws()
    aws.ecs.add_client_error("run_task", "AccessDeniedException", "not yours")
    assert "can't be started: " in refused(aws)
    session = Aws().starts().is_seen(*WHOLE).stops()
    session.ssm.add_client_error("start_session", "TargetNotConnected", "no agent")
    assert refused(session).startswith("Session Manager does not open the tunnel: ")


def test_a_taken_port_is_told_before_anything_is_started(plugin: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        assert "choose another with --port" in refused(Aws(), port)


def test_a_missing_plugin_is_told_before_anything_is_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    told = refused(Aws())
    assert told.startswith("session-manager-plugin is not on PATH: install it")


@pytest.mark.parametrize("version", ["1.2.497.0", "1.2.30.0", "new"])
def test_a_plugin_that_takes_the_token_as_an_argument_only_is_refused(
    plugin: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setenv("PLUGIN_VERSION", version)
    assert "newer than 1.2.497.0" in refused(Aws())


def test_a_stack_without_a_tunnel_says_how_to_get_one() -> None:
    with pytest.raises(ClientError, match="`pulumi config set tunnel true --stack prod`"):
        tunnel.facts_of({"tracking_uri": "https://x", "tunnel": {}}, "prod")


@pytest.fixture
def command(
    plugin: Path, certificate: Path, platform: int, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """``trackstack tunnel …`` against the stubs; its exit code."""
    monkeypatch.setenv("PLUGIN_TARGET", str(platform))

    def run(aws: Aws, *arguments: str) -> int:
        outputs = {
            "tracking_uri": f"https://{HOST}",
            "tracking_certificate": certificate.read_text().partition("-----BEGIN PRIVATE")[0],
            "tunnel": FACTS,
        }
        monkeypatch.setattr("trackstack.client.deployed.from_pulumi", lambda *_: outputs)
        monkeypatch.setattr(tunnel, "services", lambda _: aws.services)
        port = str(free_port())
        monkeypatch.setattr(sys, "argv", ["trackstack", "tunnel", "--port", port, *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        aws.all_done()
        return int(left.value.code or 0)

    return run


def test_a_command_runs_through_it_and_gives_the_status(
    command: Callable[..., int], tmp_path: Path
) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent("""
        import os, sys, requests
        uri = os.environ["MLFLOW_TRACKING_URI"]
        trusted = os.environ["MLFLOW_TRACKING_SERVER_CERT_PATH"]
        sys.exit(3 if requests.get(uri + "/x", verify=trusted, timeout=10).ok else 1)
        """)
    )
    assert command(ready(), "--", sys.executable, str(script)) == 3


def test_a_command_that_can_t_be_started_is_told(
    command: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    assert command(ready(), "--", "no-such-program") == 5
    assert "no-such-program can't be started: No such file" in capfd.readouterr().err


@pytest.mark.parametrize("ends", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_a_signal_end_it_in_order(
    command: Callable[..., int],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    ends: signal.Signals,
) -> None:
    def wait(self: tunnel.Forwarder) -> None:
        os.kill(os.getpid(), ends)
        threading.Event().wait(30)

    monkeypatch.setattr(tunnel.Forwarder, "wait", wait)
    assert command(ready()) == 0
    told = capfd.readouterr()
    assert f"export MLFLOW_TRACKING_URI=https://{HOST}" in told.out
    assert "export HTTPS_PROXY=http://127.0.0.1:" in told.out
    assert "stopping the task" in told.err


def test_ctrl_c_belongs_to_the_command_and_other_ends_are_passed_on(tmp_path: Path) -> None:
    """As in a terminal, where Ctrl-C reaches both and only the command may decide."""
    script = tmp_path / "driver.py"
    script.write_text(
        textwrap.dedent("""
        import signal, sys
        from trackstack.client import tunnel
        child = ("import signal, sys, time\\n"
                 "signal.signal(signal.SIGINT, lambda *_: print('noted', flush=True))\\n"
                 "signal.signal(signal.SIGTERM, lambda *_: sys.exit(4))\\n"
                 "print('up', flush=True)\\n"
                 "while True: time.sleep(0.05)\\n")
        with tunnel._ended_by_signals():
            sys.exit(tunnel.run([sys.executable, "-c", child], {}))
        """)
    )
    driver = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, start_new_session=True
    )
    assert driver.stdout is not None
    assert driver.stdout.readline() == b"up\n"
    os.killpg(driver.pid, signal.SIGINT)
    assert driver.stdout.readline() == b"noted\n"
    driver.terminate()
    assert driver.wait(timeout=20) == 4
    driver.stdout.close()
