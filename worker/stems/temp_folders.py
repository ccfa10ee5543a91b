"""Removes temporary folders that killed workers have left."""

import asyncio
import logging
import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

from stemdrop.services.disk_space import PREFIX, temp_root

log = logging.getLogger(__name__)

# Longer than any task may run.
STALE_S = 24 * 3600
REMOVE_EVERY_S = 3600
# The prefix and the random part of `tempfile`; the sandbox's folders have a word between them.
_OWN_NAME = re.compile(re.escape(PREFIX) + r"[a-z0-9_]{8}")


async def keep_removing_leftovers(stop: asyncio.Event) -> None:
    """Remove stale folders now and every hour until `stop` is set; each worker does so on its own disk."""
    while not stop.is_set():
        with suppress(OSError):  # there is no folder for temporary files now, and tasks wait for it
            await asyncio.to_thread(remove_leftovers)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), REMOVE_EVERY_S)


def remove_leftovers() -> int:
    """Remove stale folders of killed workers and return how many. Blocking."""
    removed, now = 0, time.time()
    for folder in Path(temp_root()).glob(f"{PREFIX}*"):
        try:
            if _is_leftover(folder, now):
                shutil.rmtree(folder)
                removed += 1
        except OSError as error:  # another worker was quicker, or the folder has another owner
            log.debug("%s stays: %s", folder, error)
    if removed:
        log.info("removed %d folders that killed workers had left", removed)
    return removed


def _is_leftover(folder: Path, now: float) -> bool:
    status = folder.lstat()
    is_folder = folder.is_dir() and not folder.is_symlink()
    is_old = now - status.st_mtime > STALE_S
    return bool(is_folder and is_old and status.st_uid == os.getuid() and _OWN_NAME.fullmatch(folder.name))
