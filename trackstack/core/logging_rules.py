"""What MLflow's server refuses of metrics, params and tags, in its own words.

Who acknowledges a write before the server has seen it must know what the server would say. Limits,
patterns and sentences are those of MLflow 3.17.2 (``mlflow/utils/validation.py``,
``mlflow/server/handlers.py``, ``mlflow/store/tracking/sqlalchemy_store.py``); a test holds them
against that version.
"""

import json
import math
import posixpath
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

MAX_METRICS = 1000
MAX_PARAMS = 100
MAX_TAGS = 100
MAX_ENTRIES = 1000
"""Of one batch: metrics, params and tags together."""
MAX_KEY = 250
"""Characters."""
MAX_PARAM_VALUE = 6000
MAX_TAG_VALUE = 8000
_NAME = re.compile(r"[/\w.\- :]*")
_SEE_DOCS = " See the API docs for more information about request parameters."

Entry = dict[str, Any]


class InvalidError(Exception):
    """What the server would answer by ``400 INVALID_PARAMETER_VALUE``."""


def metric(found: Mapping[str, Any], path: str = "") -> Entry:
    """Return a metric as the server would store it; InvalidError with the server's sentence."""
    key = _text(found, "key", path)
    value, timestamp = _present(found, "value", path), _present(found, "timestamp", path)
    step = found.get("step", 0)
    if "value" in found and _number(value, float) is None:
        raise InvalidError(_wrong(_at(path, "value"), value, _of_type(value)) + _SEE_DOCS)
    _named(key, _at(path, "name"))
    number = _number(timestamp, int)
    if number is None or number < 0:
        raise InvalidError(
            _wrong(_at(path, "timestamp"), timestamp, _of_type(timestamp)) + _SEE_DOCS
        )
    at_step = _number(step, int)
    if at_step is None:
        raise InvalidError(_wrong(_at(path, "step"), step, _of_type(step)) + _SEE_DOCS)
    _short("Metric name", key, MAX_KEY)
    return {**found, "key": key, "value": _stored(value), "timestamp": number, "step": at_step}


def param(found: Mapping[str, Any], path: str = "") -> Entry:
    """Return a param; a value that is too long is cut, as the server does it."""
    key = _text(found, "key", path)
    _named(key, _at(path, "key"))
    _short("Param key", key, MAX_KEY)
    return {"key": key, "value": str(found.get("value", ""))[:MAX_PARAM_VALUE]}


def tag(found: Mapping[str, Any], path: str = "") -> Entry:
    """Return a tag; a value that is too long is cut, as the server does it."""
    key = _text(found, "key", path)
    _named(key, _at(path, "key"))
    _short(_at(path, "key"), key, MAX_KEY)
    return {"key": key, "value": str(found.get("value", ""))[:MAX_TAG_VALUE]}


def batch(
    metrics: Sequence[Mapping[str, Any]],
    params: Sequence[Mapping[str, Any]],
    tags: Sequence[Mapping[str, Any]],
) -> tuple[list[Entry], list[Entry], list[Entry]]:
    """Return the entries of a batch, all of them good; InvalidError otherwise."""
    counts = (("metrics", metrics, MAX_METRICS), ("params", params, MAX_PARAMS))
    for what, found, limit in (*counts, ("tags", tags, MAX_TAGS)):
        _few(what, limit, len(found))
    total = len(metrics) + len(params) + len(tags)
    _few("metrics, params, and tags", MAX_ENTRIES, total)
    checked = (
        [metric(one, f"metrics[{index}]") for index, one in enumerate(metrics)],
        [param(one, f"params[{index}]") for index, one in enumerate(params)],
        [tag(one, f"tags[{index}]") for index, one in enumerate(tags)],
    )
    keys = [one["key"] for one in checked[1]]
    twice = [key for index, key in enumerate(keys) if key in keys[:index]]
    if twice:
        raise InvalidError(
            f"Duplicate parameter keys have been submitted: {twice}. Please ensure the request"
            " contains only one param value per param key."
        )
    return checked


def changed_param(run: str, key: str, old: str, new: str) -> InvalidError:
    """What ``log_param`` is told that would change a param."""
    return InvalidError(
        f"Changing param values is not allowed. Param with key='{key}' was already logged with"
        f" value='{old}' for run ID='{run}'. Attempted logging new value '{new}'."
    )


def changed_params(run: str, changed: Sequence[Mapping[str, str]]) -> InvalidError:
    """What ``log_batch`` is told: ``changed`` holds ``key``, ``old_value`` and ``new_value``."""
    return InvalidError(
        f"Changing param values is not allowed. Params were already logged='{list(changed)}' for"
        f" run ID='{run}'."
    )


def missing(name: str) -> InvalidError:
    """What is told who leaves out something required."""
    return InvalidError(f"Missing value for required parameter '{name}'.{_SEE_DOCS}")


def _present(found: Mapping[str, Any], name: str, path: str) -> Any:
    if found.get(name) is None:
        raise missing(_at(path, name))
    return found[name]


def _text(found: Mapping[str, Any], name: str, path: str) -> str:
    value = _present(found, name, path)
    if not isinstance(value, str):
        raise InvalidError(_wrong(_at(path, name), value, _of_type(value)) + _SEE_DOCS)
    if not value:
        raise missing(_at(path, name))
    return value


def _number(value: Any, kind: type[int] | type[float]) -> float | int | None:
    """Protobuf's JSON: numbers may be texts, and an int a float without a fraction."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
        return (
            number if kind is float else (int(value) if isinstance(value, str) else _whole(value))
        )
    except (TypeError, ValueError, OverflowError):
        return None


def _stored(value: Any) -> float | str:
    """What the server makes of a value: SQL knows no infinity, and JSON no NaN."""
    number = float(value)
    if math.isnan(number):
        return "NaN"
    return max(-sys.float_info.max, min(sys.float_info.max, number))


def _whole(value: float) -> int | None:
    return int(value) if value == int(value) else None


def _named(key: str, path: str) -> None:
    if not _NAME.fullmatch(key):
        raise InvalidError(
            _wrong(
                path,
                key,
                "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.),"
                " spaces ( ), colon(:) and slashes (/).",
            )
        )
    normal = posixpath.normpath(key)
    if normal != key or normal == "." or normal.startswith(("..", "/")):
        raise InvalidError(
            _wrong(
                path,
                key,
                "Names may be treated as files in certain cases, and must not resolve to other"
                f" names when treated as such. This name would resolve to '{normal}'",
            )
        )


def _short(what: str, value: str, limit: int) -> None:
    if len(value) > limit:
        raise InvalidError(f"'{what}' exceeds the maximum length of {limit} characters")


def _few(what: str, limit: int, count: int) -> None:
    if count > limit:
        raise InvalidError(
            f"A batch logging request can contain at most {limit} {what}. Got {count} {what}."
            f" Please split up {what} across multiple requests and try again."
        )


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _of_type(value: Any) -> str:
    return f" Hint: Value was of type '{type(value).__name__}'."


def _wrong(path: str, value: Any, why: str) -> str:
    told = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return f"Invalid value {told} for parameter '{path}' supplied: {why}"
