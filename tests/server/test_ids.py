"""Runs and models take the id that their client chose, once and for nobody else."""

import threading
import uuid
from typing import Any

import pytest

pytestmark = pytest.mark.live

API = "/api/2.0/mlflow"
TAG = "trackstack.id"


@pytest.fixture(scope="module")
def experiment(server: Any) -> str:
    return made_experiment(server)


def made_experiment(server: Any) -> str:
    status, answer = server.request(
        "POST", f"{API}/experiments/create", {"name": f"ids-{uuid.uuid4().hex[:8]}"}
    )
    assert status == 200, answer
    return str(answer["experiment_id"])


def run_body(experiment: str, run_id: str, **more: Any) -> dict[str, Any]:
    tags = [{"key": TAG, "value": run_id}, {"key": "kind", "value": "test"}]
    return {"experiment_id": experiment, "start_time": 1_700_000_000_000, "tags": tags, **more}


def model_body(experiment: str, model_id: str, **more: Any) -> dict[str, Any]:
    tags = [{"key": TAG, "value": model_id}]
    return {"experiment_id": experiment, "name": "net", "tags": tags, **more}


def create_run(server: Any, body: dict[str, Any]) -> tuple[int, Any]:
    answer: tuple[int, Any] = server.request("POST", f"{API}/runs/create", body)
    return answer


def create_model(server: Any, body: dict[str, Any]) -> tuple[int, Any]:
    answer: tuple[int, Any] = server.request("POST", f"{API}/logged-models", body)
    return answer


def new_id() -> str:
    return uuid.uuid4().hex


def test_a_run_gets_the_id_that_its_client_chose(server: Any, experiment: str) -> None:
    chosen = new_id()
    status, answer = create_run(server, run_body(experiment, chosen, run_name="mine"))
    assert status == 200, answer
    info = answer["run"]["info"]
    assert (info["run_id"], info["run_uuid"], info["run_name"]) == (chosen, chosen, "mine")
    assert info["artifact_uri"].endswith(f"/{experiment}/{chosen}/artifacts")
    status, found = server.request("GET", f"{API}/runs/get?run_id={chosen}")
    assert status == 200
    assert found["run"]["info"] == info
    assert {"key": "kind", "value": "test"} in found["run"]["data"]["tags"]


def test_a_model_gets_the_id_that_its_client_chose(server: Any, experiment: str) -> None:
    chosen = f"m-{new_id()}"
    params = [{"key": "depth", "value": "3"}]
    status, answer = create_model(server, model_body(experiment, chosen, params=params))
    assert status == 200, answer
    info = answer["model"]["info"]
    assert info["model_id"] == chosen
    assert info["artifact_uri"].endswith(f"/{experiment}/models/{chosen}/artifacts")
    status, found = server.request("GET", f"{API}/logged-models/{chosen}")
    assert status == 200
    assert found["model"]["data"]["params"] == params
    assert found["model"]["info"]["tags"] == [{"key": TAG, "value": chosen}]


def test_a_create_that_is_sent_again_is_answered_with_the_run_it_made(
    server: Any, experiment: str, migrated_for_all: Any
) -> None:
    body = run_body(experiment, new_id())
    first = create_run(server, body)
    assert first[0] == 200
    point = {"run_id": body["tags"][0]["value"], "key": "loss", "value": 1, "timestamp": 1}
    assert server.request("POST", f"{API}/runs/log-metric", point)[0] == 200
    again = create_run(server, body)
    assert again[0] == 200, again[1]
    assert again[1]["run"]["info"] == first[1]["run"]["info"]
    by_key = [sorted(one[1]["run"]["data"]["tags"], key=str) for one in (first, again)]
    assert by_key[0] == by_key[1]
    assert "metrics" not in again[1]["run"]["data"]
    rows = "SELECT count(*) FROM runs WHERE run_uuid = %s"
    assert migrated_for_all.query(rows, point["run_id"]) == [(1,)]


def test_a_models_create_that_is_sent_again_is_answered_with_the_model_it_made(
    server: Any, experiment: str
) -> None:
    _, run = create_run(server, run_body(experiment, new_id()))
    source = run["run"]["info"]["run_id"]
    body = model_body(experiment, f"m-{new_id()}", source_run_id=source)
    first, again = create_model(server, body), create_model(server, body)
    assert first[0] == again[0] == 200
    assert again == first


def test_creates_of_one_id_that_come_together_make_one_run(
    migrated: Any, start: Any, wait: Any
) -> None:
    server = start("serve", {**migrated.environment(), "MLFLOW_WORKERS": "2"})
    server.wait_until_healthy()
    experiment = made_experiment(server)
    for _ in range(5):
        chosen, model = new_id(), f"m-{new_id()}"
        answers: list[tuple[int, str]] = []
        ready = threading.Barrier(8)

        def ask(
            number: int,
            chosen: str = chosen,
            model: str = model,
            answers: list[tuple[int, str]] = answers,
            ready: threading.Barrier = ready,
        ) -> None:
            ready.wait()
            if number % 2:
                status, answer = create_run(server, run_body(experiment, chosen))
                answers.append((status, answer["run"]["info"]["run_id"]))
            else:
                status, answer = create_model(server, model_body(experiment, model))
                answers.append((status, answer["model"]["info"]["model_id"]))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) == sorted([(200, chosen)] * 4 + [(200, model)] * 4)
    assert migrated.query("SELECT count(*) FROM runs") == [(5,)]
    assert migrated.query("SELECT count(*) FROM logged_models") == [(5,)]


