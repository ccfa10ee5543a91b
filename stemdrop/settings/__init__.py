"""The settings of bot, webhook, worker and the operator's commands."""

from stemdrop.settings.loading import load_settings
from stemdrop.settings.model import SHORT_KEY, Settings

__all__ = ["SHORT_KEY", "Settings", "load_settings"]
