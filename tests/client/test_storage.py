"""How much is stored: from files, and from CloudWatch's own answers."""

import datetime as dt
import os
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from trackstack.client import sdk, storage
from trackstack.core.adoption import week_of

DAY = dt.timedelta(days=1)


def test_files_are_summed_by_the_week_in_which_they_were_written(tmp_path: Path) -> None:
    now = dt.datetime.now(dt.UTC)
    (tmp_path / "deep").mkdir()
    for name, size, weeks in (("a", 100, 3), ("deep/b", 50, 3), ("deep/c", 7, 0)):
        (tmp_path / name).write_bytes(b"x" * size)
        then = (now - 7 * weeks * DAY).timestamp()
        os.utime(tmp_path / name, (then, then))
    found = storage.of_folder(tmp_path)
    assert found.weeks == {
        week_of((now - 21 * DAY).timestamp() * 1000): 150,
        week_of(now.timestamp() * 1000): 157,
    }
    assert found.now == 157
    assert storage.of_folder(tmp_path / "nowhere").now == 0


@pytest.fixture
def cloudwatch(monkeypatch: pytest.MonkeyPatch) -> Stubber:
    client = boto3.client(
        "cloudwatch", region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x"
    )

    class Session:
        def client(self, service: str, region_name: str) -> Any:
            assert (service, region_name) == ("cloudwatch", "eu-central-1")
            return client

    monkeypatch.setattr(sdk, "session", lambda need: Session())
    stubber = Stubber(client)
    stubber.activate()
    return stubber


def answer(**series: dict[dt.datetime, float]) -> dict[str, Any]:
    return {
        "MetricDataResults": [
            {"Id": kind, "Timestamps": list(days), "Values": list(days.values())}
            for kind, days in series.items()
        ]
    }


def test_a_bucket_s_size_is_what_aws_measured_all_classes_together(cloudwatch: Stubber) -> None:
    monday = dt.datetime(2026, 11, 9, tzinfo=dt.UTC)
    standard = {monday: 10.0, monday + 3 * DAY: 20.0, monday + 7 * DAY: 30.0}
    tiered = {monday + 3 * DAY: 1.0, monday + 7 * DAY: 2.0}
    expected = {"MetricDataQueries": ANY, "StartTime": ANY, "EndTime": ANY}
    told = answer(standardStorage=standard, intelligentTieringFAStorage=tiered)
    cloudwatch.add_response("get_metric_data", told, expected)
    found = storage.of_bucket("mlflow-artifacts", "eu-central-1")
    assert found.weeks == {"2026-11-09": 21, "2026-11-16": 32}
    assert found.source == "CloudWatch, the bucket mlflow-artifacts in eu-central-1"
    cloudwatch.assert_no_pending_responses()


def test_without_permission_or_figures_a_report_says_why(cloudwatch: Stubber) -> None:
    cloudwatch.add_client_error("get_metric_data", "AccessDenied", "not allowed")
    assert storage.of_bucket("mlflow-artifacts", "eu-central-1").problem.startswith(
        "CloudWatch doesn't tell the bucket's size: An error occurred (AccessDenied)"
    )
    cloudwatch.add_response("get_metric_data", answer())
    found = storage.of_bucket("mlflow-artifacts", "eu-central-1")
    assert (found.now, found.weeks) == (0, {})
    assert found.problem.startswith("CloudWatch has no figures of the bucket mlflow-artifacts: ")
