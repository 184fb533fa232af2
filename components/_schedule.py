"""A task that runs once a night, and the role that may start exactly that."""

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi_aws import ecs, iam, scheduler

from components._services import Cluster
from components._task_roles import Roles
from trackstack.core import policies

NIGHTLY = "cron(30 2 * * ? *)"
"""UTC; in the hour after it, so that not every schedule of the account begins at once."""
WINDOW_MINUTES = 60
TRIES = 3


def every_night(
    parent: pulumi.ComponentResource,
    name: str,
    maker: Roles,
    *,
    cluster: Cluster,
    task: ecs.TaskDefinition,
    roles: list[iam.Role],
    group_id: Input[str],
    after: list[pulumi.Resource],
) -> None:
    """Run a task every night. No dead letters: what one night misses, the next one does.

    Args:
        parent: whose children they are.
        name: begins the resources' names.
        maker: makes the schedule's own role.
        cluster: where the task runs.
        task: what runs.
        roles: the task's roles, which the schedule hands on.
        group_id: security group of the task.
        after: what must exist before it first runs.
    """
    role = maker.role(
        f"{name}-nightly", "Runs a task of MLflow's every night", policies.assumed_by_schedules
    )
    grant = maker.grant(
        f"{name}-nightly",
        role,
        Output.all(task.arn, cluster.cluster.arn, *[one.arn for one in roles]).apply(
            lambda arns: policies.run_a_task(arns[0], arns[1], arns[2:])
        ),
    )
    scheduler.Schedule(
        f"{name}-nightly",
        schedule_expression=NIGHTLY,
        flexible_time_window={"mode": "FLEXIBLE", "maximum_window_in_minutes": WINDOW_MINUTES},
        target={
            "arn": cluster.cluster.arn,
            "role_arn": role.arn,
            "ecs_parameters": {
                "task_definition_arn": task.arn,
                "launch_type": "FARGATE",
                "network_configuration": {
                    "subnets": cluster.subnet_ids,
                    "security_groups": [group_id],
                    "assign_public_ip": cluster.assign_public_ip,
                },
            },
            "retry_policy": {"maximum_retry_attempts": TRIES},
        },
        opts=ResourceOptions(parent=parent, depends_on=[grant, *after]),
    )
