"""What the pages take from the code; called by cog, checked by `make check`."""

import os

os.environ.update(COLUMNS="100", NO_COLOR="1", TERM="dumb")

from typer.testing import CliRunner  # noqa: E402

from trackstack.cli import app  # noqa: E402
from trackstack.core.outputs import StackOutputs  # noqa: E402
from trackstack.core.settings import Settings  # noqa: E402

VERBS = ("up", "preview", "status", "logs", "outputs", "env", "open", "down")


def settings() -> str:
    """Every setting with its default and meaning, as a table."""
    lines = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        if field.is_required():
            default = "required"
        else:
            value = field.get_default(call_default_factory=True)
            if isinstance(value, tuple):
                value = list(value)
            default = "" if value in ("", [], {}) else f"`{str(value).lower() if isinstance(value, bool) else value}`"
            if name.startswith("artifact_") and name.endswith(("key_id", "access_key")):
                default = ""
        meaning = " ".join((field.description or "").split())
        lines.append(f"| `{name}` | {default} | {meaning} |")
    return "\n".join(lines)


def outputs() -> str:
    """Every stack output with its promise, as a table."""
    import ast
    import inspect

    body = ast.parse(inspect.getsource(StackOutputs)).body[0].body[1:]
    lines = ["| output | what it is |", "| --- | --- |"]
    for field, text in zip(body[::2], body[1::2], strict=True):
        meaning = " ".join(text.value.value.replace("``", "`").split())
        lines.append(f"| `{field.target.id}` | {meaning} |")
    return "\n".join(lines)


def verbs() -> str:
    """`--help` of every verb."""
    parts = []
    for verb in VERBS:
        text = CliRunner().invoke(app, [verb, "--help"], prog_name="trackstack").output
        body = "\n".join(line.rstrip() for line in text.strip().splitlines())
        parts.append(f"## trackstack {verb}\n\n```text\n{body}\n```\n")
    return "\n".join(parts)
