"""moto's server with the few calls that it lacks and a stack's resources need.

The real provider retries a call that nobody answers for half an hour, and a test with it. What is
added here keeps what it is given and gives it back, no more; moto 5.2 has none of it.
"""

import fnmatch
import json
import sys
import uuid
from typing import Any

from moto.budgets.responses import BudgetsResponse
from moto.logs.responses import LogsResponse
from moto.rds.models import DBInstance
from moto.s3.models import FakeBucket
from moto.server import main

_queries: dict[str, dict[str, Any]] = {}
_budget_tags: dict[str, list[dict[str, str]]] = {}
_create_budget = BudgetsResponse.create_budget
_make_database = DBInstance.__init__


def put_query_definition(self: LogsResponse) -> str:
    """CloudWatch Logs: PutQueryDefinition."""
    key = self._get_param("queryDefinitionId") or str(uuid.uuid4())
    _queries[key] = {
        "queryDefinitionId": key,
        "name": self._get_param("name"),
        "queryString": self._get_param("queryString"),
        "logGroupNames": self._get_param("logGroupNames", []),
    }
    return json.dumps({"queryDefinitionId": key})


def describe_query_definitions(self: LogsResponse) -> str:
    """CloudWatch Logs: DescribeQueryDefinitions."""
    prefix = self._get_param("queryDefinitionNamePrefix", "")
    found = [one for one in _queries.values() if one["name"].startswith(prefix)]
    return json.dumps({"queryDefinitions": found})


def delete_query_definition(self: LogsResponse) -> str:
    """CloudWatch Logs: DeleteQueryDefinition."""
    return json.dumps({"success": bool(_queries.pop(self._get_param("queryDefinitionId"), None))})


def list_tags_for_resource(self: BudgetsResponse) -> str:
    """AWS Budgets: ListTagsForResource."""
    return json.dumps({"ResourceTags": _budget_tags.get(self._get_param("ResourceARN"), [])})


def create_budget(self: BudgetsResponse) -> str:
    """AWS Budgets: CreateBudget, whose tags moto drops."""
    name = self._get_param("Budget")["BudgetName"]
    arn = f"arn:aws:budgets::{self._get_param('AccountId')}:budget/{name}"
    _budget_tags[arn] = self._get_param("ResourceTags", [])
    return _create_budget(self)


def tag_resource(self: BudgetsResponse) -> str:
    """AWS Budgets: TagResource."""
    _budget_tags[self._get_param("ResourceARN")] = self._get_param("ResourceTags", [])
    return json.dumps({})


def update_budget(self: BudgetsResponse) -> str:
    """AWS Budgets: UpdateBudget."""
    new = self._get_param("NewBudget")
    kept = self.backend.budgets[self._get_param("AccountId")][new["BudgetName"]]
    kept.budget = {**kept.budget, **new}
    return json.dumps({})


def describe_subscribers_for_notification(self: BudgetsResponse) -> str:
    """AWS Budgets: DescribeSubscribersForNotification."""
    budget = self.backend.budgets[self._get_param("AccountId")][self._get_param("BudgetName")]
    wanted = self._get_param("Notification")
    found = [
        one.subscribers
        for one in budget.notifications
        if one.details["NotificationType"] == wanted["NotificationType"]
    ]
    return json.dumps({"Subscribers": found[0] if found else []})


def make_database(self: DBInstance, *args: Any, **declared: Any) -> None:
    """RDS: CreateDBInstance, whose Performance Insights moto drops; ModifyDBInstance keeps them."""
    _make_database(self, *args, **declared)
    for key in (
        "enable_performance_insights",
        "performance_insights_kms_key_id",
        "performance_insights_retention_period",
        "database_insights_mode",
    ):
        if declared.get(key) is not None:
            setattr(self, key, declared[key])


def may_log(target_bucket: FakeBucket, target_prefix: str | None) -> bool:
    """S3: whether a policy lets S3 write its log below a prefix.

    moto's own falls over a statement about everybody, and takes a resource by its letters only.
    """
    if not target_bucket.policy:
        return False
    wanted = f"arn:{target_bucket.partition}:s3:::{target_bucket.name}/{target_prefix or ''}x"
    return any(
        statement["Effect"] == "Allow"
        and statement["Principal"] == {"Service": "logging.s3.amazonaws.com"}
        and "s3:PutObject" in statement["Action"]
        and fnmatch.fnmatchcase(wanted, statement["Resource"])
        for statement in json.loads(target_bucket.policy)["Statement"]
    )


for response, calls in (
    (LogsResponse, (put_query_definition, describe_query_definitions, delete_query_definition)),
    (
        BudgetsResponse,
        (
            list_tags_for_resource,
            tag_resource,
            update_budget,
            describe_subscribers_for_notification,
        ),
    ),
):
    for call in calls:
        assert not hasattr(response, call.__name__), f"moto has {call.__name__} now"
        setattr(response, call.__name__, call)

BudgetsResponse.create_budget = create_budget
DBInstance.__init__ = make_database
FakeBucket._log_permissions_enabled_policy = staticmethod(may_log)
DBInstance.performance_insights_enabled = property(
    lambda database: getattr(database, "enable_performance_insights", False)
)

if __name__ == "__main__":
    main(sys.argv[1:])
