"""Counts a platform's runs by week without hurting it, and only what is new since the last time.

A run is read once. What was counted is kept in a small owner-only file: by experiment the weeks,
how many runs it had, and when the last one began. The next time two small questions tell whether
anything came; only that is read. Runs that come with an old time (adopted, or shipped late by the
relay) and deleted ones show in the number of runs, and that experiment is counted anew.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trackstack.client.errors import ClientError
from trackstack.client.strays import find_strays
from trackstack.client.tracking import RUNS_PAGE, Tracking
from trackstack.core.adoption import Counted, StrayRuns, Tally, week_of

_FORMAT = 1
_SAVE_PAGES = 25
"""Pages after which what was counted is saved: an interrupted report goes on from there."""
_ASCENDING = "attributes.start_time ASC"

Tell = Callable[[str], None]
"""Is told how far it is, in words."""


@dataclass
class Entry:
    """What is known of one experiment."""

    created: int
    """Another time of creation under the same id is another experiment: the stack was made anew."""
    last: int = 0
    """When the latest run that was read began."""
    at_last: set[str] = field(default_factory=set)
    """Ids of the runs that began just then: others may have begun in the same millisecond."""
    counted: int = 0
    """Runs that were read."""
    weeks: dict[str, Tally] = field(default_factory=dict)

    def add(self, run: Mapping[str, Any]) -> None:
        """Count a run, once."""
        info = run["info"]
        start = int(info.get("start_time") or 0)
        if info["run_id"] in self.at_last:
            return
        if start > self.last:
            self.last, self.at_last = start, set()
        if start == self.last:
            self.at_last.add(info["run_id"])
        tags = {tag["key"]: tag["value"] for tag in run.get("data", {}).get("tags", [])}
        self.weeks.setdefault(week_of(start), Tally()).add(tags, info.get("user_id") or "")
        self.counted += 1


class Cache:
    """What was counted before, of one platform; it may be deleted at any time."""

    def __init__(self, file: Path, uri: str) -> None:
        self._file, self._uri = file, uri
        self.entries: dict[str, Entry] = {}
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            told = json.loads(file.read_bytes())
            if (told["format"], told["uri"]) == (_FORMAT, uri):
                self.entries = {key: _entry(one) for key, one in told["experiments"].items()}

    def save(self) -> None:
        """Replace the file whole; ClientError when the place can't be written."""
        told = {
            "format": _FORMAT,
            "uri": self._uri,
            "experiments": {key: _plain(one) for key, one in self.entries.items()},
        }
        temporary = self._file.with_name(f".{self._file.name}.{os.getpid()}.tmp")
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with open(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
                json.dump(told, file)
            temporary.replace(self._file)
        except OSError as error:
            raise ClientError(f"{self._file} can't be written: {error.strerror}.") from None


def _plain(entry: Entry) -> dict[str, Any]:
    weeks = {
        week: {"runs": one.runs, "ci": one.ci, "people": sorted(one.people)}
        for week, one in entry.weeks.items()
    }
    return {**vars(entry), "at_last": sorted(entry.at_last), "weeks": weeks}


def _entry(told: dict[str, Any]) -> Entry:
    weeks = {
        week: Tally(one["runs"], one["ci"], set(one["people"]))
        for week, one in told["weeks"].items()
    }
    return Entry(**{**told, "at_last": set(told["at_last"]), "weeks": weeks})


def count(
    tracking: Tracking,
    cache: Cache,
    experiments: list[dict[str, Any]],
    tell: Tell = lambda _: None,
) -> list[Counted]:
    """The experiments with their runs by week.

    Args:
        tracking: the platform, with the rest that it is given between two questions.
        cache: what was counted before; saved along the way, and at the end.
        experiments: as the platform lists them.
        tell: is told how far it is.
    """
    known = cache.entries
    cache.entries = {}
    for one in experiments:  # what is no longer listed is forgotten
        created = int(one.get("creation_time") or 0)
        entry = known.get(one["experiment_id"])
        fresh = entry is None or entry.created != created
        cache.entries[one["experiment_id"]] = Entry(created) if fresh or not entry else entry
    try:
        for done, one in enumerate(experiments):
            where = f"{done + 1} of {len(experiments)} experiments"
            tell(where)
            _refresh(tracking, cache, one["experiment_id"], lambda text: tell(f"{where}, {text}"))  # noqa: B023 - called at once
    finally:
        cache.save()
    return [
        Counted(one["name"], entry.created, entry.weeks)
        for one, entry in zip(experiments, cache.entries.values(), strict=True)
    ]


def _refresh(tracking: Tracking, cache: Cache, experiment_id: str, tell: Tell) -> None:
    entry = cache.entries[experiment_id]
    known = tracking.count(experiment_id, entry.counted)
    if known == (entry.counted, entry.last):
        return
    before = entry.counted
    _read(tracking, cache, experiment_id, known, tell)
    if not before:
        return
    # Up to the last one that was read nothing may have come or gone; what began since may.
    then = f"attributes.start_time <= {entry.last}"
    if tracking.count(experiment_id, entry.counted, then)[0] != entry.counted:
        cache.entries[experiment_id] = Entry(entry.created)
        _read(tracking, cache, experiment_id, known, tell)


def _read(
    tracking: Tracking, cache: Cache, experiment_id: str, known: tuple[int, int], tell: Tell
) -> None:
    """Read on from the latest run that was counted, up to the end."""
    entry, (total, newest) = cache.entries[experiment_id], known
    for number, page in enumerate(_pages(tracking, experiment_id, entry, total, newest)):
        for run in page:
            entry.add(run)
        tell(f"{entry.counted:,} of {total:,} runs")
        if number % _SAVE_PAGES == _SAVE_PAGES - 1:
            cache.save()


def _pages(
    tracking: Tracking, experiment_id: str, entry: Entry, total: int, newest: int
) -> Iterator[list[dict[str, Any]]]:
    """Pages in the order of time, each from a small span of it.

    For every answer MLflow has the database sort all the runs that a search matches, 100,000 of
    them in a second: a span keeps that small. Its width follows the runs that there were.
    """
    start, left = entry.last, max(total - entry.counted, 1)
    if not start and left > RUNS_PAGE:
        found, _ = tracking.runs(experiment_id, order_by=_ASCENDING, most=1)
        start = int(found[0]["info"].get("start_time") or 0) if found else 0
    # Three quarters of a page: a span with one run too many costs a second answer.
    width = max((newest - start) * RUNS_PAGE * 3 // (left * 4), 1)
    while True:
        last_one = left <= RUNS_PAGE or start + width > newest
        end = "" if last_one else f" AND attributes.start_time < {start + width}"
        condition = f"attributes.start_time >= {start}{end}" if start or end else ""
        found, token, number = (
            *tracking.runs(experiment_id, order_by=_ASCENDING, condition=condition),
            0,
        )
        yield list(found)
        number = len(found)
        while token:
            found, token = tracking.runs(
                experiment_id, order_by=_ASCENDING, condition=condition, token=token
            )
            yield list(found)
            number += len(found)
        if last_one:
            return
        start += width
        left = max(total - entry.counted, 1)
        if number < RUNS_PAGE // 2:
            width *= 2
        elif number > RUNS_PAGE:
            width = max(width // 2, 1)


def stray_runs(folder: Path) -> tuple[list[StrayRuns], bool]:
    """The local stores below a folder that hold runs, and whether all of it was looked at."""
    if not folder.is_dir():
        raise ClientError(f"{folder} is no folder to look for stray runs in.")
    search = find_strays(folder)
    found = [
        StrayRuns(str(one.path), one.holds.runs, one.problem)
        for one in search.strays
        if one.holds.runs or one.problem
    ]
    return found, search.whole
