"""How much the artifact store holds, week by week: from a folder, or from what AWS measured."""

import os
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from trackstack.client import sdk
from trackstack.core.adoption import Stored, week_of

_STORAGE_TYPES = (
    *("StandardStorage", "StandardIAStorage", "OneZoneIAStorage", "GlacierInstantRetrievalStorage"),
    *("IntelligentTieringFAStorage", "IntelligentTieringIAStorage", "IntelligentTieringAIAStorage"),
)
_DAY = 24 * 3600
_KEPT_DAYS = 455
"""CloudWatch keeps daily figures so long."""


def of_folder(folder: Path) -> Stored:
    """What lies in a folder now, by when it was written; what was deleted since is in no week."""
    sizes: dict[str, float] = defaultdict(float)
    for told in _files(folder):
        sizes[week_of(told.st_mtime * 1000)] += told.st_size
    total, weeks = 0.0, {}
    for week in sorted(sizes):
        total += sizes[week]
        weeks[week] = total
    this_week = week_of(datetime.now(UTC).timestamp() * 1000)
    weeks.setdefault(this_week, total)
    return Stored(weeks, "the files here, by when they were written")


def _files(folder: Path) -> Iterator[os.stat_result]:
    for name, _, files in os.walk(folder):
        for file in files:
            try:
                yield (Path(name) / file).stat()
            except OSError:  # deleted meanwhile
                continue


def of_bucket(bucket: str, region: str) -> Stored:
    """What CloudWatch says of a bucket: once a day, free, old versions and open uploads included.

    No object is listed, so it costs the same with a million. Without AWS's SDK, credentials or the
    permission ``cloudwatch:GetMetricData`` there are no figures, and the reason is told.
    """
    try:
        client = sdk.session("CloudWatch is asked by").client("cloudwatch", region_name=region)
    except Exception as error:  # noqa: BLE001 - a report without storage is better than none
        return Stored(problem=f"{str(error).rstrip('.')}.")
    try:
        weeks = _weeks(client, bucket)
    except sdk.errors() as error:
        said = str(error).rstrip(".")
        return Stored(problem=f"CloudWatch doesn't tell the bucket's size: {said}.")
    if not weeks:
        return Stored(
            problem=f"CloudWatch has no figures of the bucket {bucket}: it measures once a day, and"
            " only what lies on S3."
        )
    return Stored(weeks, f"CloudWatch, the bucket {bucket} in {region}")


def _weeks(client: Any, bucket: str) -> dict[str, float]:
    now = datetime.now(UTC)
    queries = [
        {
            "Id": kind[0].lower() + kind[1:],
            "MetricStat": {
                "Metric": {
                    "Namespace": "AWS/S3",
                    "MetricName": "BucketSizeBytes",
                    "Dimensions": [
                        {"Name": "BucketName", "Value": bucket},
                        {"Name": "StorageType", "Value": kind},
                    ],
                },
                "Period": _DAY,
                "Stat": "Average",
            },
        }
        for kind in _STORAGE_TYPES
    ]
    days: dict[datetime, float] = defaultdict(float)
    pages = client.get_paginator("get_metric_data").paginate(
        MetricDataQueries=queries, StartTime=now - timedelta(days=_KEPT_DAYS), EndTime=now
    )
    for page in pages:
        for result in page["MetricDataResults"]:
            for time, size in zip(result["Timestamps"], result["Values"], strict=True):
                days[time] += size
    # The last day of a week stands for it.
    return {week_of(time.timestamp() * 1000): days[time] for time in sorted(days)}
