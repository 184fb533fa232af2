"""The gate: who is asked, what is answered, and what nobody can pretend."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from trackstack.server.auth.gate import ATTESTED_HEADER, Gate, Refused, Scope, attested_user


class Behind:
    """What stands behind the gate: it remembers who came in."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        self.seen.append({k.decode(): v.decode() for k, v in scope.get("headers", [])})


def ask(
    path: str,
    headers: Mapping[str, str] | None = None,
    *,
    kind: str = "http",
    identify: Callable[[Scope], str | Refused] = lambda _: Refused("Who are you?"),
    asks_browsers: bool = True,
) -> tuple[Behind, list[dict[str, Any]]]:
    behind, sent = Behind(), []

    async def send(message: Any) -> None:
        sent.append(dict(message))

    async def receive() -> Any:
        raise AssertionError("an answer needs no body")

    encoded = [(k.lower().encode(), v.encode()) for k, v in (headers or {}).items()]
    scope = {"type": kind, "path": path, "method": "GET", "headers": encoded}
    asyncio.run(Gate(behind, identify, asks_browsers=asks_browsers)(scope, receive, send))
    return behind, sent


def test_whoever_brings_nothing_gets_no_further() -> None:
    behind, (start, body) = ask("/api/2.0/mlflow/experiments/search")
    assert behind.seen == []
    assert start["status"] == 401
    assert json.loads(body["body"]) == {
        "error_code": "UNAUTHENTICATED",
        "message": "Who are you?",
    }
    assert dict(start["headers"])[b"www-authenticate"] == b'Basic realm="mlflow"'


def test_a_path_that_nobody_thought_of_is_closed() -> None:
    assert ask("/a/route/of/tomorrow")[0].seen == []


def test_what_is_open_is_passed_on_without_a_name() -> None:
    behind, sent = ask("/health")
    assert behind.seen == [{}]
    assert sent == []


def test_whom_the_gate_lets_in_is_attested_to_those_behind_it() -> None:
    behind, _ = ask("/x", identify=lambda _: "ada@example.com")
    assert attested_user(behind.seen[0][ATTESTED_HEADER]) == "ada@example.com"


def test_a_name_beyond_ascii_arrives_as_it_is() -> None:
    behind, _ = ask("/x", identify=lambda _: "josé@example.com 😀")
    assert attested_user(behind.seen[0][ATTESTED_HEADER]) == "josé@example.com 😀"


@pytest.mark.parametrize("path", ["/health", "/x"])
def test_nobody_else_writes_what_the_gate_attests(path: str) -> None:
    behind, _ = ask(
        path, {ATTESTED_HEADER: "anything trackstack"}, identify=lambda _: "ada@example.com"
    )
    told = behind.seen[0].get(ATTESTED_HEADER)
    assert attested_user(told) == (None if path == "/health" else "ada@example.com")


@pytest.mark.parametrize(
    "header", [None, "", "trackstack", " trackstack", "guess trackstack", "é x"]
)
def test_what_the_gate_did_not_write_names_nobody(header: str | None) -> None:
    assert attested_user(header) is None


def test_a_browser_that_was_signed_in_elsewhere_is_not_asked_for_a_password() -> None:
    browser = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}
    _, (start, body) = ask("/", browser, asks_browsers=False)
    assert b"www-authenticate" not in dict(start["headers"])
    assert body["body"] == b"Who are you?\n"
    _, (start, _) = ask("/", asks_browsers=False)
    assert b"www-authenticate" in dict(start["headers"])


def test_who_is_known_but_not_admitted_is_told_so() -> None:
    _, (start, body) = ask("/x", identify=lambda _: Refused("Not you.", 403))
    assert start["status"] == 403
    assert json.loads(body["body"])["error_code"] == "PERMISSION_DENIED"
    assert b"www-authenticate" not in dict(start["headers"])


def test_a_websocket_is_closed() -> None:
    behind, sent = ask("/health", kind="websocket")
    assert behind.seen == []
    assert sent == [{"type": "websocket.close", "code": 1008}]
