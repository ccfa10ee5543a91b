"""The progress of a polled task never falls, and is not 100 % before there are stems."""

import httpx
import pytest
from product import Product

from sandbox.telegram.chats import Message
from stemdrop.domain.jobs import JobState
from stemdrop.provider.lalal.client import LalalClient
from stemdrop.provider.registry import Providers
from worker.recovery import BATCH_POLL_EVERY_S


@pytest.fixture
def product(provided_product: Product) -> Product:
    return provided_product


async def test_the_progress_of_a_task_that_is_only_polled(product: Product, sent: Message) -> None:
    told, shown, texts = iter([0, 30, 20, None, 100, 60]), [], []

    def check(request: httpx.Request) -> httpx.Response:
        entry = {"status": "progress", "progress": next(told)}
        return httpx.Response(200, json={"result": {"8cad7e3d": entry}})

    job = await product.at(JobState.SEPARATING, sent, task_id="lalal:8cad7e3d")
    async with httpx.AsyncClient(transport=httpx.MockTransport(check)) as http:
        recovery = product.recovery()
        client = LalalClient(http, "https://lalal.example", "key")
        recovery.polling.providers = Providers({"lalal": client}, ["lalal"], "sunoapi")
        for _ in range(6):
            product.clock.advance(BATCH_POLL_EVERY_S + 1)
            await recovery.run()
            current = await product.job(job.id)
            shown.append(current.progress)
            texts.append((await product.job_message.render(current))[0])
    assert shown == [0, 30, 30, 30, 99, 99]
    assert ["30%" in text for text in texts] == [False, True, True, True, False, False]
    assert next(told, "") == ""
