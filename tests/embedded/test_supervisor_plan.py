"""What a changed wanted set touches, without any process."""

from dataclasses import replace

import pytest

from trackstack.embedded.specs import ProcessSpec, TcpReady
from trackstack.embedded.supervisor.plan import WantedError, in_order, touched


def spec(name: str, *after: str) -> ProcessSpec:
    return ProcessSpec(name, name, ("true",), TcpReady(1), after=after)


CHAIN = in_order([spec("proxy", "server"), spec("bucket"), spec("server", "db"), spec("db")])


def test_specs_come_behind_what_they_come_after() -> None:
    assert list(CHAIN) == ["bucket", "db", "server", "proxy"]


def test_an_equal_set_touches_nothing() -> None:
    assert touched(CHAIN, CHAIN) == set()


def test_a_change_touches_itself_and_what_depends_on_it() -> None:
    changed = in_order([*CHAIN.values()])
    changed["server"] = replace(changed["server"], argv=("false",))
    assert touched(CHAIN, changed) == {"server", "proxy"}


def test_a_removed_process_is_touched_and_its_neighbours_are_not() -> None:
    assert touched(CHAIN, {n: s for n, s in CHAIN.items() if n != "bucket"}) == {"bucket"}


@pytest.mark.parametrize(
    ("specs", "sentence"),
    [
        ([spec("a", "b"), spec("b", "a")], "these processes wait for each other: a, b"),
        ([spec("a", "ghost")], "'a' comes after 'ghost', which doesn't exist"),
        ([spec("a"), spec("a")], "two processes are named 'a'"),
    ],
)
def test_a_set_that_cannot_be_run_gets_a_sentence(specs: list[ProcessSpec], sentence: str) -> None:
    with pytest.raises(WantedError, match=f"^{sentence}$"):
        in_order(specs)


def test_a_spec_survives_the_state_file() -> None:
    for each in CHAIN.values():
        assert ProcessSpec.from_json(each.to_json()) == each
