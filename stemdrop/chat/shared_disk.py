"""Files on the disk that a local Bot API server shares, and what the errors of that disk mean."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stemdrop.errors import SourceGone, SourceUnavailable

_NOT_THERE = "the file is not on the disk that the Bot API server shares"


@contextmanager
def reading_shared_disk() -> Iterator[None]:
    """Raise `SourceGone` or `SourceUnavailable` in place of the disk's `OSError`."""
    try:
        yield
    # without their causes, whose texts hold the file's path, and so the bot's token
    except (FileNotFoundError, NotADirectoryError):
        raise SourceGone(_NOT_THERE) from None
    except OSError as error:
        raise SourceUnavailable(f"the shared disk cannot be read: {error.strerror}") from None


def readable_size(path: Path) -> int:
    """Read a byte of the file and return its size in bytes; raises as `reading_shared_disk`. Blocking."""
    with reading_shared_disk():
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise SourceGone(_NOT_THERE)
        with path.open("rb", buffering=0) as file:
            file.read(1)
        return found.st_size
