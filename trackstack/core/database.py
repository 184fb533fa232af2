"""What a database class holds, what the servers may open, and what a restore may be told."""

import re
from dataclasses import dataclass

DEFAULT_MAX_CONNECTIONS_DIVISOR = 9_531_392
"""Bytes of memory a connection in RDS's ``LEAST({DBInstanceClassMemory/9531392}, 5000)``."""
MAX_CONNECTIONS_LIMIT = 5000
OVERHEAD_BYTES = 320 * 1024**2
"""Memory that DBInstanceClassMemory leaves out for the system; AWS gives no figure, so this is a
careful estimate (with it a t4g.micro holds 73 connections, not 112)."""
RESERVED_CONNECTIONS = 5
"""PostgreSQL keeps 3 for superusers and RDS 2 for itself."""

ENGINES = 2
"""SQLAlchemy engines of one MLflow worker: tracking store and model registry."""
POOL_CONNECTIONS = 15
"""What one engine may hold: pool 5 and overflow 10."""


@dataclass(frozen=True)
class Pool:
    """What one engine may hold, where it isn't SQLAlchemy's default."""

    engines: int
    kept: int
    overflow: int

    @property
    def connections(self) -> int:
        """Connections of one worker at the most."""
        return self.engines * (self.kept + self.overflow)


POOLS_WITH_USERS = {
    # Users and permissions are a third engine; the pools are smaller so that it costs no larger
    # class: their size made no difference in the measurements.
    "tracking": Pool(engines=3, kept=3, overflow=4),
    # Permissions, and the tracking store that MLflow opens to judge the path of an artifact.
    "artifacts": Pool(engines=2, kept=2, overflow=1),
}
"""Where requests need credentials, by role."""
DEPLOYMENT_FACTOR = 2
"""A rolling deployment runs the old and the new tasks side by side (at most 200 %)."""

_BURSTABLE_GIB = {"micro": 1, "small": 2, "medium": 4, "large": 8, "xlarge": 16, "2xlarge": 32}
_GENERAL_GIB = {"large": 8, "xlarge": 16, "2xlarge": 32, "4xlarge": 64}
_MEMORY_GIB = {"large": 16, "xlarge": 32, "2xlarge": 64, "4xlarge": 128}
_SIZES_GIB = {
    "t4g": _BURSTABLE_GIB,
    "t3": _BURSTABLE_GIB,
    "m6g": _GENERAL_GIB,
    "m7g": _GENERAL_GIB,
    "m6i": _GENERAL_GIB,
    "m7i": _GENERAL_GIB,
    "r6g": _MEMORY_GIB,
    "r7g": _MEMORY_GIB,
    "r6i": _MEMORY_GIB,
    "r7i": _MEMORY_GIB,
}
MEMORY_GIB: dict[str, int] = {
    f"db.{family}.{size}": gib
    for family, sizes in _SIZES_GIB.items()
    for size, gib in sizes.items()
}
"""Memory of the instance classes that a stack may ask for (RDS User Guide, instance classes)."""


def usable_connections(instance_class: str) -> int:
    """Connections that the servers may share; KeyError for a class that is not in the table."""
    usable = MEMORY_GIB[instance_class] * 1024**3 - OVERHEAD_BYTES
    most = min(usable // DEFAULT_MAX_CONNECTIONS_DIVISOR, MAX_CONNECTIONS_LIMIT)
    return most - RESERVED_CONNECTIONS


def wanted_connections(tasks: int, workers: int) -> int:
    """What the tracking tasks may hold together at the worst moment, which is a deployment."""
    return tasks * workers * ENGINES * POOL_CONNECTIONS * DEPLOYMENT_FACTOR


def wanted_with_users(role: str, tasks: int, workers: int) -> int:
    """The same for the tasks of a role where requests need credentials."""
    return tasks * workers * POOLS_WITH_USERS[role].connections * DEPLOYMENT_FACTOR


def smallest_class_for(connections: int, like: str) -> str | None:
    """The least class of the same family that holds them; None when the family has none."""
    family = like.rpartition(".")[0]
    return next(
        (
            name
            for name in MEMORY_GIB
            if name.startswith(f"{family}.") and usable_connections(name) >= connections
        ),
        None,
    )


def is_restore_time(restore: str) -> bool:
    """Whether it is a UTC time such as 2026-11-20T10:00:00Z; else it names a snapshot."""
    return re.fullmatch(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", restore) is not None
