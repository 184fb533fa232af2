"""Makes the machine what the program declares: the starting half of the embedded host.

Recorded resources become process specs, the wanted set is handed to the supervisor, and what it
reports is followed until all is ready. Data is kept by URN and never deleted here.
"""

import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import psutil

from trackstack.core.cost import estimate
from trackstack.core.outputs import OUTPUT_NAMES
from trackstack.core.usage import Usage
from trackstack.embedded import monitor, programs, supervisor, wire
from trackstack.embedded.errors import ConvergeError, ProgramError
from trackstack.embedded.host import LiveHost, PreviewHost, StackAnswers, region_of
from trackstack.embedded.policy_packs import Finding, Packs
from trackstack.embedded.project import Configuration, Project, secret_variable
from trackstack.embedded.record import Recording, Registered
from trackstack.embedded.standins import CATALOGUE, STAND_INS, database, translate
from trackstack.embedded.standins.base import Plan
from trackstack.embedded.state import SUMMARY, StackState, port_is_free, reachable_path

_IDENTITIES = "identities.json"
_LISTENER = "listener:"
Change = Literal["created", "changed", "same", "removed"]
Report = Callable[[str, str, str], None]
"""``(what, state, text)``: one line of the progress tree, whenever it changes."""


@dataclass(frozen=True)
class LivePaths:
    """Folders of one stack on this machine."""

    state: StackState

    def data(self, registered: Registered) -> Path:
        """Kept by URN; PostgreSQL's must be reachable for ``nobody`` when we are root."""
        kept = self.state.data_path(registered.urn, registered.options.aliases)
        if registered.type == database.TYPE and os.geteuid() == 0:
            return reachable_path(self.state) / kept.name
        return kept

    def run(self, name: str) -> Path:
        """May be lost."""
        return self.state.run_path / name

    def server_environment(self) -> Path:
        """From the image's lock."""
        return programs.server_environment()

    def server_app(self) -> Path:
        """What the image would contain of us."""
        return programs.server_app()

    def postgres_programs(self) -> Path:
        """From the Python index."""
        return programs.postgres_programs()


@dataclass(frozen=True)
class PreviewPaths:
    """The same folders by name; makes none of them."""

    state: StackState

    def data(self, registered: Registered) -> Path:
        """Where data would be."""
        return self.state.path / "data" / registered.name

    def run(self, name: str) -> Path:
        """Where working files would be."""
        return self.state.path / "run" / name

    def server_environment(self) -> Path:
        """Where the environment would be."""
        return programs.server_environment()

    def server_app(self) -> Path:
        """Where the code would be."""
        return programs.cache() / "server-apps"

    def postgres_programs(self) -> Path:
        """Where PostgreSQL would be."""
        return programs.cache() / "postgres"


@dataclass(frozen=True)
class Summary:
    """What an ``up`` or a preview amounts to; ``to_json`` is what ``--json`` prints."""

    project: str
    stack: str
    changes: Mapping[str, Change]
    """URN to what became of the resource."""
    processes: Mapping[str, Change]
    """Process name to what became of it."""
    outputs: Mapping[str, Any]
    """As they are here; secrets as ``[secret]``."""
    rows: tuple[Mapping[str, str], ...]
    """What was translated for this machine."""
    declared_only: Mapping[str, int]
    """Type to count: declared, not run here."""
    kept: tuple[str, ...] = ()
    """URNs of data resources that left the program; their folders are kept."""
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Where the time went."""
    findings: tuple[Finding, ...] | None = None
    """What policy packs say; None where none was asked."""
    cost: str = ""
    """What it would cost on AWS, in a line; only a preview says it."""

    def count(self, change: Change) -> int:
        """How many resources had this change."""
        return sum(1 for one in self.changes.values() if one == change)

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``--json``."""
        told: dict[str, Any] = {
            "project": self.project,
            "stack": self.stack,
            "changeSummary": {
                change: self.count(change) for change in ("created", "changed", "same", "removed")
            },
            "resources": dict(self.changes),
            "processes": dict(self.processes),
            "outputs": dict(self.outputs),
            "translated": list(self.rows),
            "declaredOnly": dict(self.declared_only),
            "kept": list(self.kept),
            "warnings": list(self.warnings),
            "seconds": dict(self.seconds),
            **({"cost": self.cost} if self.cost else {}),
        }
        if self.findings is not None:
            told["findings"] = [one.to_json() for one in self.findings]
        return told


