"""The stack's dashboard as CloudWatch takes it: facts in, JSON out.

One page that answers "is it well, and if not, what is short": requests, errors, latency, tasks,
database, storage. Three dashboards an account are free; each further one is $3 a month.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trackstack.core import alarms
from trackstack.core import server_metrics as server
from trackstack.core.log_queries import ERRORS

_WIDTH = 24
_PER_ROW = 3
_HEIGHT = 6


@dataclass(frozen=True)
class Watched:
    """What a deployed stack's parts are called in CloudWatch."""

    region: str
    stack: str
    """The dimension of the server's own metrics."""
    balancer: str
    """The end of the balancer's ARN, from ``app/`` on."""
    target_groups: Mapping[str, str]
    """Role to the end of the target group's ARN, from ``targetgroup/`` on."""
    database: str
    usable_connections: int
    cluster: str
    services: Mapping[str, str]
    """Role to service."""
    log_group: str
    bucket: str
    """Empty: one that AWS doesn't hold."""
    alarm_arns: tuple[str, ...] = ()


def end_of_arn(arn: str, beginning: str) -> str:
    """What CloudWatch calls a balancer or target group: its ARN from ``beginning`` on.

    ``…:loadbalancer/app/door/50dc6c495c0c9188`` is ``app/door/50dc6c495c0c9188``.
    """
    return beginning + arn.partition(beginning)[2]


def dashboard(w: Watched) -> str:
    """The dashboard's body."""
    widgets: list[dict[str, Any]] = []
    top = 0
    if w.alarm_arns:
        status = {"title": "Alarms", "alarms": list(w.alarm_arns)}
        widgets.append(_at((0, 0, _WIDTH, 3), "alarm", status))
        top = 3
    for number, properties in enumerate(_graphs(w)):
        row, column = divmod(number, _PER_ROW)
        width = _WIDTH // _PER_ROW
        widgets.append(
            _at(
                (column * width, top + row * _HEIGHT, width, _HEIGHT),
                "metric",
                {"region": w.region, "view": "timeSeries", "period": 60, **properties},
            )
        )
    bottom = max(widget["y"] + widget["height"] for widget in widgets)
    errors = {
        "title": "Errors in the log",
        "region": w.region,
        "view": "table",
        "query": f"SOURCE '{w.log_group}' | {ERRORS}",
    }
    widgets.append(_at((0, bottom, _WIDTH, _HEIGHT), "log", errors))
    return json.dumps({"widgets": widgets})


def _at(
    place: tuple[int, int, int, int], kind: str, properties: Mapping[str, Any]
) -> dict[str, Any]:
    corner = dict(zip(("x", "y", "width", "height"), place, strict=True))
    return {**corner, "type": kind, "properties": dict(properties)}


def _graphs(w: Watched) -> Iterable[dict[str, Any]]:
    door = ("LoadBalancer", w.balancer)
    yield {
        "title": "Requests and errors",
        "metrics": [
            _line("AWS/ApplicationELB", "RequestCount", door, stat="Sum"),
            _line("AWS/ApplicationELB", "HTTPCode_Target_5XX_Count", door, stat="Sum"),
            _line("AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count", door, stat="Sum"),
            _line("AWS/ApplicationELB", "HTTPCode_Target_4XX_Count", door, stat="Sum"),
        ],
    }
    us = (server.STACK, w.stack)
    yield {
        "title": "Latency of a request without artifact, ms",
        "metrics": [
            _line(server.NAMESPACE, server.REQUEST_MILLISECONDS, us, stat=percentile)
            for percentile in ("p50", "p95", "p99")
        ],
        "annotations": _limit("alarm", alarms.SLOW_MILLISECONDS),
    }
    yield {
        "title": "Requests under way and connections, the busiest worker",
        "metrics": [
            _line(server.NAMESPACE, server.REQUESTS_UNDER_WAY, us, stat="Maximum"),
            _line(server.NAMESPACE, server.DATABASE_CONNECTIONS, us, stat="Maximum"),
        ],
        "annotations": _limit("all connections of a worker", alarms.POOL_CONNECTIONS),
    }
    yield {
        "title": "Healthy tasks",
        "metrics": [
            _line(
                "AWS/ApplicationELB",
                "HealthyHostCount",
                door,
                ("TargetGroup", group),
                stat="Maximum",
                label=role,
            )
            for role, group in sorted(w.target_groups.items())
        ],
    }
    for title, metric in (
        ("CPU of the tasks, %", "CPUUtilization"),
        ("Memory of the tasks, %", "MemoryUtilization"),
    ):
        yield {
            "title": title,
            "metrics": [
                _line(
                    "AWS/ECS",
                    metric,
                    ("ClusterName", w.cluster),
                    ("ServiceName", service),
                    stat=stat,
                    label=f"{role} {stat}",
                )
                for role, service in sorted(w.services.items())
                for stat in ("Average", "Maximum")
            ],
        }
    yield from _database(w)
    if w.bucket:
        yield {
            "title": "Artifacts, bytes",
            "period": 24 * 60 * 60,
            "metrics": [
                _line(
                    "AWS/S3",
                    "BucketSizeBytes",
                    ("BucketName", w.bucket),
                    ("StorageType", "StandardStorage"),
                    stat="Average",
                )
            ],
        }


def _database(w: Watched) -> Iterable[dict[str, Any]]:
    instance = ("DBInstanceIdentifier", w.database)
    yield {
        "title": "CPU of the database, %",
        "metrics": [_line("AWS/RDS", "CPUUtilization", instance, stat="Average")],
        "annotations": _limit("alarm", alarms.DATABASE_CPU_PERCENT),
    }
    yield {
        "title": "Connections to the database",
        "metrics": [_line("AWS/RDS", "DatabaseConnections", instance, stat="Maximum")],
        "annotations": _limit("what the servers may share", w.usable_connections),
    }
    yield {
        "title": "Free disk of the database, bytes",
        "metrics": [_line("AWS/RDS", "FreeStorageSpace", instance, stat="Minimum")],
    }
    yield {
        "title": "Latency of the database's disk, s",
        "metrics": [
            _line("AWS/RDS", name, instance, stat="Average")
            for name in ("ReadLatency", "WriteLatency")
        ],
    }
    yield {
        "title": "CPU credits of the database (burstable classes)",
        "metrics": [
            _line("AWS/RDS", name, instance, stat="Average")
            for name in ("CPUCreditBalance", "CPUSurplusCreditsCharged")
        ],
    }


def _line(namespace: str, name: str, *dimensions: tuple[str, str], **options: str) -> list[Any]:
    flat = [part for dimension in dimensions for part in dimension]
    return [namespace, name, *flat, options]


def _limit(label: str, value: float) -> dict[str, Any]:
    return {"horizontal": [{"label": label, "value": value}]}
