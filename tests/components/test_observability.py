import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.observability import Observability
from tests.components.recorder import Declared, declare, platform
from trackstack.core import alarms
from trackstack.core.log_queries import LOG_QUERIES
from trackstack.server import __main__ as server
from trackstack.server.credentials import Renewal
from trackstack.server.problem import NOT_ALLOWED, Refusal

ROOT = Path(__file__).parents[2]
LB = "arn:aws:elasticloadbalancing:us-east-1:123456789012:"
SERVERS = {
    "roles": ["tracking", "artifacts"],
    "balancer_arn": f"{LB}loadbalancer/app/door/50dc6c495c0c9188",
    "target_group_arns": {
        "tracking": f"{LB}targetgroup/tracking/73e2d6bc24d8a067",
        "artifacts": f"{LB}targetgroup/artifacts/73e2d6bc24d8a068",
    },
    "cluster_name": "cluster",
    "service_names": {"tracking": "t", "artifacts": "a"},
    "log_group_name": "the-log",
    "certificate_arn": "arn:aws:acm:us-east-1:123456789012:certificate/1",
}
DATABASE = {"identifier": "mlflow-1", "instance_class": "db.t4g.small", "storage_gib": 50}
TOLD = {"alarms": True, "alarm_emails": ["ml@example.com", "oncall@example.com"]}


def watch(**more: Any) -> Declared:
    args: Any = {
        "region": "us-east-1",
        "account_id": "123456789012",
        "servers": SERVERS,
        "database": DATABASE,
        **more,
    }
    return declare(lambda: Observability("watch", args))


def test_nobody_is_told_and_nothing_is_paid_for_unless_asked() -> None:
    declared = watch()
    for kind in ("MetricAlarm", "sns/topic:Topic", "LogMetricFilter", "TopicSubscription"):
        assert declared.all(kind) == [], kind
    assert declared.outputs("Observability")["topic_arn"] == ""
    assert len(declared.all("dashboard:Dashboard")) == 1


def test_every_alarm_tells_the_topic_when_it_begins_and_when_it_ends() -> None:
    declared = watch(**TOLD)
    topic = declared.one("sns/topic:Topic")
    found = declared.all(":MetricAlarm")
    assert {one.name.removeprefix("watch-") for one in found} == {
        alarm.role
        for alarm in alarms.alarms(
            roles=["tracking", "artifacts"],
            instance_class="db.t4g.small",
            storage_gib=50,
            encrypted=True,
            log_namespace="any",
        )
    }
    for one in found:
        assert one.inputs["alarmActions"] == one.inputs["okActions"] == [topic.outputs["arn"]]
        assert one.inputs["treatMissingData"] in {"breaching", "notBreaching", "ignore"}
        assert one.inputs["alarmDescription"].endswith(
            f"docs/operations.md#{one.name.removeprefix('watch-')}"
        )
    assert declared.outputs("Observability")["topic_arn"] == topic.outputs["arn"]


def test_an_alarm_looks_at_this_stack_s_parts() -> None:
    declared = watch(**TOLD)
    healthy = declared.one(":MetricAlarm", "watch-no-healthy-target-artifacts")
    assert healthy.inputs["dimensions"] == {
        "LoadBalancer": "app/door/50dc6c495c0c9188",
        "TargetGroup": "targetgroup/artifacts/73e2d6bc24d8a068",
    }
    cpu = declared.one(":MetricAlarm", "watch-database-cpu")
    assert cpu.inputs["dimensions"] == {"DBInstanceIdentifier": "mlflow-1"}
    latency = declared.one(":MetricAlarm", "watch-latency").inputs
    assert latency["dimensions"] == {"Stack": "mlflow-platform/test"}
    assert latency["extendedStatistic"] == "p95"
    assert latency["evaluateLowSampleCountPercentiles"] == "ignore"
    end = declared.one(":MetricAlarm", "watch-certificate")
    assert end.inputs["dimensions"] == {"CertificateArn": SERVERS["certificate_arn"]}


def test_the_error_ratio_is_metric_math_over_the_balancer() -> None:
    queries = watch(**TOLD).one(":MetricAlarm", "watch-errors").inputs["metricQueries"]
    (result,) = (query for query in queries if query.get("expression"))
    assert result["returnData"] is True
    asked = {query["id"]: query["metric"] for query in queries if "metric" in query}
    assert {metric["metricName"] for metric in asked.values()} == {
        "RequestCount",
        "HTTPCode_Target_5XX_Count",
        "HTTPCode_ELB_5XX_Count",
    }
    for name, metric in asked.items():
        assert name in result["expression"]
        assert metric["dimensions"] == {"LoadBalancer": "app/door/50dc6c495c0c9188"}


def test_without_a_certificate_or_artifacts_service_nothing_looks_at_them() -> None:
    bare = {**SERVERS, "roles": ["tracking"]}
    del bare["certificate_arn"]
    names = {one.name for one in watch(**TOLD, servers=bare).all(":MetricAlarm")}
    assert "watch-certificate" not in names
    assert "watch-no-healthy-target-artifacts" not in names


