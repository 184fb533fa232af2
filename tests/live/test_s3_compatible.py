"""The stack on somebody else's S3: a real S3-compatible server holds the artifacts."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
import yaml
from botocore.config import Config

from tests.live.conftest import StackFactory, run_example
from tests.live.stacks import Stack, copy_of_the_program
from tests.live.test_artifacts import MIB, MULTIPART, SCRIPT, sums, write_random

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("s3-compatible")]

BUCKET = "ml-artifacts"
STACK = "minio"


@dataclass(frozen=True)
class ObjectStore:
    """A running versitygw."""

    url: str
    access_key_id: str
    secret_access_key: str
    folder: Path
    """Its objects, as plain files."""


@pytest.fixture(scope="module")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    program = shutil.which("versitygw")
    if program is None:
        pytest.skip("no versitygw on PATH: `go install github.com/versity/versitygw/cmd/versitygw`")
    folder = tmp_path_factory.mktemp("versitygw")
    port = _free_port()
    store = ObjectStore(
        url=f"http://127.0.0.1:{port}",
        access_key_id="TSTEST" + secrets.token_hex(5).upper(),
        secret_access_key=secrets.token_urlsafe(30),
        folder=folder / "objects",
    )
    store.folder.mkdir()
    credentials = {
        "ROOT_ACCESS_KEY_ID": store.access_key_id,
        "ROOT_SECRET_ACCESS_KEY": store.secret_access_key,
    }
    argv = [program, "--port", f"127.0.0.1:{port}", "--region", "us-east-1", "posix"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [*argv, str(store.folder)],
            env={"PATH": os.environ["PATH"], **credentials},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_until_it_answers(store.url, server, folder / "log")
            _client(store).create_bucket(Bucket=BUCKET)
            yield store
        finally:
            server.terminate()
            server.wait(timeout=20)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_it_answers(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.HTTPError as error:
            error.close()  # "AccessDenied" is an answer
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"versitygw does not come up: {log.read_text(encoding='utf-8')}")


def _client(store: ObjectStore):  # noqa: ANN202 - boto3 makes its classes at run time
    return boto3.client(
        "s3",
        endpoint_url=store.url,
        region_name="us-east-1",
        aws_access_key_id=store.access_key_id,
        aws_secret_access_key=store.secret_access_key,
        config=Config(s3={"addressing_style": "path"}),
    )


@pytest.fixture(scope="module")
def stack(
    object_store: ObjectStore,
    stack_factory: StackFactory,
    tmp_path_factory: pytest.TempPathFactory,
) -> Stack:
    """The program with a stack file ``minio``, up."""
    project = copy_of_the_program(tmp_path_factory.mktemp("project"))
    file = project / "stacks" / "Pulumi.dev.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["config"] |= {
        "mlflow-platform:artifact_endpoint": object_store.url,
        "mlflow-platform:artifact_bucket": BUCKET,
        # As `pulumi config set --secret` leaves them: nothing here can read them.
        "mlflow-platform:artifact_access_key_id": {"secure": "v1:abc:def"},
        "mlflow-platform:artifact_secret_access_key": {"secure": "v1:ghi:jkl"},
    }
    file.with_name(f"Pulumi.{STACK}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    stack = stack_factory(
        name=STACK,
        project=project,
        extra={
            "TRACKSTACK_SECRET_ARTIFACT_ACCESS_KEY_ID": object_store.access_key_id,
            "TRACKSTACK_SECRET_ARTIFACT_SECRET_ACCESS_KEY": object_store.secret_access_key,
        },
    )
    stack.up()
    return stack


def test_the_stack_runs_no_object_store_of_its_own(stack: Stack) -> None:
    assert "artifact-store" not in stack.pids()
    assert stack.outputs["artifact_destination"] == f"s3://{BUCKET}/runs"
    assert stack.status()["ok"]


def test_the_example_works_against_it(
    stack: Stack, object_store: ObjectStore, tmp_path: Path
) -> None:
    run = run_example(stack, tmp_path / "example")
    kept = object_store.folder / BUCKET / "runs" / run.experiment_id
    figure = kept / run.run_id / "artifacts" / "figures" / "confusion_matrix.png"
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert list(kept.glob("models/*/artifacts/model.skops"))
    version = stack.call("model-versions/get?name=digits-classifier&version=1")["model_version"]
    assert version["run_id"] == run.run_id


def test_presigned_multipart_goes_straight_to_it(
    stack: Stack, object_store: ObjectStore, tmp_path: Path
) -> None:
    write_random(tmp_path / "source" / "weights.bin", 16 * MIB)
    (tmp_path / "cwd").mkdir()
    argv = (SCRIPT, tmp_path / "source", tmp_path / "target")
    printed = stack.client(*argv, cwd=tmp_path / "cwd", more=MULTIPART).stdout
    told = json.loads(printed.splitlines()[-1])
    assert sums(tmp_path / "target") == sums(tmp_path / "source")
    parts = [line for line in told["up"] if line.startswith("PUT ")]
    assert len(parts) == 4
    assert all(line.startswith(f"PUT {object_store.url}/{BUCKET}/runs/") for line in parts)
    assert [line for line in told["down"] if line.startswith(f"GET {object_store.url}/{BUCKET}/")]


def test_its_keys_appear_in_no_file_that_others_may_read_and_in_no_output(
    stack: Stack, object_store: ObjectStore
) -> None:
    keys = (object_store.access_key_id, object_store.secret_access_key)
    shown = [
        json.dumps(stack.outputs),
        stack.cli("preview", "--stack", STACK, "--json").stdout,
        stack.cli("logs", "--stack", STACK, "--lines", "10000").stdout,
    ]
    assert not [text for text in shown for key in keys if key in text]
    holders = [
        file
        for file in stack.state.rglob("*")
        if file.is_file() and "pgdata" not in file.parts and keys[1].encode() in file.read_bytes()
    ]
    assert {file.parent.name for file in holders} <= {"secrets"}
    assert not [file for file in holders if file.stat().st_mode & 0o077]
