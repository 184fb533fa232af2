"""Behind a server that answers: name, user, database, version, clock, artifacts."""

import json
import re
import time
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.client.doctor.planted import ARTIFACTS, DEFAULT, SEARCH, Answer, Client, Planted

DENIED = (401, {}, b'{"error_code": "UNAUTHENTICATED", "message": "no"}')
FORBIDDEN = (403, {}, b'{"error_code": "PERMISSION_DENIED", "message": "Permission denied"}')


def asks_for(header: str) -> Callable[[BaseHTTPRequestHandler], Answer]:
    def answer(request: BaseHTTPRequestHandler) -> Answer:
        if request.headers.get("Authorization") != header:
            return DENIED
        return 200, {}, json.dumps({"experiments": []}).encode()

    return answer


def test_a_name_that_the_server_refuses(client: Client, server: Planted) -> None:
    refused = b"Invalid Host header - possible DNS rebinding attack detected"
    server.answers[SEARCH] = (403, {"Content-Type": "text/plain"}, refused)
    assert client.ill() == {"host header": "error"}
    found = client.finding("host header")
    assert found.command.startswith("export MLFLOW_SERVER_ALLOWED_HOSTS='127.0.0.1,127.0.0.1:*,")
    assert client.finding("credentials").sentence == "First mend what is wrong with: host header."


def test_credentials_that_are_missing_or_wrong_or_right(client: Client, server: Planted) -> None:
    server.answers[SEARCH] = asks_for("Basic YWRhOnNlY3JldA==")
    found = client.finding("credentials")
    assert "asks for a user and a password, and none are set" in found.sentence
    assert found.command == 'eval "$(trackstack env)"'
    client.environment |= {
        "MLFLOW_TRACKING_USERNAME": "ada",
        "MLFLOW_TRACKING_PASSWORD": "wrong-secret",
    }
    assert "those of 'ada' are set" in client.finding("credentials").sentence
    assert "wrong-secret" not in repr(client.findings())
    client.environment["MLFLOW_TRACKING_PASSWORD"] = "secret"
    assert client.ill() == {}


def test_credentials_of_mlflows_own_file_and_a_token_are_used(
    client: Client, server: Planted
) -> None:
    client.environment["MLFLOW_TRACKING_TOKEN"] = "abc"
    server.answers[SEARCH] = asks_for("Bearer abc")
    assert client.finding("credentials").level == "ok"
    file = client.folder.parent / ".mlflow" / "credentials"
    file.parent.mkdir()
    file.write_text(
        "[mlflow]\nmlflow_tracking_username = ada\nmlflow_tracking_password = sec%ret\n"
    )
    server.answers[SEARCH] = asks_for("Basic YWRhOnNlYyVyZXQ=")
    assert client.finding("credentials").sentence == "those of 'ada' are set"


def test_a_user_who_may_nothing(client: Client, server: Planted) -> None:
    server.answers[SEARCH] = FORBIDDEN
    assert client.ill() == {"credentials": "error"}
    assert "Permission denied" in client.finding("credentials").sentence


@pytest.mark.parametrize("answer", [DENIED, FORBIDDEN])
def test_signatures_that_are_not_known_here_are_not_judged(
    client: Client, server: Planted, answer: Answer
) -> None:
    client.environment["MLFLOW_TRACKING_AWS_SIGV4"] = "true"
    server.answers[SEARCH] = answer
    assert client.finding("credentials").level == "not judged"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((503, {}, b'{"message": "could not connect to server"}'), "database is away (503: could"),
        ((500, {}, b'{"message": "no such table: experiments"}'), "database is away (500: no such"),
        ((404, {}, b"<html>"), "has no MLflow API (404"),
        ((200, {"Content-Type": "text/html"}, b"<html>"), "has no MLflow API (200"),
        ((503, {}, b"Endpoint disabled: running in `--artifacts-only` mode"), "artifacts only"),
    ],
)
def test_health_is_no_proof_of_a_database(
    client: Client, server: Planted, answer: Answer, said: str
) -> None:
    server.answers[SEARCH] = answer
    assert client.finding("server").level == "ok"
    assert client.finding("database").level == "error"
    assert said in client.finding("database").sentence


