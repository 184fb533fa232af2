"""MLflow's tracking API as far as the verbs that look at many runs need it: paged, and in no hurry.

A server has one Python process or two, and what it spends on us a training job waits for: after
each question we rest for as long as the answer took, so that we never use more than half of one.
"""

import base64
import json
import time
import urllib.error
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trackstack.client.errors import ClientError
from trackstack.client.server import Server, said

_API = "/api/2.0/mlflow"
EXPERIMENTS_PAGE = 500
RUNS_PAGE = 200
"""Runs of one answer: MLflow makes whole runs, 1.5 ms each, and a worker does nothing else then."""
LONGEST_REST = 5.0


class TrackingError(ClientError):
    """The platform answered, and said no."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"The platform says no ({status}): {reason}.")
        self.status = status


class Tracking:
    """One platform.

    Args:
        server: where it is, and as whom it is asked.
        rest: seconds to wait after a search, for each second that the answer took.
    """

    def __init__(self, server: Server, rest: float = 1.0) -> None:
        self._server = server
        self._rest = rest
        self.uri = server.uri

    def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, api: str = _API
    ) -> dict[str, Any]:
        """The answer's JSON.

        Raises:
            TrackingError: an answer that is an error.
            ClientError: no answer.
        """
        try:
            return self._server.ask(method, f"{api}/{path}", body)
        except urllib.error.HTTPError as error:
            # MLflow writes the statement that failed after the reason.
            reason = said(error).partition(" Error: ")[0].rstrip(".")
            raise TrackingError(error.code, reason) from None
        except (urllib.error.URLError, OSError, ValueError) as error:
            reason = str(getattr(error, "reason", "") or error)
            raise ClientError(f"{self.uri} does not answer: {reason}.") from None

    def experiments(self) -> Iterator[dict[str, Any]]:
        """Every active experiment that we may see."""
        token = ""
        while True:
            body = {"max_results": EXPERIMENTS_PAGE, **({"page_token": token} if token else {})}
            answer = self._search("experiments/search", body)
            yield from answer.get("experiments", [])
            token = answer.get("next_page_token", "")
            if not token:
                return

    def runs(
        self,
        experiment_id: str,
        *,
        order_by: str = "attributes.start_time DESC",
        condition: str = "",
        most: int = RUNS_PAGE,
        token: str = "",
    ) -> tuple[Sequence[dict[str, Any]], str]:
        """One page of an experiment's active runs, and the token of the next one."""
        body = {
            "experiment_ids": [experiment_id],
            "max_results": most,
            "order_by": [order_by],
            **({"filter": condition} if condition else {}),
            **({"page_token": token} if token else {}),
        }
        answer = self._search("runs/search", body)
        return answer.get("runs", []), answer.get("next_page_token", "")

    def count(self, experiment_id: str, guess: int = 0, condition: str = "") -> tuple[int, int]:
        """How many active runs an experiment has, and when the last one began (0: never).

        MLflow counts no runs. Its page tokens are offsets, though, so a few answers of one run
        each tell where the list ends: 2 when the guess is right, about 2 log2(n) otherwise. The
        format is MLflow's own affair: a server with other tokens is read page by page.
        """
        found, token = self.runs(experiment_id, condition=condition, most=1)
        if not found:
            return 0, 0
        last = int(found[0]["info"].get("start_time") or 0)
        if not token:
            return 1, last
        if _offset(token) != 1:
            return self._paged(experiment_id, condition), last
        low, high = 2, 0  # at least so many, at most so many (0: not known yet)
        step = max(guess, 2)
        while not high or low < high:
            at = min(step, high) if high else step
            found, token = self.runs(
                experiment_id, condition=condition, most=1, token=_token(at - 1)
            )
            if found and not token:
                return at, last
            low, high = (at + 1, high) if found else (low, at - 1)
            step = (low + high) // 2 if high else at * 2
        return low, last

    def _paged(self, experiment_id: str, condition: str) -> int:
        number, token = 0, ""
        while True:
            found, token = self.runs(experiment_id, condition=condition, token=token)
            number += len(found)
            if not token:
                return number

    def _search(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        before = time.monotonic()
        answer = self.ask("POST", path, body)
        time.sleep(min((time.monotonic() - before) * self._rest, LONGEST_REST))
        return answer


def _token(offset: int) -> str:
    return base64.b64encode(json.dumps({"offset": offset}).encode()).decode()


def _offset(token: str) -> int | None:
    """The offset in a page token; None when it is something else."""
    try:
        found = json.loads(base64.b64decode(token))["offset"]
    except (ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, int) else None
