"""The folder on the disk in which one webhook stores segments."""

import fcntl
import itertools
import logging
import os
import shutil
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from stemdrop.services.disk_space import PREFIX, temp_root

log = logging.getLogger(__name__)

# The worker removes stale folders whose names are the prefix and eight letters, and so not this folder.
_NAME = f"{PREFIX}mixer-"
_LOCK = "lock"
MOST_SEGMENT_BYTES = 2 * 1024**3
_MOST_OF_DISK = 0.1


class SegmentFolder:
    """A folder that is made when the first stem is stored, and removed at the end. All methods block.

    A locked file in it tells other webhooks that the webhook of this folder still runs.
    """

    def __init__(self) -> None:
        self._path: Path | None = None
        self._lock = -1
        self._number = itertools.count()
        self._creating = threading.Lock()

    def new(self) -> Path:
        """Create a folder for one stem. Raises `OSError`."""
        with self._creating:
            if self._path is None or not self._path.is_dir():  # a cleaner of temporary folders took it
                self.remove()
                path = Path(tempfile.mkdtemp(prefix=_NAME, dir=temp_root()))
                # Child processes do not inherit this descriptor, so the lock ends with the webhook.
                self._lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(self._lock, fcntl.LOCK_EX)
                self._path = path
            # a new number each time, since the folder of an earlier stem may just be being removed
            folder = self._path / str(next(self._number))
            folder.mkdir()
            return folder

    def remove(self) -> None:
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
            os.close(self._lock)
            self._path = None

    def limit_bytes(self, used_bytes: int) -> int:
        """Return how many bytes may be stored: 2 GiB, but at most a tenth of the free and the used bytes."""
        free = shutil.disk_usage(temp_root()).free
        return min(MOST_SEGMENT_BYTES, round((free + used_bytes) * _MOST_OF_DISK))


def remove_leftovers() -> None:
    """Remove the folders of webhooks that were killed. Blocking."""
    for folder in Path(temp_root()).glob(f"{_NAME}*"):
        with suppress(OSError):  # locked by its webhook, of another user, or just being made
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
                log.info("removed the segments that a killed webhook had left")
            finally:
                os.close(lock)
