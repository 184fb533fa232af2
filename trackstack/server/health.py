"""The container's health check: does the server of this container answer?

It says nothing about the database on purpose: a database that is away for a minute must not make
ECS replace every task, because none of the new ones could start either.
"""

import http.client
import os
import sys

_TIMEOUT_SECONDS = 4
_OK = 200


def healthy() -> int:
    """Return 0 when ``/health`` on this container's port answers, else 1 and a sentence."""
    port = os.environ.get("MLFLOW_PORT", "")
    if not port.isdecimal():
        print(f"MLFLOW_PORT must be a port number, it is {port!r}.", file=sys.stderr)
        return 1
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=_TIMEOUT_SECONDS)
    path = os.environ.get("MLFLOW_STATIC_PREFIX", "") + "/health"
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        print(f"127.0.0.1:{port} doesn't answer: {error}.", file=sys.stderr)
        return 1
    finally:
        connection.close()
    if status != _OK:
        print(f"127.0.0.1:{port}{path} answers {status}.", file=sys.stderr)
        return 1
    return 0
