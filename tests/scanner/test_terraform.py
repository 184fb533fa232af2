"""The table against the real provider's schema, where Terraform and a mirror of it are installed.

``TRACKSTACK_TERRAFORM_MIRROR`` names the folder of the mirror; nothing is fetched.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.live.stacks import clean_environment
from tests.scanner.plan import plan_of
from tests.scanner.terraform import TYPES
from trackstack.embedded.record import Recording

_MIRROR = os.environ.get("TRACKSTACK_TERRAFORM_MIRROR", "")
_MISSING = (
    "no terraform on PATH"
    if shutil.which("terraform") is None
    else ""
    if _MIRROR
    else "no TRACKSTACK_TERRAFORM_MIRROR, the folder of a provider mirror"
)

pytestmark = [
    pytest.mark.engine,
    pytest.mark.xdist_group("terraform"),
    pytest.mark.skipif(bool(_MISSING), reason=_MISSING),
]

ONLY_PROVIDER_7 = frozenset[str]()
"""Arguments that the mirror's provider, maybe an older one, does not know."""


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    folder = tmp_path_factory.mktemp("terraform")
    (folder / "main.tf.json").write_text(
        json.dumps({"terraform": {"required_providers": {"aws": {"source": "hashicorp/aws"}}}})
    )

    def terraform(*argv: str) -> str:
        return subprocess.run(
            ["terraform", *argv],
            capture_output=True,
            text=True,
            check=True,
            cwd=folder,
            timeout=240,
            env={**clean_environment(), "TF_CLI_CONFIG_FILE": os.devnull},
        ).stdout

    terraform("init", "-input=false", f"-plugin-dir={Path(_MIRROR).resolve()}")
    (provider,) = json.loads(terraform("providers", "schema", "-json"))["provider_schemas"].values()
    found: Mapping[str, Any] = provider["resource_schemas"]
    return found


def test_every_type_of_the_table_is_terraforms(schema: Mapping[str, Any]) -> None:
    assert {f"aws_{name}" for name in TYPES.values()} - set(schema) == set()


@pytest.mark.parametrize("stack", ["dev", "staging", "prod"])
def test_every_property_has_its_name_and_shape_in_terraform(
    schema: Mapping[str, Any], evaluate: Callable[[str], Recording], stack: str
) -> None:
    plan = plan_of(evaluate(stack))
    root = plan.document["configuration"]["root_module"]["resources"]
    values = {
        one["address"]: one["values"]
        for one in plan.document["planned_values"]["root_module"]["resources"]
    }
    wrong = {
        problem
        for one in root
        for problem in differences(
            one["type"], schema[one["type"]]["block"], values[one["address"]], one["expressions"]
        )
    }
    assert wrong - ONLY_PROVIDER_7 == set()


def differences(
    path: str, block: Mapping[str, Any], values: Any, expressions: Any
) -> Iterator[str]:
    for key in {*values, *expressions}:
        here = f"{path}.{key}"
        value = values.get(key)
        blocks = isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)
        if inner := block.get("block_types", {}).get(key):
            most = inner.get("max_items") or len(value or [])
            if not blocks or len(value) > most:
                yield f"{here} is a block there, at most {most} times"
                continue
            for known, referring in zip(value, expressions[key], strict=True):
                yield from differences(here, inner["block"], known, referring)
        elif (attribute := block.get("attributes", {}).get(key)) is None:
            yield f"{here} is not there"
        elif key in values and not blocks:
            kind = attribute.get("type", "object")
            shape = kind if isinstance(kind, str) else kind[0]
            if {dict: "map", list: "list"}.get(type(value), "one") != {
                "set": "list",
                "list": "list",
                "map": "map",
            }.get(shape, "one"):
                yield f"{here} is a {shape} there"
