"""What is refused, beside MLflow's own validation: the same verdicts, in the same words."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils import validation

from trackstack.core import logging_rules as rules

KEYS = [
    *("loss", "a/b", "a b", "a.b-c_d", "é", "a:b", "k" * 250, "k" * 251, "a\nb", "a=b", "a,b"),
    *("../a", "/a", "a//b", "a/", ".", "..", "a/../b", " "),
]


def verdict(function: Callable[..., Any], *arguments: Any) -> str | None:
    """Why it is refused; None when it isn't."""
    try:
        function(*arguments)
    except (MlflowException, rules.InvalidError) as problem:
        return str(problem)
    return None


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("path", ["", "metrics[3]"])
def test_metrics_are_judged_by_their_names_as_mlflow_does(key: str, path: str) -> None:
    ours = verdict(rules.metric, {"key": key, "value": 1.0, "timestamp": 1, "step": 0}, path)
    assert ours == verdict(validation._validate_metric, key, 1.0, 1, 0, path)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("path", ["", "params[0]"])
def test_params_and_tags_are_judged_by_their_names_as_mlflow_does(key: str, path: str) -> None:
    entry = {"key": key, "value": "v"}
    assert verdict(rules.param, entry, path) == verdict(validation._validate_param, key, "v", path)
    assert verdict(rules.tag, entry, path) == verdict(validation._validate_tag, key, "v", path)


@pytest.mark.parametrize(
    ("metrics", "params", "tags"),
    [(1000, 0, 0), (1001, 0, 0), (0, 101, 0), (0, 0, 101), (900, 100, 1), (901, 50, 50)],
)
def test_a_batch_holds_as_much_as_mlflows(metrics: int, params: int, tags: int) -> None:
    entries = (
        [{"key": "m", "value": 1.0, "timestamp": 1, "step": n} for n in range(metrics)],
        [{"key": f"p{n}", "value": "v"} for n in range(params)],
        [{"key": f"t{n}", "value": "v"} for n in range(tags)],
    )
    theirs = (
        [Metric("m", 1.0, 1, n) for n in range(metrics)],
        [Param(f"p{n}", "v") for n in range(params)],
        [RunTag(f"t{n}", "v") for n in range(tags)],
    )
    expected = verdict(validation._validate_batch_log_limits, *theirs)
    assert verdict(rules.batch, *entries) == expected


def test_a_param_twice_in_a_batch_is_refused_as_by_mlflow() -> None:
    pairs = [("a", "1"), ("b", "1"), ("a", "1")]
    ours = verdict(rules.batch, [], [{"key": k, "value": v} for k, v in pairs], [])
    theirs = verdict(validation._validate_param_keys_unique, [Param(k, v) for k, v in pairs])
    assert ours == theirs
    assert ours


def test_long_values_are_cut_as_mlflow_cuts_them() -> None:
    long = "x" * 9000
    param = validation._validate_param("k", long)
    tag = validation._validate_tag("k", long)
    assert rules.param({"key": "k", "value": long})["value"] == param.value
    assert rules.tag({"key": "k", "value": long})["value"] == tag.value


@pytest.mark.parametrize(
    ("told", "stored"),
    [
        (1, 1.0),
        ("1.5", 1.5),
        (math.inf, 1.7976931348623157e308),
        ("-Infinity", -1.7976931348623157e308),
        (math.nan, "NaN"),
        ("NaN", "NaN"),
    ],
)
def test_a_value_is_what_the_server_stores(told: Any, stored: Any) -> None:
    found = rules.metric({"key": "m", "value": told, "timestamp": "17", "step": 3.0})
    assert (found["value"], found["timestamp"], found["step"]) == (stored, 17, 3)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"value": "x"}, "Invalid value \"x\" for parameter 'value' supplied"),
        ({"value": True}, "Hint: Value was of type 'bool'."),
        ({"value": None}, "Missing value for required parameter 'value'."),
        ({"timestamp": None}, "Missing value for required parameter 'timestamp'."),
        ({"timestamp": -1}, "Invalid value -1 for parameter 'timestamp'"),
        ({"timestamp": 1.5}, "Invalid value 1.5 for parameter 'timestamp'"),
        ({"step": "x"}, "Invalid value \"x\" for parameter 'step'"),
        ({"key": ""}, "Missing value for required parameter 'key'."),
        ({"key": 7}, "Invalid value 7 for parameter 'key'"),
    ],
)
def test_what_is_no_point_is_refused_with_its_reason(wrong: dict[str, Any], says: str) -> None:
    good = {"key": "m", "value": 1.0, "timestamp": 1, "step": 0}
    assert says in (verdict(rules.metric, good | wrong) or "")
