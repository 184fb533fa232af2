"""Reads the logs of a stack's processes, one file each."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from trackstack.embedded.state import StackState

_POLL_SECONDS = 0.3


def services(state: StackState) -> dict[str, list[str]]:
    """Service to the names of its processes, in the order of starting."""
    found: dict[str, list[str]] = {}
    for spec in (state.read_json("wanted.json") or {}).get("processes", []):
        found.setdefault(spec["service"], []).append(spec["name"])
    found["supervisor"] = ["supervisor"]
    return found


def read(
    state: StackState, names: Sequence[str], *, lines: int, follow: bool
) -> Iterator[tuple[str, str]]:
    """``(process, line)`` pairs: the last lines of each file, then, following, what comes."""
    offsets: dict[str, int] = {}
    for name in names:
        file = _file(state, name)
        if not file.exists():
            continue
        with file.open("rb") as stream:
            for last in deque(stream, maxlen=lines):
                yield name, _text(last)
            offsets[name] = stream.tell()
    while follow:
        for name in names:
            for line in _news(_file(state, name), offsets, name):
                yield name, line
        time.sleep(_POLL_SECONDS)


def _news(file: Path, offsets: dict[str, int], name: str) -> Iterator[str]:
    if not file.exists():
        return
    if file.stat().st_size < offsets.get(name, 0):
        offsets[name] = 0  # rotated
    with file.open("rb") as stream:
        stream.seek(offsets.get(name, 0))
        for line in stream:
            if not line.endswith(b"\n"):
                return  # the rest comes with the next look
            offsets[name] = offsets.get(name, 0) + len(line)
            yield _text(line)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\n")


def _file(state: StackState, name: str) -> Path:
    return state.logs_path / f"{name}.log"
