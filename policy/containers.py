"""Containers: what runs is what was reviewed, and holds no more than it needs."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from policy.reading import UNKNOWN, Resource, listed, off, structure, text
from policy.rule import ADVISORY, CRITICAL, HIGH, MANDATORY, MEDIUM, Config, Rules

RULES = Rules()

_TASK = "aws:ecs/taskDefinition:TaskDefinition"
_REPOSITORY = "aws:ecr/repository:Repository"

_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
_SECRET_NAME = re.compile(
    r"(PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIALS?|PRIVATE_KEY|API_?KEY|ACCESS_KEY(_ID)?)$"
)
"""How the name of a secret ends; what ends in _FILE, _ARN or _SECONDS only tells of one."""
_SECRET_VALUE = re.compile(r"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY|://[^/@\s:]*:[^/@\s]+@")
"""An access key, a private key, or a URL with a password."""


def _containers(it: Resource) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name and definition of each container; none where a preview can't know them yet."""
    for one in listed(structure(it.get("containerDefinitions"))):
        if isinstance(one, dict):
            yield f"container {one.get('name', '?')!r}", one


@RULES.about(_TASK, level=MANDATORY, severity=HIGH)
def image_not_pinned(it: Resource, _: Config) -> Iterator[str]:
    """Every container names its image by digest, so that what starts is what was reviewed."""
    for name, one in _containers(it):
        image = one.get("image")
        if image is not UNKNOWN and not _DIGEST.search(text(image)):
            yield f"{name} runs {text(image) or 'no image'!r}: name it by digest, …@sha256:…"


@RULES.about(_TASK, level=MANDATORY, severity=CRITICAL)
def secret_in_environment(it: Resource, _: Config) -> Iterator[str]:
    """No secret stands in a task definition, which everybody who may describe it reads."""
    for name, one in _containers(it):
        for variable in listed(one.get("environment")):
            if not isinstance(variable, dict):
                continue
            key, value = text(variable.get("name")), text(variable.get("value"))
            named = _SECRET_NAME.search(key.upper()) and value and not value.startswith("arn:")
            if named or _SECRET_VALUE.search(value):
                yield (
                    f"{name} has the secret {key} in its environment: keep it in Secrets Manager"
                    " and name it under `secrets`."
                )


@RULES.about(_TASK, level=MANDATORY, severity=CRITICAL)
def container_privileged(it: Resource, _: Config) -> Iterator[str]:
    """No container reaches beyond itself."""
    for name, one in _containers(it):
        if one.get("privileged") is True:
            yield f"{name} is privileged: leave privileged out."
        for added in listed(_part(one, "linuxParameters", "capabilities").get("add")):
            yield f"{name} is given {added}: leave the capability out."


@RULES.about(_TASK, level=MANDATORY, severity=MEDIUM)
def container_is_root(it: Resource, _: Config) -> Iterator[str]:
    """Every container says which user it is, and that isn't root."""
    for name, one in _containers(it):
        user = one.get("user")
        if user is not UNKNOWN and text(user).partition(":")[0] in ("", "0", "root"):
            yield f"{name} may be root: set its user to a number other than 0."


@RULES.about(_TASK, level=MANDATORY, severity=MEDIUM)
def container_root_writable(it: Resource, _: Config) -> Iterator[str]:
    """No container can change its own programs."""
    for name, one in _containers(it):
        if off(one.get("readonlyRootFilesystem")):
            yield (
                f"{name} can write its root: set readonlyRootFilesystem to true, and give it"
                " volumes where it must write."
            )


@RULES.about("aws:ecs/service:Service", level=ADVISORY, severity=MEDIUM)
def shell_into_tasks(it: Resource, _: Config) -> Iterator[str]:
    """Nobody opens a shell in a running task, except while something is being looked for."""
    if it.get("enableExecuteCommand") is True:
        yield "ecs:ExecuteCommand opens a shell in its tasks: switch it off again afterwards."


@RULES.about(_REPOSITORY, level=MANDATORY, severity=MEDIUM)
def image_tags_mutable(it: Resource, _: Config) -> Iterator[str]:
    """What a tag names stays what it named."""
    mutability = it.get("imageTagMutability")
    if mutability is not UNKNOWN and not text(mutability).startswith("IMMUTABLE"):
        yield "a tag can be moved to another image: set image_tag_mutability='IMMUTABLE'."


@RULES.about(_REPOSITORY, level=MANDATORY, severity=MEDIUM)
def images_not_scanned(it: Resource, _: Config) -> Iterator[str]:
    """Every image is looked through for known weaknesses when it arrives."""
    if it.get("imageScanningConfiguration") is UNKNOWN:
        return
    if off(_part(it.props, "imageScanningConfiguration").get("scanOnPush")):
        yield "nobody looks for known weaknesses: set scan_on_push=True."


def _part(value: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    for key in keys:
        found = value.get(key)
        value = found if isinstance(found, dict) else {}
    return value
