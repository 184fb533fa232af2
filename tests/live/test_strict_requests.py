"""MLflow's own client against what the balancer's strictest mode refuses.

AWS's list (desync mitigation, "Classifications") is the yardstick: no Content-Length on GET or
HEAD, one length or one transfer coding, no blank or control character in the URI, only ASCII
headers. What is sent is recorded byte for byte; the answers are empty, as only requests matter.
"""

import re
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
URI = re.compile(rb"[\x21-\x7e]+")


class Recorder(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        super().__init__(("127.0.0.1", 0), Answer)


class Answer(socketserver.StreamRequestHandler):
    server: Recorder

    def handle(self) -> None:
        head = b""
        while line := self.rfile.readline():
            head += line
            if line == b"\r\n":
                break
        if not head:
            return
        self.server.heads.append(head)
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        self.rfile.read(int(length[1]) if length else 0)
        body = b'{"run": {"info": {}, "data": {}}, "files": []}'
        self.wfile.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with Recorder() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def problems(head: bytes) -> list[str]:
    """What of a request's head is not as RFC 7230 has it."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    method, uri, version = first.split(b" ", 2)
    headers = [line.split(b":", 1) for line in lines]
    names = [name.lower() for name, _ in headers]
    bodies = [name for name in names if name in {b"content-length", b"transfer-encoding"}]
    checks = {
        "version": version == b"HTTP/1.1",
        "uri": URI.fullmatch(uri) is not None,
        "a body on GET or HEAD": method not in {b"GET", b"HEAD"} or not bodies,
        "two lengths": len(bodies) <= 1,
        "one host": names.count(b"host") == 1,
        "header names": all(TOKEN.fullmatch(name) for name, _ in headers),
        "ASCII values": all(
            value.isascii() and value.decode().isprintable() for _, value in headers
        ),
        "a bare line feed": b"\n" not in head.replace(b"\r\n", b""),
    }
    return [what for what, fine in checks.items() if not fine]


@pytest.mark.parametrize(
    "head",
    [
        b"GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_the_yardstick_finds_what_the_mode_refuses(head: bytes) -> None:
    assert problems(head)


def test_no_request_of_mlflow_s_client_is_refused_by_the_balancer_s_strictest_mode(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient  # noqa: PLC0415 - seconds, and only here
    from mlflow.entities import Metric  # noqa: PLC0415
    from mlflow.store.artifact.mlflow_artifacts_repo import (  # noqa: PLC0415
        MlflowArtifactsRepository,
    )

    uri = "http://{}:{}".format(*recorder.server_address)
    client = MlflowClient(uri)
    empty, full = tmp_path / "leer ä.txt", tmp_path / "full.bin"
    empty.touch()
    full.write_bytes(b"x" * 70_000)
    artifacts = MlflowArtifactsRepository(f"{uri}/api/2.0/mlflow-artifacts/artifacts/run", uri)
    text = "metrics.`x y` > 1 AND tags.\"a\" = 'b c' AND params.ä LIKE '%../%'"
    run = "0" * 32
    calls: list[Callable[[], object]] = [
        lambda: client.create_experiment("ü b/c"),
        lambda: client.get_experiment_by_name("ü b/c ../x"),
        lambda: client.get_experiment("1"),
        lambda: client.search_runs(["1"], filter_string=text),
        lambda: client.search_experiments(filter_string=text),
        lambda: client.search_registered_models(filter_string=text),
        lambda: client.search_model_versions(filter_string=text),
        lambda: client.create_run("1"),
        lambda: client.get_run(run),
        lambda: client.log_metric(run, "x y", 1.0),
        lambda: client.log_batch(run, metrics=[Metric("m", 1.0, 0, i) for i in range(1000)]),
        lambda: client.set_tag(run, "a", "<script>ä</script>"),
        lambda: client.delete_tag(run, "a"),
        lambda: client.get_metric_history(run, "x y"),
        lambda: client.set_terminated(run),
        lambda: client.delete_run(run),
        lambda: client.create_registered_model("a/../b ä"),
        lambda: client.get_registered_model("a/../b ä"),
        lambda: client.update_registered_model("m ä", "word"),
        lambda: client.set_registered_model_alias("m ä", "prod", "1"),
        lambda: client.get_model_version_by_alias("m ä", "prod"),
        lambda: client.delete_registered_model_alias("m ä", "prod"),
        lambda: client.delete_registered_model("m ä"),
        lambda: artifacts.log_artifact(str(empty)),
        lambda: artifacts.log_artifact(str(full)),
        lambda: artifacts.list_artifacts("ä b"),
        lambda: artifacts._download_file("ä b/full.bin", str(tmp_path / "back")),
        lambda: artifacts.delete_artifacts("ä b"),
    ]
    for call in calls:
        with suppress(Exception):  # the answers are empty
            call()

    found = {head.split(b"\r\n")[0]: problems(head) for head in recorder.heads}
    assert {line: what for line, what in found.items() if what} == {}
    assert {line.split()[0] for line in found} == {b"GET", b"POST", b"PUT", b"PATCH", b"DELETE"}
    assert len(recorder.heads) >= len(calls) - 2, "the client asked nothing"
