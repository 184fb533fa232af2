"""With a relay in between: it, and what it ships to, are looked at by their own variables."""

import json
from collections.abc import Iterator

import pytest

from tests.client.doctor.planted import SEARCH, Client, Planted, serving
from tests.client.relayed import Fake, shipped
from tests.client.relayed import relay as running


@pytest.fixture
def relay(client: Client, server: Planted) -> Iterator[Planted]:
    """A relay before the server, as ``trackstack env --relay`` sets it."""
    with serving(Planted()) as planted:
        told = {"waiting": 3, "refused": 0, "away": None}
        planted.answers["/trackstack/status"] = (200, {}, json.dumps(told).encode())
        client.environment |= {
            "MLFLOW_TRACKING_URI": planted.uri,
            "MLFLOW_TRACKING_TOKEN": "relays-own",
            "TRACKSTACK_UPSTREAM": server.uri,
        }
        yield planted


def test_both_are_looked_at_each_with_its_own_credentials(
    client: Client, server: Planted, relay: Planted
) -> None:
    client.environment["TRACKSTACK_UPSTREAM_TOKEN"] = "servers-own"
    assert client.ill() == {}
    assert client.finding("relay").sentence.endswith("takes what is logged; 3 writes wait")
    assert client.finding("upstream").sentence == server.uri
    assert {sent for _, _, sent in relay.asked} == {"Bearer relays-own"}
    assert {sent for _, _, sent in server.asked} == {"Bearer servers-own"}


def test_a_relay_that_does_not_run_or_knows_another_token(client: Client, relay: Planted) -> None:
    relay.answers["/trackstack/status"] = (401, {}, b'{"message": "no"}')
    found = client.finding("relay")
    assert (found.level, found.command) == ("error", 'eval "$(trackstack env --relay)"')
    client.environment["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:1"
    found = client.finding("relay")
    assert (found.level, found.command) == ("error", "trackstack relay --port 1")


def test_what_the_server_refused_is_warned_of(client: Client, relay: Planted) -> None:
    relay.answers["/trackstack/status"] = (200, {}, b'{"waiting": 0, "refused": 2}')
    found = client.finding("relay")
    assert (found.level, found.command) == ("warning", "trackstack sync")


def test_what_is_wrong_behind_it_is_told_in_its_own_names(
    client: Client, server: Planted, relay: Planted
) -> None:
    client.environment["TRACKSTACK_UPSTREAM"] = server.uri.replace("http://", "htp://")
    found = client.finding("upstream")
    assert found.command == f"export TRACKSTACK_UPSTREAM={server.uri}"
    assert "MLFLOW_" not in found.sentence
    client.type(found.command)
    assert client.ill() == {}
    client.environment["TRACKSTACK_UPSTREAM"] = "http://127.0.0.1:1"
    client.stacks = {"staging": server.uri}
    assert client.finding("connection").command == (
        'eval "$(trackstack env --stack staging --relay)"'
    )


def test_a_server_that_is_away_is_no_loss_behind_a_relay(
    client: Client, server: Planted, relay: Planted
) -> None:
    server.answers[SEARCH] = (503, {}, b'{"message": "no database"}')
    found = client.finding("database")
    assert found.sentence.endswith("Until it is back, the relay keeps what is logged.")
    assert found.command == ""


def test_what_a_relay_left_on_this_machine_goes_to_its_server_by_the_printed_line(
    client: Client, server: Planted
) -> None:
    other = Fake()
    other.misbehaves = lambda *_: 503
    with running(other.uri, client.folder.parent) as (_, training):
        training.run()
        assert client.ill() == {}, "a relay that runs ships it itself"
    assert client.ill() == {"journals": "warning"}
    found = client.finding("journals")
    assert f"writes wait in {client.folder.parent / 'journal'}" in found.sentence
    assert found.command == f"MLFLOW_TRACKING_URI={other.uri} trackstack sync"
    other.misbehaves = lambda *_: None
    client.type(found.command)
    assert (client.ill(), len(other.runs)) == ({}, 1)
    other.close()


def test_what_was_refused_is_let_go_by_the_printed_line(client: Client) -> None:
    other = Fake()
    client.environment["MLFLOW_TRACKING_URI"] = other.uri
    with running(other.uri, client.folder.parent) as (_, training):
        run = training.run()
        shipped(training)
        (remote,) = other.runs
        other.params[remote]["lr"] = "somebody else's"
        training.post("runs/log-parameter", run_id=run, key="lr", value="ours")
        assert shipped(training)["refused"] == 1
    found = client.finding("journals")
    assert f"{other.uri} refused 1 writes for good: 400: Changing param" in found.sentence
    assert found.command == "trackstack sync --forget"
    client.type(found.command)
    assert client.finding("journals").level == "ok"
    other.close()
