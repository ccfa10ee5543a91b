"""`Remixing`: orders and cancels remixes, for the chat and for the mixer."""

import hashlib
import logging
import time
from collections.abc import Callable, Sequence

from stemdrop.domain.jobs import Job
from stemdrop.domain.recipes import CANCELLABLE_REMIXES, OPEN_REMIXES, Recipe, Remix, RemixState
from stemdrop.storage.remixes import Remixes
from stemdrop.tasks.engine import Engine, Task

log = logging.getLogger(__name__)

# The most open remixes of one user; more are refused until one of them has ended.
MAX_OPEN_REMIXES = 10
# Two equal orders within this time count as one.
QUICK_TAPS_S = 2.0


class Remixing:
    def __init__(self, remixes: Remixes, engine: Engine, clock: Callable[[], float] = time.time) -> None:
        self._remixes = remixes
        self._engine = engine
        self._clock = clock

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

        `by` names the tap or the request; repeating it orders nothing more. Raises `StoreUnavailable`.
        """
        remix = Remix(_id(user_id, by), job.id, user_id, tuple(recipes), is_archive, language)
        if not await self._remixes.add(remix, MAX_OPEN_REMIXES):
            return None
        log.info("job %s: remix %s ordered, %d recipe(s)", job.id, remix.id, len(recipes))
        await self._engine.add(Task.RENDER, remix.id, remix.id)
        return remix

    async def order_once(
        self,
        job: Job,
        user_id: int,
        recipes: Sequence[Recipe],
        *,
        by: str,
        language: str,
        is_archive: bool = False,
    ) -> Remix | None:
        """Order as `order`; return an equal order that is open or was made a moment ago instead."""
        wanted = Remix(_id(user_id, by), job.id, user_id, tuple(recipes), is_archive)
        first = await self._remixes.first_order(wanted, by)
        earlier = await self._remixes.get(_id(user_id, first))
        if first != by and earlier and not self._is_same(earlier):
            first = await self._remixes.first_order(wanted, by, instead_of=first)
        return await self.order(job, user_id, recipes, by=first, language=language, is_archive=is_archive)

    def _is_same(self, earlier: Remix) -> bool:
        """Whether an equal order after this one is only a repeated tap."""
        # a clock that was set back makes no later tap a quick one
        is_quick = 0 <= self._clock() - earlier.created_at < QUICK_TAPS_S
        return earlier.state in OPEN_REMIXES or (earlier.state is RemixState.SENT and is_quick)

    async def cancel(self, remix: Remix) -> bool:
        """Cancel a remix that is not being sent yet. False: it is too late. Idempotent."""
        return await self._remixes.move(remix, RemixState.CANCELLED, CANCELLABLE_REMIXES)


def _id(user_id: int, by: str) -> str:
    return hashlib.sha256(f"{user_id}:{by}".encode()).hexdigest()[:16]
