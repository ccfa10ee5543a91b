"""How one separator is set up. Nothing here is read from the environment; see `separator.command`."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from separator.audio.formats import FileFormat
from separator.modes import Mode

DAY_S = 24 * 60 * 60


@dataclass(frozen=True)
class SeparatorSettings:
    """Secrets are left out of `repr`. Durations are in seconds, sizes in bytes."""

    api_key: str = field(repr=False)
    data: Path
    """Folder for the table of tasks and all files; made if missing. Belongs to one process at a time."""
    origin: str
    """Where clients reach this server, e.g. `https://stems.example.org`: the beginning of all result URLs."""

    engine: str = "light"
    file_format: FileFormat = FileFormat.MP3
    engine_runs: int = field(default_factory=lambda: os.cpu_count() or 1)
    engine_timeout_s: float = 1800
    engine_memory_bytes: int = 3 * 1024**3
    """Address space of one engine run, where the system can limit it."""
    max_duration_s: float = 3600
    """Longer songs are refused."""

    max_source_bytes: int = 2_000_000_000
    fetch_timeout_s: float = 300
    """For a whole source, redirects included."""

    callback_object: str = "vocal_removal_info"
    """Name of the object with the URLs: the two hosts of the contract call it differently."""
    callback_hmac_key: str = field(default="", repr=False)
    callback_timeout_s: float = 15
    callback_pauses_s: tuple[float, ...] = (5, 30)
    """Between attempts; there is one attempt more than pauses."""

    keep_results_s: float = 14 * DAY_S
    keep_uploads_s: float = 3 * DAY_S
    sweep_every_s: float = 600

    max_open_tasks: int = 100
    credits: int = 1_000_000
    prices: dict[Mode, int] = field(default_factory=dict)
    """Credits that a task costs; a mode not named is free."""
