"""`ResultPolling`: asks the separation API for results whose callback has not come."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from stemdrop.domain.jobs import Job
from stemdrop.domain.outcomes import Receipt
from stemdrop.domain.results import Result
from stemdrop.errors import AnswerLost, BadContract, SeparationError, TryLater, Unreachable
from stemdrop.provider.registry import Providers
from stemdrop.storage.job_store import JobStore

log = logging.getLogger(__name__)

# A success without stems fails after this time even if the separation API has not answered since.
GIVE_UP_S = 900
# The most progress that is shown of a task whose stems have not come.
MOST_PERCENT = 99


@dataclass
class ResultPolling:
    """Polls tasks, at no cost, and stores their results as a callback would."""

    store: JobStore
    providers: Providers
    clock: Callable[[], float] = time.time
    ask_again_s: float = 30

    async def ask(self, job: Job) -> Receipt | None:
        """Poll the job's task, store its result and order the delivery; `None`: there is no result yet."""
        await self.store.set(job.id, polled_at=self.clock())
        try:
            report = await self.providers.fetch(job.task_id)
        except (SeparationError, BadContract) as error:
            log.warning("job %s: polling failed: %s", job.id, error)
            return None
        if (result := report.result) is None:
            # some providers count a second pass from the start again, or say 100 before there are stems
            if (progress := min(report.progress or 0, MOST_PERCENT)) > job.progress:
                await self.store.set(job.id, progress=progress)
            return None
        receipt = await self.store.receive(job.id, job.chat_id, job.task_id, result, adds_delivery=True)
        if receipt is Receipt.STORED:
            log.info("job %s: polled, code %d, %d stems", job.id, result.code, len(result.stems))
        elif receipt is not Receipt.REPEATED:
            log.error("job %s: the API answered a poll with the result of another task (%s)", job.id, receipt)
            return None
        return receipt

    async def confirm_empty(self, job: Job, result: Result) -> Result:
        """Return a success without stems once the detail endpoint has said twice that there are none.

        The second call is made `ask_again_s` after the first: the URLs may come later than the success.
        Raises `TryLater` until then, and if stems have come.
        """
        now = self.clock()
        if job.found_empty_at and (wait_s := job.found_empty_at + self.ask_again_s - now) > 0:
            raise TryLater(wait_s, f"job {job.id}: a success without stems is asked for again")
        detail = None
        try:
            detail = (await self.providers.fetch(job.task_id)).result
        except (SeparationError, BadContract) as error:
            log.warning("job %s: its stems could not be asked for: %s", job.id, error)
            if isinstance(error, Unreachable | AnswerLost) and now - job.moved_at < GIVE_UP_S:
                raise TryLater(self.ask_again_s, "the separation API does not answer") from error
        if detail and detail.stems:
            await self.store.receive(job.id, job.chat_id, job.task_id, detail)
            raise TryLater(0.1, f"job {job.id}: its stems have come")
        if not job.found_empty_at:
            await self.store.set(job.id, found_empty_at=now)
            raise TryLater(self.ask_again_s, f"job {job.id}: a success without stems is asked for again")
        return detail if detail and detail.shape else result
