"""Registered models and prompts: names, versions, aliases, with sources as they are here."""

import warnings
from dataclasses import dataclass, field
from typing import Any

from trackstack.client.adopt.records import Registered, Run, Source, Version
from trackstack.client.adopt.server import Target
from trackstack.core.filters import quoted

VERSION_TAG = "trackstack.adopted_version"


@dataclass
class Registry:
    """What became of a store's registered models."""

    models: int = 0
    moved: int = 0
    there: int = 0
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def bring(source: Source, target: Target, *, dry: bool) -> Registry:
    """Move every registered model, or count what there is to move."""
    told = Registry()
    for one in source.registered():
        told.models += 1
        if dry:
            told.moved += len(one.versions)
            continue
        from mlflow.exceptions import MlflowException  # noqa: PLC0415

        try:
            _model(one, source, target, told)
        except MlflowException as error:
            told.problems.append(f"registered model {one.name!r}: {str(error)[:300]}")
    return told


def _model(one: Registered, source: Source, target: Target, told: Registry) -> None:
    registry = target.client._get_registry_client().store  # noqa: SLF001 - it takes prompts, too
    there = _get(registry, target, one.name)
    if there is None:
        pairs = [_tag("RegisteredModelTag", *pair) for pair in one.tags.items()]
        there = target.create(
            lambda: _get(registry, target, one.name),
            lambda: registry.create_registered_model(one.name, pairs, one.description or None),
        )
    numbers = _numbers(target, registry, one)
    for version in one.versions:
        if version.number in numbers:
            told.there += 1
            continue
        numbers[version.number] = _version(one, version, source, target, registry)
        told.moved += 1
        if numbers[version.number] != version.number:
            told.notes.append(
                f"version {version.number} of {one.name!r} is version {numbers[version.number]}"
                " there"
            )
    there = _get(registry, target, one.name)
    aliases = {name: int(found) for name, found in dict(getattr(there, "aliases", {})).items()}
    for alias, number in one.aliases.items():
        wanted = numbers.get(number)
        if wanted is None or aliases.get(alias) == wanted:
            continue
        if alias in aliases:
            told.notes.append(
                f"the alias {alias!r} of {one.name!r} stays on version {aliases[alias]} there"
            )
            continue
        target.call(registry.set_registered_model_alias, one.name, alias, str(wanted))


def _get(registry: Any, target: Target, name: str) -> Any:
    from mlflow.exceptions import RestException  # noqa: PLC0415

    try:
        return target.call(registry.get_registered_model, name)
    except RestException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _numbers(target: Target, registry: Any, one: Registered) -> dict[int, int]:
    """Version of the store: version here, of those that were moved before."""
    keys = {version.key: version.number for version in one.versions}
    found: dict[int, int] = {}
    for more in ("", " AND tag.`mlflow.prompt.is_prompt` = 'true'"):
        token = None
        while True:
            page = target.call(
                registry.search_model_versions,
                f"name = {quoted(one.name)}{more}",
                max_results=100,
                page_token=token,
            )
            for version in page:
                key = dict(version.tags or {}).get(VERSION_TAG, "")
                if key in keys:
                    found[keys[key]] = int(version.version)
            token = page.token
            if not token:
                break
    return found


def _version(
    one: Registered, version: Version, source: Source, target: Target, registry: Any
) -> int:
    tags = [_tag("ModelVersionTag", *pair) for pair in version.tags.items()]
    tags.append(_tag("ModelVersionTag", VERSION_TAG, version.key))
    run = source.run(version.run_id) if version.run_id else None
    address, model_id = _source(version, run, source, target)
    more = {"model_id": model_id} if model_id else {}
    run_id = target.runs[run.id].id if run and run.id in target.runs else version.run_id or None
    made = target.create(
        lambda: _numbers(target, registry, one).get(version.number),
        lambda: registry.create_model_version(
            one.name, address, run_id, tags, None, version.description or None, **more
        ),
    )
    number = made if isinstance(made, int) else int(made.version)
    if version.stage != "None":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # stages are deprecated, and these have one
            target.call(
                registry.transition_model_version_stage,
                one.name,
                str(number),
                version.stage,
                False,
            )
    return number


def _source(version: Version, run: Run | None, source: Source, target: Target) -> tuple[str, str]:
    """Where a version's files lie here, and the logged model they belong to."""
    address, model_id = version.source, version.model_id
    if not model_id and address.startswith("models:/m-"):
        model_id = address.removeprefix("models:/").partition("/")[0]
    model = source.model(model_id) if model_id else None
    if model is None:  # written by a path: MLflow's file store, or its first releases
        model = _by_place(address, source)
    if model is not None and model.id in target.models:
        here = target.models[model.id].id
        rest = address.partition(model.id)[2] if address.startswith("models:/") else ""
        return f"models:/{here}{rest}", here
    if run is not None and run.id in target.runs:
        place = target.call(target.store.get_run, target.runs[run.id].id).info.artifact_uri
        before, mark, rest = address.partition(f"{run.id}/artifacts")
        if mark:
            return place + rest, ""
        if before.startswith("runs:/"):
            return address.replace(run.id, target.runs[run.id].id), ""
    return address, ""


def _by_place(address: str, source: Source) -> Any:
    """The logged model among whose files an address points, such as …/models/m-…/artifacts."""
    parts = address.rstrip("/").split("/")
    return next(
        (found for part in parts if part.startswith("m-") and (found := source.model(part))), None
    )


def _tag(kind: str, key: str, value: str) -> Any:
    from mlflow.entities import model_registry  # noqa: PLC0415

    return getattr(model_registry, kind)(key, value)