@pytest.mark.parametrize(
    "chosen", ["", "x", "A" * 32, "a" * 31, "a" * 33, f"m-{'a' * 32}", f"{'a' * 32}\n", "é" * 32]
)
def test_a_tag_that_is_no_id_is_refused(server: Any, experiment: str, chosen: str) -> None:
    status, answer = create_run(server, run_body(experiment, chosen))
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert answer["message"] == (
        "The tag trackstack.id is reserved for the id of the run, 32 lowercase hexadecimal"
        f" digits; it is {chosen!r}."
    )


@pytest.mark.parametrize("chosen", ["a" * 32, "m-", f"m-{'A' * 32}", f"m-{'a' * 32}x"])
def test_a_tag_that_is_no_models_id_is_refused(server: Any, experiment: str, chosen: str) -> None:
    status, answer = create_model(server, model_body(experiment, chosen))
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "id of the model, m- and 32 lowercase hexadecimal digits" in answer["message"]


def test_an_id_of_something_else_is_refused_and_nothing_is_told_of_it(
    server: Any, experiment: str
) -> None:
    secret = [{"key": "secret", "value": "hidden"}]
    stock = {"experiment_id": experiment, "start_time": 1, "tags": secret, "run_name": "hidden"}
    _, foreign = create_run(server, stock)
    theirs = foreign["run"]["info"]["run_id"]
    body = run_body(experiment, new_id())
    assert create_run(server, body)[0] == 200
    ours = body["tags"][0]["value"]
    for claim in (
        run_body(experiment, theirs, start_time=1),  # MLflow chose it
        run_body(made_experiment(server), ours),  # it is in another experiment
        {**body, "start_time": 2},  # another run that was given the same tags, such as a copy
    ):
        claimed = claim["tags"][0]["value"]
        status, answer = create_run(server, claim)
        assert (status, answer["error_code"]) == (400, "RESOURCE_ALREADY_EXISTS")
        assert answer["message"] == (
            f"The run id {claimed} is taken, and not by this request: choose another in the tag"
            " trackstack.id, or leave the tag out."
        )
        assert "hidden" not in str(answer)


def test_a_models_id_of_something_else_is_refused(server: Any, experiment: str) -> None:
    _, foreign = create_model(server, {"experiment_id": experiment, "name": "hidden"})
    body = model_body(experiment, f"m-{new_id()}")
    assert create_model(server, body)[0] == 200
    ours = body["tags"][0]["value"]
    for claim in (
        model_body(experiment, foreign["model"]["info"]["model_id"]),
        model_body(made_experiment(server), ours),
        {**body, "source_run_id": new_id()},
    ):
        status, answer = create_model(server, claim)
        assert (status, answer["error_code"]) == (400, "RESOURCE_ALREADY_EXISTS")
        assert "hidden" not in str(answer)


def test_what_is_wrong_with_a_create_is_told_as_mlflow_does(server: Any, experiment: str) -> None:
    for more in ({"experiment_id": "987654321"}, {"run_name": "a", "tags": None}):
        plain = {"experiment_id": experiment, "start_time": 1, **more}
        names = [{"key": "mlflow.runName", "value": "b"}]
        stock = create_run(server, {**plain, "tags": names})
        chosen = create_run(server, {**plain, "tags": [*names, {"key": TAG, "value": new_id()}]})
        assert stock[0] >= 400
        assert chosen == stock
    # A key twice breaks a constraint as well, but not the one of the id.
    twice = run_body(experiment, new_id())
    twice["tags"] *= 2
    assert create_run(server, twice)[0] == 400
    assert server.request("GET", f"{API}/runs/get?run_id={twice['tags'][0]['value']}")[0] == 404


def test_an_id_costs_no_statement_and_its_absence_none_either(
    server: Any, experiment: str, migrated_for_all: Any
) -> None:
    def statements(body: dict[str, Any]) -> list[str]:
        log = migrated_for_all.postgres.log
        before = len(log())
        assert create_run(server, body)[0] == 200
        told = log()[before:]
        # The verb and its table: the values differ.
        lines = [line.partition("statement: ")[2] for line in told.splitlines()]
        return [" ".join(line.split()[:3]) for line in lines if line]

    plain = {"experiment_id": experiment, "start_time": 1, "tags": [{"key": "k", "value": "v"}]}
    one = {**plain, "tags": [{"key": TAG, "value": new_id()}]}
    assert statements(one) == statements(plain)
    assert "INSERT INTO runs" in statements(plain)


def test_without_the_tag_two_creates_are_two_runs(server: Any, experiment: str) -> None:
    body = {"experiment_id": experiment, "start_time": 1, "run_name": "same"}
    first, second = create_run(server, body), create_run(server, body)
    assert first[0] == second[0] == 200
    assert first[1]["run"]["info"]["run_id"] != second[1]["run"]["info"]["run_id"]


def test_a_deleted_run_is_still_the_answer_and_one_that_is_gone_is_made_anew(
    server: Any, experiment: str, migrated_for_all: Any
) -> None:
    body = run_body(experiment, new_id())
    run_id = body["tags"][0]["value"]
    assert create_run(server, body)[0] == 200
    assert server.request("POST", f"{API}/runs/delete", {"run_id": run_id})[0] == 200
    status, answer = create_run(server, body)
    assert (status, answer["run"]["info"]["lifecycle_stage"]) == (200, "deleted")
    migrated_for_all.query("DELETE FROM tags WHERE run_uuid = %s", run_id)
    migrated_for_all.query("DELETE FROM runs WHERE run_uuid = %s", run_id)
    status, answer = create_run(server, body)
    assert (status, answer["run"]["info"]["lifecycle_stage"]) == (200, "active")
