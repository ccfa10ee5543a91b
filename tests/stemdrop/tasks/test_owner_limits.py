"""Each account has its share of what a process does at once, so no account delays another."""

import asyncio
from pathlib import Path

import pytest
from product import Product, until
from provider import Provider

from sandbox.telegram.chats import Message
from sandbox.telegram.person_actions import Telegram
from stemdrop.chat.callback_data import Action
from stemdrop.domain.jobs import JobState
from stemdrop.domain.outcomes import Run
from stemdrop.domain.results import Result, Stem
from stemdrop.errors import TryLater
from stemdrop.storage.job_store import MAX_IN_FLIGHT
from stemdrop.tasks.engine import Queue, Task
from stemdrop.tasks.owner_limits import OwnerLimits, account_is_busy
from worker.delivery import JOBS_ON_DISK


@pytest.fixture
def product(provided_product: Product) -> Product:
    return provided_product


def test_an_account_is_limited() -> None:
    owner_limits = OwnerLimits[int](2, account_is_busy)
    with owner_limits.of(1), owner_limits.of(1), owner_limits.of(2):
        with pytest.raises(TryLater, match="under way already"), owner_limits.of(1):
            pass
        with owner_limits.of(2):
            pass
    with pytest.raises(ZeroDivisionError), owner_limits.of(1):
        raise ZeroDivisionError
    with owner_limits.of(1), owner_limits.of(1):
        pass


async def test_one_users_deliveries_do_not_delay_another_user(
    product: Product, provider: Provider, sent: Message, telegram: Telegram, song: Path
) -> None:
    """Also for deliveries from the cache, which are free and wait in no queue."""
    provider.hold_stems.clear()
    provider.held_stems = frozenset({"vocal"})
    held = Result(200, (Stem("vocals", provider.stem_url("vocal")),))
    for number in range(JOBS_ON_DISK + 2):
        job = await product.at(JobState.DELIVERING, sent, task_id=f"task-{number}", result=held)
        await product.engine.add(Task.DELIVER, job.id, job.id)
    stop = asyncio.Event()
    working = asyncio.create_task(
        product.engine.work(
            Queue.DELIVERIES,
            {Task.DELIVER: product.delivery().run},
            stop,
            concurrency=JOBS_ON_DISK,
            grace_s=0,
        )
    )
    await until(lambda: len(provider.stem_requests) == MAX_IN_FLIGHT)
    theirs = await telegram.send_file(telegram.add_user("Bob").id, song)
    free = Result(200, (Stem("drums", provider.stem_url("drums")),))
    bob = await product.at(JobState.DELIVERING, theirs, task_id="task-of-bob", result=free)
    await product.engine.add(Task.DELIVER, bob.id, bob.id)
    await until(lambda: [found.kind for found in telegram.bot_messages(theirs.chat.id)].count("audio") == 1)
    assert len(provider.stem_requests) == MAX_IN_FLIGHT + 1
    stop.set()
    await working


async def test_one_users_packs_do_not_delay_another_user(
    product: Product, provider: Provider, sent: Message
) -> None:
    archives, job = product.archives(), await product.at(JobState.DELIVERING, sent)
    with archives._owner_limits.of(job.account):
        for letter in (Action.ZIP, Action.SMALL):
            with pytest.raises(TryLater, match="under way already"):
                await archives.run(f"{job.id}:{letter}")
    assert await product.store.runs(job.id, Run.ZIP) == 0
