"""`Bench`: what stands between the processes of stemdrop and its surroundings, for the page's bench."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.routing import Route

from sandbox.bench.job_states import JobStates
from sandbox.bench.separation_faults import SeparationFaults
from sandbox.bench.separation_proxy import SeparationProxy
from sandbox.bench.webhook_proxy import WebhookProxy
from sandbox.telegram.state import TelegramState

_END_AGAIN_S = 0.2


class Bench:
    """Records and breaks what passes between stemdrop and the separator, and follows the jobs.

    It shares the local Telegram's server: stemdrop's SEPARATION_API_URL is `<url>/separation`, and its
    PUBLIC_URL is `<url>/webhook`.
    """

    def __init__(self, telegram: TelegramState) -> None:
        # Requests are rare: a connection kept alive would often be closed before the next one.
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=10),
            limits=httpx.Limits(max_keepalive_connections=0),
            trust_env=False,
        )
        self.faults = SeparationFaults(telegram.clock)
        self.jobs = JobStates(telegram.records)
        parts = (self._http, telegram.records, self.faults, telegram.closing)
        self.separation = SeparationProxy(*parts)
        self.webhook = WebhookProxy(*parts)

    def routes(self) -> list[Route]:
        return [*self.separation.routes(), *self.webhook.routes()]

    @asynccontextmanager
    async def run(self, redis_url: str = "") -> AsyncIterator[None]:
        """Pass requests on, and follow the jobs in that Redis, for the duration of the block."""
        following = [asyncio.create_task(self.jobs.follow(redis_url))] if redis_url else []
        try:
            yield
        finally:
            for task in following:
                await _end(task)
            await self.webhook.close()
            await self._http.aclose()


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel a task until it has ended: redis-py can lose a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_END_AGAIN_S)
