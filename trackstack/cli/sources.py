"""Finds the stack a verb is about: one that runs here, or one on AWS."""

from collections.abc import Mapping
from typing import Any

from trackstack.client import deployed
from trackstack.core.outputs import OUTPUT_NAMES
from trackstack.embedded.errors import NotRunningError, UsageError
from trackstack.embedded.state import SUMMARY, StackState


def find_state(stack: str, project: str = "") -> StackState:
    """The saved state of a stack of this machine.

    Raises:
        NotRunningError: it was never up here.
        UsageError: several projects have such a stack.
    """
    saved = StackState.all(project or None)
    found = [state for state in saved if state.stack == stack]
    if len(found) == 1:
        return found[0]
    if found:
        projects = ", ".join(sorted(state.project for state in found))
        raise UsageError(
            f"Several projects have a stack {stack!r} here ({projects}): say --project."
        )
    others = ", ".join(sorted({state.stack for state in saved}))
    hint = f" (here are: {others})" if others else ""
    raise NotRunningError(
        f"The stack {stack!r} has never been up on this machine{hint}:"
        f" `trackstack up --stack {stack}` starts it."
    )


def find_outputs(source: str, stack: str, project: str = "") -> Mapping[str, Any]:
    """The outputs of a stack, wherever it runs.

    Raises:
        NotRunningError, UsageError, ClientError: each with its sentence.
    """
    if source == "pulumi":
        return deployed.from_pulumi(stack)
    kind, _, name = source.partition(":")
    if kind == "ssm" and name:
        return deployed.from_parameter(name)
    if source != "here":
        raise UsageError(
            f"There is no source {source!r}; choose here, pulumi or ssm:/<project>/<stack>/client."
        )
    state = find_state(stack, project)
    outputs = (state.read_json(SUMMARY) or {}).get("outputs")
    if not outputs:
        raise NotRunningError(
            f"The stack {stack!r} has never come up whole on this machine:"
            f" `trackstack up --stack {stack}` finishes it."
        )
    # The state keeps keys sorted; people read them in the order of the contract.
    known = [name for name in OUTPUT_NAMES if name in outputs]
    return {name: outputs[name] for name in [*known, *(k for k in outputs if k not in known)]}
