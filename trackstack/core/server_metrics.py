"""What a server tells CloudWatch of itself: the names that the server and the alarms agree on.

The tracking workers print one line a minute in CloudWatch's embedded metric format, and the log
group turns it into metrics; nothing polls and no agent runs. A custom metric costs $0.30 a month
for each combination of name and dimensions, so there are four with one dimension, the stack. What
the balancer and RDS count for nothing (requests, 5xx by target group, sessions) is not among them,
and the artifacts service, whose latency is the size of a file, prints none.

Source of format and limits: CloudWatch User Guide, "Specification: Embedded metric format".
"""

NAMESPACE = "trackstack"
STACK = "Stack"
"""The one dimension; its value is what ``stack_value`` makes."""

REQUEST_MILLISECONDS = "RequestMilliseconds"
"""Milliseconds from a request's arrival in a worker to the end of its answer, at most 100 values a
worker and minute that keep the percentiles: alarm on p50, p95 or p99, never on SampleCount.
Transfers of artifacts and ``/health`` are left out."""
SERVER_ERRORS = "ServerErrors"
"""Answers of 500 or more, ``/health`` left out: alarm on Sum."""
REQUESTS_UNDER_WAY = "RequestsUnderWay"
"""The most requests that one worker had at once in the minute: alarm on Maximum."""
DATABASE_CONNECTIONS = "DatabaseConnections"
"""The most connections that one worker held at once in the minute: alarm on Maximum; a worker can
have ``database.ENGINES * database.POOL_CONNECTIONS``, and whoever needs one more waits."""

UNITS: dict[str, str] = {
    REQUEST_MILLISECONDS: "Milliseconds",
    SERVER_ERRORS: "Count",
    REQUESTS_UNDER_WAY: "Count",
    DATABASE_CONNECTIONS: "Count",
}
"""Every metric and its unit, as CloudWatch calls it."""

PERIOD_SECONDS = 60
"""How often a worker prints; a shorter alarm period would see gaps."""
VALUES_MAX = 100
"""CloudWatch takes no longer array for one metric of a line."""


def stack_value(project: str, stack: str) -> str:
    """The dimension's value: which stack of which project the server belongs to."""
    return f"{project}/{stack}"
