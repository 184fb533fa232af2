"""Logged models and the registry, answered without the server where it isn't needed."""

import json
import re
from typing import Any
from urllib.parse import urlencode

from trackstack.client.relay.api import (
    CHANGE_SECONDS,
    ApiError,
    Call,
    Desk,
    new_id,
    now,
    random_name,
)
from trackstack.client.relay.runs import READ_FLUSH_SECONDS, Experiments, with_id_tag
from trackstack.client.relay.upstream import AwayError

FIRST_VERSION = 900_000_000
"""Versions of this relay count from here until the server gives theirs."""
_MODEL = re.compile(r"m-[0-9a-f]{32}")


class LoggedModels:
    """MLflow 3's models: made here, with an id that holds for ever."""

    def __init__(self, desk: Desk, experiments: Experiments) -> None:
        self._desk = desk
        self._journal = desk.journal
        self._experiments = experiments

    def create(self, call: Call) -> dict[str, Any]:
        """``logged-models``."""
        location = self._experiments.location(call.text("experiment_id")).rstrip("/")
        return self._desk.once(call, lambda: self._made(call, location))

    def _made(self, call: Call, location: str) -> dict[str, Any]:
        experiment = call.text("experiment_id")
        key, moment = f"m-{new_id()}", now()
        name = call.body.get("name") or random_name()
        body = {**call.body, "name": name}
        model = {
            "info": {
                "model_id": key,
                "experiment_id": experiment,
                "name": name,
                "creation_timestamp_ms": moment,
                "last_updated_timestamp_ms": moment,
                "artifact_uri": f"{location}/models/{key}/artifacts",
                "status": "LOGGED_MODEL_PENDING",
                "model_type": call.body.get("model_type", ""),
                "source_run_id": call.body.get("source_run_id", ""),
                "tags": call.body.get("tags") or [],
            },
            "data": {"params": call.body.get("params") or [], "metrics": []},
        }
        with self._journal.writing():
            needs = self._desk.unmade(experiment, call.body.get("source_run_id") or "")
            self._journal.put_entity(key)
            self._journal.put_document("model", key, model)
            self._journal.add(key, "create_model", ("POST", call.path), json.dumps(body), needs)
        return {"model": model}

    def get(self, call: Call) -> dict[str, Any]:
        """``logged-models/<id>``."""
        key = call.groups["model"]
        model, entity = self._of(key), self._journal.entity(key)
        is_there = entity is None or (entity.remote and not self._journal.of_lane_waiting(key, 1))
        if model is None or is_there:
            self._desk.flush(READ_FLUSH_SECONDS)
            try:
                return self._desk.fetch("GET", call.path)
            except AwayError:
                if model is None:
                    raise self._desk.refuse("Reading a model that was not logged here") from None
        return {"model": self._whole(key, model)}

    def finalize(self, call: Call) -> dict[str, Any]:
        """``PATCH logged-models/<id>``: on the server it is ready when its files are there."""
        key = call.groups["model"]
        model = self._of(key)
        with self._journal.writing():
            if model is not None:
                model["info"]["status"] = call.body.get("status", "LOGGED_MODEL_READY")
                model["info"]["last_updated_timestamp_ms"] = now()
                self._journal.put_document("model", key, model)
            self._write(key, call, f"files:{key}")
        return {"model": self._whole(key, model)} if model else {"model": {"info": call.body}}

    def log_params(self, call: Call) -> dict[str, Any]:
        """``POST logged-models/<id>/params``."""
        return self._extended(call, "data", "params")

    def set_tags(self, call: Call) -> dict[str, Any]:
        """``PATCH logged-models/<id>/tags``."""
        self._extended(call, "info", "tags")
        return {"model": self._whole(call.groups["model"], self._of(call.groups["model"]) or {})}

    def delete_tag(self, call: Call) -> dict[str, Any]:
        """``DELETE logged-models/<id>/tags/<key>``."""
        key = call.groups["model"]
        model = self._of(key)
        with self._journal.writing():
            if model is not None:
                tags = model["info"]["tags"]
                model["info"]["tags"] = [t for t in tags if t["key"] != call.groups["key"]]
                self._journal.put_document("model", key, model)
            self._write(key, call)
        return {}

    def _extended(self, call: Call, part: str, name: str) -> dict[str, Any]:
        key = call.groups["model"]
        model = self._of(key)
        given = call.body.get(name) or []
        with self._journal.writing():
            if model is not None:
                keys = {one["key"] for one in given}
                kept = [one for one in model[part].get(name, ()) if one["key"] not in keys]
                model[part][name] = [*kept, *given]
                self._journal.put_document("model", key, model)
            self._write(key, call)
        return {}

    def _of(self, key: str) -> dict[str, Any] | None:
        found = self._journal.document("model", key)
        return found[0] if found else None

    def _whole(self, key: str, model: dict[str, Any]) -> dict[str, Any]:
        metrics = [{**one, "model_id": key} for one in self._journal.latest(key)]
        return {**model, "data": {**model.get("data", {}), "metrics": metrics}}

    def _write(self, key: str, call: Call, *more: str) -> None:
        text = json.dumps(call.body)
        needs = [one for one in self._desk.unmade(text) if one != key]
        self._journal.add(key, "other", (call.method, call.path), text, [*needs, *more])


