"""IAM documents as statements: JSON text or structure in, lists out, however they are written."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policy.reading import listed, structure, text


@dataclass(frozen=True)
class Statement:
    """One statement; every part a list, however it was written."""

    effect: str
    actions: tuple[str, ...]
    all_but_actions: bool
    """It says NotAction, so it is about everything that isn't named."""
    resources: tuple[str, ...]
    all_but_resources: bool
    principals: Mapping[str, tuple[str, ...]]
    """Kind (``AWS``, ``Service``, ``Federated``; ``*`` for everybody) to names."""
    conditions: Mapping[str, tuple[str, ...]]
    """Condition key in lower case to the values it is compared with."""
    sid: str

    @property
    def allows(self) -> bool:
        """Whether it grants something."""
        return self.effect == "Allow"

    @property
    def about_everybody(self) -> bool:
        """Whether any account of AWS is meant."""
        return "*" in self.principals or "*" in self.principals.get("AWS", ())

    def __str__(self) -> str:
        return f"statement {self.sid!r}" if self.sid else "a statement"


def statements(document: Any) -> Iterator[Statement]:
    """The statements of a policy; none where it is unknown or no policy."""
    read = structure(document)
    if not isinstance(read, dict):
        return
    for one in listed(read.get("Statement")):
        if isinstance(one, dict):
            yield _statement(one)


def _statement(one: Mapping[str, Any]) -> Statement:
    return Statement(
        effect=text(one.get("Effect")),
        actions=_texts(one.get("Action")),
        all_but_actions="NotAction" in one,
        resources=_texts(one.get("Resource")),
        all_but_resources="NotResource" in one,
        principals=_principals(one.get("Principal")),
        conditions=_conditions(one.get("Condition")),
        sid=text(one.get("Sid")),
    )


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(one for one in listed(value) if isinstance(one, str))


def _principals(value: Any) -> dict[str, tuple[str, ...]]:
    if isinstance(value, dict):
        return {kind: _texts(names) for kind, names in value.items()}
    return {name: (name,) for name in _texts(value)}


def _conditions(value: Any) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for tests in (value if isinstance(value, dict) else {}).values():
        for key, values in (tests if isinstance(tests, dict) else {}).items():
            name = key.lower()
            found[name] = found.get(name, ()) + tuple(str(one) for one in listed(values))
    return found


def refuses_plain_http(document: Any) -> bool:
    """Whether a bucket's policy denies everybody everything that doesn't come by TLS."""
    return any(
        one.effect == "Deny"
        and one.about_everybody
        and "s3:*" in one.actions
        and one.conditions.get("aws:securetransport") in (("false",), ("False",))
        for one in statements(document)
    )
