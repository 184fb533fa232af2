"""Which alarms a stack has, what each means and what to do: one table, without any resource.

An alarm is worth a message at night only if somebody then has something to do, so each says it.
CloudWatch charges $0.10 a month for every metric that an alarm looks at (list price, us-east-1,
https://aws.amazon.com/cloudwatch/pricing/, November 2026); the dashboard shows the rest free.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from trackstack.core import database
from trackstack.core import server_metrics as server
from trackstack.core.log_lines import MIGRATION_STOPPED, TOKEN_NOT_RENEWED

METRIC_USD = 0.10
"""A month, for each metric that an alarm looks at."""

# Facts that are known only once the stack is deployed; a dimension names one of them.
BALANCER = "balancer"
DATABASE = "database"
CERTIFICATE = "certificate"
STACK = "stack"


def target_group(role: str) -> str:
    """The fact that names a role's target group."""
    return f"{role}_target_group"


REQUESTS_FLOOR = 20
"""Requests in five minutes below which a ratio says nothing: one error at night is no outage."""
ERRORS_PERCENT = 5
SLOW_MILLISECONDS = 2000
"""Five times the slowest 95th percentile that was measured under load: search_runs over 2,000 runs
at 413 ms, log_batch at 101, log_metric at 24 (docs/measurements.md, "Beside stock")."""
FREE_STORAGE_PERCENT = 10
"""RDS's storage autoscaling acts after 5 minutes at the same limit (RDS User Guide, "Managing
capacity automatically with storage autoscaling"): after 30 it didn't, or couldn't."""
CONNECTIONS_PERCENT = 80
DATABASE_CPU_PERCENT = 90
POOL_CONNECTIONS = database.ENGINES * database.POOL_CONNECTIONS
"""What one worker may hold: whoever needs one more waits for it."""
CERTIFICATE_DAYS = 30
"""ACM begins to renew 60 days before the end, `pulumi up` renews a generated one 90 days before:
with 30 left both have failed."""


@dataclass(frozen=True)
class Metric:
    """One line of figures."""

    namespace: str
    name: str
    statistic: str
    """``Sum``, ``Average``, ``Minimum``, ``Maximum`` or a percentile such as ``p95``."""
    dimensions: Mapping[str, str]
    """CloudWatch's name of a dimension to the fact that gives its value."""


@dataclass(frozen=True)
class Alarm:
    """When to tell somebody, and what."""

    role: str
    """What it is about: the last part of its name, and its heading in docs/operations.md."""
    means: str
    """One sentence: what has happened."""
    do: str
    """What whoever is told does first."""
    metrics: Mapping[str, Metric]
    comparison: Literal[
        "GreaterThanThreshold", "GreaterThanOrEqualToThreshold", "LessThanThreshold"
    ]
    threshold: float
    minutes: int
    """Length of a period."""
    periods: int
    """How many periods are looked at, ..."""
    breaching: int
    """... and how many of them must be over the threshold."""
    missing: Literal["breaching", "notBreaching", "ignore"]
    """What a period without a figure counts as."""
    expression: str = ""
    """Over the names of the metrics; empty: the one metric by itself."""

    @property
    def description(self) -> str:
        """What the message says."""
        return f"{self.means} {self.do} More: docs/operations.md#{self.role}"

    @property
    def usd_month(self) -> float:
        """List price."""
        return METRIC_USD * len(self.metrics)


def alarms(
    *,
    roles: Sequence[str],
    instance_class: str,
    storage_gib: int,
    encrypted: bool,
    log_namespace: str,
) -> list[Alarm]:
    """The alarms of a stack.

    Args:
        roles: services behind the balancer, ``tracking`` and perhaps ``artifacts``.
        instance_class: RDS instance class; KeyError for one that is not in the table.
        storage_gib: size of the database's disk.
        encrypted: whether the balancer has a certificate.
        log_namespace: namespace of what the metric filters count.
    """
    found = [_errors(), _latency(), *(_unhealthy(role) for role in roles)]
    found += _database(instance_class, storage_gib)
    found += [_pool(), _migration(log_namespace), _token(log_namespace)]
    if encrypted:
        found.append(_certificate())
    return found


def price_usd_month(found: Sequence[Alarm]) -> float:
    """What the alarms cost together, list price."""
    return sum(alarm.usd_month for alarm in found)


