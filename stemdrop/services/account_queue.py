"""Whose job is next: when one of an account ends, the next in its line is submitted."""

import logging

from stemdrop.storage.job_store import JobStore
from stemdrop.tasks.engine import Engine, Task

log = logging.getLogger(__name__)


class AccountQueue:
    """To be told of ends; the sweep looks after lines whose job's end nobody told."""

    def __init__(self, store: JobStore, engine: Engine) -> None:
        self._store = store
        self._engine = engine

    async def next(self, account: int) -> None:
        """Start what this account has in line, as far as there is room. Raises `StoreUnavailable`."""
        for job_id in await self._store.promote(account):
            log.info("job %s: its turn has come", job_id)
            await self._engine.add(Task.SUBMIT, job_id, job_id)