def preview(
    project: Project,
    stack: str,
    configuration: Configuration,
    packs: Sequence[Path] = (),
    policy_settings: Mapping[str, Any] | None = None,
) -> Summary:
    """What ``up`` would make of the stack; nothing is written or started but policy packs.

    Args:
        project: where the program lies.
        stack: which of its stacks.
        configuration: the stack's configuration.
        packs: folders of the policy packs to ask; they end with the preview.
        policy_settings: what the user wants of their rules otherwise.

    Raises:
        ProgramError: the program, what it declares or a pack can't run.
    """
    state = StackState.open(project.name, stack)
    started = time.monotonic()
    host = PreviewHost(state)
    region = region_of(project, configuration)
    answers = StackAnswers(host, region)
    with Packs(packs, project, stack, configuration, policy_settings) as asked:
        recording = monitor.evaluate(project, stack, configuration, answers)
        evaluated = time.monotonic()
        findings = asked.check(recording) if packs else None
    checked = time.monotonic()
    plan = make_plan(Plan(recording, host, PreviewPaths(state), preview=True))
    before = state.read_json(SUMMARY) or {}
    seconds = {
        "evaluate": evaluated - started,
        "policy": checked - evaluated,
        "plan": time.monotonic() - checked,
    }
    summary = _summary(state, plan, before, _process_changes(plan, state), seconds)
    bill = estimate(recording.resources, Usage(), stack=stack, region=region)
    cost = bill.one_line if bill.lines else ""
    return replace(summary, findings=findings, cost=cost)


def up(
    project: Project,
    stack: str,
    configuration: Configuration,
    report: Report,
    *,
    port: int | None = None,
    timeout: float = 180,
) -> Summary:
    """Bring the stack up here and return when it is ready.

    Args:
        project: where the program lies.
        stack: which of its stacks.
        configuration: the stack's configuration.
        report: called with each line of progress that changes.
        port: the front door's port; None keeps the saved one.
        timeout: seconds from the start of the first process until all are ready.

    Raises:
        ProgramError: the program or what it declares can't run; nothing was touched.
        ConvergeError: a port is taken, data would be lost, or a process doesn't come up.
    """
    if configuration.missing:
        names = ", ".join(configuration.missing)
        variable = secret_variable(configuration.missing[0])
        raise ProgramError(
            f"The stack file holds encrypted values that this machine can't read: {names}. Give"
            f" each by its variable ({variable}=…) or in the owner-only file of --secrets."
        )
    state = StackState.open(project.name, stack)
    with state.lock():
        return _up(project, stack, configuration, report, state, port, timeout)


def _up(  # noqa: PLR0917 - one call site
    project: Project,
    stack: str,
    configuration: Configuration,
    report: Report,
    state: StackState,
    port: int | None,
    timeout: float,
) -> Summary:
    clock = _Clock()
    running = supervisor.observe(state).alive
    _check_ports(state, port, running=running)
    report("program", "running", f"evaluating {project.program.name} for {stack}")
    host = LiveHost(state, front_port=port)
    answers = StackAnswers(host, region_of(project, configuration))
    recording = monitor.evaluate(project, stack, configuration, answers)
    report("program", "done", f"{len(recording.resources)} resources declared")
    clock.lap("evaluate")
    plan = make_plan(Plan(recording, host, LivePaths(state)))
    _check_identities(state, plan)
    if not programs.server_environment_ready():
        report("server environment", "running", "installing the image's lock (once)")
        programs.make_server_environment()
        report("server environment", "done", "installed")
        clock.lap("server environment")
    _keep_secrets(state, plan)
    for what, step in plan.prepare:
        report(what, "running", "")
        report(what, "done", "made" if step() else "as it was")
    clock.lap("prepare")
    before = state.read_json(SUMMARY) or {}
    changes = _process_changes(plan, state)
    generation = supervisor.submit(state, plan.processes)
    _follow(state, generation, report, timeout)
    clock.lap("processes")
    identities = {**(state.read_json(_IDENTITIES) or {}), **plan.identities}
    state.write_json(_IDENTITIES, identities)
    summary = _summary(state, plan, before, changes, clock.seconds)
    state.write_json(
        SUMMARY,
        {
            "resources": _digests(recording),
            "outputs": dict(summary.outputs),
            "rows": [dict(row) for row in summary.rows],
            "declaredOnly": dict(summary.declared_only),
            "program": str(project.root),
        },
    )
    return summary


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name] = round(now - self._last, 3)
        self._last = now


