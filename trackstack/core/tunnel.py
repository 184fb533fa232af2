"""What both ends of the tunnel agree on: the task in its middle, and what a client is told."""

import json
from typing import Any, TypedDict

from trackstack.core import server_environment as names
from trackstack.core.containers import AGENT_PLACES

CONTAINER = "tunnel"
CPU, MEMORY_MIB = 256, 512
"""Fargate's smallest: $0.0099 an hour on ARM in us-east-1, November 2026."""
SECONDS = 8 * 3600
"""A working day; a task that somebody forgot, or whose starter was cut off, ends by itself."""


class TunnelFacts(TypedDict):
    """What ``trackstack tunnel`` starts and where it leads; texts, as in a stack output."""

    region: str
    """Region of the stack."""
    cluster: str
    """ECS cluster that the task runs in."""
    task_definition: str
    """ARN of what it runs."""
    subnet_ids: str
    """Subnets to choose from, with commas between them."""
    security_group_id: str
    """The task's security group, which the balancer lets in."""
    assign_public_ip: str
    """``ENABLED`` or ``DISABLED``."""
    balancer: str
    """The balancer's own name, which the task resolves."""
    port: str
    """Its port: 443, or 80 without TLS."""


def definition(image: str, region: str, log_group: str) -> str:
    """The container that waits while a session goes through its agent, and then ends."""
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": image,
        "essential": True,
        "command": ["python", "-c", f"import time; time.sleep({SECONDS})"],
        "user": names.CONTAINER_USER,
        "readonlyRootFilesystem": True,
        # The agent's children are reaped, and SIGTERM ends a process that has no handler for it.
        "linuxParameters": {"capabilities": {"drop": ["ALL"]}, "initProcessEnabled": True},
        "mountPoints": [
            {"sourceVolume": volume, "containerPath": path, "readOnly": False}
            for volume, path in AGENT_PLACES.items()
        ],
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": log_group,
                "awslogs-region": region,
                "awslogs-stream-prefix": CONTAINER,
            },
        },
    }
    return json.dumps([container])
