"""Artifacts, wherever they lie: a folder here, or what only MLflow's own client can reach."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_HERE = {"", "file"}


def local_folder(uri: str, *beside: Path) -> str:
    """Where a run's artifacts lie: a folder of this machine, or an address for MLflow.

    Args:
        uri: what the store says, maybe from before it was moved or copied here.
        beside: where they lie in a store that was: its own come before those of the original.
    """
    parts = urlsplit(uri)
    if parts.scheme in _HERE:
        declared = Path(unquote(parts.path) if parts.scheme else uri)
        own = [one for one in beside if one.is_dir() and any(one.iterdir())]
        return next((str(one) for one in (*own, declared, *beside) if one.is_dir()), "")
    found = next((str(one) for one in beside if one.is_dir()), "")
    return found if parts.scheme == "mlflow-artifacts" else uri


class Files:
    """The files of a run or a model, with their sizes."""

    def __init__(self, place: str, scratch: Path, call: Callable[..., Any]) -> None:
        self._place, self._scratch, self._call = place, scratch, call
        self._repository: Any = None
        if place and not Path(place).is_absolute():
            self._repository = repository(place)

    def sizes(self) -> dict[str, int]:
        """Every file's path below the root, and its bytes."""
        if self._repository is not None:
            return sizes(self._repository, self._call)
        root = Path(self._place)
        if not self._place:
            return {}
        return {
            Path(folder, name).relative_to(root).as_posix(): Path(folder, name).stat().st_size
            for folder, _, names in os.walk(root)
            for name in names
        }

    def path(self, name: str) -> Path:
        """A file to read; one that lies elsewhere is fetched first."""
        if self._repository is None:
            return Path(self._place, name)
        return Path(self._call(self._repository.download_artifacts, name, str(self._scratch)))


def repository(uri: str) -> Any:
    """MLflow's own access to an address."""
    from mlflow.store.artifact.artifact_repository_registry import (  # noqa: PLC0415
        get_artifact_repository,
    )

    return get_artifact_repository(uri)


def sizes(root: Any, call: Callable[..., Any]) -> dict[str, int]:
    """Every file of one of MLflow's artifact repositories, and its bytes."""
    found: dict[str, int] = {}
    folders: list[str | None] = [None]
    while folders:
        for one in call(root.list_artifacts, folders.pop()):
            if one.is_dir:
                folders.append(one.path)
            else:
                found[one.path] = int(one.file_size or 0)
    return found
