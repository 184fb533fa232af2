"""Who may use the platform, and by what: the words that program, server and clients share.

``none`` asks nobody and relies on the network. ``basic`` has users and passwords. In ``oidc`` the
balancer signs browsers in, and programs bring a password as in ``basic``, because no training job
can follow a redirect to a sign-in page.
"""

from trackstack.core.policies import partition_of

NONE = "none"
BASIC = "basic"
OIDC = "oidc"

ADMIN_USER = "trackstack"
"""May do everything; its password is generated. Nobody signs in by this name from outside."""
CLIENT_USER = "client"
"""What ``trackstack env`` hands to jobs: no admin, with the permission that everybody has."""
RESERVED_USERS = frozenset({ADMIN_USER, CLIENT_USER})
PASSWORD_LENGTH_MIN = 12
"""MLflow's own limit (``mlflow.utils.validation``)."""

HEALTH_PATH = "/health"
SERVER_INFO_PATH = "/api/3.0/mlflow/server-info"
"""What the server can do; a client reads it before it signs in."""
OPEN_PATHS = frozenset({HEALTH_PATH, "/favicon.ico", SERVER_INFO_PATH})
OPEN_PREFIX = "/static-files/"
"""The UI's scripts and pictures, the same in every MLflow."""

SIGNED_DATA_HEADER = "x-amzn-oidc-data"
"""The claims of whom the balancer signed in, as a token that the balancer signed."""


def is_open(path: str) -> bool:
    """Whether a path needs no credentials; anything that isn't listed needs them."""
    return path in OPEN_PATHS or path.startswith(OPEN_PREFIX)


def balancer_keys_url(region: str) -> str:
    """Where AWS publishes the public keys that balancers of a region sign with.

    Source: Elastic Load Balancing User Guide, "Authenticate users", signature verification.
    """
    if partition_of(region) == "aws-us-gov":
        return f"https://s3-{region}.amazonaws.com/aws-elb-public-keys-prod-{region}"
    return f"https://public-keys.auth.elb.{region}.amazonaws.com"
