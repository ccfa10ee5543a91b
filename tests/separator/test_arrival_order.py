"""Tasks that prepare at different speeds continue in the order of their arrival."""

import asyncio
from contextlib import suppress

from separator.arrival_order import ArrivalOrder


class _Race:
    """Tasks named by letters; each is prepared when its event is set, and then adds itself to `served`."""

    def __init__(self, names: str, timeout_s: float) -> None:
        self.arrival_order = ArrivalOrder(timeout_s)
        self.ready = {name: asyncio.Event() for name in names}
        self.served: list[str] = []
        self.tasks = {name: asyncio.create_task(self._run(name)) for name in names}

    async def _run(self, name: str) -> None:
        async with self.arrival_order.preparing():
            await self.ready[name].wait()
        self.served.append(name)

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


async def test_tasks_continue_in_the_order_of_arrival() -> None:
    race = _Race("abc", timeout_s=60)
    await race.settle()
    race.ready["c"].set()
    race.ready["b"].set()
    await race.settle()
    assert race.served == []
    race.ready["a"].set()
    await asyncio.gather(*race.tasks.values())
    assert race.served == ["a", "b", "c"]


async def test_a_failed_task_delays_no_other() -> None:
    race = _Race("ab", timeout_s=60)
    race.ready["b"].set()
    await race.settle()
    race.tasks["a"].cancel()
    with suppress(asyncio.CancelledError):
        await race.tasks["a"]
    await race.tasks["b"]
    assert race.served == ["b"]


async def test_a_slow_task_is_overtaken_after_the_timeout() -> None:
    race = _Race("ab", timeout_s=0.01)
    race.ready["b"].set()
    await race.tasks["b"]
    assert race.served == ["b"]
    race.ready["a"].set()
    await race.tasks["a"]
    assert race.served == ["b", "a"]