def test_only_this_account_s_alarms_publish_and_never_in_the_clear() -> None:
    declared = watch(**TOLD)
    topic = declared.one("sns/topic:Topic").outputs["arn"]
    allow, deny = declared.policy(declared.one(":TopicPolicy"))
    assert allow["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert (allow["Action"], allow["Resource"]) == ("sns:Publish", topic)
    assert allow["Condition"]["StringEquals"] == {"aws:SourceAccount": "123456789012"}
    assert deny["Effect"] == "Deny"
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_the_topic_has_the_customer_s_key_or_none_that_would_swallow_messages() -> None:
    key = "arn:aws:kms:us-east-1:123456789012:key/1"
    assert watch(**TOLD, kms_key_arn=key).one("sns/topic:Topic").inputs["kmsMasterKeyId"] == key
    for none in ({}, {"kms_key_arn": ""}):
        assert "kmsMasterKeyId" not in watch(**TOLD, **none).one("sns/topic:Topic").inputs


def test_the_stack_s_key_lets_cloudwatch_write_to_the_topic() -> None:
    declared = platform(alarms="true", customer_key="true")
    statements = declared.policy(declared.one("kms/key:Key"))
    (tell,) = (s for s in statements if "cloudwatch.amazonaws.com" in str(s["Principal"]))
    assert {"kms:Decrypt", "kms:GenerateDataKey"} <= set(tell["Action"])
    assert declared.one("sns/topic:Topic").inputs["kmsMasterKeyId"]


def test_every_address_is_subscribed_under_its_own_name() -> None:
    found = {one.name: one.inputs for one in watch(**TOLD).all(":TopicSubscription")}
    assert {inputs["endpoint"] for inputs in found.values()} == set(TOLD["alarm_emails"])
    # Keyed by the address: taking one out leaves the others' confirmation alone.
    fewer = watch(alarms=True, alarm_emails=["oncall@example.com"])
    assert {one.name for one in fewer.all(":TopicSubscription")} < set(found)


def test_the_queries_are_saved_under_the_stack_and_ask_its_log() -> None:
    found = {one.inputs["name"]: one.inputs for one in watch().all(":QueryDefinition")}
    assert set(found) == {f"mlflow-platform/test/{name}" for name in LOG_QUERIES}
    assert all(inputs["logGroupNames"] == ["the-log"] for inputs in found.values())


def test_the_dashboard_is_of_this_stack() -> None:
    page = watch(**TOLD, bucket="runs").one("dashboard:Dashboard")
    assert page.inputs["dashboardName"] == "mlflow-platform-test-us-east-1"
    body = page.inputs["dashboardBody"]
    for part in ("app/door/50dc6c495c0c9188", "mlflow-1", "cluster", "the-log", "runs"):
        assert part in body
    (status, *_) = json.loads(body)["widgets"]
    assert len(status["properties"]["alarms"]) == len(watch(**TOLD).all(":MetricAlarm"))


# The filters and what the server says: the phrase must be in what is really printed.


def pattern(metric: str) -> str:
    declared = watch(**TOLD)
    found = declared.one(":LogMetricFilter", f"watch-{metric}")
    assert found.inputs["logGroupName"] == "the-log"
    transformation = found.inputs["metricTransformation"]
    (looking,) = (
        one.inputs for one in declared.all(":MetricAlarm") if one.inputs.get("metricName") == metric
    )
    assert (transformation["name"], transformation["namespace"]) == (
        metric,
        looking["namespace"],
    )
    assert "defaultValue" not in transformation  # a metric that is always written is always paid
    phrase = found.inputs["pattern"]
    assert phrase[0] == phrase[-1] == '"'
    return str(phrase[1:-1])


@pytest.mark.parametrize(
    "problem", [Refusal("This database holds data.", NOT_ALLOWED), ValueError("unforeseen")]
)
def test_a_migration_that_stops_for_whatever_reason_is_counted_once(
    problem: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Module:
        @staticmethod
        def migrate() -> int:
            raise problem

    monkeypatch.setitem(sys.modules, "trackstack.server.migrate", Module)
    if isinstance(problem, Refusal):
        assert server.main(["migrate"]) == NOT_ALLOWED
    else:
        with pytest.raises(ValueError, match="unforeseen"):
            server.main(["migrate"])
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if pattern("MigrationsStopped") in line]) == 1


def test_a_server_that_stops_is_not_counted_as_a_migration() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trackstack.server", "serve"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert pattern("MigrationsStopped") not in done.stderr


def test_every_failed_renewal_of_the_token_is_counted_and_a_good_one_is_not() -> None:
    def broken() -> None:
        raise OSError("no role")

    said: list[str] = []
    failing = Renewal(broken, complain=said.append)
    failing.step()
    failing.step()
    phrase = pattern("TokensNotRenewed")
    assert [phrase in line for line in said] == [True, True]
    healed = Renewal(lambda: None, complain=said.append)
    healed._retry_seconds = 5.0
    healed.step()
    assert phrase not in said[-1]


def test_a_first_deployment_is_no_outage() -> None:
    declared = platform(alarms="true")
    alarm = declared.one(":MetricAlarm", "mlflow-watch-no-healthy-target-tracking")
    services = {one.urn for one in declared.all("ecs/service:Service")}
    assert services <= set(alarm.dependencies)
