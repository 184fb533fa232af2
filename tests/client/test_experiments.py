"""Experiments on a real server: bootstrap, and what they are used for.

Permissions need a server with users: ``tests/live/test_bootstrap.py``.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client.tracking_server import serving
from trackstack.client.errors import ClientError
from trackstack.client.experiments import Bootstrap, standard_of, uses
from trackstack.client.server import Server
from trackstack.client.tracking import Tracking
from trackstack.client.users import Users
from trackstack.core.experiments import Declared

pytestmark = pytest.mark.xdist_group("tracking-server")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("mlflow"), empty=empty_database) as found:
        yield Server(found.uri, timeout=60)


@pytest.fixture
def tracking(server: Server) -> Tracking:
    return Tracking(server, rest=0)


@pytest.fixture
def bootstrap(server: Server, tracking: Tracking) -> Bootstrap:
    return Bootstrap(tracking, Users(server))


@pytest.fixture
def name() -> str:
    return f"churn-{uuid.uuid4().hex[:8]}"


def apply(bootstrap: Bootstrap, declared: list[Declared], pattern: str = "") -> list[str]:
    todo = bootstrap.plan(declared, pattern)
    for change in todo:
        bootstrap.apply(change)
    return [change.what for change in todo]


def experiment(tracking: Tracking, name: str) -> dict[str, Any]:
    found: dict[str, Any] = tracking.ask("GET", f"experiments/get-by-name?experiment_name={name}")
    return dict(found["experiment"])


def tags(tracking: Tracking, name: str) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in experiment(tracking, name).get("tags", [])}


def make_runs(tracking: Tracking, experiment_id: str, number: int) -> None:
    for start in range(1, number + 1):
        tracking.ask("POST", "runs/create", {"experiment_id": experiment_id, "start_time": start})


def test_bootstrap_makes_what_is_declared_and_then_nothing_more(
    bootstrap: Bootstrap, tracking: Tracking, name: str
) -> None:
    declared = [Declared(name, {"team": "growth", "empty": ""})]
    assert apply(bootstrap, declared) == ["create", "tag", "tag"]
    assert tags(tracking, name)["team"] == "growth"
    assert apply(bootstrap, declared) == []


def test_bootstrap_leaves_alone_what_nobody_declared(
    bootstrap: Bootstrap, tracking: Tracking, name: str
) -> None:
    apply(bootstrap, [Declared(name, {"team": "growth"})])
    body = {"experiment_id": experiment(tracking, name)["experiment_id"], "key": "own"}
    tracking.ask("POST", "experiments/set-experiment-tag", {**body, "value": "x"})
    assert apply(bootstrap, [Declared(name, {"team": "risk"})]) == ["tag"]
    assert tags(tracking, name).items() >= {"own": "x", "team": "risk"}.items()
    assert apply(bootstrap, [Declared(name)]) == []
    assert tags(tracking, name)["team"] == "risk"


def test_a_declared_experiment_that_was_deleted_comes_back_with_its_runs(
    bootstrap: Bootstrap, tracking: Tracking, name: str
) -> None:
    apply(bootstrap, [Declared(name)])
    body = {"experiment_id": experiment(tracking, name)["experiment_id"]}
    make_runs(tracking, body["experiment_id"], 1)
    tracking.ask("POST", "experiments/delete", body)
    assert apply(bootstrap, [Declared(name)]) == ["restore"]
    assert tracking.count(body["experiment_id"])[0] == 1
    assert apply(bootstrap, [Declared(name)]) == []


def test_two_that_make_the_same_experiment_at_once_both_succeed(
    server: Server, bootstrap: Bootstrap, tracking: Tracking, name: str
) -> None:
    declared = [Declared(name, {"team": "growth"})]
    todo = bootstrap.plan(declared, "")
    assert apply(Bootstrap(tracking, Users(server)), declared) == ["create", "tag"]
    for change in todo:
        bootstrap.apply(change)
    assert tags(tracking, name)["team"] == "growth"


def test_the_standard_is_told_to_whoever_asks_the_server_and_can_be_dropped(
    bootstrap: Bootstrap, tracking: Tracking, name: str
) -> None:
    assert standard_of(tracking.experiments()) is None
    apply(bootstrap, [Declared(name)])
    assert apply(bootstrap, [], "v{model_version}") == ["standard"]
    assert apply(bootstrap, [], "v{model_version}") == []
    told = {use.name: use.wrong for use in uses(tracking)}
    assert told[name].startswith(f"{name!r} breaks the standard v{{model_version}}: ")
    assert told["Default"] == ""
    assert apply(bootstrap, []) == ["standard"]
    assert standard_of(tracking.experiments()) is None


def test_runs_are_counted_exactly_whatever_one_guesses(
    bootstrap: Bootstrap, tracking: Tracking, name: str
) -> None:
    apply(bootstrap, [Declared(name)])
    experiment_id = experiment(tracking, name)["experiment_id"]
    assert tracking.count(experiment_id) == (0, 0)
    for number in range(1, 20):
        body = {"experiment_id": experiment_id, "start_time": number}
        tracking.ask("POST", "runs/create", body)
        for guess in (0, 1, number - 1, number, number + 1, 50):
            assert tracking.count(experiment_id, guess) == (number, number)
    found = next(use for use in uses(tracking) if use.name == name)
    assert (found.runs, found.last_run and found.last_run.timestamp()) == (19, 0.019)


def test_a_right_guess_costs_two_questions_and_runs_are_not_read(
    tracking: Tracking, bootstrap: Bootstrap, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(bootstrap, [Declared(name)])
    experiment_id = experiment(tracking, name)["experiment_id"]
    make_runs(tracking, experiment_id, 40)
    asked: list[int] = []
    search = tracking._search
    monkeypatch.setattr(
        tracking,
        "_search",
        lambda path, body: asked.append(body["max_results"]) or search(path, body),  # type: ignore[func-returns-value]
    )
    assert tracking.count(experiment_id, 40)[0] == 40
    assert asked == [1, 1]
    asked.clear()
    assert tracking.count(experiment_id)[0] == 40
    assert len(asked) <= 12
    assert set(asked) == {1}


def test_a_server_with_other_page_tokens_is_counted_page_by_page(
    tracking: Tracking, bootstrap: Bootstrap, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(bootstrap, [Declared(name)])
    experiment_id = experiment(tracking, name)["experiment_id"]
    make_runs(tracking, experiment_id, 7)
    runs = tracking.runs

    def pages(*args: Any, token: str = "", **more: Any) -> Any:
        found, following = runs(*args, token=token.removeprefix("other:"), **more | {"most": 3})
        return found, following and f"other:{following}"

    monkeypatch.setattr(tracking, "runs", pages)
    assert tracking.count(experiment_id)[0] == 7


def test_a_platform_that_is_away_is_one_sentence() -> None:
    with pytest.raises(ClientError, match=r"^http://127\.0\.0\.1:9 does not answer: .*refused\.$"):
        list(Tracking(Server("http://127.0.0.1:9")).experiments())
