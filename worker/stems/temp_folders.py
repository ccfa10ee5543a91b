"""Removes temporary folders that killed workers have left."""

import logging
import os
import re
import shutil
import time
from pathlib import Path

from stemdrop.services.disk_space import PREFIX, temp_root

log = logging.getLogger(__name__)

# Longer than any task may run.
STALE_S = 24 * 3600
# The prefix and the random part of `tempfile`; the sandbox's folders have a word between them.
_OWN_NAME = re.compile(re.escape(PREFIX) + r"[a-z0-9_]{8}")


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
