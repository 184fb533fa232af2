"""Whether two histories of a metric are the same, without holding either of them.

A database keeps a value with the same step and time once and has an order of its own, a file keeps
what was logged: so distinct points are compared as a set, by 8 bytes each.
"""

import array
import math
import struct
import sys
from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

from trackstack.client.adopt.records import Point

_PACK = struct.Struct("<qqd").pack


class Fingerprint(NamedTuple):
    """How many distinct points, and the sum of their hashes."""

    distinct: int
    total: int


def fingerprint(points: Iterable[Point]) -> Fingerprint:
    """The fingerprint of a history; equal for equal sets of points."""
    import numpy as np  # noqa: PLC0415 - MLflow brings it, the base doesn't

    hashes = array.array("Q")
    for step, timestamp, value in points:
        packed = _PACK(step, timestamp, kept(value))
        hashes.append(int.from_bytes(blake2b(packed, digest_size=8).digest(), "little"))
    if not hashes:
        return Fingerprint(0, 0)
    distinct = np.unique(np.frombuffer(hashes, dtype=np.uint64))
    return Fingerprint(len(distinct), int(distinct.sum(dtype=np.uint64)))


def kept(value: float) -> float:
    """The value as MLflow's databases keep it: no infinity, one NaN, one zero."""
    if math.isnan(value):
        return math.nan
    if math.isinf(value):
        return math.copysign(sys.float_info.max, value)
    return value + 0.0  # -0.0 is 0.0
