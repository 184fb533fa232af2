"""A component or the whole platform, declared in this process against the product's own monitor."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from infra.platform import Platform
from trackstack.core.settings import Settings
from trackstack.embedded.errors import ProgramError
from trackstack.embedded.host import PreviewHost, StackAnswers
from trackstack.embedded.monitor import record
from trackstack.embedded.record import Recording, Registered

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/trackstack@sha256:" + "0" * 64


class NoLookUps(StackAnswers):
    """A component is handed its facts: one that asks for more fails."""

    def look_up(self, token: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
        raise ProgramError(f"A component looked up {token}: only infra may.")


class Declared:
    """A recording with the questions that tests ask of it."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording

    def all(self, kind: str) -> list[Registered]:
        """The resources whose type ends so, such as ``s3/bucket:Bucket`` or ``:Bucket``."""
        return [r for r in self.recording.resources if r.type.endswith(kind)]

    def one(self, kind: str, name: str = "") -> Registered:
        found = [r for r in self.all(kind) if not name or r.name == name]
        assert len(found) == 1, [r.name for r in self.all(kind)]
        return found[0]

    def made(self) -> list[str]:
        """Names of everything that a provider would make."""
        return [r.name for r in self.recording.resources if r.custom and "providers" not in r.type]

    def outputs(self, kind: str) -> Mapping[str, Any]:
        """What the one component of this type registered."""
        return self.recording.component_outputs[self.one(f":{kind}").urn]

    def outputs_of(self, name: str) -> Mapping[str, Any]:
        """What the component of this name registered."""
        (found,) = [
            outputs
            for urn, outputs in self.recording.component_outputs.items()
            if urn.endswith(f"::{name}")
        ]
        return found

    def policy(self, resource: Registered, key: str = "policy") -> list[dict[str, Any]]:
        document: list[dict[str, Any]] = json.loads(resource.inputs[key])["Statement"]
        return document

    def containers(self, name: str) -> dict[str, dict[str, Any]]:
        task = self.one(":TaskDefinition", name)
        return {c["name"]: c for c in json.loads(task.inputs["containerDefinitions"])}


class Made(PreviewHost):
    """Random values are there, as in a stack that is up."""

    def secret(self, name: str, make: Callable[[], str]) -> str:
        del name
        return make()


def declare(program: Callable[[], object]) -> Declared:
    """Declare components that have no way to look something up."""
    return Declared(record(lambda: program() and None, NoLookUps(Made())))


@cache
def platform(**raw: str) -> Declared:
    """Declare the whole platform with some settings; recordings don't change, so once each."""

    def program() -> None:
        Platform(Settings.from_config({"image": IMAGE, **raw}, "test")).export()

    config = {f"mlflow-platform:{key}": value for key, value in raw.items()}
    return Declared(record(program, StackAnswers(PreviewHost()), config=config))
