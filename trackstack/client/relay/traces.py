"""Traces: their ids are the client's own, so they are written down and passed on."""

import base64
import json
import re
from collections.abc import Mapping
from email.message import Message
from typing import Any

from trackstack.client.relay.api import Call, Desk
from trackstack.client.relay.runs import Experiments
from trackstack.client.relay.upstream import AwayError

_ASSUMED_VERSION = "3.17.2"
"""What clients are told of a server that was never seen: the one that our stacks run."""
_PASSED = ("content-type", "content-encoding", "x-mlflow-experiment-id")
_VERSION = re.compile(r"[0-9]+(?:\.[0-9A-Za-z]+)+")


class Traces:
    """What tracing clients send."""

    def __init__(self, desk: Desk, experiments: Experiments) -> None:
        self._desk = desk
        self._journal = desk.journal
        self._experiments = experiments

    def version(self) -> str:
        """Of the server: clients ask before they send spans."""
        try:
            answer = self._desk.reach.ask("GET", "/version", seconds=2.0)
            text = answer.body.decode("ascii", "replace").strip()
            if answer.ok and _VERSION.fullmatch(text):
                self._journal.set_about("version", text)
        except AwayError:
            pass
        return self._journal.about("version") or _ASSUMED_VERSION

    def start(self, call: Call) -> dict[str, Any]:
        """``POST /api/3.0/mlflow/traces``."""
        info = dict((call.body.get("trace") or {}).get("trace_info") or {})
        key = str(info.get("trace_id") or "")
        place = ((info.get("trace_location") or {}).get("mlflow_experiment") or {}).get(
            "experiment_id"
        )
        text = json.dumps(call.body)
        needs = [one for one in self._desk.unmade(text) if one != key.removeprefix("tr-")]
        self._journal.add(key, "other", ("POST", call.path), text, needs)
        root = self._experiments.location(str(place or "0")).rstrip("/")
        tags = {"mlflow.artifactLocation": f"{root}/traces/{key}/artifacts"}
        info["tags"] = tags | (info.get("tags") or {})
        return {"trace": {"trace_info": info}}

    def spans(self, body: bytes, headers: Mapping[str, str] | Message) -> None:
        """``POST /v1/traces``: OpenTelemetry's binary, kept as it is."""
        told = {name: str(headers[name]) for name in _PASSED if headers.get(name)}
        kept = {"headers": told, "content": base64.b64encode(body).decode()}
        needs = self._desk.unmade(told.get("x-mlflow-experiment-id", ""))
        self._journal.add("spans", "raw", ("POST", "/v1/traces"), json.dumps(kept), needs)
