"""Asks policy packs about what a program declared, as Pulumi's engine asks them.

A pack is a process that prints its port and answers the analyzer protocol; which rules it has, and
in what they are written, is its own affair. It starts while the program is being evaluated, so that
a preview doesn't wait for both. A pack that crashes or hangs ends the preview with a sentence.
"""

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import grpc
import yaml
from google.protobuf import empty_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

from trackstack.embedded import wire
from trackstack.embedded.errors import PolicyError, ProgramError, UsageError
from trackstack.embedded.project import Configuration, Project
from trackstack.embedded.record import Recording, Registered

DESCRIPTION = "PulumiPolicy.yaml"
_OF_PROJECT = "policy"
_MESSAGE_LIMIT = 400 * 1024 * 1024  # Pulumi's own limit for a message
_END_SECONDS = 5

# What `python -m pulumi.policy` does, in a process that doesn't outlive us: a pack sleeps for ever,
# and nobody would end it after a kill -9.
_CHILD = """
import os, runpy, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(0)), daemon=True).start()
runpy.run_module("pulumi.policy", run_name="__main__", alter_sys=True)
"""
_LEVELS = {
    analyzer_pb2.ADVISORY: "advisory",
    analyzer_pb2.MANDATORY: "mandatory",
    # A pack that remediates could do nothing here; what it would have changed is wrong as it is.
    analyzer_pb2.REMEDIATE: "mandatory",
}
_SEVERITIES = {
    analyzer_pb2.POLICY_SEVERITY_CRITICAL: "critical",
    analyzer_pb2.POLICY_SEVERITY_HIGH: "high",
    analyzer_pb2.POLICY_SEVERITY_MEDIUM: "medium",
    analyzer_pb2.POLICY_SEVERITY_LOW: "low",
}
_WANTED = {
    "advisory": analyzer_pb2.ADVISORY,
    "mandatory": analyzer_pb2.MANDATORY,
    "disabled": analyzer_pb2.DISABLED,
}
_ALL = "all"
_ORDER = ("mandatory", "advisory", "critical", "high", "medium", "low", "")


@dataclass(frozen=True)
class Finding:
    """One sentence of one rule about one resource."""

    pack: str
    rule: str
    level: str
    """``mandatory`` (an ``up`` is refused) or ``advisory``."""
    severity: str
    """``critical``, ``high``, ``medium``, ``low``; empty where the pack doesn't say."""
    urn: str
    """The resource; empty for the stack as a whole."""
    sentence: str

    def to_json(self) -> dict[str, str]:
        """Plain values for ``--json``."""
        return asdict(self)


def packs_of(project: Project, further: Iterable[Path] = (), *, own: bool = True) -> list[Path]:
    """The project's own pack, in its folder ``policy``, if it is wanted, and those named.

    Raises:
        UsageError: a named folder holds no pack.
    """
    folder = project.root / _OF_PROJECT
    found = [folder] if own and (folder / DESCRIPTION).is_file() else []
    for folder in further:
        if not (folder / DESCRIPTION).is_file():
            raise UsageError(f"There is no policy pack in {folder}: it needs a {DESCRIPTION}.")
        found.append(folder.resolve())
    return found


def read_settings(file: Path | None) -> Mapping[str, Any]:
    """What the user wants otherwise: rule to level or settings, as ``--policy-pack-config`` has it.

    Raises:
        UsageError: the file is not what ``pulumi`` would accept.
    """
    if file is None:
        return {}
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{file} can't be read: {error.strerror}.") from None
    except ValueError:
        raise UsageError(f"{file} is not valid JSON.") from None
    if not isinstance(told, dict):
        raise UsageError(f"{file} must be a map of rules to their settings.")
    for rule, value in told.items():
        level = value.get("enforcementLevel", "") if isinstance(value, dict) else value
        if level and level not in _WANTED:
            raise UsageError(
                f"{file}: {rule} can't be {level!r}; write {', '.join(_WANTED)}, or a map of"
                " settings."
            )
    return told


def refuse(findings: Sequence[Finding]) -> None:
    """Raise when a mandatory rule is violated.

    Raises:
        PolicyError: with the number of violations.
    """
    count = sum(1 for one in findings if one.level == "mandatory")
    if count:
        what = "1 mandatory policy is" if count == 1 else f"{count} mandatory policies are"
        raise PolicyError(f"{what} violated; `pulumi up --policy-pack` would be refused.")


