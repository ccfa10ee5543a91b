"""What only the operator can put right reaches the admins: all who can be reached, once, without secrets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from product import Product, open_product, until
from provider import KEY, Provider

from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import Message, User
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.person_actions import Telegram
from stemdrop.domain.jobs import JobState
from stemdrop.errors import TryLater
from stemdrop.services.admin_alerts import AdminAlerts
from stemdrop.storage.keys import ADMINS

BOSSES = (555, 666, 777)


@pytest.fixture
def bosses(telegram: Telegram) -> list[User]:
    return [telegram.add_user(f"Boss {number}", user_id=number) for number in BOSSES]


@pytest.fixture
async def product(
    redis_url: str, telegram: Telegram, provider: Provider, bosses: list[User]
) -> AsyncIterator[Product]:
    admins = ",".join(map(str, BOSSES))
    async with (
        run_telegram(telegram) as url,
        open_product(redis_url, telegram, url, api_url=provider.url, ADMINS=admins) as opened,
    ):
        yield opened


@pytest.fixture
def alerts(product: Product) -> AdminAlerts:
    return AdminAlerts(product.bot, product.users, product.translations)


@pytest.fixture
async def sent(telegram: Telegram, song: Path) -> Message:
    return await telegram.send_file(telegram.add_user("Alice").id, song)


def told(product: Product) -> list[list[str]]:
    """The alerts that each admin has received."""
    return [[message.text for message in product.telegram.bot_messages(number)] for number in BOSSES]


@pytest.mark.parametrize(
    ("code", "message", "key"),
    [
        (401, "", "alert.key"),
        (402, "", "alert.credits_out"),
        (429, "insufficient credits", "alert.credits_out"),
        (422, "", None),
        (429, "", None),
    ],
)
async def test_admins_are_alerted_of_refusals_that_only_they_can_correct(
    product: Product, provider: Provider, sent: Message, code: int, message: str, key: str | None
) -> None:
    provider.refusal = (code, f"refused, {KEY} and all: {message}")
    for _ in range(2):
        job = await product.at(JobState.SUBMITTING, sent)
        for _ in range(2):  # what may pass by itself is tried again
            with suppress(TryLater):
                await product.submission().run(job.id)
    assert told(product) == [[product.translations.language("en")(key)] if key else []] * 3


async def test_an_alert_of_a_wrong_key_hides_the_key(
    product: Product, provider: Provider, sent: Message, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    provider.key = "another"
    job = await product.at(JobState.SUBMITTING, sent)
    await product.submission().run(job.id)
    assert len(told(product)[0]) == 1
    seen = "".join(
        message.text for number in product.telegram.chats for message in product.telegram.messages(number)
    )
    for secret in (KEY, product.settings.telegram_bot_token.get_secret_value(), "a-secret-for-tests"):
        assert secret not in seen
    assert KEY not in caplog.text


async def test_an_admin_who_blocked_the_bot_does_not_stop_alerts_to_others(
    product: Product, alerts: AdminAlerts, caplog: pytest.LogCaptureFixture
) -> None:
    product.telegram.block_bot(BOSSES[0])
    product.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage", chat_id=BOSSES[1])
    await alerts.failed("401")
    assert told(product) == [[], [], [product.translations.language("en")("alert.key")]]
    assert f"the message alert.key could not be sent to admin {BOSSES[0]}" in caplog.text


async def test_an_alert_that_reached_no_admin_is_sent_again(product: Product, alerts: AdminAlerts) -> None:
    product.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage", times=len(BOSSES))
    await alerts.failed("401")
    assert told(product) == [[]] * 3
    for _ in range(2):
        await alerts.failed("401")
    assert [len(texts) for texts in told(product)] == [1, 1, 1]


async def test_an_alert_that_was_interrupted_is_sent_again_soon(
    product: Product, alerts: AdminAlerts
) -> None:
    sending = product.telegram.faults.add(FaultKind.TIMEOUT_BEFORE, method="sendMessage")
    interrupted = asyncio.create_task(alerts.failed("401"))
    await until(lambda: sending.hits)
    interrupted.cancel()
    await asyncio.wait({interrupted})
    (waits,) = await product.redis.keys("stemdrop:throttle:*")
    assert 0 < await product.redis.ttl(waits) <= 120


async def test_an_alert_is_sent_after_a_failure_of_redis(product: Product, alerts: AdminAlerts) -> None:
    await product.redis.set(ADMINS, "no set")
    await alerts.failed("401")
    assert told(product) == [[]] * 3
    await product.redis.delete(ADMINS)
    await alerts.failed("401")
    assert [len(texts) for texts in told(product)] == [1, 1, 1]


async def test_an_admin_who_never_wrote_does_not_stop_alerts_to_others(
    redis_url: str, telegram: Telegram
) -> None:
    telegram.add_user("Boss", user_id=BOSSES[0])
    async with (
        run_telegram(telegram) as url,
        open_product(redis_url, telegram, url, ADMINS=f"1,{BOSSES[0]},2") as product,
    ):
        await AdminAlerts(product.bot, product.users, product.translations).failed("402")
        assert len(telegram.bot_messages(BOSSES[0])) == 1


async def test_an_alert_is_repeated_after_a_day(product: Product, alerts: AdminAlerts) -> None:
    await alerts.failed("401")
    await alerts.failed("401")
    (waits,) = await product.redis.keys("stemdrop:throttle:*")
    assert 23 * 3600 < await product.redis.ttl(waits) <= 24 * 3600
    await product.redis.delete(waits)  # as Redis does when the time is over
    await alerts.failed("401")
    assert [len(texts) for texts in told(product)] == [2, 2, 2]


async def test_other_codes_do_not_alert_admins(product: Product, alerts: AdminAlerts) -> None:
    for code in (400, 422, 451, 455, 500, 999):
        await alerts.failed(str(code))
    assert told(product) == [[], [], []]
