"""How MLflow's REST API answers, and what the parts of the front share."""

import hashlib
import json
import random
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from trackstack.client.relay.journal import WAITING, Journal
from trackstack.client.relay.reach import Reach
from trackstack.client.relay.upstream import Answer
from trackstack.core.logging_rules import InvalidError

API = "/api/2.0/mlflow/"
READ_SECONDS = 2.0
"""How long the server may take where the client could go on without it."""
CHANGE_SECONDS = 10.0
"""How long it may take for what only it can do."""
FRESH_SECONDS = 60.0
"""How long an experiment isn't asked for again."""
_IDS = re.compile(
    r"(?<![0-9a-f])(?:m-)?[0-9a-f]{32}(?![0-9a-f])|(?<![0-9a-f])9[0-9]{17}(?![0-9a-f])"
)
_ADJECTIVES = (
    *("able", "bold", "brave", "calm", "clean", "crisp", "eager", "fair", "fine", "glad", "keen"),
    *("kind", "neat", "nimble", "proud", "quiet", "rapid", "sharp", "steady", "swift", "warm"),
)
_NOUNS = (
    *("ant", "bee", "crane", "crow", "deer", "dove", "finch", "fox", "hare", "hawk", "heron"),
    *("ibis", "lark", "lynx", "mole", "newt", "otter", "owl", "perch", "pike", "seal", "shrew"),
    *("stork", "swan", "tern", "toad", "trout", "vole", "wren"),
)


_PROCESS = secrets.token_hex(8)
"""This relay, not the one before it."""


class ApiError(Exception):
    """An answer that isn't a good one."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    @staticmethod
    def invalid(message: str) -> "ApiError":
        """What MLflow says of a wrong parameter."""
        return ApiError(400, "INVALID_PARAMETER_VALUE", message)

    @staticmethod
    def absent(message: str) -> "ApiError":
        """What MLflow says of something that isn't there."""
        return ApiError(404, "RESOURCE_DOES_NOT_EXIST", message)

    @staticmethod
    def of(answer: Answer) -> "ApiError":
        """The server's own."""
        try:
            told = json.loads(answer.body)
            return ApiError(answer.status, str(told["error_code"]), str(told["message"]))
        except (ValueError, KeyError, TypeError):
            return ApiError(answer.status, "INTERNAL_ERROR", answer.text)

    @property
    def body(self) -> bytes:
        """As MLflow sends it."""
        return json.dumps({"error_code": self.code, "message": str(self)}).encode()


@dataclass
class Call:
    """One request, read."""

    method: str
    path: str
    """Without the query."""
    query: dict[str, list[str]]
    body: dict[str, Any]
    session: str
    """Whose training it is."""
    groups: dict[str, str] = field(default_factory=dict)
    """What the route's pattern caught."""
    sent: Callable[[], None] | None = None
    """To be called when the answer has been sent."""

    def text(self, name: str) -> str:
        """A parameter that must be there, of the body or the query."""
        value = self.body.get(name) or next(iter(self.query.get(name, ())), None)
        if not isinstance(value, str) or not value:
            raise ApiError.invalid(
                f"Missing value for required parameter '{name}'. See the API docs for more"
                " information about request parameters."
            )
        return value

    @property
    def run_id(self) -> str:
        """``run_id``, or ``run_uuid`` of old clients."""
        if not self.body.get("run_id") and not self.query.get("run_id"):
            uuid = self.body.get("run_uuid") or next(iter(self.query.get("run_uuid", ())), None)
            if isinstance(uuid, str) and uuid:
                return uuid
        return self.text("run_id")


Handler = Callable[[Call], dict[str, Any]]