class Packs:
    """Packs that start at once and are asked later; ``with`` ends them."""

    def __init__(
        self,
        folders: Sequence[Path],
        project: Project,
        stack: str,
        configuration: Configuration,
        settings: Mapping[str, Any] | None = None,
        *,
        timeout: float = 60,
    ) -> None:
        """Remember what to start.

        Args:
            folders: one with a ``PulumiPolicy.yaml`` for each pack.
            project: whose program is checked.
            stack: which of its stacks.
            configuration: the stack's; packs are told all of it but secrets.
            settings: what the user wants otherwise, from ``read_settings``.
            timeout: seconds that all packs together may take.
        """
        self._folders, self._timeout = folders, timeout
        self._settings = settings or {}
        self._environment = _environment(project, stack, configuration)
        self._running: list[_Pack] = []
        self._deadline = 0.0

    def __enter__(self) -> Self:
        self._deadline = time.monotonic() + self._timeout
        try:
            for folder in self._folders:
                self._running.append(_Pack(folder, self._environment, self._timeout))
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        for pack in self._running:
            pack.end()

    def check(self, recording: Recording) -> tuple[Finding, ...]:
        """What the packs say of a recording, the gravest first.

        Raises:
            ProgramError: a pack crashed, hangs, or one of its rules failed.
        """
        found = [
            one
            for pack in self._running
            for one in pack.ask(recording, self._settings, self._deadline)
        ]
        return tuple(
            sorted(
                found,
                key=lambda f: (_ORDER.index(f.level), _ORDER.index(f.severity), f.rule, f.urn),
            )
        )


class _Pack:
    """One pack and its process."""

    def __init__(self, folder: Path, environment: Mapping[str, str], timeout: float) -> None:
        self._folder, self._timeout = folder, timeout
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the pack ends
        self._process = subprocess.Popen(
            [_interpreter(folder), "-u", "-c", _CHILD, "no engine", str(folder)],
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._said: queue.Queue[str] = queue.Queue()
        self._port = 0
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True).start()

    def _listen(self, stdout: IO[bytes]) -> None:
        """Take the port, then whatever a rule prints: a full pipe would stop the pack."""
        with stdout:
            for line in stdout:
                self._said.put(line.decode(errors="replace").strip())
        self._said.put("")

    def end(self) -> None:
        """End the process: by closing its input, and by force should it not listen."""
        assert self._process.stdin is not None  # noqa: S101 - for the type checker
        self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def ask(
        self, recording: Recording, settings: Mapping[str, Any], deadline: float
    ) -> list[Finding]:
        """What this pack says; ProgramError when it can't."""
        self._port = self._port or self._started(deadline)
        options = [
            ("grpc.max_receive_message_length", _MESSAGE_LIMIT),
            ("grpc.max_send_message_length", _MESSAGE_LIMIT),
            ("grpc.enable_http_proxy", 0),
        ]
        with grpc.insecure_channel(f"127.0.0.1:{self._port}", options=options) as channel:
            pack = analyzer_pb2_grpc.AnalyzerStub(channel)
            about = ""
            try:
                left = max(0.1, deadline - time.monotonic())
                info = pack.GetAnalyzerInfo(empty_pb2.Empty(), timeout=left)
                pack.Configure(_configured(info, settings), timeout=left)
                calls = [
                    (one.urn, pack.Analyze.future(_request(recording, one), timeout=left))
                    for one in recording.resources
                ]
                told = []
                for urn, call in calls:
                    about = urn
                    told += [_finding(info.name, one, urn) for one in call.result().diagnostics]
                about = f"the stack {recording.stack}"
                response = pack.AnalyzeStack(_whole(recording), timeout=left)
            except grpc.RpcError as error:
                raise ProgramError(self._explain(error, about)) from None
        return [*told, *(_finding(info.name, one, "") for one in response.diagnostics)]

    def _started(self, deadline: float) -> int:
        try:
            said = self._said.get(timeout=max(0.1, deadline - time.monotonic()))
        except queue.Empty:
            raise ProgramError(
                f"The policy pack {self._folder} did not start within {self._timeout:.0f} s."
            ) from None
        if not said.isdigit():
            why = f"it says {said!r} in place of its port." if said else self._last()
            raise ProgramError(f"The policy pack {self._folder} can't start: {why}")
        return int(said)

    def _explain(self, error: grpc.RpcError, about: str) -> str:
        if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"The policy pack {self._folder} did not answer within {self._timeout:.0f} s."
        if error.code() == grpc.StatusCode.UNAVAILABLE:
            return f"The policy pack {self._folder} ended early: {self._last()}"
        why = str(error.details()).removeprefix("Exception calling application: ")
        return f"The policy pack {self._folder} fails on {about}: {why}"

    def _last(self) -> str:
        """The last line that the pack said on its error output."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing.")


def _environment(project: Project, stack: str, configuration: Configuration) -> dict[str, str]:
    """What Pulumi's language host tells a pack of the stack; secrets stay with us."""
    told = {k: v for k, v in configuration.values.items() if k not in configuration.secret_keys}
    return {
        "PULUMI_PROJECT": project.name,
        "PULUMI_STACK": stack,
        "PULUMI_ORGANIZATION": "organization",
        "PULUMI_DRY_RUN": "true",
        "PULUMI_CONFIG": json.dumps(told),
    }


