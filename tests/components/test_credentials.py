from typing import Any

from components.credentials import Credentials
from tests.components.recorder import Declared, declare
from trackstack.embedded.record import UNKNOWN, Secret


def credentials(**args: Any) -> Declared:
    return declare(lambda: Credentials("who", {**args}))


def test_nothing_but_references_leaves_the_component() -> None:
    declared = credentials()
    outputs = declared.outputs("Credentials")
    arns = {secret.outputs["arn"] for secret in declared.all(":Secret")}
    assert set(outputs.values()) == arns
    assert len(arns) == 3


def test_passwords_come_from_chance_and_are_encrypted_in_the_state() -> None:
    declared = credentials()
    for made in declared.all(":RandomPassword"):
        assert made.inputs["length"] >= 32
        assert made.inputs["special"] is False
    for version in declared.all(":SecretVersion"):
        assert isinstance(version.inputs["secretString"], Secret) or (
            version.inputs["secretString"] == UNKNOWN
        )


def test_another_serial_makes_other_passwords() -> None:
    before = [one.inputs["keepers"] for one in credentials().all(":RandomPassword")]
    after = [one.inputs["keepers"] for one in credentials(serial=1).all(":RandomPassword")]
    assert all(old != new for old, new in zip(before, after, strict=True))


def test_secrets_take_the_stacks_key_when_there_is_one() -> None:
    assert all("kmsKeyId" not in one.inputs for one in credentials().all(":Secret"))
    keyed = credentials(kms_key_arn="arn:aws:kms:us-east-1:1:key/x").all(":Secret")
    assert {one.inputs["kmsKeyId"] for one in keyed} == {"arn:aws:kms:us-east-1:1:key/x"}


def test_a_destroyed_secret_can_be_brought_back_unless_it_was_expendable() -> None:
    assert {one.inputs["recoveryWindowInDays"] for one in credentials().all(":Secret")} == {7}
    gone = credentials(expendable=True).all(":Secret")
    assert {one.inputs["recoveryWindowInDays"] for one in gone} == {0}
