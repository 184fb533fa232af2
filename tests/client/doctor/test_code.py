"""A tracking URI in the project's code: found by what it does, left out by the printed line."""

import ast
import json
import textwrap
from pathlib import Path

import pytest

from tests.client.doctor.planted import Client, Planted


def write(client: Client, text: str, name: str = "train.py") -> Path:
    file = client.folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(text))
    return file


@pytest.mark.parametrize(
    "statement",
    [
        'mlflow.set_tracking_uri("http://old:5000")',
        'mlflow.set_tracking_uri(uri="http://old:5000")  # TODO',
        'set_tracking_uri(\n    "http://old:5000",\n)',
        'if local:\n    mlflow.set_tracking_uri("http://old:5000")',
        'os.environ["MLFLOW_TRACKING_URI"] = "http://old:5000"',
        'os.environ.update({"A": "1", "MLFLOW_TRACKING_URI": "http://old:5000"})',
        'os.environ.update(MLFLOW_TRACKING_URI="http://old:5000")',
        'os.putenv("MLFLOW_TRACKING_URI", "http://old:5000")',
        'URI = "http://old:5000"\nmlflow.set_tracking_uri(URI)',
        'mlflow.set_tracking_uri(f"http://old:{port}")',
    ],
)
def test_it_is_found_and_left_out_by_the_printed_line(client: Client, statement: str) -> None:
    file = write(client, f"import mlflow\n{statement}\nprint('é')\n")
    found = client.finding("code")
    assert found.level == "error"
    assert "train.py:" in found.sentence
    assert "http://old:" in found.sentence
    client.type(found.command)
    ast.parse(file.read_text())
    assert "print('é')" in file.read_text()
    assert client.ill() == {}


@pytest.mark.parametrize(
    "statement",
    [
        'client = MlflowClient("http://old:5000")',
        'client = MlflowClient(tracking_uri="http://old:5000")',
        'a = 1; mlflow.set_tracking_uri("http://old:5000")',
        'if local: mlflow.set_tracking_uri("http://old:5000")',
    ],
)
def test_what_a_line_cannot_leave_out_whole_is_named_with_advice(
    client: Client, statement: str
) -> None:
    write(client, statement)
    found = client.finding("code")
    assert (found.level, found.command) == ("error", "")
    assert found.sentence.endswith("Leave it out there.")


def test_a_place_that_says_the_same_as_the_variable_is_a_warning(
    client: Client, server: Planted
) -> None:
    write(client, f'mlflow.set_tracking_uri("{server.uri}/")')
    assert client.ill() == {"code": "warning"}
    client.type(client.finding("code").command)
    assert client.ill() == {}


@pytest.mark.parametrize(
    "harmless",
    [
        '# mlflow.set_tracking_uri("http://old:5000")',
        "print(\"call mlflow.set_tracking_uri('http://old:5000')\")",
        'mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])',
        'mlflow.set_tracking_uri(os.getenv("MLFLOW_TRACKING_URI", "http://old:5000"))',
        "mlflow.set_tracking_uri(args.uri)",
        'mlflow.set_tracking_uri(f"{host}:5000")',
        'mlflow.set_tracking_uri("")',
        "client = MlflowClient()",
        'os.environ["OTHER"] = "http://old:5000"',
        'uri = "a"\nuri = pick()\nmlflow.set_tracking_uri(uri)',
        "MLFLOW_TRACKING_URI = (",
    ],
)
def test_what_sets_nothing_is_passed_over(client: Client, harmless: str) -> None:
    write(client, harmless)
    assert client.finding("code").level == "ok"


def test_notebooks_are_read_tests_and_environments_are_not(client: Client) -> None:
    call = 'mlflow.set_tracking_uri("http://old:5000")'
    for name in ("tests/helper.py", "test_train.py", "conftest.py", ".venv/x.py"):
        write(client, call, name)
    assert client.finding("code").level == "ok"
    cells = [
        {"cell_type": "markdown", "source": [call]},
        {"cell_type": "code", "source": ["%pip install mlflow\n", "!ls\n", call]},
    ]
    (client.folder / "explore.ipynb").write_text(json.dumps({"cells": cells}))
    (client.folder / "broken.ipynb").write_text("{")
    found = client.finding("code")
    assert found.sentence.startswith("explore.ipynb:3: ")
    assert found.command == ""


def test_a_password_in_the_code_is_not_shown(client: Client) -> None:
    write(client, 'mlflow.set_tracking_uri("http://ada:secret@old:5000")')
    assert "secret" not in repr(client.findings())
