"""Where the program's settings come from: Pulumi's config, checked before anything is declared."""

import pulumi
from pulumi.runtime import config

from trackstack.core.settings import Settings, SettingsError


def read_settings() -> Settings:
    """The stack's settings; RunError tells all that is wrong, without a traceback."""
    project = f"{pulumi.get_project()}:"
    everything = config.CONFIG.get() or config.get_config_env()
    raw = {
        key.removeprefix(project): value
        for key, value in everything.items()
        if key.startswith(project)
    }
    encrypted = {key for key in raw if config.is_config_secret(f"{project}{key}")}
    try:
        return Settings.from_config(raw, pulumi.get_stack(), encrypted)
    except SettingsError as error:
        raise pulumi.RunError(str(error)) from None
