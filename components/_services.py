"""A task definition, the service that keeps its tasks running, and how many there are of them."""

import json
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi import CustomTimeouts, Input, Output, ResourceOptions
from pulumi_aws import appautoscaling, cloudwatch, ecs

from trackstack.core import scaling
from trackstack.core.containers import SERVE
from trackstack.core.server_environment import CONTAINER_PORT
from trackstack.core.timeouts import FIRST_CHECK_SECONDS


@dataclass(frozen=True)
class Cluster:
    """Where the tasks of one server run, and below which component their resources lie."""

    parent: pulumi.ComponentResource
    cluster: ecs.Cluster
    log: cloudwatch.LogGroup
    capacity: list[pulumi.Resource]
    """What must exist before a task can be placed; empty without Spot."""
    spot: bool
    architecture: str
    subnet_ids: Input[list[str]]
    assign_public_ip: Input[bool]

    def definition(
        self,
        name: str,
        role: str,
        *,
        size: tuple[int, int],
        roles: tuple[Input[str], Input[str]],
        disk_gib: int | None,
        volumes: tuple[str, ...],
        containers: Output[list[dict[str, Any]]],
    ) -> ecs.TaskDefinition:
        """One revision of what a task runs.

        Args:
            name: the resource's name.
            role: what the task does; the end of its family.
            size: CPU in 1/1024 vCPU, and memory in MiB.
            roles: ARN of who the task is, and of who starts it.
            disk_gib: its disk. None: the 20 GiB that every task has without paying.
            volumes: names of its writable places.
            containers: its container definitions.
        """
        cpu, memory_mib = size
        task_role_arn, execution_role_arn = roles
        return ecs.TaskDefinition(
            name,
            # The cluster's name is this stack's alone; a family is shared by the whole account.
            family=Output.concat(self.cluster.name, "-", role),
            requires_compatibilities=["FARGATE"],
            network_mode="awsvpc",
            cpu=str(cpu),
            memory=str(memory_mib),
            runtime_platform={
                "operating_system_family": "LINUX",
                "cpu_architecture": self.architecture.upper(),
            },
            ephemeral_storage={"size_in_gib": disk_gib} if disk_gib else None,
            task_role_arn=task_role_arn,
            execution_role_arn=execution_role_arn,
            volumes=[{"name": volume} for volume in volumes],
            container_definitions=containers.apply(json.dumps),
            # A rollback goes to the previous revision, which must not be deregistered by then.
            skip_destroy=True,
            opts=ResourceOptions(parent=self.parent),
        )

    def service(
        self,
        name: str,
        *,
        task: ecs.TaskDefinition,
        tasks: int,
        scales: bool,
        group_id: Input[str],
        target_group_arn: Input[str],
        allow_exec: bool,
        wait_minutes: int,
        after: list[pulumi.Resource],
    ) -> ecs.Service:
        """The service that keeps so many tasks behind the balancer.

        Args:
            name: the resource's name.
            task: what its tasks run.
            tasks: how many; the first number only, where it scales.
            scales: whether somebody else changes the number afterwards.
            group_id: security group of the tasks.
            target_group_arn: where they register.
            allow_exec: whether a shell may be opened in them.
            wait_minutes: how long a rollout may take until ``pulumi up`` fails. 0: nobody waits.
            after: what must exist before the first task starts.
        """
        place: dict[str, Any] = {"launch_type": "FARGATE"}
        if self.spot:
            # From a launch type to a strategy the provider updates in place, but only so.
            place = {
                "capacity_provider_strategies": [
                    {"capacity_provider": "FARGATE_SPOT", "weight": 1}
                ],
                "force_new_deployment": True,
            }
        patience = f"{wait_minutes}m"
        return ecs.Service(
            name,
            **place,
            cluster=self.cluster.arn,
            task_definition=task.arn,
            desired_count=tasks,
            deployment_minimum_healthy_percent=100,
            deployment_maximum_percent=200,
            deployment_circuit_breaker={"enable": True, "rollback": True},
            # A rollout that was rolled back fails the update, and so `pulumi up`.
            wait_for_steady_state=bool(wait_minutes),
            enable_execute_command=allow_exec or None,
            enable_ecs_managed_tags=True,
            propagate_tags="SERVICE",
            health_check_grace_period_seconds=FIRST_CHECK_SECONDS,
            network_configuration={
                "subnets": self.subnet_ids,
                "security_groups": [group_id],
                "assign_public_ip": self.assign_public_ip,
            },
            load_balancers=[
                {
                    "target_group_arn": target_group_arn,
                    "container_name": SERVE,
                    "container_port": CONTAINER_PORT,
                }
            ],
            # Without permissions and ways the first tasks would fail and trip the circuit breaker.
            opts=ResourceOptions(
                parent=self.parent,
                depends_on=[*after, *self.capacity],
                ignore_changes=["desiredCount"] if scales else None,
                custom_timeouts=CustomTimeouts(create=patience, update=patience)
                if wait_minutes
                else None,
            ),
        )

    def scale(
        self,
        name: str,
        service: ecs.Service,
        *,
        tasks: tuple[int, int],
        requests: tuple[int, Input[str]] | None,
    ) -> None:
        """Let CPU, and requests where they are given, decide on the number of tasks.

        Args:
            name: begins the resources' names.
            service: whose tasks.
            tasks: the least and the most.
            requests: requests a minute and task that are aimed at, and CloudWatch's name of them.
        """
        child = ResourceOptions(parent=self.parent)
        least, most = tasks
        target = appautoscaling.Target(
            f"{name}-tasks",
            service_namespace="ecs",
            scalable_dimension="ecs:service:DesiredCount",
            resource_id=Output.concat("service/", self.cluster.name, "/", service.name),
            min_capacity=least,
            max_capacity=most,
            opts=child,
        )
        aims: dict[str, dict[str, Any]] = {
            "cpu": {
                "target_value": scaling.CPU_PERCENT,
                "predefined_metric_specification": {
                    "predefined_metric_type": "ECSServiceAverageCPUUtilization"
                },
            }
        }
        if requests is not None:
            aims["requests"] = {
                "target_value": requests[0],
                "predefined_metric_specification": {
                    "predefined_metric_type": "ALBRequestCountPerTarget",
                    "resource_label": requests[1],
                },
            }
        for what, aim in aims.items():
            appautoscaling.Policy(
                f"{name}-by-{what}",
                policy_type="TargetTrackingScaling",
                service_namespace=target.service_namespace,
                scalable_dimension=target.scalable_dimension,
                resource_id=target.resource_id,
                target_tracking_scaling_policy_configuration={
                    **aim,
                    "scale_out_cooldown": scaling.OUT_SECONDS,
                    "scale_in_cooldown": scaling.IN_SECONDS,
                },
                opts=child,
            )
