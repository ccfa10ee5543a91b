"""Temporary folders for songs and stems, and the check that their disk has enough room."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stemdrop.errors import TryLater

PREFIX = "stemdrop-"
# Room for the stems of the jobs that a worker delivers at once.
WORKER_MIN_FREE_BYTES = 512 * 1024 * 1024
# Room for eight songs of 20 MB, the most that a bot downloads at once from Telegram's public server. The bot
# of docker-compose.yml has twice as much, since this much must be free before the eighth download begins.
BOT_MIN_FREE_BYTES = 160 * 1024 * 1024
# After this time a task that found too little room is run again.
NO_ROOM_AGAIN_S = 60


@contextmanager
def temp_folder(min_free_bytes: int) -> Iterator[Path]:
    """Create a folder for the block. Raises `TryLater` if that fails or fewer bytes are free."""
    try:
        folder = tempfile.TemporaryDirectory(prefix=PREFIX, dir=temp_root())
    except OSError as error:
        raise TryLater(
            NO_ROOM_AGAIN_S, f"there is no room for songs and stems: {error.strerror or error}"
        ) from error
    with folder as name:
        if trouble := shortage(min_free_bytes):
            raise TryLater(NO_ROOM_AGAIN_S, trouble)
        yield Path(name)


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Raise `TryLater` if the disk is full, or broken, while the block writes `what`."""
    try:
        yield
    except OSError as error:
        why = f"{what} cannot be written: {error.strerror or error}"
        raise TryLater(NO_ROOM_AGAIN_S, why) from error


def shortage(min_free_bytes: int) -> str:
    """Return why no file can be stored now; empty while that many bytes are free."""
    try:
        free = shutil.disk_usage(temp_root()).free
    except OSError as error:
        return f"there is no room for songs and stems: {error.strerror or error}"
    return f"less than {min_free_bytes} bytes are free for songs and stems" if free < min_free_bytes else ""


def temp_root() -> str:
    """Return the folder that TMPDIR names, even when its disk is full: Python would silently use another."""
    named = os.environ.get("TMPDIR", "")
    return named if Path(named).is_dir() and named else tempfile.gettempdir()
