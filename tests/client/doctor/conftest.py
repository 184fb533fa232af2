"""A client whose set-up is right until a test spoils it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.doctor.planted import Client, Planted, serving


@pytest.fixture
def server() -> Iterator[Planted]:
    """A server with nothing wrong."""
    with serving(Planted()) as planted:
        yield planted


@pytest.fixture
def client(tmp_path: Path, server: Planted) -> Client:
    """Somebody who trains in an empty folder and logs to that server."""
    folder = tmp_path / "project"
    folder.mkdir()
    journal = {"TRACKSTACK_JOURNAL": str(tmp_path / "journal")}
    return Client(folder, {"MLFLOW_TRACKING_URI": server.uri, **journal})