def test_a_database_that_hangs_is_not_waited_for(client: Client, server: Planted) -> None:
    def hang(_: BaseHTTPRequestHandler) -> Answer:
        time.sleep(3)
        return 200, {}, b"{}"

    client.timeout = 0.3
    server.answers[SEARCH] = hang
    found = client.finding("database")
    assert "answers /health, but not a search" in found.sentence
    assert found.command == "trackstack run -- python train.py"


@pytest.mark.parametrize(
    ("client_has", "server_has", "level"),
    [
        ("3.17.2", "3.17.2", "ok"),
        ("3.5.0", "3.17.2", "ok"),
        ("2.16.2", "3.17.2", "ok"),
        ("3.17.2", "3.17.0", "ok"),
        ("3.17.2", "3.5.0", "warning"),
        ("3.17.2", "2.22.1", "error"),
        ("1.30.0", "3.17.2", "warning"),
        ("3.18.0rc1", "3.17.2", "warning"),
    ],
)
def test_versions_that_do_not_fit(  # noqa: PLR0917 - fixtures
    client: Client,
    server: Planted,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    client_has: str,
    server_has: str,
    level: str,
) -> None:
    about = tmp_path / "site" / f"mlflow-{client_has}.dist-info" / "METADATA"
    about.parent.mkdir(parents=True)
    about.write_text(f"Metadata-Version: 2.1\nName: mlflow\nVersion: {client_has}\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    server.answers["/version"] = (200, {}, server_has.encode())
    found = client.finding("versions")
    assert found.level == level
    assert f"MLflow {client_has} here, {server_has} at the server" in found.sentence
    assert found.command == ("" if level == "ok" else f"pip install 'mlflow=={server_has}'")


def test_a_server_that_keeps_its_version_to_itself(client: Client, server: Planted) -> None:
    server.answers["/version"] = (404, {}, b"no")
    assert client.finding("versions").level == "not judged"


@pytest.mark.parametrize(
    ("off", "level", "said"),
    [
        (5, "ok", "agrees"),
        (100, "warning", "clock is 100 s ahead of"),
        (-100, "warning", "clock is 100 s behind"),
        (3600, "error", "60 minutes ahead of"),
    ],
)
def test_a_clock_that_is_off(
    client: Client, server: Planted, off: int, level: str, said: str
) -> None:
    server.answers["/health"] = lambda _: (
        200,
        {"Date": formatdate(time.time() - off, usegmt=True)},
        b"OK",
    )
    found = client.finding("clock")
    assert found.level == level
    assert said in re.sub(r"\b(99|101) s", "100 s", found.sentence)


@pytest.mark.parametrize(
    ("method", "answer", "said"),
    [
        ("PUT", (500, {}, b'{"message": "disk full"}'), "can be written (500): disk full"),
        ("PUT", FORBIDDEN, "can be written (403): Permission denied"),
        ("GET", (404, {}, b"gone"), "was written, but can't be read (404)"),
        ("GET", (200, {}, b"other"), "is read as something else"),
    ],
)
def test_an_artifact_store_that_fails_is_tried_and_cleaned_up(  # noqa: PLR0917 - fixtures
    client: Client,
    server: Planted,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    answer: Answer,
    said: str,
) -> None:
    monkeypatch.setattr("uuid.UUID.hex", "0")
    path = f"{ARTIFACTS}trackstack-doctor-0"
    server.answers[f"{method} {path}"] = answer
    assert client.ill() == {"artifact store": "error"}
    assert said in client.finding("artifact store").sentence
    assert server.files == {}


def test_who_may_not_delete_leaves_one_file_and_never_a_second(
    client: Client, server: Planted
) -> None:
    original = server.answer

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        return FORBIDDEN if request.command == "DELETE" else original(request, body)

    server.answer = answer  # type: ignore[method-assign]
    for _ in range(2):
        found = client.finding("artifact store")
        assert found.level == "ok"
        assert "stays there, as this user may not delete" in found.sentence
    assert list(server.files) == [f"{ARTIFACTS}trackstack-doctor"]


def test_nothing_is_written_where_it_could_not_be_deleted_again(
    client: Client, server: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uuid.UUID.hex", "0")
    away = (400, {}, b'{"message": "needs the tracking server, which is away"}')
    server.answers[f"DELETE {ARTIFACTS}trackstack-doctor-0"] = away
    assert "does not answer (400): needs the" in client.finding("artifact store").sentence
    assert "PUT" not in {method for method, _, _ in server.asked}


def test_what_goes_straight_to_storage_is_said_not_to_be_judged(
    client: Client, server: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = b'{"multipart_uploads_enabled": true}'
    server.answers["/api/3.0/mlflow/server-info"] = (200, {}, info)
    assert "presigned addresses, which isn't tried" in client.finding("artifact store").sentence
    monkeypatch.setattr("uuid.UUID.hex", "0")
    disabled = b"Endpoint disabled due to the mlflow server running with `--no-serve-artifacts`"
    server.answers[f"{ARTIFACTS}trackstack-doctor-0"] = (503, {}, disabled)
    found = client.finding("artifact store")
    assert found.level == "not judged"
    assert "straight to storage" in found.sentence


def located(*locations: str) -> list[dict[str, str]]:
    return [
        {"experiment_id": str(key), "name": f"e{key}", "artifact_location": location}
        for key, location in enumerate(locations)
    ]


def test_experiments_that_go_past_the_server(client: Client, server: Planted) -> None:
    own = server.uri + "/api/2.0/mlflow-artifacts/artifacts/1"
    server.experiments = located(
        "mlflow-artifacts:/0", own, "s3://b/1", "mlflow-artifacts://other/2", "file:///tmp/x"
    )
    found = client.finding("artifact locations")
    assert found.level == "warning"
    assert "'e2' to s3://b/1, 'e3' to mlflow-artifacts://other/2, 'e4' to file" in found.sentence
    server.experiments = server.experiments[:2]
    assert client.finding("artifact locations").level == "ok"
    server.experiments = [{**located("s3://b/1")[0], "name": "old (closed)"}]
    assert client.finding("artifact locations").level == "ok"


def test_every_page_of_experiments_is_read(client: Client, server: Planted) -> None:
    pages = [{"experiments": located("mlflow-artifacts:/0"), "next_page_token": "more"}]
    pages.append({"experiments": located("s3://bucket/last")})

    def page(request: BaseHTTPRequestHandler) -> Answer:
        listing = int(request.headers["Content-Length"]) > 18  # the other question is short
        return 200, {}, json.dumps(pages.pop(0) if listing else {"experiments": []}).encode()

    server.answers[SEARCH] = page
    assert "s3://bucket/last" in client.finding("artifact locations").sentence


def test_names_that_break_the_platforms_standard(client: Client, server: Planted) -> None:
    tags = [{"key": "trackstack.experiment_name_pattern", "value": "{team}-{model}"}]
    server.experiments = [
        {**DEFAULT, "tags": tags},
        {"experiment_id": "7", "name": "shop churn", "artifact_location": "mlflow-artifacts:/7"},
        {"experiment_id": "8", "name": "x (closed)", "artifact_location": "mlflow-artifacts:/8"},
    ]
    assert client.ill() == {"experiment names": "warning"}
    found = client.finding("experiment names")
    assert found.sentence.startswith("'shop churn' breaks the standard {team}-{model}: ")
    assert found.command == ("mlflow experiments rename --experiment-id 7 --new-name shop-churn")
    server.experiments[1]["name"] = "shop-churn"
    assert "all keep the standard" in client.finding("experiment names").sentence
