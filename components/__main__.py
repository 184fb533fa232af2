"""Serves the components to programs of any Pulumi language: `pulumi package add <this folder>`."""

import importlib
import inspect
import pkgutil
import sys
from pathlib import Path

# An engine runs this folder, not the one that holds it as a package.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pulumi import ComponentResource
from pulumi.provider.experimental import component_provider_host

import components
import trackstack


def every_component() -> list[type[ComponentResource]]:
    """The class of each file of this folder, in the files' order."""
    found = []
    for file in pkgutil.iter_modules(components.__path__):
        if file.name.startswith("_"):
            continue
        module = importlib.import_module(f"components.{file.name}")
        found += [
            member
            for _, member in inspect.getmembers(module, inspect.isclass)
            if issubclass(member, ComponentResource) and member.__module__ == module.__name__
        ]
    return found


if __name__ == "__main__":
    component_provider_host(every_component(), name="trackstack", version=trackstack.__version__)
