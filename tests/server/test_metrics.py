import asyncio
import json
import signal
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackstack.core import server_metrics as names
from trackstack.server.metrics import Gauge, Measured, line, representative

STACK = "mlflow-platform/prod"


class Server:
    """An application that answers as it is told to, below a gauge."""

    def __init__(self) -> None:
        self.printed: list[dict[str, Any]] = []
        self.gauge = Gauge(STACK, lambda text: self.printed.append(json.loads(text)))

    def request(self, path: str, status: int = 200, fault: Exception | None = None) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if fault is not None:
                raise fault
            await send({"type": "http.response.start", "status": status})
            await send({"type": "http.response.body"})

        self.run(app, {"type": "http", "path": path})

    def run(self, app: Any, scope: dict[str, Any]) -> None:
        async def nothing(*_: Any) -> None: ...

        asyncio.run(Measured(app, self.gauge)(scope, nothing, nothing))

    def told(self) -> dict[str, Any]:
        self.gauge.tell()
        return self.printed[-1]


def test_a_line_is_what_cloudwatch_makes_metrics_of() -> None:
    values = {names.SERVER_ERRORS: 0, names.REQUEST_MILLISECONDS: [1.5, 2.0]}
    told = json.loads(line(STACK, values, 1_700_000_000_000))
    assert told["_aws"]["Timestamp"] == 1_700_000_000_000
    (directive,) = told["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "trackstack"
    assert directive["Dimensions"] == [["Stack"]]
    assert {m["Name"]: m["Unit"] for m in directive["Metrics"]} == {
        "ServerErrors": "Count",
        "RequestMilliseconds": "Milliseconds",
    }
    assert told["Stack"] == STACK
    for metric in directive["Metrics"]:
        assert metric["Name"] in told


def test_there_are_no_more_metrics_than_the_names_that_were_priced() -> None:
    server = Server()
    server.request("/api/2.0/mlflow/runs/get")
    told = server.told()
    (directive,) = told["_aws"]["CloudWatchMetrics"]
    assert {metric["Name"] for metric in directive["Metrics"]} == set(names.UNITS)
    assert len(names.UNITS) <= 5


@given(st.integers(101, 3000), st.randoms())
def test_a_busy_minute_s_values_fit_a_line_and_keep_their_percentiles(
    count: int, chance: Any
) -> None:
    values = [float(number) for number in range(count)]
    chance.shuffle(values)
    kept = representative(values)
    assert len(kept) == 100
    assert kept == sorted(kept)
    assert kept[-1] == count - 1
    for percent in (50, 95, 99):
        assert abs(kept[percent - 1] - percent / 100 * count) <= 0.01 * count + 1


def test_a_quiet_minute_s_values_are_told_as_they_are() -> None:
    assert representative([3.0, 1.004, 2.0]) == [1.0, 2.0, 3.0]


def test_errors_are_answers_of_500_and_more_and_a_fault_that_never_answered() -> None:
    server = Server()
    for status in (200, 404, 429, 500, 503):
        server.request("/api/2.0/mlflow/runs/get", status)
    with pytest.raises(RuntimeError):
        server.request("/api/2.0/mlflow/runs/get", fault=RuntimeError())
    told = server.told()
    assert told["ServerErrors"] == 3
    assert len(told["RequestMilliseconds"]) == 6


@pytest.mark.parametrize(
    "path",
    [
        "/api/2.0/mlflow-artifacts/artifacts/1/model.bin",
        "/get-artifact",
        "/ajax-api/2.0/mlflow/upload-artifact",
    ],
)
def test_a_transfer_of_an_artifact_counts_but_its_time_says_nothing(path: str) -> None:
    server = Server()
    server.request(path, 503)
    told = server.told()
    assert "RequestMilliseconds" not in told
    assert told["ServerErrors"] == told["RequestsUnderWay"] == 1


def test_the_balancer_s_own_questions_are_left_out() -> None:
    server = Server()
    server.request("/health", 500)
    told = server.told()
    assert "RequestMilliseconds" not in told
    assert told["ServerErrors"] == told["RequestsUnderWay"] == 0


def test_each_line_is_about_the_time_since_the_last_one() -> None:
    server = Server()
    server.request("/api/2.0/mlflow/runs/get", 500)
    assert server.told()["ServerErrors"] == 1
    assert server.told()["ServerErrors"] == 0


def test_a_request_under_way_and_a_connection_held_are_told_until_they_end() -> None:
    server = Server()
    server.gauge.arrive()
    server.gauge.arrive()
    for _ in range(7):
        server.gauge.connected()
    server.gauge.leave(1.0, failed=False)
    for _ in range(3):
        server.gauge.disconnected()
    told = [server.told(), server.told()]
    assert [one["RequestsUnderWay"] for one in told] == [2, 1]
    assert [one["DatabaseConnections"] for one in told] == [7, 4]


def test_a_worker_that_ends_tells_its_last_minute() -> None:
    async def app(*_: Any) -> None: ...

    server = Server()
    server.run(app, {"type": "lifespan"})
    assert len(server.printed) == 1


def printed_by(start: Any, environment: dict[str, str]) -> tuple[list[dict[str, Any]], str]:
    """What a real server prints that was asked for experiments and then to stop."""
    server = start("serve", environment)
    server.wait_until_healthy()
    for _ in range(20):
        status, _ = server.request(
            "POST", "/api/2.0/mlflow/experiments/search", {"max_results": 10}
        )
        assert status == 200
    server.process.send_signal(signal.SIGTERM)
    code, out, err = server.finish()
    assert code == 0, err
    return [json.loads(text) for text in out.splitlines() if text.startswith('{"_aws"')], out


@pytest.mark.live
def test_every_worker_of_a_real_server_tells_of_its_requests_and_connections(
    start: Any, migrated: Any
) -> None:
    lines, _ = printed_by(
        start,
        {**migrated.environment(), "MLFLOW_WORKERS": "2", "TRACKSTACK_METRICS_STACK": STACK},
    )
    assert len(lines) == 2
    assert sum(len(one.get("RequestMilliseconds", [])) for one in lines) == 20
    assert all(one["ServerErrors"] == 0 for one in lines)
    assert 1 <= max(one["DatabaseConnections"] for one in lines) <= 30
    assert {one["Stack"] for one in lines} == {STACK}


@pytest.mark.live
def test_a_server_without_a_stack_for_its_metrics_prints_none(start: Any, migrated: Any) -> None:
    lines, _ = printed_by(start, migrated.environment())
    assert lines == []


def test_a_server_that_is_not_measured_does_not_load_what_measures() -> None:
    code = "import trackstack.server.web, sys; print('trackstack.server.metrics' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
