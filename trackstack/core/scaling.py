"""When a service gets another task; how many it may have is a setting."""

MEASURED_REQUESTS_PER_SECOND = 415
"""log_metric by two workers, the request that training loops send most (docs/measurements.md)."""
MEASURED_WORKERS = 2
LOAD = 0.5
"""How much of what was measured a task is given. A new task needs a minute or two until it serves:
the rest is the room for a load that grows meanwhile. A vCPU of Fargate was not measured."""
CPU_PERCENT = 60
"""Mean CPU of a service's tasks that scaling aims at: a search costs more than its one request."""
OUT_SECONDS = 60
IN_SECONDS = 300
"""A leaving task finishes its uploads first, so going back takes its time."""
_FULL_CPU = 1024


def requests_per_minute(cpu: int) -> int:
    """Requests that one tracking task is meant to take in a minute.

    Args:
        cpu: CPU of the task, in 1/1024 vCPU; a worker uses one vCPU at most.
    """
    of_a_worker = MEASURED_REQUESTS_PER_SECOND / MEASURED_WORKERS * 60
    return round(of_a_worker * LOAD * cpu / _FULL_CPU)


def request_count_label(balancer_arn: str, target_group_arn: str) -> str:
    """What CloudWatch calls the requests of one target group: ``app/…/targetgroup/…``.

    Source: Application Auto Scaling API Reference, "PredefinedMetricSpecification".
    """
    balancer = balancer_arn.partition(":loadbalancer/")[2]
    return f"{balancer}/{target_group_arn.rpartition(':')[2]}"
