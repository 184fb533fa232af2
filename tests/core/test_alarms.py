import json
import math
from pathlib import Path

import pytest
import yaml

from trackstack.core import alarms, ci, dashboard, database, log_queries, server_metrics
from trackstack.core.log_lines import phrase_filter

ROOT = Path(__file__).parents[2]
NAMESPACE = "trackstack/mlflow-platform/prod"


def table(**changed: object) -> dict[str, alarms.Alarm]:
    facts = {
        "roles": ["tracking", "artifacts"],
        "instance_class": "db.t4g.small",
        "storage_gib": 50,
        "encrypted": True,
        "log_namespace": NAMESPACE,
    }
    found = alarms.alarms(**{**facts, **changed})
    by_role = {alarm.role: alarm for alarm in found}
    assert len(by_role) == len(found)
    return by_role


def value(expression: str, **figures: float | None) -> float:
    """What CloudWatch's expression gives; a metric without a figure is None."""
    return eval(  # our own text, with three functions of CloudWatch's
        expression,
        {"__builtins__": {}},
        {
            "IF": lambda condition, then, other: then if condition else other,
            "FILL": lambda figure, instead: instead if figure is None else figure,
            **figures,
        },
    )


def test_an_error_at_night_wakes_nobody_and_a_broken_day_does() -> None:
    errors = table()["errors"]

    def ratio(requests: float | None, target: float | None, balancer: float | None) -> float:
        # The divisor is 0 only where the floor has decided already.
        try:
            return value(errors.expression, requests=requests, target=target, balancer=balancer)
        except ZeroDivisionError:
            assert not requests
            assert not balancer
            return 0.0

    assert ratio(3, 3, None) == 0  # three requests in five minutes, all wrong
    assert ratio(None, None, None) == 0
    assert ratio(1000, 49, None) == pytest.approx(4.9)
    assert ratio(1000, 60, None) > errors.threshold
    # Where no target is healthy the balancer answers, and RequestCount doesn't count it.
    assert ratio(None, None, 25) == 100
    assert ratio(20, 20, 20) == 100


def test_a_service_that_registers_no_target_at_all_is_told() -> None:
    for role in ("tracking", "artifacts"):
        alarm = table()[f"no-healthy-target-{role}"]
        assert alarm.missing == "breaching"
        (metric,) = alarm.metrics.values()
        assert metric.dimensions["TargetGroup"] == alarms.target_group(role)
    assert "no-healthy-target-artifacts" not in table(roles=["tracking"])


def test_the_database_is_held_to_what_this_database_has() -> None:
    found = table(instance_class="db.t4g.small", storage_gib=50)
    usable = database.usable_connections("db.t4g.small")
    assert found["database-connections"].threshold == math.floor(usable * 0.8)
    assert found["database-storage"].threshold == 5 * 1024**3
    larger = table(instance_class="db.m7g.large", storage_gib=100)
    assert larger["database-connections"].threshold > found["database-connections"].threshold
    assert larger["database-storage"].threshold == 10 * 1024**3


def test_credits_are_watched_only_where_a_class_has_them() -> None:
    assert "database-credits" in table(instance_class="db.t4g.micro")
    assert "database-credits" in table(instance_class="db.t3.small")
    assert "database-credits" not in table(instance_class="db.m7g.large")


def test_a_certificate_near_its_end_is_told_until_somebody_acts() -> None:
    certificate = table()["certificate"]
    assert certificate.missing == "ignore"  # ACM is silent about an expired one
    assert 0 < certificate.threshold < 60  # ACM itself renews 60 days before
    assert "certificate" not in table(encrypted=False)


def test_every_alarm_can_go_off_and_recover_within_aws_limits() -> None:
    for alarm in table().values():
        assert 1 <= alarm.breaching <= alarm.periods
        assert alarm.minutes * 60 in {60, 300, 86400}
        assert alarm.periods * alarm.minutes <= 24 * 60
        assert len(alarm.description) <= 1024
        if alarm.expression:
            assert all(name in alarm.expression for name in alarm.metrics)
        else:
            assert len(alarm.metrics) == 1


def test_the_server_s_figures_are_asked_for_by_the_names_it_prints() -> None:
    own = [
        metric
        for alarm in table().values()
        for metric in alarm.metrics.values()
        if metric.namespace == server_metrics.NAMESPACE
    ]
    assert {metric.name for metric in own} <= set(server_metrics.UNITS)
    assert {metric.name for metric in own} == {
        server_metrics.REQUEST_MILLISECONDS,
        server_metrics.DATABASE_CONNECTIONS,
    }
    assert all(metric.dimensions == {server_metrics.STACK: alarms.STACK} for metric in own)


def test_what_the_log_filters_count_is_what_alarms_look_at() -> None:
    counted = {
        metric.name
        for alarm in table().values()
        for metric in alarm.metrics.values()
        if metric.namespace == NAMESPACE
    }
    assert counted == set(alarms.LOG_FILTERS)


