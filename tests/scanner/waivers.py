"""Why a finding stays: ``components/<noun>.waivers.yaml``, stack → check → reason.

A waiver counts for the resources of the component beside it and for the stack that it names;
``all`` is every stack. It changes no figure: a waived finding is a failed check all the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.scanner.plan import snake
from tests.scanner.scan import Finding
from trackstack.embedded.record import Registered

ROOT = Path(__file__).parents[2]
ALL = "all"


@dataclass(frozen=True, order=True)
class Waiver:
    """One line of a file."""

    component: str
    """Such as ``front_door``."""
    stack: str
    """A stack, or ``all``."""
    check: str
    """Such as ``CKV_AWS_18``."""


def waivers() -> dict[Waiver, str]:
    """Every waiver → its reason."""
    return {
        Waiver(file.name.removesuffix(".waivers.yaml"), stack, check): reason
        for file in sorted((ROOT / "components").glob("*.waivers.yaml"))
        for stack, checks in yaml.safe_load(file.read_text()).items()
        for check, reason in checks.items()
    }


def component_of(one: Registered) -> str:
    """The file in ``components`` that declares the resource: its parent's noun."""
    return snake(one.parent.rpartition("::")[0].rpartition(":")[2])


def waiver_of(
    finding: Finding, stack: str, resources: Mapping[str, Registered], known: Mapping[Waiver, str]
) -> Waiver | None:
    """The waiver that covers a finding, if one does."""
    component = component_of(resources[finding.address])
    candidates = (Waiver(component, where, finding.check) for where in (stack, ALL))
    return next((one for one in candidates if one in known), None)