def make_plan(plan: Plan) -> Plan:
    """Ask every stand-in what it makes of the recorded resources; the plan itself, filled.

    Raises:
        ProgramError: one needs what nobody here can know.
    """
    for played in CATALOGUE:
        played.plan(plan)
    return plan


def _check_ports(state: StackState, port: int | None, *, running: bool) -> None:
    """Front doors keep their port or are refused; others move when theirs was taken."""
    saved = state.saved_ports()
    if port is not None:
        mine = any(key.startswith(_LISTENER) and value == port for key, value in saved.items())
        if not (mine and running) and not port_is_free(port):
            raise ConvergeError(_taken(port))
        return
    if running:
        return
    for key, value in saved.items():
        if port_is_free(value):
            continue
        if key.startswith(_LISTENER):
            raise ConvergeError(_taken(value))
        state.forget_port(key)


def _taken(port: int) -> str:
    return (
        f"Port {port} of the front door is taken by {_holder(port)}: end that, or choose another"
        " with `trackstack up --port N`; clients must then be told the new URI."
    )


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,):
                process = psutil.Process(connection.pid) if connection.pid else None
                if process:
                    return f"{process.name()} (pid {process.pid})"
    except (psutil.Error, OSError):  # another user's process, or macOS without root
        pass
    return "another program"


def _check_identities(state: StackState, plan: Plan) -> None:
    saved = state.read_json(_IDENTITIES) or {}
    for urn, wanted in plan.identities.items():
        declared = [one for one in plan.recording.resources if one.urn == urn]
        aliases = declared[0].options.aliases if declared else ()
        for known in (urn, *aliases):
            for what, value in saved.get(known, {}).items():
                if wanted.get(what) not in (None, value):
                    raise ConvergeError(
                        f"The {what} of {urn.rpartition('::')[2]!r} changed from {value!r} to"
                        f" {wanted[what]!r}. On AWS this replaces the resource by an empty one;"
                        " its data here is untouched: take the change back, or start anew with"
                        " `trackstack down --delete-data`."
                    )


def _keep_secrets(state: StackState, plan: Plan) -> None:
    """Store what tasks are given, and mark each process with the values it was given."""
    for name, value in plan.store_secrets.items():
        if name not in state.secret_names() or state.read_secret(name) != value:
            state.write_secret(name, value)
    key = state.secret("mark-key", lambda: secrets.token_hex(32)).encode()
    for index, spec in enumerate(plan.processes):
        if spec.secrets:
            values = [state.read_secret(ref) for ref in sorted(spec.secrets.values())]
            mark = hmac.new(key, json.dumps(values).encode(), hashlib.sha256).hexdigest()
            plan.processes[index] = replace(spec, secrets_mark=mark)


def _wanted(state: StackState) -> dict[str, Any]:
    return state.read_json("wanted.json") or {"generation": 0, "processes": []}


def _process_changes(plan: Plan, state: StackState) -> dict[str, Change]:
    running = {one["name"]: one for one in _wanted(state)["processes"]}
    changes: dict[str, Change] = {}
    for spec in plan.processes:
        before = running.pop(spec.name, None)
        now = json.loads(json.dumps(spec.to_json()))
        if plan.preview and before:
            # A preview knows neither the code's folder nor the secrets' marks.
            changes[spec.name] = "same" if _declared(before) == _declared(now) else "changed"
        else:
            changes[spec.name] = (
                "created" if before is None else "same" if before == now else "changed"
            )
    return {**changes, **dict.fromkeys(running, "removed")}


