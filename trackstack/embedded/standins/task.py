"""ecs.Service runs its task definition's containers as processes, as many tasks as declared.

The container's command, environment, secrets, ports, volumes and order are those of the
definition; CPU and memory are not limited here, and the image is the server environment made
from its lock.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trackstack.core import server_environment as names
from trackstack.embedded.errors import ProgramError
from trackstack.embedded.record import Registered
from trackstack.embedded.specs import ExitReady, HttpReady, ProcessSpec, Ready, TcpReady
from trackstack.embedded.standins import bucket, database, translate
from trackstack.embedded.standins.base import LOOPBACK, Host, Plan, known, need

DEFINITION = "aws:ecs/taskDefinition:TaskDefinition"
SERVICE = "aws:ecs/service:Service"
_TARGET_GROUP = "aws:lb/targetGroup:TargetGroup"


class Tasks:
    """The tracking and artifacts services."""

    types = (DEFINITION, SERVICE)

    def answer(self, registered: Registered, host: Host) -> Mapping[str, Any]:
        """Nothing is known before AWS counts revisions, but the first one's number."""
        del host
        return {"revision": 1} if registered.type == DEFINITION else {}

    def plan(self, plan: Plan) -> None:
        """Processes for every task of every service."""
        _serve_buckets(plan)
        for service in plan.recording.of_type(SERVICE):
            for index in range(1, desired(service) + 1):
                _Task(plan, service, index).add()


def desired(service: Registered) -> int:
    """How many tasks the service asks for; 1 when it doesn't say."""
    return int(known(service, "desiredCount", 1))


def role(plan: Plan, service: Registered) -> str:
    """What people call the service: its role in the stack's outputs, else its resource name."""
    services = plan.recording.outputs.get("services") or {}
    for name, physical in services.items():
        if physical == service.outputs.get("name"):
            return str(name)
    return service.name


def definition(plan: Plan, service: Registered) -> Registered:
    """The task definition of a service."""
    arn = need(service, "taskDefinition")
    for found in plan.recording.of_type(DEFINITION):
        if arn in (found.outputs.get("arn"), found.id, found.outputs.get("family")):
            return found
    raise ProgramError(
        f"{service.type} {service.name!r} runs the task definition {arn}, which the program does"
        " not declare."
    )


def containers(found: Registered) -> list[dict[str, Any]]:
    """The container definitions of a task.

    Raises:
        ProgramError: they are unknown, or no JSON list of named containers.
    """
    text = need(found, "containerDefinitions")
    try:
        listed = json.loads(text)
        named = [dict(item) for item in listed if item["name"]]
    except (TypeError, KeyError, ValueError):
        raise ProgramError(
            f"{found.type} {found.name!r} has container definitions that are not a JSON list of"
            " containers with a name."
        ) from None
    return named


def task_port(host: Host, service: Registered, index: int) -> int:
    """The loopback port of a service's task; tasks are counted from 1."""
    return host.port(f"task:{service.name}:{index}")


def upstreams(plan: Plan, target_group_arn: str) -> list[tuple[str, int]]:
    """``(process name, port)`` of every task that registers with a target group."""
    found = []
    for service in plan.recording.of_type(SERVICE):
        for entry in known(service, "loadBalancers", []):
            if entry.get("targetGroupArn") != target_group_arn:
                continue
            found += [
                (
                    f"{role(plan, service)}-{index}.{entry['containerName']}",
                    task_port(plan.host, service, index),
                )
                for index in range(1, desired(service) + 1)
            ]
    return found


def health_path(target_group: Registered) -> str:
    """The path that a balancer asks a task for."""
    return str((known(target_group, "healthCheck") or {}).get("path") or "/")


def _bucket_of(environment: Mapping[str, str]) -> str:
    """The bucket that a task's artifacts go to; "" when they go elsewhere."""
    destination = environment.get("MLFLOW_ARTIFACTS_DESTINATION", "")
    if not destination.startswith("s3://") or environment.get("MLFLOW_S3_ENDPOINT_URL"):
        return ""
    return destination.removeprefix("s3://").partition("/")[0]


def _serve_buckets(plan: Plan) -> None:
    """Serve the buckets that tasks keep artifacts in: declared ones, and those only named.

    Any other bucket, such as the one for the balancer's logs, is declared and gets nothing here.
    """
    declared = {str(b.outputs["bucket"]): b for b in plan.recording.of_type(bucket.TYPE)}
    used, named = {}, []
    for found in plan.recording.of_type(DEFINITION):
        for container in containers(found):
            name = _bucket_of(_plain(container))
            if name and name not in used:
                used[name] = declared.get(name) or _existing(plan, name)
                named += [] if name in declared else [name]
    if named:
        plan.translated("existing bucket", ", ".join(sorted(named)), "a folder of this stack")
    if used:
        bucket.serve(plan, dict(sorted(used.items())))


def _existing(plan: Plan, name: str) -> Registered:
    """Stands for a bucket that is not the stack's own; its data is kept by its name."""
    urn = f"urn:pulumi:{plan.recording.stack}::{plan.recording.project}::{bucket.TYPE}::{name}"
    known = {"bucket": name}
    return Registered(urn, bucket.TYPE, name, custom=True, parent="", inputs=known, outputs=known)


