"""The experiments of a platform: what they are used for, and those that a stack file declares."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from trackstack.client.errors import ClientError
from trackstack.client.tracking import Tracking, TrackingError
from trackstack.client.users import Users
from trackstack.core.experiments import PERMISSIONS, Change, Declared, Found, changes
from trackstack.core.naming import DEFAULT_EXPERIMENT, STANDARD_TAG, Standard

_NOT_FOUND = 404
_DEFAULT_ID = "0"
_GRANTS = "/api/3.0/mlflow/users/permissions"
_OWN_ROLE = "__user_"
"""How MLflow names the role that holds what was granted to one user by name."""


@dataclass(frozen=True)
class Use:
    """An experiment, and how much it is used."""

    experiment_id: str
    name: str
    runs: int
    last_run: datetime | None
    """When the last one began; None: it never had one."""
    wrong: str = ""
    """What is wrong with its name; empty when it keeps the standard or there is none."""

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "experimentId": self.experiment_id,
            "name": self.name,
            "runs": self.runs,
            "lastRun": self.last_run.isoformat() if self.last_run else None,
            "breaksStandard": self.wrong or None,
        }


def standard_of(experiments: Iterable[dict[str, Any]]) -> Standard | None:
    """The naming standard that ``bootstrap`` left on the platform; None when it has none."""
    for one in experiments:
        if one["experiment_id"] == _DEFAULT_ID:
            pattern = {tag["key"]: tag["value"] for tag in one.get("tags", [])}.get(STANDARD_TAG)
            try:
                return Standard(pattern) if pattern else None
            except ValueError:
                return None  # a newer trackstack may know other patterns
    return None


def uses(tracking: Tracking, tell: Callable[[int, int], None] = lambda *_: None) -> list[Use]:
    """Every experiment, the one used last first.

    Args:
        tracking: the platform.
        tell: is told how many of how many are counted.
    """
    found = list(tracking.experiments())
    standard = standard_of(found)
    wrong = standard.breaking(one["name"] for one in found) if standard else {}
    told = []
    for number, one in enumerate(found):
        tell(number, len(found))
        runs, last = tracking.count(one["experiment_id"])
        told.append(
            Use(
                one["experiment_id"],
                one["name"],
                runs,
                datetime.fromtimestamp(last / 1000, UTC) if last else None,
                wrong.get(one["name"], ""),
            )
        )
    return sorted(
        told, key=lambda use: (-(use.last_run.timestamp() if use.last_run else 0), use.name)
    )


class Bootstrap:
    """Brings a platform to what a stack file declares; what nobody declared stays as it is."""

    def __init__(self, tracking: Tracking, users: Users) -> None:
        self._tracking, self._users = tracking, users
        self._ids: dict[str, str] = {}

    def plan(self, declared: Iterable[Declared], pattern: str) -> list[Change]:
        """What is left to do, in the order in which it is done."""
        declared = list(declared)
        granted = self._granted({user for one in declared for user in one.permissions})
        todo = self._standard(pattern)
        for one in declared:
            todo += changes(one, self._found(one.name, granted))
        return todo

    def missing_users(self, todo: Iterable[Change]) -> list[str]:
        """Who shall get a permission and isn't known to the platform yet."""
        wanted = {one.key for one in todo if one.what == "grant"}
        if not wanted:
            return []
        return sorted(wanted - {user.name for user in self._users.list()})

    def apply(self, change: Change) -> None:
        """Do one of the plan's steps; somebody else may have done it meanwhile."""
        {
            "standard": self._tag,
            "create": self._create,
            "restore": self._restore,
            "tag": self._tag,
            "grant": self._grant,
        }[change.what](change)

    def _standard(self, pattern: str) -> list[Change]:
        try:
            found = self._tracking.ask("GET", f"experiments/get?experiment_id={_DEFAULT_ID}")
        except TrackingError as error:
            if error.status == _NOT_FOUND and not pattern:
                return []
            raise
        default = found["experiment"]
        self._ids[default["name"]] = _DEFAULT_ID
        before = {tag["key"]: tag["value"] for tag in default.get("tags", [])}.get(STANDARD_TAG)
        if (before or "") == pattern:
            return []
        if default.get("lifecycle_stage") == "deleted":
            raise ClientError(
                f"The experiment {DEFAULT_EXPERIMENT!r} is deleted, and it is what tells clients"
                " the naming standard: restore it in MLflow's UI, or leave"
                " experiment_name_pattern out."
            )
        return [Change("standard", default["name"], STANDARD_TAG, pattern, before)]

    def _found(self, name: str, granted: dict[str, dict[str, str]]) -> Found | None:
        try:
            answer = self._tracking.ask(
                "GET", f"experiments/get-by-name?experiment_name={quote(name, safe='')}"
            )
        except TrackingError as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        one = answer["experiment"]
        self._ids[name] = one["experiment_id"]
        return Found(
            deleted=one.get("lifecycle_stage") == "deleted",
            tags={tag["key"]: tag["value"] for tag in one.get("tags", [])},
            permissions={
                user: rows[one["experiment_id"]]
                for user, rows in granted.items()
                if one["experiment_id"] in rows
            },
        )

    def _granted(self, users: Iterable[str]) -> dict[str, dict[str, str]]:
        """User to experiment id to what was granted by name."""
        told = {}
        for user in users:
            path = f"list?username={quote(user, safe='')}"
            try:
                answer = self._tracking.ask("GET", path, api=_GRANTS)
            except TrackingError as error:
                if error.status != _NOT_FOUND:
                    raise
                continue  # no such user, or no users at all: asked again before a grant
            told[user] = {
                row["resource_pattern"]: row["permission"]
                for row in answer["permissions"]
                if row["resource_type"] == "experiment" and row["role_name"].startswith(_OWN_ROLE)
            }
        return told

    def _create(self, change: Change) -> None:
        try:
            answer = self._tracking.ask("POST", "experiments/create", {"name": change.experiment})
        except TrackingError:
            if self._found(change.experiment, {}) is None:
                raise
        else:
            self._ids[change.experiment] = answer["experiment_id"]

    def _restore(self, change: Change) -> None:
        body = {"experiment_id": self._ids[change.experiment]}
        self._tracking.ask("POST", "experiments/restore", body)

    def _tag(self, change: Change) -> None:
        body = {"experiment_id": self._ids[change.experiment], "key": change.key}
        if change.what == "standard" and not change.value:
            self._tracking.ask("POST", "experiments/delete-experiment-tag", body)
            return
        body["value"] = change.value
        self._tracking.ask("POST", "experiments/set-experiment-tag", body)

    def _grant(self, change: Change) -> None:
        what = {
            "username": change.key,
            "resource_type": "experiment",
            "resource_id": self._ids[change.experiment],
        }
        if change.before is not None:
            self._tracking.ask("POST", "revoke", what, api=_GRANTS)
        body = {**what, "permission": PERMISSIONS[change.value]}
        self._tracking.ask("POST", "grant", body, api=_GRANTS)
