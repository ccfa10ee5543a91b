"""Runs blocking work in a thread that ends soon when its task is cancelled."""

import asyncio
import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import IO, Any, TypeVar

from stemdrop.errors import StemdropError

# Larger chunks are slower, because the memory for each is mapped anew.
_CHUNK_BYTES = 128 * 1024
_is_cancelled: ContextVar[threading.Event | None] = ContextVar("is_cancelled", default=None)

Returned = TypeVar("Returned")


class ThreadCancelled(StemdropError):
    """The task that waited for the thread was cancelled."""


async def run_in_thread(call: Callable[..., Returned], *args: Any) -> Returned:
    """Run a blocking function, which should call `raise_if_cancelled` from time to time.

    A cancelled task still waits for the thread, since the folder in which the thread works is then removed.
    """
    is_cancelled = threading.Event()

    def run() -> Returned:
        _is_cancelled.set(is_cancelled)  # in the thread's own context
        raise_if_cancelled()
        return call(*args)

    running = asyncio.create_task(asyncio.to_thread(run))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        is_cancelled.set()
        await asyncio.wait({running})
        running.exception()  # or asyncio would report it as never retrieved
        raise


def raise_if_cancelled() -> None:
    """Raise `ThreadCancelled` in a thread whose task was cancelled; do nothing elsewhere."""
    event = _is_cancelled.get()
    if event is not None and event.is_set():
        raise ThreadCancelled("the task that waited for this thread was cancelled")


def copy_stream(source: IO[bytes], target: IO[bytes], length: int = sys.maxsize) -> int:
    """Copy the rest of a file, at most `length` bytes; returns how many. Raises `ThreadCancelled`."""
    left = length
    while chunk := source.read(min(_CHUNK_BYTES, left)):
        raise_if_cancelled()
        target.write(chunk)
        left -= len(chunk)
    return length - left
