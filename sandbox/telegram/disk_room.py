"""How large an upload may be: the temporary folder and the folder of Telegram's files have to hold it."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_RESERVE_BYTES = 16 * 1024 * 1024


class DiskRoom:
    """Counts the uploads that are under way, so that several together do not fill a disk."""

    def __init__(self, directory: Path) -> None:
        """`directory` is the folder of Telegram's files."""
        self._directory = directory
        self._expected_bytes = 0

    def left_bytes(self) -> int:
        """Return the size of the largest upload that fits now, in bytes."""
        self._directory.mkdir(parents=True, exist_ok=True)
        spool = Path(tempfile.gettempdir())
        free = [shutil.disk_usage(folder).free for folder in (spool, self._directory)]
        is_one_disk = spool.stat().st_dev == self._directory.stat().st_dev
        room = min(free) // 2 if is_one_disk else min(free)
        return max(0, room - _RESERVE_BYTES - self._expected_bytes)

    @contextmanager
    def expect(self, size_bytes: int) -> Iterator[None]:
        """Reserve this much room for the duration of an upload."""
        self._expected_bytes += size_bytes
        try:
            yield
        finally:
            self._expected_bytes -= size_bytes
