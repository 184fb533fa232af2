"""What MLflow's auth app finds out again for every request, remembered for some seconds.

One ``log_metric`` of an ordinary user costs it four trips to the database before the point is
written: who the user is (twice), the whole run to learn its experiment, what the user was granted.
An answer with runs is parsed again, to take out what almost nobody is denied.

What is remembered is what a moment doesn't make wrong: that somebody *may* do something, whose
experiment a run is in, who a user is. A refusal is never remembered, so what is granted holds at
once and everywhere. What is taken away by this process holds in it at once, in another one
after `SECONDS`.
"""

import threading
import time
from collections.abc import Callable, Hashable
from types import ModuleType
from typing import Any

from cachetools import TTLCache

SECONDS = 5
"""How long another worker or task may go on allowing what was taken away."""
_ENTRIES = 10_000
"""Answers of a kind in one process, as many as MLflow remembers passwords; the oldest go first."""
_READING = ("authenticate_", "get_", "has_", "is_", "list_", "user_has_")
"""How the methods of MLflow's user store begin that change nothing."""

Question = Callable[..., Any]


class Memory:
    """Answers of the last `SECONDS`, which a change makes void together. Safe in threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._changes = 0
        self._answers: list[TTLCache[Hashable, Any]] = []

    def remembering(self, ask: Question) -> Question:
        """Return the question, put to the database only where no answer is remembered.

        A no is not kept, nor the answer to a question that something was changed under.
        Arguments that have no hash, which a request may bring, are asked with every time.
        """
        answers: TTLCache[Hashable, Any] = TTLCache(_ENTRIES, SECONDS, self._clock)
        self._answers.append(answers)

        def asked(*arguments: Any) -> Any:
            key = tuple(tuple(one) if isinstance(one, list) else one for one in arguments)
            try:
                with self._lock:
                    if key in answers:
                        return answers[key]
                    changes = self._changes
            except TypeError:
                return ask(*arguments)
            answer = ask(*arguments)
            with self._lock:
                if answer and changes == self._changes:
                    answers[key] = answer
            return answer

        return asked

    def forget(self) -> None:
        """Something was changed: ask everything anew."""
        with self._lock:
            self._changes += 1
            for answers in self._answers:
                answers.clear()


class _Watched:
    """MLflow's user store; whatever changes it makes the memory forget."""

    def __init__(self, store: Any, memory: Memory) -> None:
        self._store = store
        self._memory = memory
        self.get_user = memory.remembering(store.get_user)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name.startswith(_READING) or not callable(found):
            return found

        def changing(*arguments: Any, **named: Any) -> Any:
            try:
                return found(*arguments, **named)
            finally:
                self._memory.forget()

        return changing


def remember(auth: ModuleType) -> None:
    """Let MLflow's auth app, whose store is open, remember what it decides."""
    memory = Memory()
    auth.store = _Watched(auth.store, memory)  # type: ignore[attr-defined]
    for name in ("authorize", "_run_requirement"):
        setattr(auth, name, memory.remembering(getattr(auth, name)))
    _judge_before_parsing(auth)


def _judge_before_parsing(auth: Any) -> None:
    """Leave answers alone from which nothing is to be taken out.

    MLflow parses the runs and curves it is about to send, and writes them anew without their
    models for a user to whom models are denied. Whether they are is one question, asked first.
    """
    models = auth.RESOURCE_TYPE_LOGGED_MODEL
    handlers = auth.AFTER_REQUEST_HANDLERS
    redacting = {
        auth.redact_get_run_model_links,
        auth.redact_search_runs_model_links,
        auth.redact_metric_history_model_ids,
    }

    def judged(handler: Callable[[Any], None]) -> Callable[[Any], None]:
        def redact(answer: Any) -> None:
            user = auth.authenticate_request().username
            if models in auth._denied_sibling_tiers(user, (models,)):  # noqa: SLF001 - pinned
                handler(answer)

        return redact

    for key, handler in handlers.items():
        if handler in redacting:
            handlers[key] = judged(handler)
