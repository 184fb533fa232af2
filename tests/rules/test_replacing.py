"""Nothing recreates a database, a bucket or a key because of a setting or an upgrade.

What each setting replaces stands in settings_that_replace.py, which docs/deploy.md shows and
test_settings_matrix.py holds. Here: the table of ForceNew inputs is whole, and a stack that the
first released program deployed becomes this one without losing data.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.rules.replacing import DATA, replacements, unclassified
from tests.rules.settings_that_replace import REPLACED
from tests.rules.test_settings_matrix import VARIATIONS
from trackstack.embedded.record import Recording, Registered

STACKS = ("dev", "staging", "prod")
RELEASED = Path(__file__).parent / "released"
"""What the program of the first issue (commit 95fc2e2) declared of these types, stack by stack."""


def test_the_table_names_settings_that_exist_with_a_sentence_each() -> None:
    assert set(REPLACED) <= set(VARIATIONS)
    for key, (what, why) in REPLACED.items():
        assert what, key
        assert why.endswith("."), key


@pytest.mark.parametrize("stack", STACKS)
def test_of_every_input_of_data_it_is_known_whether_it_replaces(
    evaluate: Callable[[str], Recording], stack: str
) -> None:
    assert unclassified(evaluate(stack)) == set()


def released(stack: str) -> Recording:
    told = json.loads((RELEASED / f"{stack}.json").read_text(encoding="utf-8"))
    return Recording(
        project="mlflow-platform",
        stack=stack,
        outputs={},
        resources=tuple(
            Registered(
                urn=f"urn:pulumi:{stack}::{urn}",
                type=urn.split("::")[1].rpartition("$")[2],
                name=urn.rpartition("::")[2],
                custom=True,
                parent="",
                inputs=inputs,
                outputs={},
            )
            for urn, inputs in told.items()
        ),
    )


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_of_the_first_release_becomes_this_one_without_losing_data(
    evaluate: Callable[[str], Recording], stack: str
) -> None:
    before = released(stack)
    assert {one.type for one in before.resources} >= set(DATA[:2])
    # The stack files' own settings may have changed since; what a setting replaces is shown above.
    lost = {
        name: why
        for name, why in replacements(before, evaluate(stack)).items()
        if name.startswith(DATA)
    }
    assert lost == {}


def test_the_table_is_read_right() -> None:
    """A renamed bucket, one with an alias, a key that is ignored, and one that is not."""
    before = released("prod")

    def changed(kind: str, **what: Any) -> Recording:
        return dataclasses.replace(
            before,
            resources=tuple(
                dataclasses.replace(one, **{k: v(one) for k, v in what.items()})
                if one.type == kind
                else one
                for one in before.resources
            ),
        )

    def renamed(one: Registered) -> str:
        return f"{one.urn}-2"

    bucket, database = (f"{kind}::" for kind in DATA[:2])
    assert replacements(before, before) == {}
    gone = replacements(before, changed(DATA[0], urn=renamed))
    assert [name.startswith(bucket) for name in gone] == [True]

    def options(**given: Any) -> Callable[[Registered], Any]:
        return lambda one: dataclasses.replace(one.options, **given)

    def aliased(one: Registered) -> Any:
        return dataclasses.replace(one.options, aliases=(one.urn,))

    def with_key(one: Registered) -> dict[str, Any]:
        return {**one.inputs, "kmsKeyId": "arn:aws:kms:::key/1"}

    assert replacements(before, changed(DATA[0], urn=renamed, options=aliased)) == {}
    ignoring = options(ignore_changes=("kmsKeyId",))
    assert replacements(before, changed(DATA[1], inputs=with_key, options=ignoring)) == {}
    anew = replacements(before, changed(DATA[1], inputs=with_key))
    assert {name.startswith(database): why for name, why in anew.items()} == {True: {"kmsKeyId"}}