def _plain(container: Mapping[str, Any]) -> dict[str, str]:
    return {item["name"]: str(item["value"]) for item in container.get("environment") or []}


@dataclass
class _Task:
    plan: Plan
    service: Registered
    index: int

    def add(self) -> None:
        """Add a process for each container of this task."""
        self.label = f"{role(self.plan, self.service)}-{self.index}"
        listed = containers(definition(self.plan, self.service))
        awaited = {
            item["containerName"]: item["condition"]
            for container in listed
            for item in container.get("dependsOn") or []
        }
        for container in listed:
            self._add(container, one_shot=awaited.get(container["name"]) in {"SUCCESS", "COMPLETE"})

    def _add(self, container: Mapping[str, Any], *, one_shot: bool) -> None:
        plan, name = self.plan, container["name"]
        command = [*(container.get("entryPoint") or []), *(container.get("command") or [])]
        if not command:
            raise ProgramError(
                f"The container {name!r} of {self.service.name!r} has no command; what its image"
                " would run can't be known here: declare the command."
            )
        declared = _plain(container)
        folders = {
            mount["containerPath"]: plan.paths.run(f"{self.label}/{mount['sourceVolume']}")
            for mount in container.get("mountPoints") or []
        }
        mappings = container.get("portMappings") or []
        container_port = int(mappings[0]["containerPort"]) if mappings else 0
        task = translate.Task(
            port=task_port(plan.host, self.service, self.index) if container_port else 0,
            container_port=container_port,
            folders=folders,
            uses_own_bucket=bool(_bucket_of(declared)),
        )
        here, replaced = translate.environment(plan, task, declared)
        environment = plan.paths.server_environment()
        image = {
            "PATH": f"{environment / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": str(plan.paths.server_app()),
            "PYTHONUNBUFFERED": "1",
            "LANG": "C.UTF-8",
            "HOME": str(folders.get(names.WORK_PATH, plan.paths.run(self.label))),
        }
        # What the image sets and a volume changes: the spool of large transfers.
        if names.WORK_PATH in folders:
            image["TMPDIR"] = str(folders[names.WORK_PATH])
        plan.translated(
            "image", str(container.get("image", "")).partition("@")[0], "its lock's environment"
        )
        plan.processes.append(
            ProcessSpec(
                name=f"{self.label}.{name}",
                service=role(plan, self.service),
                urn=self.service.urn,
                argv=(str(environment / "bin" / command[0]), *command[1:])
                if command[0] == "python"
                else tuple(command),
                environment={**image, **here},
                secrets={**self._secrets(container), **replaced},
                cwd=str(folders.get(names.WORK_PATH, plan.paths.run(f"{self.label}/work"))),
                after=self._after(container),
                ready=self._ready(container, task, one_shot=one_shot),
                stop_seconds=float(container.get("stopTimeout") or 30),
                # As long as ECS would wait: another service's migration may come first.
                ready_seconds=float(known(self.service, "healthCheckGracePeriodSeconds", 120)),
            )
        )

    def _secrets(self, container: Mapping[str, Any]) -> dict[str, str]:
        found = {}
        for item in container.get("secrets") or []:
            arn, key = _value_from(item["valueFrom"])
            if arn not in self.plan.store_secrets and not self.plan.preview:
                raise ProgramError(
                    f"The container {container['name']!r} of {self.service.name!r} takes"
                    f" {item['name']} from {arn}, which holds no value here."
                )
            found[item["name"]] = f"{arn}#{key}" if key else arn
        return found

    def _after(self, container: Mapping[str, Any]) -> tuple[str, ...]:
        own = [f"{self.label}.{item['containerName']}" for item in container.get("dependsOn") or []]
        stores = {database.SERVICE, bucket.NAME}
        hosts = [spec.name for spec in self.plan.processes if spec.service in stores]
        return tuple(sorted({*own, *hosts}))

    def _ready(
        self, container: Mapping[str, Any], task: translate.Task, *, one_shot: bool
    ) -> Ready:
        if one_shot or not task.port:
            return ExitReady()
        for entry in known(self.service, "loadBalancers", []):
            if entry.get("containerName") != container["name"]:
                continue
            for group in self.plan.recording.of_type(_TARGET_GROUP):
                if group.outputs.get("arn") == entry.get("targetGroupArn"):
                    return HttpReady(f"http://{LOOPBACK}:{task.port}{health_path(group)}")
        return TcpReady(task.port)


def _value_from(reference: str) -> tuple[str, str]:
    """ARN and JSON key of ``arn:…:secret:name-abc[:key[:stage[:version]]]``."""
    parts = reference.split(":")
    if len(parts) > 7 and parts[2] == "secretsmanager":  # noqa: PLR2004 - fields of a secret's ARN
        # RDS's own names contain no colon: the seventh field ends the ARN.
        return ":".join(parts[:7]), parts[7]
    return reference, ""
