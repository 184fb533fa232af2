"""The password file and its renewal, with a clock of our own."""

import json
import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from trackstack.server.credentials import (
    Renewal,
    password_line,
    rds_token_maker,
    write_password_file,
)
from trackstack.server.environment import Database
from trackstack.server.problem import Refusal

DATABASE = Database(host="db.example", port=5432, name="mlflow", user="mlflow")


def test_colons_and_backslashes_are_escaped() -> None:
    assert password_line(DATABASE, "a:b\\c") == "db.example:5432:*:mlflow:a\\:b\\\\c\n"


def test_a_password_that_the_file_cannot_hold_is_refused() -> None:
    with pytest.raises(Refusal, match="line break"):
        password_line(DATABASE, "a\nb")


def test_the_file_is_for_its_owner_only_even_where_the_old_one_was_not(tmp_path: Path) -> None:
    file = tmp_path / "run" / "pgpass"
    write_password_file(file, "first\n")
    file.chmod(0o644)
    write_password_file(file, "second\n")
    assert file.read_text() == "second\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["pgpass"]


def test_a_reader_never_sees_half_a_token(tmp_path: Path) -> None:
    file = tmp_path / "pgpass"
    lines = {f"{letter * 1600}\n" for letter in "abc"}
    write_password_file(file, "a" * 1600 + "\n")
    seen: set[str] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(file.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(100):
        for line in lines:
            write_password_file(file, line)
    done.set()
    reader.join()
    assert seen <= lines


def test_a_file_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where the folder should be")
    with pytest.raises(Refusal, match=r"^The password file .*run/pgpass can't be written: .*\.$"):
        write_password_file(tmp_path / "run" / "pgpass", "x\n")


class _Token:
    """A token maker and a clock that only moves when told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.broken = False
        self.made = 0
        self.said: list[str] = []
        self.renewal = Renewal(self.make, clock=lambda: self.now, complain=self.said.append)

    def make(self) -> None:
        if self.broken:
            raise RuntimeError("the role\nis gone.")
        self.made += 1

    def step(self) -> None:
        self.now += self.renewal.next_wait()
        self.renewal.step()


def test_a_token_is_renewed_every_ten_minutes_without_a_word() -> None:
    token = _Token()
    for count in (1, 2, 3):
        token.step()
        assert (token.made, token.now) == (count, 1000 + 600 * count)
    assert token.said == []


def test_a_failing_renewal_complains_long_before_the_token_ends() -> None:
    token = _Token()
    token.broken = True
    token.step()
    assert token.said == [
        (
            "The database token could not be renewed (the role is gone);"
            " the present one is valid for 300 s more."
        )
    ]
    while token.now < 1900:
        token.step()
    assert len(token.said) > 7
    assert token.said[-1] == (
        "The database token could not be renewed (the role is gone);"
        " the last one has expired, so new connections to the database fail."
    )


def test_retries_slow_down_to_a_minute_and_return_to_normal_after_a_success() -> None:
    token = _Token()
    token.broken = True
    waits = []
    for _ in range(7):
        token.step()
        waits.append(token.renewal.next_wait())
    assert waits == [5, 10, 20, 40, 60, 60, 60]
    token.broken = False
    token.step()
    assert token.said[-1] == "The database token is renewed again."
    assert token.renewal.next_wait() == 600


@pytest.fixture
def role_credentials() -> Iterator[str]:
    """What a task's role answers: the address of ECS's credentials endpoint, played here."""

    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            expiration = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
            body = {"AccessKeyId": "ROLEKEY", "SecretAccessKey": "s", "Token": "t"}
            text = json.dumps({**body, "Expiration": expiration}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Endpoint) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/role"
        server.shutdown()


@pytest.mark.parametrize(
    ("endpoint", "signer"), [("http://minio.example:9000", "ROLEKEY"), ("", "FOREIGNKEY")]
)
def test_keys_of_a_foreign_artifact_store_never_sign_a_database_token(
    role_credentials: str, monkeypatch: pytest.MonkeyPatch, endpoint: str, signer: str
) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", role_credentials)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "FOREIGNKEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "foreign")
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", endpoint)
    token = rds_token_maker(DATABASE, "us-east-1")()
    assert f"X-Amz-Credential={signer}" in token
