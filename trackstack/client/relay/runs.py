"""Experiments and runs, answered from what this relay was told."""

import json
import time
from typing import Any
from urllib.parse import urlencode

from trackstack.client.relay.api import (
    API,
    CHANGE_SECONDS,
    FRESH_SECONDS,
    ApiError,
    Call,
    Desk,
    checked,
    new_id,
    now,
    pairs,
    provisional_number,
    random_name,
)
from trackstack.client.relay.upstream import AwayError
from trackstack.core import logging_rules as rules
from trackstack.core.relay import ID_TAG

_PARENT = "mlflow.parentRunId"
_NAME = "mlflow.runName"
_MODELS = "mlflow.log-model.history"
_MADE = "made"
"""Under which a run of this relay says so: what is known of it here is all there is."""


class Experiments:
    """Found by name, or made."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._journal = desk.journal

    def by_name(self, call: Call) -> dict[str, Any]:
        """``experiments/get-by-name``."""
        name = call.text("experiment_name")
        return self._found(
            "experiment-name",
            name,
            f"experiments/get-by-name?{urlencode({'experiment_name': name})}",
            f"Could not find experiment with name '{name}'",
        )

    def by_id(self, call: Call) -> dict[str, Any]:
        """``experiments/get``."""
        key = call.text("experiment_id")
        return self._found(
            "experiment",
            key,
            f"experiments/get?{urlencode({'experiment_id': key})}",
            f"No Experiment with id={key} exists",
        )

    def create(self, call: Call) -> dict[str, Any]:
        """``experiments/create``: on the server if it answers, else here until it does."""
        name = call.text("name")
        known = self._journal.document("experiment-name", name)
        if known is not None and known[0].get("lifecycle_stage") != "deleted":
            raise ApiError(
                400, "RESOURCE_ALREADY_EXISTS", f"Experiment(name={name}) already exists."
            )
        try:
            made = self._desk.fetch("POST", f"{API}experiments/create", call.body, CHANGE_SECONDS)
        except AwayError:
            return self._provisional(name, call.body)
        return {"experiment_id": str(made["experiment_id"])}

    def change(self, call: Call) -> dict[str, Any]:
        """``experiments/update``, ``delete``, ``restore``: the server's to decide."""
        self._desk.flush(READ_FLUSH_SECONDS)
        try:
            told = self._desk.fetch("POST", call.path, call.body, CHANGE_SECONDS)
        except AwayError:
            raise self._desk.refuse("Changing an experiment") from None
        self._journal.drop_experiment(call.text("experiment_id"))
        return told

    def location(self, experiment: str) -> str:
        """Root of the artifacts of an experiment."""
        known = self._journal.document("experiment", experiment)
        if known is None:
            try:
                return str(self.by_id(_asking(experiment))["experiment"]["artifact_location"])
            except (ApiError, AwayError, KeyError):
                return f"mlflow-artifacts:/{experiment}"
        return str(known[0].get("artifact_location") or f"mlflow-artifacts:/{experiment}")

    def set_tag(self, call: Call) -> dict[str, Any]:
        """``experiments/set-experiment-tag``."""
        experiment = call.text("experiment_id")
        self._journal.add(
            f"experiment/{experiment}",
            "other",
            ("POST", call.path),
            json.dumps(call.body),
            self._desk.unmade(experiment),
        )
        return {}

    def _found(self, kind: str, key: str, path: str, absent: str) -> dict[str, Any]:
        known = self._journal.document(kind, key)
        if known is not None and (
            time.time() - known[1] < FRESH_SECONDS or self._is_provisional(known[0])
        ):
            return {"experiment": known[0]}
        try:
            found = self._desk.fetch("GET", f"{API}{path}")
        except AwayError:
            if known is None:
                raise ApiError.absent(absent) from None
            return {"experiment": known[0]}
        self._keep(found["experiment"])
        return found

    def _is_provisional(self, experiment: dict[str, Any]) -> bool:
        entity = self._journal.entity(experiment["experiment_id"])
        return entity is not None and entity.remote is None

    def _keep(self, experiment: dict[str, Any]) -> None:
        with self._journal.writing():
            self._journal.put_document("experiment", str(experiment["experiment_id"]), experiment)
            self._journal.put_document("experiment-name", experiment["name"], experiment)

    def _provisional(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        key, moment = provisional_number(), now()
        with self._journal.writing():
            self._keep(
                {
                    "experiment_id": key,
                    "name": name,
                    "artifact_location": body.get("artifact_location")
                    or f"mlflow-artifacts:/{key}",
                    "lifecycle_stage": "active",
                    "creation_time": moment,
                    "last_update_time": moment,
                    "tags": body.get("tags") or [],
                }
            )
            self._journal.put_entity(key)
            self._journal.add(
                f"experiment/{key}",
                "create_experiment",
                ("POST", f"{API}experiments/create"),
                json.dumps(body),
            )
        return {"experiment_id": key}


class Runs:
    """Made here, with an id that holds for ever."""

    def __init__(self, desk: Desk, experiments: Experiments) -> None:
        self._desk = desk
        self._journal = desk.journal
        self._experiments = experiments

    def create(self, call: Call) -> dict[str, Any]:
        """``runs/create``."""
        experiment = str(call.body.get("experiment_id") or "0")
        location = self._experiments.location(experiment).rstrip("/")
        return self._desk.once(call, lambda: self._made(call, location))

    def _made(self, call: Call, location: str) -> dict[str, Any]:
        experiment = str(call.body.get("experiment_id") or "0")
        tags = [
            checked(rules.tag, one, f"tags[{index}]")
            for index, one in enumerate(call.body.get("tags") or ())
        ]
        given = {one["key"]: one["value"] for one in tags}
        name = call.body.get("run_name") or given.get(_NAME) or random_name()
        given[_NAME] = name
        run = new_id()
        body = {
            **call.body,
            "experiment_id": experiment,
            "run_name": name,
            "tags": pairs(given.items()),
        }
        info = {
            "run_id": run,
            "run_uuid": run,
            "run_name": name,
            "experiment_id": experiment,
            "user_id": call.body.get("user_id", ""),
            "status": "RUNNING",
            "start_time": int(call.body.get("start_time") or now()),
            "artifact_uri": f"{location}/{run}/artifacts",
            "lifecycle_stage": "active",
        }
        with self._journal.writing():
            needs = self._desk.unmade(experiment, given.get(_PARENT, ""))
            self._journal.put_entity(run)
            self._journal.put_document("run", run, info)
            self._journal.put_text(run, "about", _MADE, "here")
            self._journal.put_text(run, "about", "session", call.session)
            for key, value in given.items():
                self._journal.put_text(run, "tag", key, value)
            self._journal.add(run, "create_run", ("POST", call.path), json.dumps(body), needs)
        return {"run": self._whole(run, info)}

    def get(self, call: Call) -> dict[str, Any]:
        """``runs/get``."""
        run = call.run_id
        info = self._known(run)
        if info is None:
            raise self._desk.refuse("Reading a run that was not begun here")
        if not self._goes_on_here(run, info):
            self._desk.flush(READ_FLUSH_SECONDS)
            try:
                return self._desk.fetch("GET", f"{API}runs/get?{urlencode({'run_id': run})}")
            except AwayError:
                pass
        return {"run": self._whole(run, info)}

    def update(self, call: Call) -> dict[str, Any]:
        """``runs/update``: its end, another name."""
        run = call.run_id
        info = self._known(run) or {"run_id": run, "run_uuid": run}
        for name in ("status", "run_name"):
            if call.body.get(name):
                info[name] = call.body[name]
        if call.body.get("end_time"):
            info["end_time"] = int(call.body["end_time"])
        with self._journal.writing():
            if call.body.get("status") == "RUNNING":  # it is resumed by whoever asks
                self._journal.put_text(run, "about", "session", call.session)
            if call.body.get("run_name"):
                self._journal.put_text(run, "tag", _NAME, call.body["run_name"])
            self._journal.put_document("run", run, info)
            self._write(run, "other", call)
        return {"run_info": info}

    def delete(self, call: Call) -> dict[str, Any]:
        """``runs/delete``: the server's to decide."""
        return self._staged(call, "deleted")

    def restore(self, call: Call) -> dict[str, Any]:
        """``runs/restore``."""
        return self._staged(call, "active")

    def log_metric(self, call: Call) -> dict[str, Any]:
        """``runs/log-metric``."""
        run = call.run_id
        point = checked(rules.metric, call.body)
        point.pop("run_id", None)
        point.pop("run_uuid", None)
        self._known(run)
        with self._journal.writing():
            needs = self._desk.unmade(point["model_id"]) if point.get("model_id") else ()
            self._journal.add(run, "metric", ("POST", call.path), json.dumps(point), needs)
            self._keep_points(run, [point])
        return {}

    def log_param(self, call: Call) -> dict[str, Any]:
        """``runs/log-parameter``."""
        run = call.run_id
        param = checked(rules.param, call.body)
        self._known(run)
        with self._journal.writing():
            old = self._journal.texts(run, "param").get(param["key"])
            if old is not None and old != param["value"]:
                told = rules.changed_param(run, param["key"], old, param["value"])
                raise ApiError.invalid(str(told))
            if old is None:
                self._journal.put_text(run, "param", param["key"], param["value"])
                self._journal.add(run, "param", ("POST", call.path), json.dumps(param))
        return {}

    def set_tag(self, call: Call) -> dict[str, Any]:
        """``runs/set-tag``."""
        run = call.run_id
        tag = checked(rules.tag, call.body)
        self._known(run)
        with self._journal.writing():
            self._journal.put_text(run, "tag", tag["key"], tag["value"])
            needs = self._desk.unmade(tag["value"])
            self._journal.add(run, "tag", ("POST", call.path), json.dumps(tag), needs)
        return {}

    def delete_tag(self, call: Call) -> dict[str, Any]:
        """``runs/delete-tag``."""
        run, key = call.run_id, call.text("key")
        self._known(run)
        with self._journal.writing():
            if self.made_here(run) and key not in self._journal.texts(run, "tag"):
                raise ApiError.absent(f"No tag with name: {key} in run with id {run}")
            self._journal.drop_text(run, "tag", key)
            self._write(run, "other", call)
        return {}

    def log_batch(self, call: Call) -> dict[str, Any]:
        """``runs/log-batch``."""
        run = call.run_id
        metrics, params, tags = checked(
            rules.batch,
            call.body.get("metrics") or [],
            call.body.get("params") or [],
            call.body.get("tags") or [],
        )
        self._known(run)
        if not metrics and not params and not tags:
            return {}
        with self._journal.writing():
            before = self._journal.texts(run, "param") if params else {}
            changed = [
                {"key": one["key"], "old_value": before[one["key"]], "new_value": one["value"]}
                for one in params
                if before.get(one["key"], one["value"]) != one["value"]
            ]
            if changed:
                raise ApiError.invalid(str(rules.changed_params(run, changed)))
            for what, entries in (("param", params), ("tag", tags)):
                for one in entries:
                    self._journal.put_text(run, what, one["key"], one["value"])
            models = {one["model_id"] for one in metrics if one.get("model_id")}
            needs = self._desk.unmade(*models, *(one["value"] for one in tags))
            body = {"metrics": metrics, "params": params, "tags": tags}
            self._journal.add(run, "batch", ("POST", call.path), json.dumps(body), needs)
            self._keep_points(run, metrics)
        return {}

    def log_inputs(self, call: Call) -> dict[str, Any]:
        """``runs/log-inputs``."""
        return self._linked(call, {"dataset_inputs": "datasets", "model_inputs": "models"})

    def log_outputs(self, call: Call) -> dict[str, Any]:
        """``runs/outputs``."""
        return self._linked(call, {"model_outputs": "models"})

    def log_model(self, call: Call) -> dict[str, Any]:
        """``runs/log-model``, of clients before MLflow 3: an entry more in a tag of the run."""
        run, entry = call.run_id, json.loads(call.text("model_json"))
        self._known(run)
        with self._journal.writing():
            known = self._journal.texts(run, "tag").get(_MODELS, "[]")
            self._journal.put_text(run, "tag", _MODELS, json.dumps([*json.loads(known), entry]))
            self._write(run, "other", call)
        return {}

    def history(self, call: Call) -> dict[str, Any]:
        """``metrics/get-history``: whole, in one page."""
        run, key = call.run_id, call.text("metric_key")
        info = self._known(run)
        if info is None or not self._goes_on_here(run, info) or self._is_tidied(run, key):
            self._desk.flush(READ_FLUSH_SECONDS)
            query = {name: values[0] for name, values in call.query.items()}
            try:
                return self._desk.fetch("GET", f"{call.path}?{urlencode(query)}")
            except AwayError:
                if not self.made_here(run) or self._is_tidied(run, key):
                    raise self._desk.refuse("Reading the curve of this run") from None
        points = []
        for write in self._journal.of_lane(run, ("metric", "batch")):
            body = json.loads(write.body)
            points += [one for one in body.get("metrics", [body]) if one["key"] == key]
        points.sort(key=lambda one: (one["timestamp"], one["step"]))
        return {"metrics": [{**one, "run_id": run} for one in points]}

    def _goes_on_here(self, run: str, info: dict[str, Any]) -> bool:
        """Whether more is known of it here than on the server; of an ended run others may be."""
        if not self.made_here(run):
            return False
        goes_on = info.get("status") in {"RUNNING", "SCHEDULED"}
        return goes_on or bool(self._journal.of_lane_waiting(run, 1))

    def made_here(self, run: str) -> bool:
        """Whether all that is known of a run came through this relay."""
        return _MADE in self._journal.texts(run, "about")

    def end_those_of(self, session: str, status: str, why: str) -> list[str]:
        """Give the runs of a training that is gone an end; which ones that were."""
        ended = []
        for run, info in self._journal.documents("run").items():
            about = self._journal.texts(run, "about")
            if about.get("session") != session or info.get("status") != "RUNNING":
                continue
            body = {"run_id": run, "status": status, "end_time": now()}
            self.set_tag(
                Call(
                    "POST",
                    f"{API}runs/set-tag",
                    {},
                    {"run_id": run, "key": "trackstack.ended_by", "value": why},
                    session,
                )
            )
            self.update(Call("POST", f"{API}runs/update", {}, body, session))
            ended.append(run)
        return ended

    def _known(self, run: str) -> dict[str, Any] | None:
        """A run's information; of one that was begun elsewhere the server is asked, once.

        None: it is away, and the run must be taken for one.
        """
        found = self._journal.document("run", run)
        if found is not None:
            return found[0]
        try:
            told = self._desk.fetch("GET", f"{API}runs/get?{urlencode({'run_id': run})}")["run"]
        except AwayError:
            return None
        info: dict[str, Any] = told["info"]
        with self._journal.writing():
            self._journal.put_entity(run, run, info.get("artifact_uri"))
            self._journal.put_document("run", run, info)
            for what, name in (("param", "params"), ("tag", "tags")):
                for one in told["data"].get(name, ()):
                    self._journal.put_text(run, what, one["key"], one.get("value", ""))
            for one in told["data"].get("metrics", ()):
                self._journal.put_latest(run, {"step": 0, **one})
        return info

    def _whole(self, run: str, info: dict[str, Any]) -> dict[str, Any]:
        links = self._journal.document("links", run)
        found = links[0] if links else {}
        return {
            "info": info,
            "data": {
                "metrics": self._journal.latest(run),
                "params": pairs(self._journal.texts(run, "param").items()),
                "tags": pairs(self._journal.texts(run, "tag").items()),
            },
            "inputs": {
                name: found[name] for name in ("dataset_inputs", "model_inputs") if name in found
            },
            "outputs": {"model_outputs": found["model_outputs"]}
            if "model_outputs" in found
            else {},
        }

    def _staged(self, call: Call, stage: str) -> dict[str, Any]:
        run = call.run_id
        self._desk.flush(READ_FLUSH_SECONDS)
        try:
            told = self._desk.fetch("POST", call.path, call.body, CHANGE_SECONDS)
        except AwayError:
            raise self._desk.refuse("Deleting or restoring a run") from None
        known = self._journal.document("run", run)
        if known is not None:
            self._journal.put_document("run", run, {**known[0], "lifecycle_stage": stage})
        return told

    def _linked(self, call: Call, names: dict[str, str]) -> dict[str, Any]:
        run = call.run_id
        self._known(run)
        with self._journal.writing():
            known = self._journal.document("links", run)
            links = known[0] if known else {}
            for name, given in names.items():
                if call.body.get(given):
                    links[name] = [*links.get(name, ()), *call.body[given]]
            self._journal.put_document("links", run, links)
            self._write(run, "other", call)
        return {}

    def _keep_points(self, run: str, points: list[dict[str, Any]]) -> None:
        for point in points:
            self._journal.put_latest(run, point)
            if point.get("model_id"):
                self._journal.put_latest(point["model_id"], {**point, "run_id": run})

    def _is_tidied(self, run: str, key: str) -> bool:
        if "tidied" in self._journal.texts(run, "about"):
            return True
        known = any(one["key"] == key for one in self._journal.latest(run))
        return known and not self._journal.of_lane(run, ("metric", "batch"))

    def _write(self, run: str, kind: str, call: Call) -> None:
        text = json.dumps(call.body)
        needs = [one for one in self._desk.unmade(text) if one != run]
        self._journal.add(run, kind, (call.method, call.path), text, needs)


READ_FLUSH_SECONDS = 2.0
"""How long a read waits for what was written before it."""


def with_id_tag(body: dict[str, Any], local: str) -> dict[str, Any]:
    """A create's body with the reserved tag."""
    others = [one for one in body.get("tags") or () if one["key"] != ID_TAG]
    return {**body, "tags": [*others, {"key": ID_TAG, "value": local}]}


def _asking(experiment: str) -> Call:
    return Call("GET", f"{API}experiments/get", {"experiment_id": [experiment]}, {}, "")
