from components.budget import Budget
from tests.components.recorder import declare, platform
from trackstack.embedded.record import Registered

ARGS = {"monthly_usd": 200, "emails": ["ml@example.com"]}


def budget() -> Registered:
    return declare(lambda: Budget("budget", ARGS)).one("budget:Budget")


def test_the_forecast_tells_at_the_whole_sum_and_the_bill_at_most_of_it() -> None:
    told = {n["notificationType"]: n for n in budget().inputs["notifications"]}
    assert told["FORECASTED"]["threshold"] == 100
    assert told["ACTUAL"]["threshold"] == 80
    for one in told.values():
        assert one["thresholdType"] == "PERCENTAGE"
        assert one["comparisonOperator"] == "GREATER_THAN"
        assert one["subscriberEmailAddresses"] == ["ml@example.com"]


def test_only_this_stack_s_tagged_costs_count() -> None:
    inputs = budget().inputs
    assert [one["tags"] for one in inputs["filterExpression"]["ands"]] == [
        {"key": "project", "values": ["mlflow-platform"]},
        {"key": "stack", "values": ["test"]},
    ]
    # AWS takes either this pair or cost filters with cost types.
    assert inputs["metrics"] == "UnblendedCost"
    assert "costFilters" not in inputs
    assert (inputs["limitAmount"], inputs["limitUnit"], inputs["timeUnit"]) == (
        "200",
        "USD",
        "MONTHLY",
    )


def test_the_tags_that_count_are_the_ones_that_everything_carries() -> None:
    declared = platform(monthly_budget_usd="200", alarm_emails='["ml@example.com"]')
    (expression,) = (one.inputs["filterExpression"] for one in declared.all("budget:Budget"))
    provider = declared.one("pulumi:providers:aws")
    for one in expression["ands"]:
        tag = one["tags"]
        assert f'"{tag["key"]}": "{tag["values"][0]}"' in provider.inputs["defaultTags"]


def test_a_stack_has_no_budget_unless_a_sum_is_given() -> None:
    assert platform().all("budget:Budget") == []
