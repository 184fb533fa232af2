"""Histories compared by fingerprint, and requests no larger than a server takes."""

import itertools
import math
import random

from hypothesis import given
from hypothesis import strategies as st

from trackstack.client.adopt.points import fingerprint
from trackstack.client.adopt.records import Point
from trackstack.client.adopt.runs import batches

POINTS = [Point(step, 1000 + step, 1 / (step + 1)) for step in range(500)]


def test_order_and_repetition_do_not_count() -> None:
    mixed = [*POINTS, *POINTS[:100]]
    random.Random(1).shuffle(mixed)  # noqa: RUF100
    assert fingerprint(mixed) == fingerprint(POINTS)
    assert fingerprint(POINTS).distinct == 500


def test_any_other_step_time_or_value_counts() -> None:
    step, timestamp, value = POINTS[7]
    for other in (
        Point(step + 1, timestamp, value),
        Point(-1, timestamp, value),
        Point(-2, timestamp, value),
        Point(step, timestamp + 1, value),
        Point(step, timestamp, math.nextafter(value, 1)),
    ):
        assert fingerprint([*POINTS[:7], other, *POINTS[8:]]) != fingerprint(POINTS)
    assert fingerprint(POINTS[1:]) != fingerprint(POINTS)
    ones = [Point(-1, 0, 0.5), Point(-2, 0, 0.5)]
    assert fingerprint(ones[:1]) != fingerprint(ones[1:])  # -1 and -2 have one hash in Python


def test_what_a_database_can_not_keep_is_compared_as_it_keeps_it() -> None:
    logged = [
        Point(0, 0, math.nan),
        Point(1, 0, math.inf),
        Point(2, 0, -math.inf),
        Point(3, 0, -0.0),
    ]
    kept = [
        Point(0, 0, -math.nan),
        Point(1, 0, 1.7976931348623157e308),
        Point(2, 0, -1.7976931348623157e308),
        Point(3, 0, 0.0),
    ]
    assert fingerprint(logged) == fingerprint(kept)


@given(st.integers(0, 320), st.integers(0, 320), st.integers(0, 3300))
def test_no_request_is_larger_than_a_server_takes_and_nothing_is_left_out(
    params: int, tags: int, points: int
) -> None:
    some_params = {f"p{number}": "1" for number in range(params)}
    some_tags = {f"t{number}": "1" for number in range(tags)}
    histories = [("loss", Point(step, 0, 0.0)) for step in range(points)]
    made = list(batches(some_params, some_tags, iter(histories)))
    for few, more, many in made:
        assert len(few) <= 100
        assert len(more) <= 100
        assert 0 < len(few) + len(more) + len(many) <= 1000
    chain = itertools.chain.from_iterable
    assert dict(chain(one[0] for one in made)) == some_params
    assert dict(chain(one[1] for one in made)) == some_tags
    assert list(chain(one[2] for one in made)) == histories
