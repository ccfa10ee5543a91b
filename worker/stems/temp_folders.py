"""Folders in which stems lie while they are worked on, and what killed workers have left of them."""

import asyncio
import logging
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any, TypeVar

from stemdrop.errors import StemdropError
from stemdrop.services.disk_space import PREFIX, temp_root

log = logging.getLogger(__name__)

Done = TypeVar("Done")

# Longer than any task may run.
STALE_S = 24 * 3600
# The prefix and what `tempfile` makes up: the sandbox's folders have a word between them.
_OURS = re.compile(re.escape(PREFIX) + r"[a-z0-9_]{8}")
_CHUNK_BYTES = 1024 * 1024
_is_unwanted: ContextVar[threading.Event | None] = ContextVar("is_unwanted", default=None)


class Unwanted(StemdropError):
    """What a thread works on is waited for by nobody any more."""


async def in_thread(call: Callable[..., Done], *args: Any) -> Done:
    """Run what blocks. When cancelled, what calls `go_on` ends soon, and that is awaited: the folder it works
    in is about to go."""
    is_unwanted = threading.Event()

    def run() -> Done:
        _is_unwanted.set(is_unwanted)  # in a context that is this thread's own
        go_on()
        return call(*args)

    running = asyncio.create_task(asyncio.to_thread(run))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        is_unwanted.set()
        await asyncio.wait({running})
        running.exception()  # seen, or it would be reported as lost
        raise


def go_on() -> None:
    """To be called every now and then by what blocks for long. Raises `Unwanted` when it is to end."""
    event = _is_unwanted.get()
    if event is not None and event.is_set():
        raise Unwanted("a thread's work is waited for by nobody")


def pour(source: IO[bytes], target: IO[bytes], length: int = sys.maxsize) -> int:
    """Copy the rest of a file, at most `length` bytes, and return how many. Blocking; raises `Unwanted`."""
    left = length
    while chunk := source.read(min(_CHUNK_BYTES, left)):
        go_on()
        target.write(chunk)
        left -= len(chunk)
    return length - left


def remove_leftovers(now: float | None = None) -> int:
    """Remove such folders of processes that were killed; returns how many. Blocking."""
    now = time.time() if now is None else now
    removed = 0
    for folder in Path(temp_root()).glob(f"{PREFIX}*"):
        try:
            if _is_leftover(folder, now):
                shutil.rmtree(folder)
                removed += 1
        except OSError as error:  # another worker was quicker, or it is not ours to remove
            log.debug("%s stays: %s", folder, error)
    if removed:
        log.info("removed %d folders that killed workers had left", removed)
    return removed


def _is_leftover(folder: Path, now: float) -> bool:
    about = folder.lstat()
    is_folder = folder.is_dir() and not folder.is_symlink()
    is_old = now - about.st_mtime > STALE_S
    return bool(is_folder and is_old and about.st_uid == os.getuid() and _OURS.fullmatch(folder.name))
