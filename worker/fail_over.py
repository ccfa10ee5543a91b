"""`FailOver`: lets another provider be asked for a job whose task has failed at no cost."""

import logging
from dataclasses import dataclass, replace

from stemdrop.domain.failures import CLOSED_CODES, DEARER, more_helpful
from stemdrop.domain.jobs import Failure, Job
from stemdrop.errors import TryLater
from stemdrop.provider.registry import Providers
from stemdrop.storage.abilities import AbilitiesCache
from stemdrop.storage.circuits import Circuits
from stemdrop.storage.job_store import JobStore
from stemdrop.tasks.engine import Engine, Task

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FailOver:
    """Orders the next create call for a failed job. Raises `StoreUnavailable`."""

    store: JobStore
    engine: Engine
    providers: Providers
    abilities: AbilitiesCache
    circuits: Circuits

    async def run(self, job: Job, failure: Failure) -> Failure | None:
        """Let another provider be asked; returns the failure to show if none is, and `None` otherwise.

        Only the user decides whether to pay again, or more than the tapped button said. Raises `TryLater` if
        the job has moved on meanwhile.
        """
        if not self._is_free(job, failure) or job.mode is None or job.paid_by:
            return failure
        if failure.code.isdigit() and int(failure.code) in CLOSED_CODES:
            await self.circuits.failed(job.provider, f"code {failure.code}", at_once=True)
        avoid = (*job.tried_providers, job.provider)
        others = await self.abilities.candidates(job.mode, job.instrument, job.source.duration_s, avoid)
        code = more_helpful(job.refusal, failure.code)
        if not any(job.may_cost(it.price) for it in others):
            return DEARER if others else replace(failure, code=code)
        if not await self.store.fail_over(job, code):
            raise TryLater(0.1, f"job {job.id} has moved on before another provider was asked")
        log.warning("job %s: failed with %s at %s, which charged nothing", job.id, failure.code, job.provider)
        await self.engine.add(Task.SUBMIT, job.id, job.id)
        return None

    def _is_free(self, job: Job, failure: Failure) -> bool:
        provider = self.providers.get(job.provider)
        return provider is not None and not (failure.charged and provider.capabilities.charges_failures)
