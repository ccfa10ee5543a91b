"""LALAL.AI as the provider: an order whose answer was lost."""

import pytest
from contract_server import ContractServer
from product import open_product

from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import Message
from sandbox.telegram.person_actions import Telegram
from stemdrop.domain.jobs import Failure, JobState
from stemdrop.errors import TryLater
from stemdrop.storage.create_calls import CallOutcome


async def test_an_order_whose_task_is_not_told_ends_at_once_and_is_in_the_ledger(
    redis_url: str, telegram: Telegram, sent: Message, tone: bytes
) -> None:
    """The song is paid for, but no call tells its task: more calls would only open the circuit."""
    async with ContractServer("lalal", tone).run() as server, run_telegram(telegram) as url:
        server.answers_by_itself = False
        server.fault("create", "lost")
        server.fault("create", "used_key")
        async with open_product(
            *(redis_url, telegram, url),
            PROVIDERS="lalal",
            LALAL_API_KEY=server.key,
            LALAL_API_URL=server.url,
        ) as product:
            job = await product.at(JobState.SUBMITTING, sent)
            with pytest.raises(TryLater):
                await product.submission().run(job.id)
            await product.submission().run(job.id)
            now = await product.job(job.id)
            call = await product.create_calls.get(now.create_started_by)
            circuit = await product.circuits.get("lalal")
    assert now.failure == Failure("lost", charged=None)
    assert call
    assert (call.outcome, call.is_paid) == (CallOutcome.LOST, None)
    assert circuit.failures == 1
    assert len(server.creates) == 1
