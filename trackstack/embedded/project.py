"""The Pulumi project on disk: its stacks and the configuration a program receives."""

import difflib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trackstack.embedded.errors import UsageError
from trackstack.embedded.wire import UNKNOWN_STRING


@dataclass(frozen=True)
class Configuration:
    """What the program reads by ``pulumi.Config``; strings, as Pulumi hands them over."""

    values: Mapping[str, str]
    """Full key (``mlflow-platform:image``) to text; objects and lists are JSON."""
    secret_keys: tuple[str, ...]
    missing: tuple[str, ...]
    """Encrypted keys whose value this machine was not told."""


@dataclass(frozen=True)
class Project:
    """A folder with a ``Pulumi.yaml``."""

    root: Path
    name: str
    main: str
    stack_config_dir: str
    declared: Mapping[str, Any]

    @staticmethod
    def find(start: Path | None = None) -> "Project":
        """The project of this folder or of the nearest one above; UsageError when there is none."""
        here = (start or Path.cwd()).resolve()
        for folder in (here, *here.parents):
            file = folder / "Pulumi.yaml"
            if file.is_file():
                return Project._read(file)
        raise UsageError(
            f"There is no Pulumi.yaml in {here} or above it: change into the folder of the"
            " program, or name it with --cwd."
        )

    @staticmethod
    def _read(file: Path) -> "Project":
        data = _yaml(file)
        if not isinstance(data.get("name"), str):
            raise UsageError(f"{file} has no `name:`; a Pulumi project needs one.")
        return Project(
            root=file.parent,
            name=data["name"],
            main=data.get("main") or ".",
            stack_config_dir=data.get("stackConfigDir") or ".",
            declared=data.get("config") or {},
        )

    @property
    def program(self) -> Path:
        """The Python file or folder that ``runpy`` runs."""
        main = (self.root / self.main).resolve()
        return main / "__main__.py" if main.is_dir() else main

    def stacks(self) -> tuple[str, ...]:
        """Names of the stacks that have a configuration file, sorted."""
        files = (self.root / self.stack_config_dir).glob("Pulumi.*.yaml")
        return tuple(sorted(f.name.removeprefix("Pulumi.").removesuffix(".yaml") for f in files))

    def configuration(self, stack: str, secrets_file: Path | None = None) -> Configuration:
        """The stack's configuration with the project's defaults.

        Encrypted values can't be read without Pulumi's secrets provider: they come from
        ``TRACKSTACK_SECRET_<KEY>`` or from ``secrets_file`` (YAML, owner-only), else they are
        unknown to the program and listed in ``missing``.

        Raises:
            UsageError: no such stack, or a file that is not what Pulumi would accept.
        """
        if stack not in self.stacks():
            raise UsageError(self._unknown_stack(stack))
        file = self.root / self.stack_config_dir / f"Pulumi.{stack}.yaml"
        given = _yaml(file).get("config") or {}
        if not isinstance(given, dict):
            raise UsageError(f"`config:` in {file.name} must be a map of keys to values.")
        values = {self._full(key): value for key, value in self._defaults().items()}
        values |= {self._full(key): value for key, value in given.items()}
        told = _secrets(secrets_file)
        secret_keys, missing = [], []
        for key, value in values.items():
            if not (isinstance(value, dict) and set(value) == {"secure"}):
                continue
            secret_keys.append(key)
            short = key.rpartition(":")[2]
            plain = os.environ.get(secret_variable(short), told.get(short, told.get(key)))
            if plain is None:
                missing.append(short)
            values[key] = UNKNOWN_STRING if plain is None else plain
        return Configuration(
            values={key: _text(value) for key, value in values.items() if value is not None},
            secret_keys=tuple(secret_keys),
            missing=tuple(missing),
        )

    def _defaults(self) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, value in self.declared.items():
            if not isinstance(value, dict):
                out[key] = value
            elif "default" in value:
                out[key] = value["default"]
            elif "value" in value:
                out[key] = value["value"]
        return out

    def _full(self, key: str) -> str:
        return key if ":" in key else f"{self.name}:{key}"

    def _unknown_stack(self, stack: str) -> str:
        known = self.stacks()
        if not known:
            return (
                f"There is no stack here: {self.root / self.stack_config_dir} holds no"
                " Pulumi.<stack>.yaml."
            )
        near = difflib.get_close_matches(stack, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return f"There is no stack {stack!r}; the stacks here are {', '.join(known)}.{hint}"


def secret_variable(key: str) -> str:
    """The environment variable that may hold the plain value of an encrypted key."""
    return "TRACKSTACK_SECRET_" + key.upper().replace("-", "_")


def _yaml(file: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" line {where.line + 1}" if where else ""
        raise UsageError(f"{file.name}{line} is not valid YAML.") from None
    except OSError as error:
        raise UsageError(f"{file} can't be read: {error.strerror}.") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise UsageError(f"{file.name} must be a map of keys to values.")
    return data


def _secrets(file: Path | None) -> dict[str, str]:
    if file is None or not file.exists():
        return {}
    if file.stat().st_mode & 0o077:
        raise UsageError(f"{file} can be read by others: chmod 600 it, it holds secrets.")
    return {key: _text(value) for key, value in _yaml(file).items()}


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value)
