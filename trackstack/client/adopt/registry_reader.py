"""Registered models and prompts, read by MLflow's own registry stores."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trackstack.client.adopt.records import Registered, Version
from trackstack.client.errors import ClientError
from trackstack.core.filters import quoted

_PAGE = 100
_PROMPTS = "tag.`mlflow.prompt.is_prompt` = 'true'"
_FILES = "MLFLOW_ALLOW_FILE_STORE"


def of_files(path: Path) -> Any:
    """The registry of a file store whose folder ``models`` is there: nothing is made."""
    from mlflow.store.model_registry.file_store import FileStore  # noqa: PLC0415

    before = os.environ.get(_FILES)
    os.environ[_FILES] = "true"  # MLflow since 3.7 refuses to read one otherwise
    try:
        return FileStore(str(path))
    finally:
        if before is None:
            del os.environ[_FILES]
        else:
            os.environ[_FILES] = before


def of_database(uri: str) -> Any:
    """The registry of a database that MLflow may write to: a copy."""
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore  # noqa: PLC0415

    return SqlAlchemyStore(uri)


def registered(store: Any) -> Iterator[Registered]:
    """All of a registry: models, then prompts, which a search shows only when asked for them."""
    seen = set()
    for text in (None, _PROMPTS):
        token = None
        while True:
            page = store.search_registered_models(
                filter_string=text, max_results=_PAGE, page_token=token
            )
            for one in page:
                if one.name not in seen:
                    seen.add(one.name)
                    yield _registered(store, one)
            token = page.token
            if not token:
                break


def _registered(store: Any, one: Any) -> Registered:
    found: list[Version] = []
    try:
        named = f"name = {quoted(one.name)}"
    except ValueError as problem:
        raise ClientError(f"The registered model can't be read: {problem}") from None
    for more in ("", f" AND {_PROMPTS}"):
        token = None
        while True:
            page = store.search_model_versions(named + more, max_results=_PAGE, page_token=token)
            found += [_version(version) for version in page]
            token = page.token
            if not token:
                break
        if found:
            break
    aliases = getattr(one, "aliases", None) or {}
    return Registered(
        name=one.name,
        created=int(one.creation_timestamp or 0),
        description=one.description or "",
        tags=dict(one.tags or {}),
        aliases={alias: int(number) for alias, number in dict(aliases).items()},
        versions=sorted(found, key=lambda version: version.number),
    )


def _version(one: Any) -> Version:
    return Version(
        number=int(one.version),
        created=int(one.creation_timestamp or 0),
        source=one.source or "",
        run_id=one.run_id or "",
        model_id=getattr(one, "model_id", None) or "",
        stage=one.current_stage or "None",
        description=one.description or "",
        tags=dict(one.tags or {}),
    )


def model_status(status: Any) -> str:
    """A logged model's status by its name, however a store keeps it."""
    from mlflow.entities.logged_model_status import LoggedModelStatus  # noqa: PLC0415

    if isinstance(status, int):
        return str(LoggedModelStatus.from_int(status))
    return str(LoggedModelStatus(status))
