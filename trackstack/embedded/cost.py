"""Evaluates a stack and prices what it declares; again with other settings for a what-if."""

from collections.abc import Iterable
from dataclasses import replace

from trackstack.core.cost import Estimate, estimate
from trackstack.core.usage import Usage
from trackstack.embedded import monitor
from trackstack.embedded.errors import UsageError
from trackstack.embedded.host import PreviewHost, StackAnswers, region_of
from trackstack.embedded.project import Configuration, Project


def estimate_stack(
    project: Project, stack: str, configuration: Configuration, usage: Usage
) -> Estimate:
    """What the stack would cost a month; nothing is started, written or asked of AWS.

    Raises:
        ProgramError: the program refuses the configuration or fails.
    """
    region = region_of(project, configuration)
    recording = monitor.evaluate(project, stack, configuration, StackAnswers(PreviewHost(), region))
    return estimate(recording.resources, usage, stack=stack, region=region)


def with_changes(
    project: Project, configuration: Configuration, changes: Iterable[str]
) -> Configuration:
    """The configuration with ``key=value`` settings in place of its own.

    Whether the program knows the key and takes the value is the program's own check.

    Raises:
        UsageError: a change is not ``key=value``.
    """
    values = dict(configuration.values)
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals or not key.strip():
            raise UsageError(
                f"--what-if {change!r} is no setting: write key=value, such as tracking_tasks=3."
            )
        key = key.strip()
        values[key if ":" in key else f"{project.name}:{key}"] = value.strip()
    return replace(configuration, values=values)