def _declared(spec: Mapping[str, Any]) -> Any:
    own = {"PYTHONPATH", "PATH", "HOME", "TMPDIR"}
    environment = {k: v for k, v in spec["environment"].items() if k not in own}
    return environment, spec["secrets"], spec["argv"][1:], spec["after"]


def _follow(state: StackState, generation: int, report: Report, timeout: float) -> None:
    def on_change(observed: supervisor.Observed) -> None:
        if observed.generation != generation:
            return  # what it saw before it read what is wanted now
        for process in observed.processes.values():
            done = "done" if process.done else "failed" if process.failing else "running"
            report(process.name, done, process.problem or process.state)

    observed = supervisor.wait_ready(state, generation, timeout, on_change)
    if observed.ready:
        return
    if observed.problem:
        raise ConvergeError(observed.problem)
    for process in observed.processes.values():
        if process.failing:
            raise ConvergeError(
                f"{process.name} does not come up: {process.problem or process.state}"
                f" (see `trackstack logs {process.service}`)."
            )
    late = [p.name for p in observed.processes.values() if not p.done]
    raise ConvergeError(
        f"Not ready after {timeout:.0f} s: {', '.join(late) or 'the supervisor'}; it goes on"
        " trying: `trackstack status` tells, `trackstack logs` shows why."
    )


def _digests(recording: Recording) -> dict[str, str]:
    """URN to a hash of its inputs; secrets count as one word, whatever their value."""
    return {
        one.urn: hashlib.sha256(
            json.dumps([wire.show(one.inputs), one.options.protect], sort_keys=True).encode()
        ).hexdigest()
        for one in recording.resources
    }


def local_outputs(plan: Plan) -> dict[str, Any]:
    """The stack's outputs as they are on this machine."""
    shown: dict[str, Any] = wire.show(plan.recording.outputs)
    outputs: dict[str, Any] = {key: _translated(plan, value) for key, value in shown.items()}
    if "tracking_certificate" in outputs:
        outputs["tracking_certificate"] = (
            plan.certificate.read_text(encoding="ascii")
            if plan.certificate and plan.certificate.exists()
            else ""
        )
    order = {name: index for index, name in enumerate(OUTPUT_NAMES)}
    return dict(sorted(outputs.items(), key=lambda item: order.get(item[0], len(order))))


def _translated(plan: Plan, value: Any) -> Any:
    if isinstance(value, str):
        return translate.public(plan, value)
    if isinstance(value, Mapping):
        return {key: _translated(plan, item) for key, item in value.items()}
    if isinstance(value, list):
        return [_translated(plan, item) for item in value]
    return value


def _summary(
    state: StackState,
    plan: Plan,
    before: Mapping[str, Any],
    processes: Mapping[str, Change],
    seconds: Mapping[str, float],
) -> Summary:
    known = before.get("resources") or {}
    now = _digests(plan.recording)
    changes: dict[str, Change] = {
        urn: "created" if urn not in known else "same" if known[urn] == digest else "changed"
        for urn, digest in now.items()
    }
    changes |= dict.fromkeys((urn for urn in known if urn not in now), "removed")
    only: dict[str, int] = {}
    for one in plan.recording.resources:
        if one.custom and one.type not in STAND_INS and not one.type.startswith("pulumi:"):
            only[one.type] = only.get(one.type, 0) + 1
    return Summary(
        project=plan.recording.project,
        stack=plan.recording.stack,
        changes=changes,
        processes=processes,
        outputs=local_outputs(plan),
        rows=tuple({"what": r.what, "declared": r.declared, "here": r.here} for r in plan.rows),
        declared_only=dict(sorted(only.items())),
        kept=tuple(urn for urn in state.data_paths() if urn not in plan.identities),
        warnings=(*plan.recording.warnings, *(str(one) for one in state.damaged)),
        seconds=seconds,
    )
