"""How a rule is written: a function from what is declared to sentences about what is wrong.

Its name is the policy's, its docstring the description; both are what ``pulumi`` prints and what a
pack's configuration names. A sentence says what is wrong and, after a colon, what would be right.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyConfigSchema,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    Severity,
    StackValidationArgs,
    StackValidationPolicy,
)

from policy.reading import Resource, Stack, plain

MANDATORY = EnforcementLevel.MANDATORY
ADVISORY = EnforcementLevel.ADVISORY
CRITICAL, HIGH, MEDIUM, LOW = Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM, Severity.LOW

Config = Mapping[str, Any]
OfResource = Callable[[Resource, Config], Iterator[str]]
OfStack = Callable[[Stack, Config], Iterator[tuple[Resource, str]]]


def listing(description: str, *default: str) -> dict[str, Any]:
    """The schema of a setting of a rule that is a list of words."""
    return {
        "type": "array",
        "items": {"type": "string"},
        "description": description,
        "default": list(default),
    }


class Rules:
    """The rules of one module."""

    def __init__(self) -> None:
        self.policies: list[Policy] = []

    def about(
        self,
        *types: str,
        level: EnforcementLevel,
        severity: Severity,
        config: Mapping[str, dict[str, Any]] | None = None,
    ) -> Callable[[OfResource], OfResource]:
        """A rule about each resource of these types, known before it is made."""

        def made(check: OfResource) -> OfResource:
            def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
                if args.resource_type in types:
                    told = _configured(config, args.get_config())
                    for sentence in check(_resource(args), told):
                        report(sentence, None)

            self.policies.append(
                ResourceValidationPolicy(
                    **_words(check), validate=validate, **_weight(level, severity, config)
                )
            )
            return check

        return made

    def across(
        self,
        *,
        level: EnforcementLevel,
        severity: Severity,
        config: Mapping[str, dict[str, Any]] | None = None,
    ) -> Callable[[OfStack], OfStack]:
        """A rule about how the resources of a stack belong together."""

        def made(check: OfStack) -> OfStack:
            def validate(args: StackValidationArgs, report: ReportViolation) -> None:
                stack = Stack(tuple(_resource(one) for one in args.resources))
                for resource, sentence in check(stack, _configured(config, args.get_config())):
                    report(sentence, resource.urn)

            self.policies.append(
                StackValidationPolicy(
                    **_words(check), validate=validate, **_weight(level, severity, config)
                )
            )
            return check

        return made


def _words(check: Callable[..., Any]) -> dict[str, Any]:
    return {
        "name": check.__name__.replace("_", "-"),
        "description": (inspect.getdoc(check) or "").partition("\n")[0],
    }


def _weight(
    level: EnforcementLevel, severity: Severity, config: Mapping[str, dict[str, Any]] | None
) -> dict[str, Any]:
    schema = PolicyConfigSchema(properties=dict(config)) if config else None
    return {"enforcement_level": level, "severity": severity, "config_schema": schema}


def _configured(schema: Mapping[str, dict[str, Any]] | None, given: Config | None) -> Config:
    defaults = {key: one["default"] for key, one in (schema or {}).items()}
    return {**defaults, **(given or {})}


def _resource(told: Any) -> Resource:
    depends = getattr(told, "property_dependencies", {})
    return Resource(
        type=told.resource_type,
        name=told.name,
        urn=told.urn,
        props=plain(told.props),
        protect=told.opts.protect,
        provider=plain(told.provider.props) if told.provider else None,
        depends={key: tuple(one.urn for one in found) for key, found in depends.items()},
    )
