"""Who is next: tasks get ready side by side and are then served in the order in which they came."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Turns:
    """An order of arrival that somebody slow cannot hold up for longer than `patience_s`."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._waiting: list[asyncio.Event] = []

    @asynccontextmanager
    async def getting_ready(self) -> AsyncIterator[None]:
        """Holds one's place from the beginning of the block; leaving it takes until all who came before have
        left theirs, or patience is at its end. Who leaves by an exception does not wait.
        """
        before = tuple(self._waiting)
        gone = asyncio.Event()
        self._waiting.append(gone)
        try:
            yield
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience_s):
                    for event in before:
                        await event.wait()
        finally:
            self._waiting.remove(gone)
            gone.set()
