"""A sum of money a month that the stack is expected to stay within.

Why a component: a bill is read when it is too late. AWS's forecast tells in the first days that
the month will end above the sum, and a second message comes when most of it is really spent. Only
what carries the stack's own tags counts: AWS knows them once both are activated as cost allocation
tags in the account that pays (docs/operations.md, "The budget"), and shows nothing until then.
"""

from typing import TypedDict

import pulumi
from pulumi import Output, ResourceOptions
from pulumi_aws import budgets

FORECAST_PERCENT = 100
"""Told when the month is expected to end above the whole sum."""
SPENT_PERCENT = 80
"""Told when so much of it is spent."""


class BudgetArgs(TypedDict):
    """How much, and who is told."""

    monthly_usd: int
    """The sum."""
    emails: list[str]
    """Addresses that are told, 1 to 10; AWS Budgets asks for no confirmation."""


class Budget(pulumi.ComponentResource):
    """A monthly budget of the stack's tagged costs, with a forecast and an actual alert."""

    budget_name: Output[str]
    """The budget in AWS Budgets."""

    def __init__(self, name: str, args: BudgetArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("trackstack:index:Budget", name, {**args}, opts)
        tags = {"project": pulumi.get_project(), "stack": pulumi.get_stack()}
        budget = budgets.Budget(
            f"{name}-month",
            budget_type="COST",
            time_unit="MONTHLY",
            limit_amount=str(args["monthly_usd"]),
            limit_unit="USD",
            # Both tags at once: the values of an older cost filter would be alternatives.
            filter_expression={
                "ands": [{"tags": {"key": key, "values": [tags[key]]}} for key in tags]
            },
            metrics="UnblendedCost",  # as on the bill
            notifications=[
                {
                    "comparison_operator": "GREATER_THAN",
                    "threshold": percent,
                    "threshold_type": "PERCENTAGE",
                    "notification_type": kind,
                    "subscriber_email_addresses": args["emails"],
                }
                for kind, percent in (("FORECASTED", FORECAST_PERCENT), ("ACTUAL", SPENT_PERCENT))
            ],
            opts=ResourceOptions(parent=self),
        )

        self.budget_name = budget.name
        self.register_outputs({"budget_name": self.budget_name})
