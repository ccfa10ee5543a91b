"""Telegram fails, or Redis dies, while remixes are made and sent. `test_kills.py` kills their workers."""

import asyncio
from collections.abc import Sequence
from functools import partial

import pytest
from fault_case import Case
from ledger import Ledger, Play
from scenarios import WITHOUT_VOCALS, order_remix, with_desk

from sandbox.telegram.faults import FaultKind

METHODS = ("getFile", "download", "sendMessage", "sendAudio", "editMessageText", "deleteMessage")
# Fault, what the table calls it, whether a remix may come again: Telegram has taken it without a word.
KINDS = [
    (FaultKind.SERVER_ERROR, "Telegram: 500", False),
    (FaultKind.RESET_BEFORE, "Telegram: connection reset, nothing done", False),
    (FaultKind.RESET_AFTER, "Telegram: connection reset after it has taken the remix", True),
]


async def split(ledger: Ledger, songs: int) -> Sequence[Play]:
    """Return songs that were split, whose desks are open."""
    return await asyncio.gather(*(with_desk(ledger, f"Song {number + 1}") for number in range(songs)))


async def remix(ledger: Ledger, plays: Sequence[Play]) -> None:
    """Have each made without its vocals."""
    await asyncio.gather(*(order_remix(ledger, play, WITHOUT_VOCALS, songs=1) for play in plays))


@pytest.mark.full
@pytest.mark.parametrize(("kind", "fault", "may_double"), [pytest.param(*row, id=row[0]) for row in KINDS])
async def test_every_method_fails(case: Case, kind: FaultKind, fault: str, may_double: bool) -> None:
    deployment, ledger = await case.open("up")
    times = case.times(1, 5)
    plays = await split(ledger, times)
    methods = METHODS if kind is not FaultKind.RESET_AFTER else ("sendAudio",)
    orders = [deployment.telegram.faults.add(kind, method=method, times=times) for method in methods]
    await remix(ledger, plays)
    case.healed()
    await case.settle(
        ledger, f"Remixes. {fault}, each of {len(methods)} methods", times, twice=times * may_double
    )
    assert len(deployment.provider.creates) == times
    assert all(order.hits for order in orders if order.method != "editMessageText")


@pytest.mark.full
async def test_redis_is_killed(case: Case) -> None:
    deployment, ledger = await case.open("up")
    redis, times = deployment.environment.redis, case.times(2, 10)
    plays = await split(ledger, times)
    made = asyncio.create_task(remix(ledger, plays))
    for play in plays:
        await play.person.sees(partial(_is_ordered, play))
        await asyncio.to_thread(redis.kill)
        await asyncio.sleep(1)
        await asyncio.to_thread(redis.start)
    case.healed()
    await made
    await case.settle(ledger, "Remixes. Redis killed, started again after 1 s", times)
    assert len(deployment.provider.creates) == times


def _is_ordered(play: Play) -> bool:
    """Whether its remix is being made, or has come."""
    return len(play.titles) > 2 or any(message.text.startswith("🎚 Making") for message in play.texts)
