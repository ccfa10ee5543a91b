"""`FailOver`: has another provider asked for a job whose task has failed at no cost."""

from dataclasses import dataclass

from stemdrop.domain.failures import CLOSED_CODES
from stemdrop.domain.jobs import Failure, Job
from stemdrop.storage.abilities import AbilitiesCache
from stemdrop.storage.circuits import Circuits
from stemdrop.storage.job_store import JobStore
from stemdrop.tasks.engine import Engine, Task


@dataclass(frozen=True, slots=True)
class FailOver:
    """Raises `StoreUnavailable`."""

    store: JobStore
    engine: Engine
    abilities: AbilitiesCache
    circuits: Circuits

    async def run(self, job: Job, failure: Failure) -> bool:
        """Let another provider be asked. False: the failure may be charged, or no other one costs as little.

        Only the user decides whether to pay again, or more than the button said.
        """
        if failure.charged is not False or job.mode is None or not job.provider:
            return False
        if failure.code.isdigit() and int(failure.code) in CLOSED_CODES:
            await self.circuits.failed(job.provider, f"code {failure.code}", at_once=True)
        avoid = (*job.tried_providers, job.provider)
        others = await self.abilities.candidates(job.mode, job.instrument, job.source.duration_s, avoid)
        if not any(job.may_cost(it.price) for it in others):
            return False
        if await self.store.fail_over(job, failure.code):
            await self.engine.add(Task.SUBMIT, job.id, job.id)
        return True
