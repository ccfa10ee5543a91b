"""The settings of one separator; `separator.command` reads them from options and environment."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from separator.audio.formats import FileFormat
from separator.modes import Mode
from stemdrop.http.proxies import DIRECT, Proxies

DAY_S = 24 * 60 * 60


@dataclass(frozen=True)
class SeparatorSettings:
    """The settings of one separator. `repr` omits the secrets."""

    api_key: str = field(repr=False)
    data: Path
    """Folder for the task table and all files, created if missing. One process uses it at a time."""
    origin: str
    """The server's address for clients, with which all result URLs begin."""

    engine: str = "light"
    better_engine: str = ""
    """The engine that `ENGINE=auto` would choose if its model was there."""
    file_format: FileFormat = FileFormat.MP3
    engine_runs: int = field(default_factory=lambda: os.cpu_count() or 1)
    engine_timeout_s: float = 1800
    engine_memory_bytes: int = 3 * 1024**3
    """Limit of one engine process's address space, where the system supports it."""
    max_duration_s: float = 3600

    max_source_bytes: int = 2_000_000_000
    fetch_timeout_s: float = 300
    """For a whole source, with its redirects and all attempts."""

    callback_object: str = "vocal_removal_info"
    """Name of the object with the URLs, which differs between the two hosts of the contract."""
    callback_hmac_key: str = field(default="", repr=False)
    proxies: Proxies = DIRECT

    callback_timeout_s: float = 15
    callback_pauses_s: tuple[float, ...] = (5, 30)
    source_pauses_s: tuple[float, ...] = (1, 2, 4, 8, 15)
    """Pauses between attempts to send a callback, and to fetch a source: one attempt more than pauses."""

    keep_results_s: float = 14 * DAY_S
    keep_uploads_s: float = 3 * DAY_S
    clean_up_every_s: float = 600
    disk_pause_s: float = 10
    """The first pause before a task is tried again whose files or state cannot be written."""

    max_open_tasks: int = 100
    credits: int = 1_000_000
    prices: dict[Mode, int] = field(default_factory=dict)
    """Credits per task; a mode that is not listed is free."""


def fit_to_engine(settings: SeparatorSettings) -> SeparatorSettings:
    """Return the settings with the limits that their engine needs."""
    if settings.engine != "htdemucs":
        return settings
    return replace(
        settings,
        engine_runs=1,  # one song takes all cores, and nearly 3 GB
        engine_timeout_s=600 + 6 * settings.max_duration_s,  # two cores need about as long as the song plays
        engine_memory_bytes=6 * 1024**3,  # of address space, of which each thread reserves some
    )
