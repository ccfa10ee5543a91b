"""`Remixing`: orders and cancels remixes, for the chat and for the mixer."""

import hashlib
import logging
from collections.abc import Sequence

from stemdrop.domain.jobs import Job
from stemdrop.domain.recipes import CANCELLABLE_REMIXES, Recipe, Remix, RemixState
from stemdrop.storage.remixes import Remixes
from stemdrop.tasks.engine import Engine, Task

log = logging.getLogger(__name__)

# Of one user; more are refused until one of them has ended.
MAX_OPEN_REMIXES = 10


class Remixing:
    def __init__(self, remixes: Remixes, engine: Engine) -> None:
        self._remixes = remixes
        self._engine = engine

    async def order(
        self,
        job: Job,
        user_id: int,
        recipes: Sequence[Recipe],
        *,
        by: str,
        language: str,
        is_archive: bool = False,
    ) -> Remix | None:
        """Order a remix, or a practice pack, of a delivered job; `None`: the user has too many open ones.

        `by` names the tap or the request: the same one orders once. Raises `StoreUnavailable`.
        """
        remix_id = hashlib.sha256(f"{user_id}:{by}".encode()).hexdigest()[:16]
        remix = Remix(remix_id, job.id, user_id, tuple(recipes), is_archive, language)
        if not await self._remixes.add(remix, MAX_OPEN_REMIXES):
            return None
        log.info("job %s: remix %s ordered, %d recipe(s)", job.id, remix.id, len(recipes))
        await self._engine.add(Task.RENDER, remix.id, remix.id)
        return remix

    async def cancel(self, remix: Remix) -> bool:
        """Cancel a remix that is not being sent yet. False: it is too late. Idempotent."""
        return await self._remixes.move(remix, RemixState.CANCELLED, CANCELLABLE_REMIXES)
