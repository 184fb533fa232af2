"""Evaluates a program: Pulumi's resource monitor on loopback, and the record of what it heard.

The half of the embedded host that starts nothing. It answers every registration by a pure
function (``Answers``), always as in ``pulumi preview``: with ``dry_run=False`` an output that
nobody can know would be None and programs die on it.
"""

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, Protocol

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import (
    engine_pb2,
    engine_pb2_grpc,
    resource_pb2,
    resource_pb2_grpc,
)

from trackstack.embedded import wire
from trackstack.embedded.errors import ProgramError, TrackstackError
from trackstack.embedded.project import Configuration, Project
from trackstack.embedded.record import Options, Recording, Registered

STACK_TYPE = "pulumi:pulumi:Stack"
_MESSAGE_LIMIT = 400 * 1024 * 1024  # Pulumi's own limit for a message
_FEATURES = (
    resource_pb2.RESOURCE_MONITOR_FEATURE_SECRETS,
    resource_pb2.RESOURCE_MONITOR_FEATURE_RESOURCE_REFERENCES,
    resource_pb2.RESOURCE_MONITOR_FEATURE_OUTPUT_VALUES,
    resource_pb2.RESOURCE_MONITOR_FEATURE_ALIAS_SPECS,
    resource_pb2.RESOURCE_MONITOR_FEATURE_DELETED_WITH,
    resource_pb2.RESOURCE_MONITOR_FEATURE_REPLACE_WITH,
    # Claimed so that a program that uses them reaches us, and is refused by name.
    resource_pb2.RESOURCE_MONITOR_FEATURE_TRANSFORMS,
    resource_pb2.RESOURCE_MONITOR_FEATURE_INVOKE_TRANSFORMS,
    resource_pb2.RESOURCE_MONITOR_FEATURE_RESOURCE_HOOKS,
)


@dataclass(frozen=True)
class Answer:
    """What a provider would have said: an id, and the outputs that are known here."""

    id: str
    outputs: Mapping[str, Any]


