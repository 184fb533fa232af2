"""The house style, held by reflection over every component."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.provider.experimental.analyzer import Analyzer

import components
from tests.components.recorder import platform
from trackstack.embedded.record import Recording

ROOT = Path(__file__).parents[2]
STACKS = ("dev", "staging", "prod")


def modules() -> Iterator[Any]:
    for found in pkgutil.iter_modules(components.__path__):
        if not found.name.startswith("_"):
            yield importlib.import_module(f"components.{found.name}")


def classes() -> list[type[pulumi.ComponentResource]]:
    return [
        member
        for module in modules()
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, pulumi.ComponentResource) and member.__module__ == module.__name__
    ]


CLASSES = classes()
by_class = pytest.mark.parametrize("component", CLASSES, ids=lambda c: c.__name__)


def test_there_are_components_to_hold_to_the_rules() -> None:
    assert len(CLASSES) >= 6


def test_one_noun_one_file() -> None:
    for module in modules():
        own = [c for c in CLASSES if c.__module__ == module.__name__]
        assert len(own) == 1, module.__name__
        snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in own[0].__name__).lstrip("_")
        assert module.__name__ == f"components.{snake}"


def test_a_module_says_why_its_component_exists() -> None:
    for module in modules():
        assert "Why a component:" in (module.__doc__ or ""), module.__name__


def test_the_schema_for_other_languages_can_be_inferred_and_every_field_is_described() -> None:
    # The analyzer refuses Literal, unions, tuples and Callable: then no other language could call.
    result = Analyzer("trackstack").analyze(CLASSES)
    assert {c.__name__ for c in CLASSES} == set(result["component_definitions"])
    for name, definition in result["component_definitions"].items():
        assert definition.description, name
        for key, field in {**definition.inputs, **definition.outputs}.items():
            assert field.description, f"{name}.{key}"
    for name, definition in result["type_definitions"].items():
        for key, field in definition.properties.items():
            assert field.description, f"{name}.{key}"


@by_class
def test_a_constructor_takes_name_args_and_opts(component: type) -> None:
    parameters = list(inspect.signature(component.__init__).parameters)
    assert parameters == ["self", "name", "args", "opts"]
    annotation = inspect.signature(component.__init__).parameters["args"].annotation
    assert annotation.__name__ == f"{component.__name__}Args"
    assert annotation.__total__ is True


def test_registered_outputs_are_the_annotated_ones(
    evaluate: Callable[[str], Recording],
) -> None:
    annotated = {c.__name__: set(c.__annotations__) for c in CLASSES}
    seen = set()
    # A stack leaves some components out; what none of the three uses is asked for here.
    rest = platform(waf="true", tunnel="true", artifact_replica_region="us-west-2")
    for recording in (*map(evaluate, STACKS), rest.recording):
        for urn, outputs in recording.component_outputs.items():
            kind = recording.by_urn(urn).type.rpartition(":")[2]
            seen.add(kind)
            assert set(outputs) == annotated[kind], kind
    assert seen == set(annotated)


@pytest.mark.parametrize("stack", STACKS)
def test_a_child_names_its_parent_and_begins_with_its_name(
    evaluate: Callable[[str], Recording], stack: str
) -> None:
    recording = evaluate(stack)
    for one in recording.resources:
        if not one.parent or one.type.startswith("pulumi:"):
            continue
        parent = recording.by_urn(one.parent)
        if parent.type.startswith("trackstack:"):
            assert one.name.startswith(f"{parent.name}-"), one.urn
            assert f"{parent.type}${one.type}" in one.urn
        else:
            assert one.type.startswith("trackstack:"), f"{one.urn} is nobody's child"


@pytest.mark.parametrize("stack", STACKS)
def test_everything_of_aws_goes_through_the_one_provider_with_tags(
    evaluate: Callable[[str], Recording], stack: str
) -> None:
    recording = evaluate(stack)
    (provider,) = recording.of_type("pulumi:providers:aws")
    for one in recording.resources:
        if one.type.startswith("aws:"):
            assert one.options.provider.startswith(provider.urn), one.urn


def test_components_look_nothing_up_and_infra_makes_no_resource() -> None:
    for file in (ROOT / "components").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute | ast.Name):
                name = node.attr if isinstance(node, ast.Attribute) else node.id
                assert not name.startswith(("get_availability", "get_caller", "get_vpc"))
            if isinstance(node, ast.ImportFrom):
                assert node.module != "__future__", f"{file.name}: the analyzer refuses it"


def test_no_program_file_asks_where_it_runs() -> None:
    words = ("local", "embedded", "is_dry_run", "trackstack up")
    for folder in ("infra", "components"):
        for file in (ROOT / folder).glob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.If):
                    test = ast.unparse(node.test)
                    assert not any(word in test for word in words), f"{file.name}: {test}"
    main = (ROOT / "__main__.py").read_text()
    assert len([line for line in main.splitlines() if line.strip()]) <= 8
