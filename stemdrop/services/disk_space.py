"""Room on the disk for songs and stems: temporary folders, and whether enough is free to use one."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stemdrop.errors import TryLater

PREFIX = "stemdrop-"
MIN_FREE_BYTES = 512 * 1024 * 1024
# When a task that found too little room is run again.
AGAIN_S = 60


@contextmanager
def temp_folder(*, needs_room: bool = True) -> Iterator[Path]:
    """Create a folder for the block. Raises `TryLater` if that fails, or if it `needs_room` and has none."""
    try:
        folder = tempfile.TemporaryDirectory(prefix=PREFIX, dir=temp_root())
    except OSError as error:
        raise TryLater(AGAIN_S, f"there is no room for stems: {error.strerror or error}") from error
    with folder as name:
        if needs_room and (trouble := shortage()):
            raise TryLater(AGAIN_S, trouble)
        yield Path(name)


def shortage() -> str:
    """Return why no file can be stored now; empty while there is room."""
    try:
        free = shutil.disk_usage(temp_root()).free
    except OSError as error:
        return f"there is no room for stems: {error.strerror or error}"
    return f"less than {MIN_FREE_BYTES} bytes are free for stems" if free < MIN_FREE_BYTES else ""


def temp_root() -> str:
    """Return the folder that TMPDIR names: Python uses another one without a word when that disk is full."""
    named = os.environ.get("TMPDIR", "")
    return named if Path(named).is_dir() and named else tempfile.gettempdir()
