"""The order in which tasks are served that get ready at different speeds."""

import asyncio
from contextlib import suppress

from separator.turns import Turns


class _Race:
    """Tasks named by a letter; each is ready when its event is set, and then notes that it was served."""

    def __init__(self, names: str, patience_s: float) -> None:
        self.turns = Turns(patience_s)
        self.ready = {name: asyncio.Event() for name in names}
        self.served: list[str] = []
        self.tasks = {name: asyncio.create_task(self._run(name)) for name in names}

    async def _run(self, name: str) -> None:
        async with self.turns.getting_ready():
            await self.ready[name].wait()
        self.served.append(name)

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


async def test_who_comes_first_is_served_first() -> None:
    race = _Race("abc", patience_s=60)
    await race.settle()
    race.ready["c"].set()
    race.ready["b"].set()
    await race.settle()
    assert race.served == []
    race.ready["a"].set()
    await asyncio.gather(*race.tasks.values())
    assert race.served == ["a", "b", "c"]


async def test_who_fails_holds_nobody_up() -> None:
    race = _Race("ab", patience_s=60)
    race.ready["b"].set()
    await race.settle()
    race.tasks["a"].cancel()
    with suppress(asyncio.CancelledError):
        await race.tasks["a"]
    await race.tasks["b"]
    assert race.served == ["b"]


async def test_who_is_slow_is_overtaken_after_a_while() -> None:
    race = _Race("ab", patience_s=0.01)
    race.ready["b"].set()
    await race.tasks["b"]
    assert race.served == ["b"]
    race.ready["a"].set()
    await race.tasks["a"]
    assert race.served == ["b", "a"]