class Desk:
    """What every part of the front needs: the journal, the server, and the two together."""

    def __init__(self, journal: Journal, reach: Reach, flush: Callable[[float], bool]) -> None:
        self.journal = journal
        self.reach = reach
        self.flush = flush
        """Wait so many seconds for what is written down to be shipped; whether it is."""

    def fetch(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        seconds: float = READ_SECONDS,
    ) -> dict[str, Any]:
        """The server's JSON, in this relay's ids.

        Raises:
            AwayError: no answer within so many seconds.
            ApiError: an answer that isn't good.
        """
        answer = self.reach.ask(
            method,
            self.outward(path),
            None if body is None else self.outward(json.dumps(body)).encode(),
            {"Content-Type": "application/json"},
            seconds=seconds,
        )
        if not answer.ok:
            raise ApiError.of(answer)
        found: dict[str, Any] = json.loads(self.inward(answer.body.decode()))
        return found

    def once(self, call: Call, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Make something that a client must not get twice.

        A client whose relay is killed before the answer asks the next one again, word by word:
        it gets the same answer.
        """
        text = f"{call.session} {call.path} {json.dumps(call.body)}"
        asked = hashlib.sha256(text.encode()).hexdigest()
        before = self.journal.answered(asked, _PROCESS)
        if before is not None:
            found: dict[str, Any] = json.loads(before)
            return found
        with self.journal.writing():
            answer = make()
            number = self.journal.put_answer(asked, _PROCESS, json.dumps(answer))
        call.sent = lambda: self.journal.sent(number)
        return answer

    def outward(self, text: str) -> str:
        """The same with the server's ids."""
        return replaced(text, self.journal.renamed)

    def inward(self, text: str) -> str:
        """The same with the ids that clients here were given."""
        return replaced(text, self.journal.known_as)

    def unmade(self, *texts: str) -> list[str]:
        """Ids in the texts that the server doesn't have yet."""
        found = {one for text in texts for one in _IDS.findall(text)}
        entities = ((one, self.journal.entity(one)) for one in sorted(found))
        return [one for one, entity in entities if entity is not None and entity.remote is None]

    def refuse(self, what: str) -> ApiError:
        """What is told who needs the server while it is away."""
        away = self.reach.away
        waiting = self.journal.count(WAITING)
        since = (
            "" if away is None else f" since {time.strftime('%H:%M', time.localtime(away.since))}"
        )
        why = "it took too long" if away is None else away.reason
        return ApiError(
            400,
            "TEMPORARILY_UNAVAILABLE",
            f"{what} needs the tracking server {self.reach.uri}, which is away{since} ({why})."
            f" What was logged is kept: {waiting} writes wait on this machine and are shipped when"
            " it is back. Try again then, or leave this call out.",
        )


def replaced(text: str, known: Callable[[Iterable[str]], dict[str, str]]) -> str:
    """The text with other names for ids; a model's id holds one, so no pattern may end in it.

    Args:
        text: with ids in it.
        known: which of some ids have another name, and that.
    """
    names = known(set(_IDS.findall(text)))
    if not names:
        return text
    return _IDS.sub(lambda found: names.get(found[0], found[0]), text)


def checked(rule: Callable[..., Any], *arguments: Any) -> Any:
    """What a rule makes of it; ApiError with the server's sentence when it breaks the rule."""
    try:
        return rule(*arguments)
    except InvalidError as problem:
        raise ApiError.invalid(str(problem)) from None


def new_id() -> str:
    """As MLflow makes them: 32 hexadecimal digits."""
    return secrets.token_hex(16)


def provisional_number() -> str:
    """An experiment's id until the server gives one: 18 digits, as no server counts that far."""
    return f"9{secrets.randbelow(10**17):017d}"


def random_name() -> str:
    """For a run without one; in MLflow's manner."""
    pick = random.SystemRandom()
    return f"{pick.choice(_ADJECTIVES)}-{pick.choice(_NOUNS)}-{pick.randrange(1000)}"


def now() -> int:
    """Milliseconds, as MLflow has them."""
    return int(time.time() * 1000)


def pairs(texts: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """Params or tags as MLflow writes them."""
    return [{"key": key, "value": value} for key, value in texts]
