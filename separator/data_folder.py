"""The data folder belongs to one process: two would run each other's tasks."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FolderInUseError(Exception):
    """Another process has the folder, or it cannot be written to."""


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep the folder (made if missing) for this process. The hold ends with the process, however it ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise FolderInUseError(f"--data {folder} cannot be used: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FolderInUseError(f"--data {folder} is in use by another separator") from error
        yield
