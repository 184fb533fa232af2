"""``authenticate-oidc`` is a page on loopback: how the balancer's stand-in reaches it."""

import json
import sys
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from trackstack.embedded import sign_in
from trackstack.embedded.record import Registered
from trackstack.embedded.specs import ProcessSpec, TcpReady
from trackstack.embedded.standins.base import LOOPBACK, Host, Plan, known
from trackstack.embedded.state import SIGN_IN_PASSWORD

ACTION = "authenticate-oidc"
NAME = "sign-in"
_SESSION_SECONDS = 604800
"""A balancer's default (ELB API reference, AuthenticateOidcActionConfig)."""
_KEY = "sign-in/key"
_KEY_ID = "sign-in/key-id"


def port(host: Host) -> int:
    """The loopback port of the page."""
    return host.port(NAME)


def keys_url(host: Host) -> str:
    """What stands for the place where AWS publishes its balancers' keys."""
    return f"http://{LOOPBACK}:{port(host)}{sign_in.KEYS_PATH}"


def signs_in(owners: Iterable[tuple[Registered, str]]) -> Mapping[str, Any] | None:
    """The first declared action that signs people in, of resources with the name of an input."""
    for owner, key in owners:
        for action in known(owner, key, []):
            if action.get("type") == ACTION:
                found: Mapping[str, Any] = action.get("authenticateOidc") or {}
                return found
    return None


def add(plan: Plan, declared: Mapping[str, Any], balancer: Registered) -> None:
    """Add the process behind the page."""
    plan.host.secret(SIGN_IN_PASSWORD, lambda: uuid.uuid4().hex[:12])
    plan.host.secret(_KEY, sign_in.make_key)
    plan.host.secret(_KEY_ID, lambda: str(uuid.uuid4()))
    platform = {
        "signer": balancer.outputs["arn"],
        "iss": declared.get("issuer", ""),
        "client": declared.get("clientId", ""),
        "session_seconds": int(declared.get("sessionTimeout") or _SESSION_SECONDS),
    }
    where = f"http://{LOOPBACK}:{port(plan.host)}"
    plan.translated("identity provider", str(platform["iss"]), f"a page of this stack ({where})")
    plan.processes.append(
        ProcessSpec(
            name=NAME,
            service="balancer",
            urn=balancer.urn,
            argv=(sys.executable, "-m", sign_in.__name__),
            environment={
                "PATH": "/usr/bin:/bin",
                "PYTHONUNBUFFERED": "1",
                sign_in.PORT: str(port(plan.host)),
                sign_in.PLATFORM: json.dumps(platform, sort_keys=True),
            },
            secrets={
                sign_in.KEY: _KEY,
                sign_in.KEY_ID: _KEY_ID,
                sign_in.PASSWORD: SIGN_IN_PASSWORD,
            },
            ready=TcpReady(port(plan.host)),
            stop_seconds=5,
        )
    )


def handler(plan: Plan) -> dict[str, Any]:
    """Caddy's question to the page before a request goes on, and what it does with the answer."""
    replaced = (sign_in.DATA_HEADER, sign_in.IDENTITY_HEADER)
    return {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"{LOOPBACK}:{port(plan.host)}"}],
        "rewrite": {"method": "GET", "uri": sign_in.CHECK_PATH},
        "headers": {"request": {"set": {"X-Forwarded-Uri": ["{http.request.uri}"]}}},
        "handle_response": [
            {
                "match": {"status_code": [2]},
                "routes": [
                    {
                        "handle": [
                            {
                                "handler": "headers",
                                "request": {
                                    "set": {
                                        name: [f"{{http.reverse_proxy.header.{name}}}"]
                                        for name in replaced
                                    }
                                },
                            }
                        ]
                    }
                ],
            }
        ],
    }


def route(plan: Plan) -> dict[str, Any]:
    """The balancer's own paths; nothing behind it sees them."""
    return {
        "match": [{"path": [sign_in.PAGE_PATH, sign_in.ANSWER_PATH]}],
        "handle": [
            {
                "handler": "reverse_proxy",
                "upstreams": [{"dial": f"{LOOPBACK}:{port(plan.host)}"}],
            }
        ],
        "terminal": True,
    }
