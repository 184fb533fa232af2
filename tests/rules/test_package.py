"""The components as a Pulumi package: what programs in other languages may rely on."""

import inspect
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from pulumi.runtime.proto import (
    engine_pb2_grpc,
    provider_pb2,
    provider_pb2_grpc,
    resource_pb2_grpc,
)
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

import trackstack
from tests.rules.test_components import CLASSES
from trackstack.embedded import monitor, wire
from trackstack.embedded.host import PreviewHost, StackAnswers
from trackstack.embedded.project import Configuration
from trackstack.embedded.record import Recording

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("package")]  # one plugin process for all

ROOT = Path(__file__).parents[2]
SECONDS = 120


@pytest.fixture(scope="module")
def engine() -> Iterator[tuple[str, Callable[[], Recording]]]:
    """An engine and monitor for a plugin that makes a component; its address, what it heard."""
    heard = monitor._Monitor("shop", "dev", Configuration({}, (), ()), StackAnswers(PreviewHost()))
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=64))
    resource_pb2_grpc.add_ResourceMonitorServicer_to_server(heard, server)
    engine_pb2_grpc.add_EngineServicer_to_server(heard, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", heard.recording
    server.stop(None)


@pytest.fixture(scope="module")
def package(
    engine: tuple[str, Callable[[], Recording]],
) -> Iterator[provider_pb2_grpc.ResourceProviderStub]:
    """The plugin as an engine starts it: the folder, the engine's address, the port it prints."""
    with subprocess.Popen(
        [sys.executable, str(ROOT / "components"), engine[0]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",  # an engine stands somewhere else
    ) as process:
        try:
            port = first_line(process)
            options = [("grpc.max_receive_message_length", 400 * 1024 * 1024)]
            with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
                yield provider_pb2_grpc.ResourceProviderStub(channel)
        finally:
            process.kill()


def first_line(process: subprocess.Popen[str]) -> int:
    said: queue.Queue[str] = queue.Queue()
    assert process.stdout is not None
    read = process.stdout.readline
    threading.Thread(target=lambda: said.put(read()), daemon=True).start()
    return int(said.get(timeout=SECONDS))


@pytest.fixture(scope="module")
def schema(package: provider_pb2_grpc.ResourceProviderStub) -> dict[str, Any]:
    told = package.GetSchema(provider_pb2.GetSchemaRequest(version=0), timeout=SECONDS)
    found: dict[str, Any] = json.loads(told.schema)
    return found


def test_the_package_has_the_name_and_version_that_programs_ask_for(
    schema: dict[str, Any],
) -> None:
    assert (schema["name"], schema["version"]) == ("trackstack", trackstack.__version__)


def test_every_component_is_in_the_package(schema: dict[str, Any]) -> None:
    assert set(schema["resources"]) == {f"trackstack:index:{c.__name__}" for c in CLASSES}
    for one in schema["resources"].values():
        assert one["isComponent"] is True


def test_a_component_calls_itself_as_the_package_calls_it() -> None:
    for component in CLASSES:
        assert f'"trackstack:index:{component.__name__}"' in inspect.getsource(component)


def test_every_word_of_the_package_is_explained(schema: dict[str, Any]) -> None:
    for token, one in {**schema["resources"], **schema["types"]}.items():
        assert one.get("description"), token
        for key, field in {**one["properties"], **one.get("inputProperties", {})}.items():
            assert field.get("description"), f"{token}.{key}"


def test_the_public_surface_changes_only_on_purpose(
    schema: dict[str, Any], snapshot: SnapshotAssertion
) -> None:
    shown = {
        token: {
            "inputs": {k: _kind(v) for k, v in sorted(one.get("inputProperties", {}).items())},
            "requiredInputs": sorted(one.get("requiredInputs", [])),
            "outputs": {k: _kind(v) for k, v in sorted(one["properties"].items())},
        }
        for token, one in sorted({**schema["resources"], **schema["types"]}.items())
    }
    assert shown == snapshot(extension_class=JSONSnapshotExtension, name="surface")


def _kind(field: dict[str, Any]) -> str:
    """The type of a property as one word: ``string``, ``[string]``, ``{string}``, a reference."""
    if "$ref" in field:
        kind = field["$ref"].rpartition(":")[2]
    elif field["type"] == "array":
        kind = f"[{_kind(field['items'])}]"
    elif field["type"] == "object":
        kind = f"{{{_kind(field['additionalProperties'])}}}"
    else:
        kind = field["type"]
    return f"plain {kind}" if field.get("plain") else str(kind)


def construct(
    package: provider_pb2_grpc.ResourceProviderStub, address: str, kind: str, inputs: dict[str, Any]
) -> Any:
    return package.Construct(
        provider_pb2.ConstructRequest(
            project="shop",
            stack="dev",
            dryRun=True,
            monitorEndpoint=address,
            type=f"trackstack:index:{kind}",
            name="figures",
            inputs=wire.dump(inputs),
        ),
        timeout=SECONDS,
    )


def test_another_language_makes_a_component_with_all_its_children(
    package: provider_pb2_grpc.ResourceProviderStub, engine: tuple[str, Callable[[], Recording]]
) -> None:
    address, heard = engine
    # As TypeScript would write it: camelCase, plain values.
    made = construct(
        package,
        address,
        "ArtifactStore",
        {"region": "us-east-1", "noncurrentDays": 9, "prefix": "plots"},
    )
    assert made.urn == "urn:pulumi:dev::shop::trackstack:index:ArtifactStore::figures"
    assert wire.load(made.state)["destination"].endswith("/plots")
    children = {one.type: one for one in heard().resources if one.parent == made.urn}
    assert children["aws:s3/bucket:Bucket"].options.protect
    rules = children["aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"].inputs[
        "rules"
    ]
    assert {"noncurrentDays": 9} in [one.get("noncurrentVersionExpiration") for one in rules]


def test_a_missing_input_is_named_to_the_other_language(
    package: provider_pb2_grpc.ResourceProviderStub, engine: tuple[str, Callable[[], Recording]]
) -> None:
    with pytest.raises(grpc.RpcError) as error:
        construct(package, engine[0], "ArtifactStore", {"prefix": "plots"})
    # Beside the status, as errors about inputs are: the CLI shows it with the resource.
    told = dict(error.value.trailing_metadata())["grpc-status-details-bin"]
    assert b"Missing required input 'region' on 'ArtifactStore'" in told


def test_an_engine_finds_how_to_install_and_run_the_package() -> None:
    assert "name: python" in (ROOT / "components" / "PulumiPlugin.yaml").read_text()
    # The very lock that the program has: a component that runs here runs there.
    assert (ROOT / "components" / "requirements.txt").read_text() == "-r ../requirements.txt\n"
