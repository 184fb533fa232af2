"""A recorded stack as a Terraform plan, which is what checkov reads.

Pulumi's AWS provider is Terraform's under other names: a type becomes ``aws_<noun>``, a property
snake_case, an object the one-element block that Pulumi flattened. A value that another resource
tells is left out and named as a reference, as `terraform show -json` does: checkov's graph checks
follow those. What is rendered is what the program said; a provider's defaults are not added.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.scanner.terraform import BLOCKS, MAPS, terraform_type
from trackstack.embedded.record import UNKNOWN, Recording, Registered, Secret

_Rendered = tuple[dict[str, Any], dict[str, Any]]
"""The values of a block, and the expressions that name what they come from."""


@dataclass(frozen=True)
class Plan:
    """A plan, and what it could not tell."""

    document: Mapping[str, Any]
    """What ``terraform show -json`` would print."""
    resources: Mapping[str, Registered]
    """By Terraform's address, what was rendered."""
    not_rendered: tuple[str, ...]
    """URNs of the AWS resources whose type is not in the table."""


def plan_of(recording: Recording) -> Plan:
    """Every AWS resource of the recording, or its URN among those that were not rendered."""
    ours = [one for one in recording.resources if one.custom and one.type.startswith("aws:")]
    known = {_address(one): one for one in ours if terraform_type(one.type)}
    assert len(known) == sum(bool(terraform_type(one.type)) for one in ours), (
        "two resources of one address"
    )
    addresses = {one.urn: address for address, one in known.items()}
    planned, configured, changes = [], [], []
    for address, one in sorted(known.items()):
        kind, name = address.split(".")
        head = {"address": address, "mode": "managed", "type": kind, "name": name}
        values, expressions = _resource(one, known, addresses)
        planned.append({**head, "values": values})
        configured.append({**head, "expressions": expressions})
        changes.append({**head, "change": {"actions": ["create"], "before": None, "after": values}})
    document = {
        "format_version": "1.2",
        "terraform_version": "1.11.4",
        "planned_values": {"root_module": {"resources": planned}},
        "resource_changes": changes,
        "configuration": {"root_module": {"resources": configured}},
    }
    return Plan(
        document, known, tuple(sorted(one.urn for one in ours if not terraform_type(one.type)))
    )


def snake(name: str) -> str:
    """``cidrIpv4`` → ``cidr_ipv4``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def singular(word: str) -> str:
    """``policies`` → ``policy``, ``rules`` → ``rule``: Terraform names a block in the singular."""
    return f"{word[:-3]}y" if word.endswith("ies") else word.removesuffix("s")


def _address(one: Registered) -> str:
    return f"{terraform_type(one.type)}.{re.sub('[^A-Za-z0-9_]', '_', one.name)}"


def _resource(
    one: Registered, known: Mapping[str, Registered], addresses: Mapping[str, str]
) -> _Rendered:
    values: dict[str, Any] = {}
    expressions: dict[str, Any] = {}
    for key, value in sorted(one.inputs.items()):
        urns = one.property_dependencies.get(key, ())
        others = [addresses[urn] for urn in urns if urn in addresses]
        told = _told_by({address: known[address] for address in others})
        block = _block(terraform_type(one.type), {key: value}, told)
        values |= block[0]
        expressions |= block[1]
    return values, expressions


def _told_by(others: Mapping[str, Registered]) -> dict[Any, str]:
    """What exists only once another resource does → the reference to it."""
    told: dict[Any, str] = {}
    for address, other in others.items():
        told[UNKNOWN] = f"{address}.id"
        for key, value in {**other.outputs, "id": other.id}.items():
            if isinstance(value, str) and value and other.inputs.get(key) != value:
                told[value] = f"{address}.{snake(key)}"
    return told


def _block(kind: str, inputs: Mapping[str, Any], told: Mapping[Any, str]) -> _Rendered:
    values: dict[str, Any] = {}
    expressions: dict[str, Any] = {}
    for key, given in sorted(inputs.items()):
        name, value = snake(key), given.value if isinstance(given, Secret) else given
        if isinstance(value, Mapping) and key not in MAPS:
            value = [value]
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            name = BLOCKS.get((kind, name)) or singular(name)
        if isinstance(value, list) and value and isinstance(value[0], Mapping):
            blocks = [_block(kind, inner, told) for inner in value]
            values[name] = [known for known, _ in blocks]
            expressions[name] = [referring for _, referring in blocks]
        elif references := _references(value, told):
            whole = [reference.rpartition(".")[0] for reference in references]
            expressions[name] = {"references": list(dict.fromkeys([*references, *whole]))}
        elif value is not UNKNOWN:
            values[name] = value
    return values, expressions


def _references(value: Any, told: Mapping[Any, str]) -> list[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return [reference for item in value for reference in _references(item, told)]
    found = told.get(value) if isinstance(value, str) or value is UNKNOWN else None
    return [found] if found else []
