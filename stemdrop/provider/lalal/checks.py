"""`Checks`: polls many tasks in one request, since LALAL.AI allows 30 of these requests a minute."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from stemdrop.errors import BadContract

# The documented limit of a request.
MOST_TASKS = 200
# How long a request waits for further tasks.
COLLECT_S = 0.01
# A request also asks for the tasks that were polled in the last LATELY_S; their answers are used for FRESH_S.
LATELY_S = 60.0
FRESH_S = 5.0


class Checks:
    """Collects the polls of a process. `ask` sends one request and returns the entries by task id."""

    def __init__(
        self,
        ask: Callable[[Sequence[str]], Awaitable[dict[str, object]]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._wanted: set[str] = set()
        self._batch: asyncio.Task[dict[str, object]] | None = None
        self._asked_at: dict[str, float] = {}
        self._fresh: dict[str, tuple[float, object]] = {}

    async def entry(self, task_id: str) -> object:
        """Return the server's entry for a task. Raises as `ask`, and `BadContract` if there is none."""
        now = self._clock()
        self._asked_at = {it: at for it, at in self._asked_at.items() if now - at < LATELY_S}
        self._asked_at[task_id] = now
        # each answer serves one poll: a task that is polled again at once gets a new one
        answered_at, entry = self._fresh.pop(task_id, (0.0, None))
        if entry is not None and now - answered_at < FRESH_S:
            return entry
        if self._batch is None or len(self._wanted) >= MOST_TASKS:
            self._wanted = set()
            self._batch = asyncio.create_task(self._send(self._wanted))
        self._wanted.add(task_id)
        entries = await asyncio.shield(self._batch)
        if task_id not in entries:
            raise BadContract("the answer does not name the task")
        return entries[task_id]

    async def _send(self, wanted: set[str]) -> dict[str, object]:
        await asyncio.sleep(COLLECT_S)
        if self._wanted is wanted:
            self._batch = None
        others = [task_id for task_id in self._asked_at if task_id not in wanted]
        entries = await self._ask([*wanted, *others][:MOST_TASKS])
        now = self._clock()
        self._fresh = {it: (at, entry) for it, (at, entry) in self._fresh.items() if now - at < FRESH_S}
        self._fresh |= {it: (now, entries[it]) for it in others if it in entries}
        return entries
