"""Where artifacts go: a real file through the server, and experiments that go past it."""

import shlex
import uuid
from urllib.parse import urlsplit

from trackstack.client.doctor.finding import Finding, error, not_judged, ok, warning
from trackstack.client.doctor.reach import NO_ANSWER, Conversation
from trackstack.client.errors import ClientError
from trackstack.client.experiments import standard_of
from trackstack.client.server import Reply

_PATH = "/api/2.0/mlflow-artifacts/artifacts"
_NAME = "trackstack-doctor"
_CONTENT = b"Written by trackstack doctor to see whether it can be.\n"
_OK, _UNAVAILABLE = 200, 503
_DENIED = {401, 403}
_UNKNOWN = {404, 405}
"""A server too old to delete artifacts."""
_NAMED = 3
CLOSED = " (closed)"
"""Experiments of such a name are history: nobody logs into them any more."""


def store(talk: Conversation) -> Finding:
    """Write, read and delete a file the way that MLflow's client does."""
    check = "artifact store"
    name = f"{_NAME}-{uuid.uuid4().hex}"
    try:
        # Who may log need not be one who may delete: known before anything is left behind.
        first = _call(talk, "DELETE", name)
        if first.status == _UNAVAILABLE and "serve-artifacts" in first.said:
            sentence = (
                "The server doesn't pass artifacts on: clients write them straight to storage with"
                " credentials of their own, which isn't tried here."
            )
            return not_judged(check, sentence)
        may_delete = first.status not in _DENIED
        if not may_delete:
            name = _NAME  # the same for ever, so that no more than one is left
        if first.status in {_OK, *_DENIED, *_UNKNOWN}:
            wrong = _round_trip(talk, name, may_delete=may_delete)
        else:  # a relay without its server, for one: what is written now couldn't be taken away
            wrong = f"The artifact store does not answer ({first.status}): {first.said}"
    except NO_ANSWER as broken:
        wrong = f"The artifact store does not answer: {broken}."
    if wrong:
        stack = talk.setup.stack_at(talk.address.uri)
        return error(check, wrong, f"trackstack up --stack {stack}" if stack else "")
    done = "a file was written, read and deleted"
    if not may_delete:
        done = f"a file was written and read; {_NAME} stays there, as this user may not delete"
    return ok(check, done + _past_the_server(talk))


def _round_trip(talk: Conversation, name: str, *, may_delete: bool) -> str:
    """What is wrong, as a sentence; empty when nothing is."""
    try:
        written = _call(talk, "PUT", name, _CONTENT)
        if written.status != _OK:
            return f"No artifact can be written ({written.status}): {written.said}."
        read = _call(talk, "GET", name)
        if read.status != _OK:
            return f"An artifact was written, but can't be read ({read.status}): {read.said}."
        if read.body != _CONTENT:
            return "An artifact that was written is read as something else."
    finally:
        deleted = _call(talk, "DELETE", name) if may_delete else None
    if deleted is not None and deleted.status != _OK:
        return f"The artifact {name} can't be deleted again ({deleted.status}): {deleted.said}."
    return ""


def _call(talk: Conversation, method: str, name: str, body: bytes | None = None) -> Reply:
    kind = "application/octet-stream" if body else ""
    return talk.server.reply(method, f"{_PATH}/{name}", body, kind)


def _past_the_server(talk: Conversation) -> str:
    """What of it the round trip says nothing about."""
    try:
        told = talk.server.reply("GET", "/api/3.0/mlflow/server-info").json
    except NO_ANSWER:
        return ""
    if isinstance(told, dict) and told.get("multipart_uploads_enabled"):
        return "; large ones go straight to storage by presigned addresses, which isn't tried"
    return ""


def experiments(talk: Conversation) -> Finding:
    """Experiments whose artifacts go past the server, and so past a relay."""
    check = "artifact locations"
    try:
        found = talk.experiments
    except ClientError as wrong:
        return not_judged(check, str(wrong))
    past = [
        one
        for one in found
        if not _through_server(talk, str(one.get("artifact_location", "")))
        and not str(one.get("name", "")).endswith(CLOSED)
    ]
    if not past:
        return ok(check, f"all of {len(found)} experiments send artifacts through the server")
    told = ", ".join(f"{one['name']!r} to {one['artifact_location']}" for one in past[:_NAMED])
    more = f" and {len(past) - _NAMED} more" if len(past) > _NAMED else ""
    disk = [one for one in past if _is_disk(str(one["artifact_location"]))]
    sentence = f"Artifacts go past the server: {told}{more}."
    if disk and not talk.address.is_loopback:
        sentence += " A path is one of whichever machine trains: the files stay there."
    else:
        sentence += " Clients need credentials for there, and a relay can't keep them."
    first = (disk or past)[0]
    command = _replace(str(first["experiment_id"]), str(first["name"]))
    level = error if disk and not talk.address.is_loopback else warning
    return level(check, sentence, command)


def _replace(key: str, name: str) -> str:
    """An experiment's location is for ever: another one takes its name."""
    return (
        f"mlflow experiments rename --experiment-id {key} --new-name {shlex.quote(name + CLOSED)}"
        f" && mlflow experiments create --experiment-name {shlex.quote(name)}"
    )


def _through_server(talk: Conversation, location: str) -> bool:
    parts = urlsplit(location)
    if parts.scheme == "mlflow-artifacts":
        return parts.netloc in {"", talk.address.authority} or parts.hostname == talk.address.host
    return parts.scheme in {"http", "https"} and parts.hostname == talk.address.host


def _is_disk(location: str) -> bool:
    return urlsplit(location).scheme in {"", "file"}


def names(talk: Conversation) -> Finding:
    """Experiments whose names break the standard that the platform has."""
    check = "experiment names"
    try:
        found = talk.experiments
    except ClientError as wrong:
        return not_judged(check, str(wrong))
    standard = standard_of(found)
    if standard is None:
        return ok(check, "the platform has no standard for them")
    keys = {str(one["name"]): str(one["experiment_id"]) for one in found}
    wrong_ones = standard.breaking(name for name in keys if not name.endswith(CLOSED))
    if not wrong_ones:
        return ok(check, f"all keep the standard {standard.pattern}")
    first, sentence = next(iter(wrong_ones.items()))
    more = f" So do {len(wrong_ones) - 1} more." if len(wrong_ones) > 1 else ""
    right = standard.suggest(first)
    command = "trackstack experiments"
    if right and right not in keys:
        new = shlex.quote(right)
        command = f"mlflow experiments rename --experiment-id {keys[first]} --new-name {new}"
    return warning(check, sentence + more, command)
