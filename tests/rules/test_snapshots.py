"""One snapshot a stack file: every change of what would be deployed is visible in review.

``pytest tests/rules --snapshot-update`` writes them anew.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from trackstack.embedded import wire
from trackstack.embedded.record import Recording

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("stack", ["dev", "staging", "prod"])
def test_what_a_stack_declares_changes_only_on_purpose(
    evaluate: Callable[[str], Recording], stack: str, snapshot: SnapshotAssertion
) -> None:
    shown = {
        one.urn.partition("::")[2]: {
            "inputs": _readable(wire.show(one.inputs)),
            **({"protect": True} if one.options.protect else {}),
        }
        for one in sorted(evaluate(stack).resources, key=lambda one: one.urn)
    }
    assert shown == snapshot(extension_class=JSONSnapshotExtension, name=stack)


def _readable(value: Any) -> Any:
    """JSON documents as structures, so that a changed statement is a changed line."""
    if isinstance(value, str) and value.startswith(("{", "[")):
        try:
            return _readable(json.loads(value))
        except ValueError:
            return value
    if isinstance(value, str):
        # What goes into the image is every line of the server: shown as that it is there.
        value = re.sub(r"(?<=-images-)([0-9a-f]{7})@sha256:[0-9a-f]{64}", r"\1@<digest>", value)
        return re.sub(r"\b[0-9a-f]{32}\b", "<content>", value)
    if isinstance(value, dict):
        return {key: _readable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_readable(item) for item in value]
    return value