def _errors() -> Alarm:
    def count(name: str) -> Metric:
        return Metric("AWS/ApplicationELB", name, "Sum", {"LoadBalancer": BALANCER})

    # A request that found no healthy target is an error of the balancer and no RequestCount.
    return Alarm(
        "errors",
        f"More than {ERRORS_PERCENT} % of the requests failed with a 5xx for ten minutes.",
        "Run the saved query `errors`; if the balancer itself answers (502, 503, 504), look at the"
        " tasks' stop reasons and at the alarm no-healthy-target first.",
        {
            "requests": count("RequestCount"),
            "target": count("HTTPCode_Target_5XX_Count"),
            "balancer": count("HTTPCode_ELB_5XX_Count"),
        },
        "GreaterThanThreshold",
        ERRORS_PERCENT,
        minutes=5,
        periods=3,
        breaching=2,
        missing="notBreaching",
        expression=(
            f"IF(FILL(requests, 0) + FILL(balancer, 0) >= {REQUESTS_FLOOR}, "
            "100 * (FILL(target, 0) + FILL(balancer, 0)) "
            "/ (FILL(requests, 0) + FILL(balancer, 0)), 0)"
        ),
    )


def _latency() -> Alarm:
    # By the server's own figures: the balancer's would count the minutes of an artifact, too.
    return Alarm(
        "latency",
        f"One request in twenty has taken more than {SLOW_MILLISECONDS / 1000:.0f} s for fifteen"
        " minutes (transfers of artifacts not counted).",
        "Compare CPU of the tasks and of the database on the dashboard: add tracking tasks or"
        " workers for the first, a larger class for the second, and look for a client that"
        " searches in a loop.",
        {"latency": _of_the_server(server.REQUEST_MILLISECONDS, "p95")},
        "GreaterThanThreshold",
        SLOW_MILLISECONDS,
        minutes=5,
        periods=3,
        breaching=3,
        missing="notBreaching",
    )


def _unhealthy(role: str) -> Alarm:
    what = {
        "tracking": "nobody can log or see a run",
        "artifacts": "no artifact can be written or read through the server",
    }[role]
    return Alarm(
        f"no-healthy-target-{role}",
        f"No {role} task has passed the balancer's check for five minutes: {what}.",
        f"Read why the last {role} tasks stopped (`aws ecs describe-tasks`), then their last log"
        " lines; a failed deployment rolls back by itself, an unreachable database does not.",
        {
            "healthy": Metric(
                "AWS/ApplicationELB",
                "HealthyHostCount",
                "Maximum",
                {"LoadBalancer": BALANCER, "TargetGroup": target_group(role)},
            )
        },
        "LessThanThreshold",
        1,
        minutes=1,
        periods=5,
        breaching=5,
        # Without a registered target the metric isn't written at all.
        missing="breaching",
    )


def _database(instance_class: str, storage_gib: int) -> list[Alarm]:
    def of_the_instance(name: str, statistic: str) -> Metric:
        return Metric("AWS/RDS", name, statistic, {"DBInstanceIdentifier": DATABASE})

    usable = database.usable_connections(instance_class)
    found = [
        Alarm(
            "database-cpu",
            f"The database has used more than {DATABASE_CPU_PERCENT} % of its CPU for fifteen"
            " minutes.",
            "See in Performance Insights which statement it is; a larger"
            " `database_instance_class` helps when it is none in particular.",
            {"cpu": of_the_instance("CPUUtilization", "Average")},
            "GreaterThanThreshold",
            DATABASE_CPU_PERCENT,
            minutes=5,
            periods=3,
            breaching=3,
            missing="notBreaching",  # says AWS nothing, the server's own alarms do
        ),
        Alarm(
            "database-storage",
            f"Less than {FREE_STORAGE_PERCENT} % of the database's disk has been free for half an"
            " hour, and RDS has not enlarged it.",
            "Raise `database_max_storage_gib` (or `database_storage_gib`) and deploy; a full disk"
            " stops every write. Deleted runs keep their rows until `mlflow gc`.",
            {"free": of_the_instance("FreeStorageSpace", "Minimum")},
            "LessThanThreshold",
            storage_gib * 1024**3 * FREE_STORAGE_PERCENT // 100,
            minutes=5,
            periods=6,
            breaching=6,
            missing="notBreaching",
        ),
        Alarm(
            "database-connections",
            f"More than {CONNECTIONS_PERCENT} % of the {usable} connections that the servers may"
            " share have been open for fifteen minutes.",
            "Look for clients beside the servers (a notebook, a report); otherwise take a larger"
            " `database_instance_class` or fewer workers.",
            {"connections": of_the_instance("DatabaseConnections", "Maximum")},
            "GreaterThanThreshold",
            usable * CONNECTIONS_PERCENT // 100,
            minutes=5,
            periods=3,
            breaching=3,
            missing="notBreaching",
        ),
    ]
    if instance_class.startswith("db.t"):
        # RDS runs t-classes unlimited: at zero credits they go on, for money. A balance of zero is
        # also how a new instance begins, so not the balance but the charge is looked at. (There is
        # no BurstBalance to look at: that belongs to gp2 volumes, and ours are gp3.)
        found.append(
            Alarm(
                "database-credits",
                "The database has used more CPU than its class includes for a day, and AWS has"
                " been charging for the surplus for half an hour.",
                "A larger `database_instance_class`, or one that is not burstable, is cheaper when"
                " this goes on.",
                {"charged": of_the_instance("CPUSurplusCreditsCharged", "Maximum")},
                "GreaterThanThreshold",
                0,
                minutes=5,
                periods=6,
                breaching=6,
                missing="notBreaching",
            )
        )
    return found