class Registry:
    """Registered models: the server's business, queued while it is away.

    What depends on something that is still on its way is queued, too: a version of a model whose
    files are being shipped.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._journal = desk.journal

    def create(self, call: Call) -> dict[str, Any]:
        """``registered-models/create``."""
        name = call.text("name")
        try:
            return self._desk.fetch("POST", call.path, call.body, CHANGE_SECONDS)
        except AwayError:
            pass
        if self._journal.document("registered-model", name) is not None:
            raise ApiError(
                400, "RESOURCE_ALREADY_EXISTS", f"Registered Model (name={name}) already exists."
            )
        moment = now()
        model = {
            "name": name,
            "creation_timestamp": moment,
            "last_updated_timestamp": moment,
            "description": call.body.get("description", ""),
            "tags": call.body.get("tags") or [],
        }
        with self._journal.writing():
            self._journal.put_document("registered-model", name, model)
            self._queue(name, "other", call)
        return {"registered_model": model}

    def get(self, call: Call) -> dict[str, Any]:
        """``registered-models/get``."""
        name = call.text("name")
        try:
            return self._desk.fetch("GET", f"{call.path}?{urlencode({'name': name})}")
        except AwayError:
            found = self._journal.document("registered-model", name)
            if found is None:
                raise self._desk.refuse("Reading a registered model") from None
            return {"registered_model": found[0]}

    def create_version(self, call: Call) -> dict[str, Any]:
        """``model-versions/create``: READY at once, as its model is complete here."""
        name, source = call.text("name"), str(call.body.get("source") or "")
        run = str(call.body.get("run_id") or "")
        model = _MODEL.search(source) or _MODEL.search(str(call.body.get("model_id") or ""))
        subjects = [one for one in (model[0] if model else "", run) if one]
        needs = [f"all:{one}" for one in subjects]
        number = self._journal.add(f"registry/{name}", "mark", ("", ""))
        is_ready = not any(self._journal.blocks(need, number) for need in needs)
        self._journal.done([number])
        moment = now()
        version = str(FIRST_VERSION + number)
        asked = is_ready and not self._waits(name)
        if asked:
            # With the tag by which it is found if the answer gets lost.
            body = with_id_tag(call.body, f"{name}/{version}")
            try:
                return self._desk.fetch("POST", call.path, body, CHANGE_SECONDS)
            except AwayError:
                pass
        made = {
            "name": name,
            "version": version,
            "creation_timestamp": moment,
            "last_updated_timestamp": moment,
            "current_stage": "None",
            "description": call.body.get("description", ""),
            "source": source,
            "run_id": run,
            "status": "READY",
            "tags": call.body.get("tags") or [],
            "model_id": model[0] if model else "",
        }
        with self._journal.writing():
            self._journal.put_document("model-version", f"{name}/{version}", made)
            self._journal.put_entity(f"{name}/{version}")
            body = {**call.body, "provisional": version}
            more = self._desk.unmade(json.dumps(call.body))
            seq = self._journal.add(
                f"registry/{name}",
                "create_version",
                ("POST", call.path),
                json.dumps(body),
                [*needs, *more],
            )
            self._journal.tried([seq] if asked else [])
        return {"model_version": made}

    def get_version(self, call: Call) -> dict[str, Any]:
        """``model-versions/get``."""
        name, version = call.text("name"), call.text("version")
        found = self._journal.document("model-version", f"{name}/{version}")
        if found is not None:
            return {"model_version": found[0]}
        try:
            query = urlencode({"name": name, "version": version})
            return self._desk.fetch("GET", f"{call.path}?{query}")
        except AwayError:
            raise self._desk.refuse("Reading a model version") from None

    def download_uri(self, call: Call) -> dict[str, Any]:
        """``model-versions/get-download-uri``."""
        return {"artifact_uri": self.get_version(call)["model_version"]["source"]}

    def change(self, call: Call) -> dict[str, Any]:
        """Tags, aliases, descriptions, of a model or a version."""
        name = call.text("name")
        version = call.body.get("version")
        provisional = version and self._journal.entity(f"{name}/{version}") is not None
        if not provisional and not self._waits(name):
            try:
                return self._desk.fetch(call.method, call.path, call.body, CHANGE_SECONDS)
            except AwayError:
                pass
        if call.method == "PATCH":
            raise self._desk.refuse("Changing a description")
        self._queue(name, "version", call)
        return {}

    def _waits(self, name: str) -> bool:
        return bool(self._journal.of_lane_waiting(f"registry/{name}", 1))

    def _queue(self, name: str, kind: str, call: Call) -> None:
        text = json.dumps(call.body)
        self._journal.add(
            f"registry/{name}", kind, (call.method, call.path), text, self._desk.unmade(text)
        )
