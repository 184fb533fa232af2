"""What one check says: a level, a sentence, and the command that mends it."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error", "not judged"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    check: str
    level: Level
    sentence: str
    command: str = ""
    """A line for a shell; empty where nothing can be done from here, or nothing is to be done."""


def ok(check: str, sentence: str) -> Finding:
    """Nothing is wrong with it."""
    return Finding(check, "ok", sentence)


def warning(check: str, sentence: str, command: str = "") -> Finding:
    """Training works, but not as it should."""
    return Finding(check, "warning", sentence, command)


def error(check: str, sentence: str, command: str = "") -> Finding:
    """Training fails, hangs, or logs where nobody looks."""
    return Finding(check, "error", sentence, command)


def not_judged(check: str, sentence: str) -> Finding:
    """It couldn't be looked at, or means nothing here."""
    return Finding(check, "not judged", sentence)
