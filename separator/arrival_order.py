"""The arrival order of tasks that prepare concurrently."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class ArrivalOrder:
    """Lets tasks continue in order of arrival; each waits at most `timeout_s` seconds for earlier ones."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._waiting: list[asyncio.Event] = []

    @asynccontextmanager
    async def preparing(self) -> AsyncIterator[None]:
        """At the end of the block, wait for the end of all earlier tasks' blocks, or for the timeout."""
        before = tuple(self._waiting)
        left = asyncio.Event()
        self._waiting.append(left)
        try:
            yield
            with suppress(TimeoutError):
                async with asyncio.timeout(self._timeout_s):
                    for event in before:
                        await event.wait()
        finally:
            self._waiting.remove(left)
            left.set()
