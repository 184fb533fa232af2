"""Every timeout between a client and a worker, from the one number people can estimate.

The order is the point: the balancer gives up before the server does, or a request that reaches a
connection the server has just closed is answered with 502; and a task that leaves keeps its
uploads under way until they had the same time as any other.
"""

from dataclasses import dataclass

IDLE_SECONDS_MIN = 60
"""The balancer's own default; less would cut searches that take long."""
IDLE_SECONDS_MAX = 4000
"""Elastic Load Balancing's limit for an application load balancer's idle timeout."""
DEREGISTRATION_SECONDS_MAX = 3600
"""Elastic Load Balancing's limit for a target group's deregistration delay."""
LARGEST_ARTIFACT_MINUTES_MAX = IDLE_SECONDS_MAX // 60
STOP_SECONDS = 120
"""Fargate's limit for ``stopTimeout``."""
GRACEFUL_SECONDS = 110
"""Ten seconds less, so that the server ends by itself and not by SIGKILL."""
KEEP_ALIVE_MARGIN_SECONDS = 15
FIRST_CHECK_SECONDS = 600
"""How long a new task may fail the balancer's check: a migration of a large database runs first."""
FAILURES_UNTIL_ROLLBACK = 3
"""Tasks of a new revision that ECS's circuit breaker lets fail; more for more than six tasks."""


@dataclass(frozen=True)
class Timeouts:
    """Seconds, each named for who takes it."""

    idle_seconds: int
    """Load balancer: ``idle_timeout``."""
    keep_alive_seconds: int
    """Server: how long an idle connection stays open."""
    deregistration_seconds: int
    """Target group: how long a leaving task may finish what it has."""
    rollout_minutes: int
    """Deployment: until the last of the old tasks is gone, or all that may fail have failed."""
    stop_seconds: int = STOP_SECONDS
    """Container: from SIGTERM to SIGKILL."""
    graceful_seconds: int = GRACEFUL_SECONDS
    """Server: what requests under way may take after SIGTERM."""


def timeouts_for(largest_artifact_minutes: int) -> Timeouts:
    """The whole chain for a largest artifact that travels so many minutes."""
    idle = min(max(IDLE_SECONDS_MIN, largest_artifact_minutes * 60), IDLE_SECONDS_MAX)
    deregistration = min(idle, DEREGISTRATION_SECONDS_MAX)
    rollout = FAILURES_UNTIL_ROLLBACK * FIRST_CHECK_SECONDS + deregistration + STOP_SECONDS
    return Timeouts(
        idle_seconds=idle,
        keep_alive_seconds=idle + KEEP_ALIVE_MARGIN_SECONDS,
        deregistration_seconds=deregistration,
        rollout_minutes=-(-rollout // 60),
    )