def _interpreter(folder: Path) -> str:
    """The Python that a pack asks for, or ours where its environment was not made.

    Raises:
        UsageError: the pack isn't written in Python.
    """
    try:
        described = yaml.safe_load((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except yaml.YAMLError:
        raise UsageError(f"{folder / DESCRIPTION} is not valid YAML.") from None
    runtime = described.get("runtime") if isinstance(described, dict) else None
    name = runtime.get("name") if isinstance(runtime, dict) else runtime
    if name != "python":
        raise UsageError(
            f"The policy pack {folder} is written for {name or 'no runtime'}, and trackstack runs"
            " Python only: let `pulumi preview --policy-pack` check it."
        )
    options = (runtime.get("options") or {}) if isinstance(runtime, dict) else {}
    virtualenv = options.get("virtualenv")
    # Python looks for its environment beside the path as it is written, dots and links included.
    own = (folder / str(virtualenv)).resolve() / "bin" / "python"
    return str(own) if virtualenv and own.exists() else sys.executable


def _configured(info: Any, settings: Mapping[str, Any]) -> Any:
    """The pack's settings: its own, but for what the user wants otherwise."""
    wanted = {}
    for policy in info.policies:
        told = settings.get(policy.name, settings.get(_ALL))
        if told is None:
            continue
        own = dict(told) if isinstance(told, dict) else {"enforcementLevel": told}
        level = own.pop("enforcementLevel", settings.get(_ALL))
        wanted[policy.name] = analyzer_pb2.PolicyConfig(
            enforcementLevel=_WANTED[level] if level else policy.enforcementLevel,
            properties=wire.dump(own),
        )
    return analyzer_pb2.ConfigureAnalyzerRequest(policyConfig=wanted)


def _request(recording: Recording, one: Registered) -> Any:
    """What the engine asks about a resource before it makes it: its inputs."""
    return analyzer_pb2.AnalyzeRequest(
        type=one.type,
        urn=one.urn,
        name=one.name,
        properties=wire.dump(one.inputs),
        options=_options(one),
        provider=_provider(recording, one),
    )


def _whole(recording: Recording) -> Any:
    """What the engine asks at the end: every resource with what came out of it."""
    return analyzer_pb2.AnalyzeStackRequest(
        resources=[
            analyzer_pb2.AnalyzerResource(
                type=one.type,
                urn=one.urn,
                name=one.name,
                properties=wire.dump(recording.component_outputs.get(one.urn, one.outputs)),
                options=_options(one),
                provider=_provider(recording, one),
                parent=one.parent,
                dependencies=one.dependencies,
                propertyDependencies={
                    key: analyzer_pb2.AnalyzerPropertyDependencies(urns=urns)
                    for key, urns in one.property_dependencies.items()
                    if urns
                },
            )
            for one in recording.resources
        ]
    )


def _options(one: Registered) -> Any:
    return analyzer_pb2.AnalyzerResourceOptions(
        protect=one.options.protect,
        ignoreChanges=one.options.ignore_changes,
        deleteBeforeReplace=one.options.delete_before_replace,
        deleteBeforeReplaceDefined=one.options.delete_before_replace,
        additionalSecretOutputs=one.options.additional_secret_outputs,
        aliases=one.options.aliases,
        parent=one.parent,
    )


def _provider(recording: Recording, one: Registered) -> Any:
    urn = one.options.provider.rpartition("::")[0]  # a reference is the URN and the id
    for provider in recording.of_type(f"pulumi:providers:{one.type.partition(':')[0]}"):
        if provider.urn == urn:
            return analyzer_pb2.AnalyzerProviderResource(
                type=provider.type,
                urn=provider.urn,
                name=provider.name,
                properties=wire.dump(provider.inputs),
            )
    return None


def _finding(pack: str, told: Any, urn: str) -> Finding:
    # pulumi-policy puts the rule's description before each sentence.
    sentence = told.message.removeprefix(told.description).strip() or told.description
    return Finding(
        pack=pack,
        rule=told.policyName,
        level=_LEVELS.get(told.enforcementLevel, "advisory"),
        severity=_SEVERITIES.get(told.severity, ""),
        urn=urn or told.urn,
        sentence=sentence,
    )
