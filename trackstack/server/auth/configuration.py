"""The file that MLflow's auth app reads, written anew at every start.

It names the database and holds no secret: users and hashes are in the database, and the database's
own credential is in the password file.
"""

from collections.abc import Mapping

from trackstack.core import access
from trackstack.server.auth.environment import Access

CACHE_SECONDS = 60
"""A password is hashed once in so long for each worker: 5.5 → 130 requests a second. It is also
how long a removed user may go on."""
ATTESTED = "trackstack.server.auth.app:attested"
STOCK = "mlflow.server.auth:authenticate_request_basic_auth"


def auth_configuration(rules: Access, store_uri: str) -> str:
    """Return the text of the file."""
    values: Mapping[str, str] = {
        "default_permission": rules.default_permission,
        "database_uri": store_uri,
        "admin_username": access.ADMIN_USER,
        # With a function of one's own MLflow's UI no longer offers to change a password: right
        # where browsers have none, wrong in `basic`.
        "authorization_function": STOCK if rules.provider is None else ATTESTED,
        "auth_cache_ttl_seconds": str(CACHE_SECONDS),
    }
    # configparser takes a single % for the beginning of a reference.
    lines = [f"{key} = {value.replace('%', '%%')}" for key, value in values.items()]
    return "\n".join(("[mlflow]", *lines, ""))
