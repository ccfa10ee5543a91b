"""`AccountQueue`: submits an account's next job when one of its jobs has ended."""

import logging

from stemdrop.storage.job_store import JobStore
from stemdrop.tasks.engine import Engine, Task

log = logging.getLogger(__name__)


class AccountQueue:
    """Starts queued jobs. Recovery calls `next` for a job whose end was not followed by such a call."""

    def __init__(self, store: JobStore, engine: Engine) -> None:
        self._store = store
        self._engine = engine

    async def next(self, account: int) -> None:
        """Submit as many of the account's queued jobs as its limit allows. Raises `StoreUnavailable`."""
        for job_id in await self._store.promote(account):
            log.info("job %s: submitted from its account's queue", job_id)
            await self._engine.add(Task.SUBMIT, job_id, job_id)