class Answers(Protocol):
    """Who knows what a resource would be on this machine; pure, called from several threads."""

    def resource(self, registered: Registered) -> Answer:
        """Id and known outputs of a custom resource; inputs are echoed by the monitor."""
        ...

    def look_up(self, token: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """The result of a provider function; ProgramError when nobody here knows it."""
        ...


class _Monitor(
    resource_pb2_grpc.ResourceMonitorServicer,
    engine_pb2_grpc.EngineServicer,
):
    def __init__(self, project: str, stack: str, config: Configuration, answers: Answers) -> None:
        self._project, self._stack, self._config = project, stack, config
        self._answers = answers
        self._lock = threading.Lock()
        self._resources: dict[str, Registered] = {}
        self._component_outputs: dict[str, Mapping[str, Any]] = {}
        self._invokes: list[tuple[str, Mapping[str, Any]]] = []
        self._warnings: list[str] = []
        self._root = ""
        self.errors: list[str] = []
        self.refusal: TrackstackError | None = None

    def recording(self) -> Recording:
        """What was heard so far."""
        root = f"urn:pulumi:{self._stack}::{self._project}::{STACK_TYPE}"
        outputs: Mapping[str, Any] = {}
        components = {}
        for urn, values in self._component_outputs.items():
            if urn.startswith(root):
                outputs = values
            else:
                components[urn] = values
        return Recording(
            project=self._project,
            stack=self._stack,
            resources=tuple(self._resources.values()),
            outputs=outputs,
            component_outputs=components,
            invokes=tuple(self._invokes),
            warnings=tuple(self._warnings),
        )

    def _refuse(self, context: Any, why: str | TrackstackError) -> NoReturn:
        error = ProgramError(why) if isinstance(why, str) else why
        self.refusal = self.refusal or error
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        raise AssertionError  # abort raises; this tells the type checker

    # Engine

    def Log(self, request: Any, _: Any) -> Any:  # noqa: N802 - the protocol's names
        if request.severity == engine_pb2.ERROR:
            self.errors.append(request.message)
        elif request.severity == engine_pb2.WARNING:
            self._warnings.append(request.message)
        return empty_pb2.Empty()

    def GetRootResource(self, _request: Any, _: Any) -> Any:  # noqa: N802
        return engine_pb2.GetRootResourceResponse(urn=self._root)

    def SetRootResource(self, request: Any, _: Any) -> Any:  # noqa: N802
        self._root = request.urn
        return engine_pb2.SetRootResourceResponse()

    def RequirePulumiVersion(self, _request: Any, _: Any) -> Any:  # noqa: N802
        return engine_pb2.RequirePulumiVersionResponse()

    # ResourceMonitor

    def GetDeploymentInfo(self, _request: Any, _: Any) -> Any:  # noqa: N802
        return resource_pb2.DeploymentInfo(
            project=self._project,
            stack=self._stack,
            organization="organization",
            config=self._config.values,
            configSecretKeys=self._config.secret_keys,
            dryRun=True,
            parallel=16,
            supportedFeatures=_FEATURES,
        )

    def RegisterPackage(self, request: Any, _: Any) -> Any:  # noqa: N802
        return resource_pb2.RegisterPackageResponse(ref=f"{request.name}@{request.version}")

    def SignalAndWaitForShutdown(self, _request: Any, _: Any) -> Any:  # noqa: N802
        return empty_pb2.Empty()

    def RegisterStackTransform(self, _request: Any, context: Any) -> Any:  # noqa: N802
        self._refuse(context, _unsupported("a stack transform (register_resource_transform)"))

    def RegisterStackInvokeTransform(self, _request: Any, context: Any) -> Any:  # noqa: N802
        self._refuse(context, _unsupported("an invoke transform (register_invoke_transform)"))

    def RegisterResourceHook(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._refuse(context, _unsupported(f"the resource hook {request.name!r}"))

    def RegisterErrorHook(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._refuse(context, _unsupported(f"the error hook {request.name!r}"))

    def Call(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._refuse(context, _unsupported(f"a method call on a resource ({request.tok})"))

    def Invoke(self, request: Any, context: Any) -> Any:  # noqa: N802
        args = wire.load(request.args)
        with self._lock:
            self._invokes.append((request.tok, args))
        try:
            result = self._answers.look_up(request.tok, args)
        except TrackstackError as error:
            self._refuse(context, error)
        return resource_pb2.ResourceInvokeResponse(**{"return": wire.dump(result)})

    def ReadResource(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._refuse(context, _unsupported(f"{request.type}.get({request.id!r})"))

    def RegisterResource(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.remote:
            self._refuse(context, _unsupported(f"the remote component {request.type}"))
        if request.transforms:
            self._refuse(context, _unsupported(f"a transform on {request.name!r}"))
        if any(names for _, names in request.hooks.ListFields()):
            self._refuse(context, _unsupported(f"a resource hook on {request.name!r}"))
        urn = self._urn(request)
        inputs = {k: v for k, v in wire.load(request.object).items() if v is not None}
        registered = Registered(
            urn=urn,
            type=request.type,
            name=request.name,
            custom=request.custom,
            parent=request.parent,
            inputs=inputs,
            outputs={},
            dependencies=tuple(request.dependencies),
            property_dependencies={
                key: tuple(value.urns) for key, value in request.propertyDependencies.items()
            },
            options=self._options(request),
            source=_source(request),
        )
        with self._lock:
            if urn in self._resources:
                self._refuse(
                    context,
                    f"The program registers {request.type} {request.name!r} twice; Pulumi refuses"
                    f" a duplicate URN ({urn}): give one of them another name.",
                )
            self._resources[urn] = registered  # its place in the order of registration
        answer = Answer("", {})
        if request.custom:
            try:
                answer = self._answers.resource(registered)
            except TrackstackError as error:
                self._refuse(context, error)
        outputs = {**inputs, **answer.outputs}
        with self._lock:
            self._resources[urn] = replace(registered, id=answer.id, outputs=outputs)
        return resource_pb2.RegisterResourceResponse(
            urn=urn, id=answer.id, object=wire.dump(outputs)
        )

    def RegisterResourceOutputs(self, request: Any, _: Any) -> Any:  # noqa: N802
        with self._lock:
            self._component_outputs[request.urn] = wire.load(request.outputs)
        return empty_pb2.Empty()

    def _urn(self, request: Any) -> str:
        kind = request.type
        parent = _urn_type(request.parent)
        if parent and parent != STACK_TYPE:
            kind = f"{parent}${kind}"
        return f"urn:pulumi:{self._stack}::{self._project}::{kind}::{request.name}"

    def _options(self, request: Any) -> Options:
        parent = self._resources.get(request.parent)
        inherited = parent.options if parent else Options()
        protect = request.protect if request.HasField("protect") else inherited.protect
        retain = (
            request.retainOnDelete
            if request.HasField("retainOnDelete")
            else inherited.retain_on_delete
        )
        return Options(
            protect=protect,
            retain_on_delete=retain,
            delete_before_replace=request.deleteBeforeReplace,
            ignore_changes=tuple(request.ignoreChanges),
            replace_on_changes=tuple(request.replaceOnChanges),
            additional_secret_outputs=tuple(request.additionalSecretOutputs),
            aliases=tuple(self._aliases(request, parent)),
            provider=request.provider,
        )

    def _aliases(self, request: Any, parent: Registered | None) -> Iterator[str]:
        """URNs that this resource had before: its own aliases, and those its parent brings."""
        yield from request.aliasURNs
        for alias in request.aliases:
            if alias.urn:
                yield alias.urn
                continue
            spec = alias.spec
            above = "" if spec.noParent else (spec.parentUrn or request.parent)
            kind = spec.type or request.type
            prefix = _urn_type(above)
            if prefix and prefix != STACK_TYPE:
                kind = f"{prefix}${kind}"
            yield (
                f"urn:pulumi:{spec.stack or self._stack}::{spec.project or self._project}"
                f"::{kind}::{spec.name or request.name}"
            )
        for former in parent.options.aliases if parent else ():
            kind, _, name = former.rpartition("::")
            # A child named after its parent is taken to have been renamed with it, as in Pulumi.
            child: str = request.name
            if parent and child.startswith(parent.name):
                child = name + child.removeprefix(parent.name)
            yield f"{kind}${request.type}::{child}"


def _urn_type(urn: str) -> str:
    return urn.split("::")[2] if urn else ""


def _source(request: Any) -> str:
    position = request.sourcePosition
    if not position.uri:
        return ""
    return f"{position.uri.removeprefix('file://').removeprefix('project://')}:{position.line}"


def _unsupported(what: str) -> str:
    return (
        f"The program uses {what}, which needs a real Pulumi engine; trackstack can't run it on"
        " this machine: leave it out, or deploy with `pulumi up`."
    )


@contextmanager
def _serving(monitor: _Monitor) -> Iterator[str]:
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=64),
        options=[
            ("grpc.max_receive_message_length", _MESSAGE_LIMIT),
            ("grpc.max_send_message_length", _MESSAGE_LIMIT),
            ("grpc.so_reuseport", 0),
        ],
    )
    resource_pb2_grpc.add_ResourceMonitorServicer_to_server(monitor, server)
    engine_pb2_grpc.add_EngineServicer_to_server(monitor, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None)


def evaluate(
    project: Project, stack: str, config: Configuration, answers: Answers, *, timeout: float = 120
) -> Recording:
    """Run the project's program in a child process and return everything it registered.

    Args:
        project: where the program lies.
        stack: its name for the program.
        config: what the program reads by ``pulumi.Config``.
        answers: what resources and look-ups would answer.
        timeout: seconds that the program may take.

    Raises:
        ProgramError: the program refused its settings, raised, or uses what only an engine has.
    """
    monitor = _Monitor(project.name, stack, config, answers)
    with tempfile.TemporaryDirectory(prefix="trackstack-") as folder, _serving(monitor) as address:
        report = Path(folder) / "report.json"
        request = {
            "project": project.name,
            "stack": stack,
            "address": address,
            "root": str(project.root),
            "program": str(project.program),
            "config": dict(config.values),
            "secret_keys": list(config.secret_keys),
            "report": str(report),
        }
        try:
            child = subprocess.run(
                [sys.executable, "-m", "trackstack.embedded.language"],
                input=json.dumps(request),
                text=True,
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ProgramError(
                f"The program did not end within {timeout:.0f} s: does it wait for something?"
            ) from None
        if monitor.refusal:
            raise monitor.refusal
        if report.exists():
            raise ProgramError(_explain(json.loads(report.read_text(encoding="utf-8"))))
        if child.returncode:
            last = (child.stderr.strip().splitlines() or ["no message"])[-1]
            raise ProgramError(f"The program ended with status {child.returncode}: {last}")
        if monitor.errors:
            raise ProgramError("\n".join(monitor.errors))
    return monitor.recording()


def record(
    program: Callable[[], None],
    answers: Answers,
    *,
    project: str = "mlflow-platform",
    stack: str = "test",
    config: Mapping[str, str] | None = None,
    secret_keys: Sequence[str] = (),
) -> Recording:
    """Run a program of this process and return what it registered; what it raises is raised.

    For component tests: the same monitor as ``evaluate``, without a child.
    """
    from trackstack.embedded import language  # noqa: PLC0415 - only tests run programs in-process

    settings = Configuration(dict(config or {}), tuple(secret_keys), missing=())
    monitor = _Monitor(project, stack, settings, answers)
    with _serving(monitor) as address:
        request = {
            "project": project,
            "stack": stack,
            "address": address,
            "root": str(Path.cwd()),
            "config": dict(settings.values),
            "secret_keys": list(settings.secret_keys),
        }
        language.run(program, request)
    return monitor.recording()


def _explain(report: Mapping[str, Any]) -> str:
    if not report["frames"]:
        return str(report["message"])
    lines = [f"The program raised {report['message']}"]
    lines += [
        f"  {frame['file']}:{frame['line']}, in {frame['function']}: {frame['text'] or ''}".rstrip()
        for frame in report["frames"]
    ]
    return "\n".join(lines)
