"""What a client exports besides the address: how long it waits, and through which relay it goes.

Left to itself MLflow's client hangs for 247 s a failed call on a server that refuses connections or
answers 503, and for 20 minutes on one that is silent. Measured with the values below (client
3.17.2): 13 s and 93 s.
"""

from collections.abc import Mapping

TRACKING_URI = "MLFLOW_TRACKING_URI"
CERTIFICATE_PATH = "MLFLOW_TRACKING_SERVER_CERT_PATH"
USERNAME = "MLFLOW_TRACKING_USERNAME"
PASSWORD = "MLFLOW_TRACKING_PASSWORD"  # noqa: S105 - a variable's name
TOKEN = "MLFLOW_TRACKING_TOKEN"  # noqa: S105 - the same
INSECURE = "MLFLOW_TRACKING_INSECURE_TLS"
RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"

RETRIES_MAX = 3
"""Waits of 0, 4 and 8 s, and some chance: a server that is restarted (5 s) is survived."""
TIMEOUT_SECONDS = 20
"""Of silence, for each of the four tries. An upload may take longer: what counts is the time that
the server needs after the last byte, to pass the file on to S3. 500 MB and more go there directly,
where clients reach S3."""

RELAY_HOST = "127.0.0.1"
RELAY_PORT = 5551
UPSTREAM = {
    TRACKING_URI: "TRACKSTACK_UPSTREAM",
    CERTIFICATE_PATH: "TRACKSTACK_UPSTREAM_CERTIFICATE",
    USERNAME: "TRACKSTACK_UPSTREAM_USERNAME",
    PASSWORD: "TRACKSTACK_UPSTREAM_PASSWORD",
    TOKEN: "TRACKSTACK_UPSTREAM_TOKEN",
    INSECURE: "TRACKSTACK_UPSTREAM_INSECURE_TLS",
}
"""What MLflow calls it, and what a relay's client calls it: where the relay ships to, and as whom.

Under their own names MLflow's client would send the credentials to whoever listens on the relay's
port of this machine."""
SECRETS = frozenset({PASSWORD, TOKEN, UPSTREAM[PASSWORD], UPSTREAM[TOKEN]})
"""Variables that prove who one is; no log may show them."""


def failing_fast(timeout_seconds: int = TIMEOUT_SECONDS) -> dict[str, str]:
    """Settings with which a call that can't be answered ends in an error, soon."""
    return {RETRIES: str(RETRIES_MAX), TIMEOUT: str(timeout_seconds)}


def relay_uri(port: int = RELAY_PORT) -> str:
    """Where clients of this machine find its relay."""
    return f"http://{RELAY_HOST}:{port}"


def through_relay(found: Mapping[str, str], token: str, port: int = RELAY_PORT) -> dict[str, str]:
    """The variables of a client that logs into the relay, which ships to where ``found`` leads.

    The timeout is MLflow's own: a relay answers at once, or hands through what is slow.
    """
    moved = {UPSTREAM.get(key, key): value for key, value in found.items() if key != TIMEOUT}
    return {TRACKING_URI: relay_uri(port), **moved, TOKEN: token}


def of_upstream(environment: Mapping[str, str]) -> dict[str, str]:
    """What a relay started in this environment ships to, in MLflow's own names.

    Where the environment knows an upstream, MLflow's own names are about the relay itself.
    """
    if not environment.get(UPSTREAM[TRACKING_URI]):
        return {key: environment[key] for key in UPSTREAM if environment.get(key)}
    return {key: environment[name] for key, name in UPSTREAM.items() if environment.get(name)}
