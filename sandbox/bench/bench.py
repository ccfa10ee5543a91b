"""The bench of the page: proxies between stemdrop and the separator, and a view of the jobs."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
from starlette.routing import Route

from sandbox.bench.callback_proxy import CallbackProxy
from sandbox.bench.job_states import JobStates
from sandbox.bench.separation_faults import SeparationFaults
from sandbox.bench.separation_proxy import SeparationProxy
from sandbox.telegram.state import TelegramState

_END_AGAIN_S = 0.2


class Bench:
    """Records calls and callbacks between stemdrop and the separator, breaks them, and follows the jobs.

    It shares the local Telegram's server: stemdrop's SEPARATION_API_URL is `<url>/separation`, and callbacks
    come to `<url>/callback/…`.
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
        self.callbacks = CallbackProxy(*parts)

    def routes(self) -> list[Route]:
        return [*self.separation.routes(), *self.callbacks.routes()]

    @asynccontextmanager
    async def run(self, redis_url: str = "") -> AsyncIterator[None]:
        """Pass requests on during the block, and follow the jobs in the Redis at `redis_url`, if any."""
        following = [asyncio.create_task(self.jobs.follow(redis_url))] if redis_url else []
        try:
            yield
        finally:
            for task in following:
                await _end(task)
            await self.callbacks.close()
            await self._http.aclose()


@asynccontextmanager
async def bench_between(telegram: TelegramState, environ: Mapping[str, str]) -> AsyncIterator[Bench | None]:
    """Yield a bench between the separator and the webhook that `environ` names, None if one is missing."""
    separator_url, webhook_url = environ.get("SANDBOX_SEPARATOR_URL"), environ.get("SANDBOX_WEBHOOK_URL")
    if not separator_url or not webhook_url:
        yield None
        return
    bench = Bench(telegram)
    bench.separation.target_url, bench.callbacks.target_url = separator_url, webhook_url
    async with bench.run(environ.get("REDIS_URL", "")):
        yield bench


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel a task again and again until it has ended, because redis-py can lose a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_END_AGAIN_S)
