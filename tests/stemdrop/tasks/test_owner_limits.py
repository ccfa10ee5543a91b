"""Nobody's fifty songs make another wait: each account has its share of what a process does at once."""

import asyncio
from pathlib import Path

import pytest
from house import House, until
from provider import Provider

from sandbox.telegram.chats import Message
from sandbox.telegram.person_actions import Telegram
from stemdrop.chat.callback_data import Action
from stemdrop.domain.jobs import JobState
from stemdrop.domain.results import Result, Stem
from stemdrop.errors import TryLater
from stemdrop.storage.job_store import MAX_IN_FLIGHT, Run
from stemdrop.tasks.engine import Queue, Task
from stemdrop.tasks.owner_limits import Shares, account_is_busy
from worker.delivery import JOBS_ON_DISK


@pytest.fixture
def house(provided_house: House) -> House:
    return provided_house


def test_an_account_holds_its_share_and_no_more() -> None:
    shares = Shares[int](2, account_is_busy)
    with shares.of(1), shares.of(1), shares.of(2):
        with pytest.raises(TryLater, match="under way already"), shares.of(1):
            pass
        with shares.of(2):
            pass
    with pytest.raises(ZeroDivisionError), shares.of(1):
        raise ZeroDivisionError
    with shares.of(1), shares.of(1):
        pass


async def test_one_persons_deliveries_leave_room_for_anothers(
    house: House, provider: Provider, sent: Message, telegram: Telegram, song: Path
) -> None:
    """However they came about: fifty songs again are free, and wait in no line."""
    provider.hold_stems.clear()
    provider.held_stems = frozenset({"vocal"})
    held = Result(200, (Stem("vocals", provider.stem_url("vocal")),))
    for number in range(JOBS_ON_DISK + 2):
        job = await house.at(JobState.DELIVERING, sent, task_id=f"task-{number}", result=held)
        await house.engine.add(Task.DELIVER, job.id, job.id)
    stop = asyncio.Event()
    working = asyncio.create_task(
        house.engine.work(
            Queue.DELIVERIES, {Task.DELIVER: house.delivery().run}, stop, concurrency=JOBS_ON_DISK, grace_s=0
        )
    )
    await until(lambda: len(provider.stem_requests) == MAX_IN_FLIGHT)
    theirs = await telegram.send_file(telegram.add_user("Bob").id, song)
    free = Result(200, (Stem("drums", provider.stem_url("drums")),))
    bob = await house.at(JobState.DELIVERING, theirs, task_id="task-of-bob", result=free)
    await house.engine.add(Task.DELIVER, bob.id, bob.id)
    await until(lambda: [found.kind for found in telegram.bot_messages(theirs.chat.id)].count("audio") == 1)
    assert len(provider.stem_requests) == MAX_IN_FLIGHT + 1
    stop.set()
    await working


async def test_one_persons_packs_leave_room_for_anothers(
    house: House, provider: Provider, sent: Message
) -> None:
    packing, job = house.packing(), await house.at(JobState.DELIVERING, sent)
    with packing._shares.of(job.account):
        for letter in (Action.ZIP, Action.SMALL):
            with pytest.raises(TryLater, match="under way already"):
                await packing.run(f"{job.id}:{letter}")
    assert await house.store.runs(job.id, Run.ZIP) == 0
