"""What is remembered of who may do what, and what is not."""

import ast
import contextlib
import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trackstack.server.auth import decisions
from trackstack.server.auth.decisions import SECONDS, Memory


class Asked:
    """A question that counts how often it was put."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.times = 0

    def __call__(self, *_: Any) -> Any:
        self.times += 1
        return self.answer


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_yes_is_asked_once_in_some_seconds() -> None:
    clock, may = Clock(), Asked(answer=True)
    asked = Memory(clock).remembering(may)
    assert [asked("ada", ("run", "1"), ["read"]) for _ in range(5)] == [True] * 5
    assert may.times == 1
    clock.now = SECONDS - 0.1
    asked("ada", ("run", "1"), ["read"])
    assert may.times == 1
    clock.now = SECONDS
    may.answer = False
    assert asked("ada", ("run", "1"), ["read"]) is False


def test_a_no_is_asked_every_time() -> None:
    may = Asked(answer=False)
    asked = Memory().remembering(may)
    assert asked("ada") is False
    may.answer = True
    assert asked("ada") is True


@pytest.mark.parametrize(
    "other",
    [
        ("bob", ("run", "1"), ["read"]),
        ("ada", ("run", "2"), ["read"]),
        ("ada", ("run", "1"), ["update"]),
    ],
)
def test_an_answer_is_for_nobody_and_nothing_else(other: tuple[Any, ...]) -> None:
    may = Asked(answer=True)
    asked = Memory().remembering(may)
    asked("ada", ("run", "1"), ["read"])
    may.answer = False
    assert asked(*other) is False


def test_what_has_no_hash_is_asked_every_time() -> None:
    may = Asked(answer=True)
    asked = Memory().remembering(may)
    assert asked({"run_id": []})
    assert asked({"run_id": []})
    assert may.times == 2


def test_an_answer_that_a_change_overtook_is_not_kept() -> None:
    memory = Memory()

    def may(_: str) -> bool:
        memory.forget()  # somebody revokes while the question is on its way
        return answers.pop()

    answers = [False, True]
    asked = memory.remembering(may)
    assert asked("ada") is True
    assert asked("ada") is False


class Store:
    """MLflow's user store, as far as it matters."""

    def __init__(self) -> None:
        self.reads = 0
        self.db_uri = "postgresql://"

    def get_user(self, name: str) -> str:
        self.reads += 1
        return name

    def list_grants(self, user_id: int) -> list[str]:
        return [f"read {user_id}"]

    def revoke(self, *, ok: bool = True) -> None:
        if not ok:
            raise ValueError("torn")


def auth_app(denied: set[str]) -> Any:
    """A module like MLflow's, with a handler that parses an answer."""
    parsed: list[Any] = []
    app = SimpleNamespace(
        store=Store(),
        parsed=parsed,
        authorize=Asked(answer=True),
        _run_requirement=Asked(answer=("experiment", [])),
        RESOURCE_TYPE_LOGGED_MODEL="logged_model",
        authenticate_request=lambda: SimpleNamespace(username="ada"),
        _denied_sibling_tiers=lambda user, types: denied & set(types) if user == "ada" else set(),
    )
    for name in ("get_run_model_links", "search_runs_model_links", "metric_history_model_ids"):
        setattr(app, f"redact_{name}", lambda answer, name=name: parsed.append((name, answer)))
    app.AFTER_REQUEST_HANDLERS = {
        ("/runs/search", "POST"): app.redact_search_runs_model_links,
        ("/experiments/create", "POST"): lambda answer: parsed.append(("created", answer)),
    }
    decisions.remember(app)
    return app


@pytest.mark.parametrize("ok", [True, False])
def test_whatever_changes_the_store_is_known_at_once(ok: bool) -> None:
    app = auth_app(set())
    assert (app.store.get_user("ada"), app.store.get_user("ada")) == ("ada", "ada")
    assert app.store.reads == 1
    with contextlib.nullcontext() if ok else pytest.raises(ValueError, match="torn"):
        app.store.revoke(ok=ok)
    assert app.store.get_user("ada") == "ada"
    assert app.store.reads == 2


def test_reading_grants_is_no_change() -> None:
    app = auth_app(set())
    app.store.get_user("ada")
    assert app.store.list_grants(7) == ["read 7"]
    assert app.store.db_uri == "postgresql://"
    app.store.get_user("ada")
    assert app.store.reads == 1


def test_runs_are_parsed_for_those_alone_to_whom_models_are_denied() -> None:
    open_to_all, strict = auth_app(set()), auth_app({"logged_model"})
    for app in (open_to_all, strict):
        for handler in app.AFTER_REQUEST_HANDLERS.values():
            handler("answer")
    assert open_to_all.parsed == [("created", "answer")]
    assert strict.parsed == [("search_runs_model_links", "answer"), ("created", "answer")]


def test_no_method_that_writes_passes_for_a_reading_one() -> None:
    """MLflow's own store, read and not imported: its auth app wants what only a server has."""
    package = importlib.util.find_spec("mlflow")
    assert package
    assert package.origin
    source = (Path(package.origin).parent / "server/auth/sqlalchemy_store.py").read_text()
    (store,) = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == "SqlAlchemyStore"
    ]
    methods = [node for node in store.body if isinstance(node, ast.FunctionDef)]
    writing = {one.name for one in methods if "read_only=False" in ast.unparse(one)}
    reading = {one.name for one in methods if one.name.startswith(decisions._READING)}
    assert len(writing) > 20
    assert not writing & reading
    assert {"get_user", "list_grants", "authenticate_user"} <= reading
