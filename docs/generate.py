"""What the pages take from the code; called by cog, checked by `make check`."""

import json
import os
from pathlib import Path

os.environ.update(COLUMNS="100", NO_COLOR="1", TERM="dumb")

from typer.testing import CliRunner  # noqa: E402

from trackstack.cli import app  # noqa: E402
from trackstack.core import alarms as alarm_table  # noqa: E402
from trackstack.core import deployer  # noqa: E402
from trackstack.core import cost_report, managed_offers  # noqa: E402
from trackstack.core.log_queries import LOG_QUERIES  # noqa: E402
from trackstack.core.outputs import StackOutputs  # noqa: E402
from trackstack.core.settings import Settings  # noqa: E402

VERBS = ("up", "preview", "cost", "status", "logs", "outputs", "env", "join", "service", "doctor", "adopt", "run", "sync", "relay", "open", "users", "bootstrap", "experiments", "report", "tunnel", "down", "state")


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


def alarms() -> str:
    """Every alarm with what it means and what to do."""
    found = alarm_table.alarms(
        roles=["tracking", "artifacts"],
        instance_class="db.t4g.small",
        storage_gib=50,
        encrypted=True,
        log_namespace=alarm_table.log_namespace("mlflow-platform", "prod"),
    )
    parts = []
    for alarm in found:
        watched = ", ".join(f"`{m.namespace}` {m.name} ({m.statistic})" for m in alarm.metrics.values())
        sign = {"GreaterThanThreshold": ">", "GreaterThanOrEqualToThreshold": "≥", "LessThanThreshold": "<"}
        minutes = "a day" if alarm.minutes == 24 * 60 else f"{alarm.minutes} min"
        parts.append(
            f"### {alarm.role}\n\n{alarm.means}\n\n{alarm.do}\n\n"
            f"Looks at {watched}; {sign[alarm.comparison]} {alarm.threshold:,} in {alarm.breaching} of"
            f" {alarm.periods} periods of {minutes}; a period without figures is `{alarm.missing}`."
            f" ${alarm.usd_month:.2f} a month.\n"
        )
    total = alarm_table.price_usd_month(found)
    return "\n".join(parts) + f"\nTogether, in the shape of `prod`: ${total:.2f} a month.\n"


def log_queries() -> str:
    """Every saved query."""
    return "\n".join(f"- `{name}`: `{query}`" for name, query in LOG_QUERIES.items())


def replaced() -> str:
    """What a change of a setting makes anew; tests/rules holds the table against the program."""
    from tests.rules.settings_that_replace import REPLACED

    lines = ["| a change of | makes anew or takes away | |", "| --- | --- | --- |"]
    for name, (what, why) in REPLACED.items():
        lines.append(f"| `{name}` | {', '.join(f'`{one}`' for one in what)} | {why} |")
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


def policies() -> str:
    """Every rule of the policy pack with its weight, as a table."""
    import sys

    sys.path.insert(0, ".")
    from policy.pack import POLICIES

    lines = ["| rule | level | severity | what it holds |", "| --- | --- | --- | --- |"]
    for one in POLICIES:
        lines.append(f"| `{one.name}` | {one.enforcement_level.value} | {one.severity.value} | {one.description} |")
    return "\n".join(lines)


def verbs() -> str:
    """`--help` of every verb."""
    parts = []
    for verb in VERBS:
        text = CliRunner().invoke(app, [verb, "--help"], prog_name="trackstack").output
        body = "\n".join(line.rstrip() for line in text.strip().splitlines())
        parts.append(f"## trackstack {verb}\n\n```text\n{body}\n```\n")
    return "\n".join(parts)


def offers() -> str:
    """Managed offers, their fees and what they assume."""
    rows = [
        {"name": o.name, "usd": o.fee, "assumes": o.assumes, "source": o.source, "read": o.read}
        for o in managed_offers.OFFERS
    ]
    return cost_report.offers_table(rows)


def prices() -> str:
    """Every price with its source."""
    return cost_report.price_table()


def firewall() -> str:
    """Every managed rule that counts, and what isn't used, each with its reason."""
    from trackstack.core.firewall import LEFT_OUT, RULE_GROUPS

    lines = ["| group | blocks | rules that only count, and why |", "| --- | --- | --- |"]
    for group in RULE_GROUPS:
        counted = "<br>".join(f"`{rule}`: {why}" for rule, why in group.counted.items())
        lines.append(f"| `{group.name}` | {group.guards} | {counted or 'none'} |")
    lines += ["", "Left out:", ""]
    lines += [f"- {f'`{name}`' if name.startswith('AWS') else name}: {why}." for name, why in LEFT_OUT.items()]
    return "\n".join(lines)


def deployer_policies() -> dict[Path, str]:
    """The files with the deployer's policies, for an example account."""
    found = deployer.policies(
        project="mlflow-platform",
        name="mlflow",
        region="us-east-1",
        account_id="123456789012",
        state_bucket="mlflow-platform-state-123456789012-us-east-1",
        state_alias="alias/mlflow-platform-state",
    )
    found["preview"] = deployer.looking(found)
    folder = Path(__file__).parent / "deployer-policy"
    return {folder / f"{group}.json": json.dumps(policy, indent=2) + "\n" for group, policy in found.items()}


def deployer_table() -> str:
    """What each of the policies is about."""
    lines = ["| policy | resource types |", "| --- | --- |"]
    for file in deployer_policies():
        kinds = sorted(
            kind.rpartition(":")[2] for kind, (group, _) in deployer.TABLE.items() if group == file.stem
        )
        about = ", ".join(kinds) or "the looking part of all of them"
        lines.append(f"| [{file.stem}](deployer-policy/{file.name}) | {about} |")
    return "\n".join(lines)


def bills() -> str:
    """The bills of the three stack files, whole: `make docs` writes them to docs/bills.md.

    Not by cog: `make check` would then evaluate three stacks. A test compares the page instead.
    """
    from trackstack.core.usage import Usage
    from trackstack.embedded import cost
    from trackstack.embedded.project import Project

    project = Project.find(Path(__file__).parent)
    found = [
        cost.estimate_stack(project, stack, project.configuration(stack), Usage())
        for stack in ("dev", "staging", "prod")
    ]
    parts = [
        "# The bills of the three stacks",
        "What `trackstack cost --sources --format markdown` says of each stack file; written by `make docs`."
        " How it is counted: [cost.md](cost.md).",
        "| stack | USD a month | fixed | by use |\n| --- | ---: | ---: | ---: |\n"
        + "\n".join(
            f"| `{one.stack}` | **{one.total:,.2f}** | {one.fixed:,.2f} | {one.used:,.2f} |" for one in found
        ),
    ]
    for one in found:
        parts += [f"## {one.stack}", cost_report.markdown(one, sources=True)]
    parts += ["## prod beside managed offers", cost_report.offers_table(managed_offers.compare(found[-1]))]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    for file, text in deployer_policies().items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    (Path(__file__).parent / "bills.md").write_text(bills())
