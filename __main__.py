"""The platform of the selected stack. Settings in, platform declared, outputs out."""

from infra.platform import Platform
from infra.settings import read_settings

Platform(read_settings()).export()
