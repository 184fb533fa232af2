"""The variable: every shape that MLflow takes for something else, and the line that mends it."""

import pytest

from tests.client.doctor.planted import Client, Planted

ENV = 'eval "$(trackstack env)"'


def test_a_right_set_up_has_nothing_wrong(client: Client, server: Planted) -> None:
    assert client.ill() == {}
    assert {one.check for one in client.findings() if one.level == "not judged"} == {"certificate"}
    assert server.files == {}  # the probe's file is gone again


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ("{host}", "lacks http:// or https://"),
        ("localhost:{port}", "lacks http:// or https://"),
        ("http:/{host}", "lacks a slash"),
        ("http:{host}", "lacks a slash"),
        ("htp://{host}", "begins with 'htp'"),
        ("htttp://{host}", "begins with 'htttp'"),
        ("http://{host}/#/experiments/1", "is a page of the UI"),
        ("http://{host}#/runs", "is a page of the UI"),
        ("'http://{host}'", "blanks or quotes"),
        (" http://{host}\n", "blanks or quotes"),
    ],
)
def test_a_wrong_shape_is_mended_by_the_printed_line(
    client: Client, server: Planted, shape: str, said: str
) -> None:
    host = server.uri.removeprefix("http://")
    client.environment["MLFLOW_TRACKING_URI"] = shape.format(host=host, port=host[10:])
    found = client.finding("tracking URI")
    assert found.level == "error"
    assert said in found.sentence
    client.type(found.command)
    assert client.ill() == {}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "is not set, so MLflow logs without a word into ./mlflow.db"),
        ("", "is set but empty"),
        ("  ", "blanks or quotes"),
        ("s3://bucket/runs", "is where artifacts lie"),
        ("mlruns", "is a folder"),
        ("./mlruns", "is a folder"),
        ("file:///data/mlruns", "is a folder"),
        ("sqlite:///mlflow.db", "is a file"),
        ("http://", "names no host"),
        ("https:///experiments", "names no host"),
        ("http://<your-host>:5000", "names no host"),
        ("http://${MLFLOW_HOST}:5000", "names no host"),
        ("http://host:port", "is no address"),
        ("gopher://host", "which MLflow doesn't know"),
    ],
)
def test_what_names_no_server_is_an_error_and_the_server_is_not_judged(
    client: Client, value: str | None, said: str
) -> None:
    if value is None:
        del client.environment["MLFLOW_TRACKING_URI"]
    else:
        client.environment["MLFLOW_TRACKING_URI"] = value
    found = client.finding("tracking URI")
    assert (found.level, found.command) == ("error", ENV)
    assert said in found.sentence
    assert client.finding("database").level == "not judged"


def test_the_store_that_an_unset_variable_leads_to_is_named(client: Client) -> None:
    del client.environment["MLFLOW_TRACKING_URI"]
    meta = client.folder / "mlruns" / "0" / "meta.yaml"
    meta.parent.mkdir(parents=True)
    meta.touch()
    assert "into ./mlruns of" in client.finding("tracking URI").sentence


def test_a_stack_of_this_machine_is_named_where_it_must_be(client: Client) -> None:
    del client.environment["MLFLOW_TRACKING_URI"]
    client.stacks = {"staging": "https://127.0.0.1:1"}
    assert client.finding("tracking URI").command == 'eval "$(trackstack env --stack staging)"'
    client.stacks["dev"] = "http://127.0.0.1:2"
    assert client.finding("tracking URI").command == ENV


@pytest.mark.parametrize("uri", ["databricks", "databricks://profile", "uc:http://x"])
def test_what_is_databricks_own_is_not_judged(client: Client, uri: str) -> None:
    client.environment["MLFLOW_TRACKING_URI"] = uri
    assert client.finding("tracking URI").level == "not judged"


def test_a_database_as_tracking_uri_is_warned_of_without_its_password(client: Client) -> None:
    client.environment["MLFLOW_TRACKING_URI"] = "postgresql+psycopg2://ada:secret@db/mlflow"
    found = client.finding("tracking URI")
    assert found.level == "warning"
    assert "secret" not in repr(client.findings())


def test_a_password_in_the_uri_works_but_is_warned_of_and_never_shown(
    client: Client, server: Planted
) -> None:
    client.environment["MLFLOW_TRACKING_URI"] = server.uri.replace("//", "//ada:se%20cret@")
    assert client.ill() == {"tracking URI": "warning"}
    assert "cret" not in repr(client.findings())
    assert {sent for _, _, sent in server.asked} == {"Basic YWRhOnNlIGNyZXQ="}
    client.type(client.finding("tracking URI").command)
    assert client.environment["MLFLOW_TRACKING_URI"] == server.uri
