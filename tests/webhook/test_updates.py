"""`POST /telegram`: updates are accepted from Telegram only."""

from typing import Any

import httpx
import pytest
from builders import make_job
from product import Product, open_product
from running import running

from sandbox.environment.server import serve
from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import User
from sandbox.telegram.person_actions import Telegram
from stemdrop.chat.callback_data import Action, Tap
from stemdrop.tasks.engine import Queue, Task
from webhook.app import create_app

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"


@pytest.fixture
def product_options() -> dict[str, Any]:
    return {"TELEGRAM_UPDATES": "webhook"}


async def handled(product: Product, telegram: Telegram, user: User) -> list[str]:
    """Let a bot handle the stored updates; returns the texts that it sent."""
    application = product.application()
    await application.initialize()
    handlers = {Task.UPDATE: product.updates(application).run}
    async with running(lambda stop: product.engine.work(Queue.UPDATES, handlers, stop)):
        await telegram.wait_for(lambda: telegram.bot_messages(user.id))
    return [message.text for message in telegram.bot_messages(user.id)]


async def test_an_update_is_stored_and_then_handled_by_a_bot(
    product: Product, client: httpx.AsyncClient, telegram: Telegram, alice: User
) -> None:
    await product.bot.set_webhook(f"{client.base_url}/telegram", secret_token=product.links.updates_secret)
    telegram.send_text(alice.id, "/help")
    await telegram.wait_for(lambda: not telegram.updates.pending)
    assert telegram.updates.last_error_message is None
    assert telegram.bot_messages(alice.id) == []
    (text,) = await handled(product, telegram, alice)
    assert "How it works" in text


async def test_a_repeated_update_is_handled_once(
    product: Product, client: httpx.AsyncClient, telegram: Telegram, alice: User
) -> None:
    telegram.send_text(alice.id, "/help")
    (update,) = telegram.updates.pending
    for _ in range(5):
        headers = {SECRET_HEADER: product.links.updates_secret}
        answer = await client.post("/telegram", json=update, headers=headers)
        assert (answer.status_code, answer.json()) == (200, {"status": "received"})
    assert len(await handled(product, telegram, alice)) == 1


async def test_an_undo_counts_when_it_arrives(product: Product, client: httpx.AsyncClient) -> None:
    job = make_job(starts_at=product.clock.now)
    await product.store.add(job, once="song")
    update = {"update_id": 1, "callback_query": {"id": "1", "data": Tap(Action.UNDO, job.id).to_data()}}
    await client.post("/telegram", json=update, headers={SECRET_HEADER: product.links.updates_secret})
    assert (await product.job(job.id)).starts_at == 0


async def test_updates_without_the_secret_token_are_refused(
    product: Product, client: httpx.AsyncClient, telegram: Telegram, alice: User
) -> None:
    telegram.send_text(alice.id, "/help")
    (update,) = telegram.updates.pending
    secret = product.links.updates_secret
    for given in ("", "x", secret[:-1], secret + "0", secret.upper(), "\xff\xfe", "0" * 5000):
        headers = [(SECRET_HEADER.encode(), given.encode("latin-1"))]
        assert (await client.post("/telegram", json=update, headers=headers)).status_code == 403
    assert (await client.post("/telegram", json=update)).status_code == 403


async def test_a_body_that_is_no_update_is_confirmed_and_becomes_a_dead_letter(
    product: Product, client: httpx.AsyncClient
) -> None:
    bodies = [
        *(b"", b"hello", b"[]", b"{}", b"null", b'{"update_id": "1"}', b'{"update_id": null}'),
        b'{"update_id": true}',
        *(b"[" * 100_000, b"\xff\xfe", b'{"update_id": 1.5}'),
    ]
    headers = {SECRET_HEADER: product.links.updates_secret}
    statuses = {
        body[:20]: (await client.post("/telegram", content=body, headers=headers)).status_code
        for body in bodies
    }
    assert statuses == {body[:20]: 200 for body in bodies}
    letters = await product.dead_letters.all()
    assert len(letters) == 7  # the bodies that are no JSON are one, `null`
    big = await client.post("/telegram", content=b" " * (1024 * 1024 + 1), headers=headers)
    assert big.status_code == 413


async def test_the_endpoint_does_not_exist_while_polling(redis_url: str, telegram: Telegram) -> None:
    async with (
        run_telegram(telegram) as telegram_url,
        open_product(redis_url, telegram, telegram_url) as product,
        serve(create_app(product)) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        headers = {SECRET_HEADER: product.links.updates_secret}
        assert (await client.post("/telegram", json={"update_id": 1}, headers=headers)).status_code == 404
