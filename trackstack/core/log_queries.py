"""Questions to the servers' log, in CloudWatch Logs Insights' language, saved with the stack.

The log holds warnings and errors, what `migrate` and the credential say, and one line of figures a
worker and minute; not every request (the balancer's access logs do).
"""

from collections.abc import Mapping

from trackstack.core import server_metrics as server
from trackstack.core.log_lines import MIGRATION_STOPPED, TOKEN_NOT_RENEWED

_FIGURES = f"ispresent({server.REQUESTS_UNDER_WAY})"

ERRORS = (
    "fields @timestamp, @logStream, @message"
    f" | filter @message like /(?i)error|exception|traceback|{MIGRATION_STOPPED}/"
    f" and not {_FIGURES}"
    " | sort @timestamp desc | limit 200"
)

LOG_QUERIES: Mapping[str, str] = {
    # What went wrong, newest first.
    "errors": ERRORS,
    # Which task was slow when: the slowest requests of each minute lie in the line of figures.
    "slow-minutes": (
        f"filter {_FIGURES}"
        f" | stats max({server.REQUEST_MILLISECONDS}.0) as some_milliseconds,"
        f" max({server.REQUESTS_UNDER_WAY}) as under_way,"
        f" max({server.DATABASE_CONNECTIONS}) as connections,"
        f" sum({server.SERVER_ERRORS}) as errors by bin(5m), @logStream"
        " | sort under_way desc | limit 50"
    ),
    # Every migration, and the point in time to restore to.
    "migrations": (
        "fields @timestamp, @message | filter @logStream like /\\/migrate\\//"
        " | sort @timestamp desc | limit 200"
    ),
    # Renewals that failed and when they went well again.
    "database-token": (
        f"fields @timestamp, @logStream, @message | filter @message like /{TOKEN_NOT_RENEWED}/"
        " or @message like /The database token is renewed again/"
        " | sort @timestamp desc | limit 200"
    ),
    # How often each task was started, and when: a loop of restarts shows at once.
    "starts": (
        "filter @logStream like /\\/serve\\//"
        " | stats min(@timestamp) as first, max(@timestamp) as last, count(*) as lines"
        " by @logStream"
        " | sort first desc | limit 50"
    ),
}
"""Name to query; the stack saves each under ``<project>/<stack>/<name>``."""