def _pool() -> Alarm:
    return Alarm(
        "connection-pool",
        f"A worker has held all of its {POOL_CONNECTIONS} database connections for five minutes:"
        " further requests wait for one.",
        "Add tracking tasks (or workers) within what the database holds; a single slow statement"
        " that holds them all shows in Performance Insights.",
        {"held": _of_the_server(server.DATABASE_CONNECTIONS, "Maximum")},
        "GreaterThanOrEqualToThreshold",
        POOL_CONNECTIONS,
        minutes=1,
        periods=5,
        breaching=5,
        missing="notBreaching",
    )


def _migration(namespace: str) -> Alarm:
    return Alarm(
        "migration",
        "A new task's migration refused or failed; the new version does not start, and the old"
        " tasks keep serving.",
        f"The log line after {MIGRATION_STOPPED!r} says why and what to set; the saved query"
        " `migrations` finds it.",
        {"stopped": Metric(namespace, MIGRATIONS_STOPPED, "Sum", {})},
        "GreaterThanThreshold",
        0,
        minutes=5,
        periods=1,
        breaching=1,
        missing="notBreaching",
    )


def _token(namespace: str) -> Alarm:
    return Alarm(
        "database-token",
        "A server could not renew its database token in two of three minutes; when the last one"
        " ends, at most 15 minutes after it was made, new connections fail.",
        "The log line says how long that is and what AWS answered: most often a policy that was"
        " changed by hand (`rds-db:connect`) or a way out that was closed.",
        {"failures": Metric(namespace, TOKENS_NOT_RENEWED, "Sum", {})},
        "GreaterThanThreshold",
        0,
        minutes=1,
        periods=3,
        breaching=2,
        missing="notBreaching",
    )


def _certificate() -> Alarm:
    return Alarm(
        "certificate",
        f"The certificate ends in less than {CERTIFICATE_DAYS} days, and nobody has renewed it.",
        "`domain`: check that the validation record still exists. `generated`: run `pulumi up` and"
        " hand the new certificate to clients. `certificate`: import its successor.",
        {
            "days": Metric(
                "AWS/CertificateManager",
                "DaysToExpiry",
                "Minimum",
                {"CertificateArn": CERTIFICATE},
            )
        },
        "LessThanThreshold",
        CERTIFICATE_DAYS,
        minutes=24 * 60,
        periods=1,
        breaching=1,
        # ACM writes it twice a day, and no longer once the certificate has expired: the alarm must
        # neither begin with a new certificate nor end with an expired one.
        missing="ignore",
    )


def _of_the_server(name: str, statistic: str) -> Metric:
    return Metric(server.NAMESPACE, name, statistic, {server.STACK: STACK})


MIGRATIONS_STOPPED = "MigrationsStopped"
TOKENS_NOT_RENEWED = "TokensNotRenewed"
LOG_FILTERS: Mapping[str, str] = {
    MIGRATIONS_STOPPED: MIGRATION_STOPPED,
    TOKENS_NOT_RENEWED: TOKEN_NOT_RENEWED,
}
"""Metric to the sentence that it counts in the log. A filter can't add a dimension of its own, so
the stack is in the metric's namespace."""


def log_namespace(project: str, stack: str) -> str:
    """Namespace of what the log filters of a stack count."""
    return f"{server.NAMESPACE}/{project}/{stack}"
