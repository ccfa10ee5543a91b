"""`ResultPolling`: asks the separation API for results whose callback has not come."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from stemdrop.domain.jobs import Job
from stemdrop.domain.outcomes import Receipt
from stemdrop.errors import BadContract, SeparationError
from stemdrop.provider.client import SeparationClient
from stemdrop.storage.job_store import JobStore
from stemdrop.tasks.engine import Engine, Task

log = logging.getLogger(__name__)


@dataclass
class ResultPolling:
    """Polls tasks, at no cost, and stores their results as a callback would."""

    store: JobStore
    engine: Engine
    separation: SeparationClient
    clock: Callable[[], float] = time.time

    async def ask(self, job: Job) -> Receipt | None:
        """Poll the task and store its result, which orders its delivery; `None`: there is none yet."""
        await self.store.set(job.id, polled_at=self.clock())
        try:
            result = await self.separation.detail(job.task_id)
        except (SeparationError, BadContract) as error:
            log.warning("job %s: polling failed: %s", job.id, error)
            return None
        if result is None:
            return None
        receipt = await self.store.receive(job.id, job.chat_id, job.task_id, result)
        if receipt is Receipt.STORED:
            log.info("job %s: polled, code %d, %d stems", job.id, result.code, len(result.stems))
            await self.engine.add(Task.DELIVER, job.id, job.id)
        elif receipt is not Receipt.REPEATED:
            log.error("job %s: polled a result that is not its own (%s)", job.id, receipt)
            return None
        return receipt
