"""MLflow's auth app behind the gate: what uvicorn runs in the modes ``basic`` and ``oidc``."""

import os
import secrets
from typing import Any

import mlflow.server.auth as stock
from mlflow.exceptions import MlflowException
from mlflow.gateway.constants import MLFLOW_GATEWAY_AUTH_HEADER
from mlflow.server.constants import ARTIFACTS_ONLY_ENV_VAR, BACKEND_STORE_URI_ENV_VAR
from starlette.requests import Request
from werkzeug.datastructures import Authorization

from trackstack.core import access
from trackstack.core import server_environment as names
from trackstack.server.auth.decisions import remember
from trackstack.server.auth.environment import read_provider
from trackstack.server.auth.gate import ATTESTED_HEADER, Gate, Refused, Scope, attested_user
from trackstack.server.auth.oidc import NotAdmitted, NotProved, Verifier
from trackstack.server.environment import Reader
from trackstack.server.ids import take_ids

_NO_CREDENTIALS = (
    "You are not signed in: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    " (`trackstack env` prints them)."
)
_WRONG_CREDENTIALS = "There is no such user, or the password is wrong."


def create_app() -> Gate:
    """Return the application; uvicorn calls it in each worker."""
    if os.environ.get(ARTIFACTS_ONLY_ENV_VAR):
        # MLflow makes a tracking store whenever it judges a path of an artifact, and without an
        # address that is a stray mlflow.db. Its command refuses one beside --artifacts-only.
        os.environ[BACKEND_STORE_URI_ENV_VAR] = stock.auth_config.database_uri
    take_ids()
    app = stock.create_app()
    remember(stock)
    if os.environ.get(names.ACCESS) == access.OIDC:
        reader = Reader()
        provider = read_provider(reader)
        reader.close("serve")
        return Gate(app, _ByWordOrPassword(Verifier(provider)), asks_browsers=False)
    return Gate(app, by_password, asks_browsers=True)


def by_password(scope: Scope) -> str | Refused:
    """Return whose Basic credentials a request carries."""
    request = Request(scope)
    if not _brings_password(request):
        return Refused(_NO_CREDENTIALS)
    user = stock._authenticate_fastapi_request(request)  # noqa: SLF001 - pinned version
    return Refused(_WRONG_CREDENTIALS) if user is None else str(user.username)


class _ByWordOrPassword:
    """Basic credentials where there are any, else the balancer's signed word."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    def __call__(self, scope: Scope) -> str | Refused:
        """Return who asks."""
        request = Request(scope)
        word = request.headers.get(access.SIGNED_DATA_HEADER)
        # The balancer forwards whatever carries Basic credentials: beside them its word is not
        # its own.
        if _brings_password(request) or not word:
            return by_password(scope)
        try:
            name = self._verifier.user(word)
        except NotProved as problem:
            return Refused(str(problem))
        except NotAdmitted as problem:
            return Refused(str(problem), status=403)
        _make_user(name)
        return name


def _make_user(name: str) -> None:
    """Give somebody who comes for the first time a user, with a password that nobody has."""
    if stock.store.has_user(name):
        return
    try:
        stock.store.create_user(name, secrets.token_urlsafe(32))
    except MlflowException:
        if not stock.store.has_user(name):  # another worker was not faster: it failed
            raise


def _brings_password(request: Request) -> bool:
    if request.headers.get(MLFLOW_GATEWAY_AUTH_HEADER):
        return True
    return request.headers.get("authorization", "").lower().startswith("basic ")


def attested() -> Any:
    """MLflow's ``authorization_function`` in ``oidc``: whom the gate let in, and nobody else."""
    import flask  # noqa: PLC0415 - typed by nobody here

    name = attested_user(flask.request.headers.get(ATTESTED_HEADER))
    if name is None:
        return stock.make_basic_auth_response()
    return Authorization("basic", {"username": name})