def test_the_alarms_of_prod_cost_less_than_two_dollars() -> None:
    assert alarms.price_usd_month(list(table().values())) == pytest.approx(1.4)


def test_every_alarm_has_its_chapter_which_says_what_to_do() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    chapters = {part.partition("\n")[0]: part for part in page.split("\n### ")[1:]}
    for alarm in table().values():
        assert alarm.means in chapters[alarm.role]
        assert alarm.do in chapters[alarm.role]
        assert alarm.description.endswith(f"docs/operations.md#{alarm.role}")


def test_latency_is_held_to_several_times_what_was_measured() -> None:
    measured = (ROOT / "docs" / "measurements.md").read_text()
    row = next(line for line in measured.splitlines() if line.startswith("| ours: PostgreSQL"))
    slowest = max(int(cell.split("/")[1].split(")")[0]) for cell in row.split("|") if "/" in cell)
    assert 3 * slowest < alarms.SLOW_MILLISECONDS < 10 * slowest


WATCHED = dashboard.Watched(
    region="eu-central-1",
    stack="mlflow-platform/prod",
    balancer="app/door/50dc6c495c0c9188",
    target_groups={"tracking": "targetgroup/t/1", "artifacts": "targetgroup/a/2"},
    database="mlflow-1234567",
    usable_connections=193,
    cluster="cluster",
    services={"tracking": "t-service", "artifacts": "a-service"},
    log_group="the-log",
    bucket="runs",
    alarm_arns=("arn:aws:cloudwatch:eu-central-1:123456789012:alarm:errors",),
)


def widgets(watched: dashboard.Watched = WATCHED) -> list[dict[str, object]]:
    found = json.loads(dashboard.dashboard(watched))["widgets"]
    assert isinstance(found, list)
    return found


def test_the_dashboard_shows_each_metric_that_an_alarm_looks_at() -> None:
    shown = {
        (line[0], line[1])
        for widget in widgets()
        if widget["type"] == "metric"
        for line in widget["properties"]["metrics"]
    }
    watched = {
        (metric.namespace, metric.name)
        for alarm in table().values()
        for metric in alarm.metrics.values()
        if metric.namespace not in {NAMESPACE, "AWS/CertificateManager"}
    }
    assert watched <= shown


def test_no_two_widgets_lie_on_one_another_and_all_lie_on_the_page() -> None:
    taken: set[tuple[int, int]] = set()
    for widget in widgets():
        x, y, width, height = (int(widget[k]) for k in ("x", "y", "width", "height"))
        assert x + width <= 24
        cells = {(i, j) for i in range(x, x + width) for j in range(y, y + height)}
        assert not cells & taken
        taken |= cells


def test_a_metric_line_is_names_then_dimensions_in_pairs_then_options() -> None:
    for widget in widgets():
        for line in widget["properties"].get("metrics", []):
            *names, options = line
            assert len(names) % 2 == 0
            assert all(isinstance(name, str) and name for name in names)
            assert isinstance(options, dict)
            assert "stat" in options


def test_what_a_stack_lacks_is_not_on_its_page() -> None:
    bare = dashboard.Watched(**{**vars(WATCHED), "bucket": "", "alarm_arns": ()})
    body = dashboard.dashboard(bare)
    assert "AWS/S3" not in body
    assert {widget["type"] for widget in widgets(bare)} == {"metric", "log"}


def test_a_part_is_called_what_cloudwatch_calls_it() -> None:
    arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:"
    assert dashboard.end_of_arn(f"{arn}loadbalancer/app/door/50dc", "app/") == "app/door/50dc"
    assert (
        dashboard.end_of_arn(f"{arn}targetgroup/mlflow/73e2", "targetgroup/")
        == "targetgroup/mlflow/73e2"
    )


def test_saved_queries_find_what_the_filters_count() -> None:
    for sentence in alarms.LOG_FILTERS.values():
        assert any(sentence in query for query in log_queries.LOG_QUERIES.values())
        assert phrase_filter(sentence) == f'"{sentence}"'
        assert '"' not in sentence


def test_a_snippet_is_yaml_that_names_its_role_and_pins_its_action() -> None:
    github = yaml.safe_load(ci.github_snippet("arn:role", "eu-central-1", "/p/s/client"))
    assert github["permissions"] == {"id-token": "write", "contents": "read"}
    assert github["steps"][0]["with"] == {
        "role-to-assume": "arn:role",
        "aws-region": "eu-central-1",
    }
    assert len(github["steps"][0]["uses"].partition("@")[2]) == 40
    assert any(
        "--from ssm:/p/s/client --format github" in s.get("run", "") for s in github["steps"]
    )
    job = yaml.safe_load(
        ci.gitlab_snippet("arn:role", "eu-central-1", "/p/s/client", "https://gitlab.com")
    )["train"]
    assert job["id_tokens"]["AWS_TOKEN"]["aud"] == "https://gitlab.com"
    assert job["variables"]["AWS_ROLE_ARN"] == "arn:role"
    assert 'eval "$(trackstack env --from ssm:/p/s/client)"' in job["script"]
