"""Admins hear in time that the credits run low or the key is refused: once, in their language."""

from collections.abc import AsyncIterator

import pytest
from product import Product, open_product
from provider import KEY, Provider

from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import User
from sandbox.telegram.person_actions import Telegram
from stemdrop.services.admin_alerts import LOW_CREDITS, AdminAlerts
from stemdrop.storage.keys import ADMINS
from worker.credits_monitor import CreditsMonitor

BOSS = 555


@pytest.fixture
def admins() -> str:
    """As the setting; tests override it by parametrising."""
    return str(BOSS)


@pytest.fixture
def boss(telegram: Telegram) -> User:
    return telegram.add_user("Boss", user_id=BOSS)


@pytest.fixture
async def product(
    redis_url: str, telegram: Telegram, provider: Provider, boss: User, admins: str
) -> AsyncIterator[Product]:
    async with (
        run_telegram(telegram) as url,
        open_product(redis_url, telegram, url, api_url=provider.url, ADMINS=admins) as opened,
    ):
        yield opened


@pytest.fixture
def watch(product: Product) -> CreditsMonitor:
    return watching(product)


def watching(product: Product) -> CreditsMonitor:
    """As each worker has one."""
    return CreditsMonitor(product.separation, AdminAlerts(product.bot, product.users, product.translations))


def told(product: Product, user_id: int = BOSS) -> list[str]:
    return [message.text for message in product.telegram.bot_messages(user_id)]


async def test_enough_is_no_news(product: Product, watch: CreditsMonitor, provider: Provider) -> None:
    provider.credits = LOW_CREDITS
    await watch.run()
    assert told(product) == []


async def test_low_credits_are_told_once_over_all_workers(
    product: Product, watch: CreditsMonitor, provider: Provider
) -> None:
    for provider.credits in (99.6, 60, 10):
        await watch.run()
        await watching(product).run()
    assert told(product) == ["⚠️ Only 100 credits are left at the separation service."]


async def test_low_again_after_it_was_well_is_news(
    product: Product, watch: CreditsMonitor, provider: Provider
) -> None:
    for provider.credits in (40, 1000, 30):
        await watch.run()
    assert [text.split()[2] for text in told(product)] == ["40", "30"]


async def test_each_admin_is_told_in_their_language(
    product: Product, watch: CreditsMonitor, provider: Provider, telegram: Telegram
) -> None:
    other = telegram.add_user("Ming")
    await product.redis.sadd(ADMINS, str(other.id))  # as the one-time link does
    await product.users.set_language(other.id, "zh")
    provider.credits = 5
    await watch.run()
    assert told(product, other.id) == [product.translations.language("zh")("alert.credits_low", credits=5)]
    assert told(product) == [product.translations.language("en")("alert.credits_low", credits=5)]


async def test_a_refused_key_is_told_once_and_again_after_it_was_right(
    product: Product, watch: CreditsMonitor, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    for provider.key in ("another", "another", KEY, "another"):
        await watch.run()
    assert len(told(product)) == 2
    assert set(told(product)) == {product.translations.language("en")("alert.key")}
    assert KEY not in "".join([*told(product), caplog.text])


async def test_a_new_key_whose_credits_are_low_is_told_as_that(
    product: Product, watch: CreditsMonitor, provider: Provider
) -> None:
    provider.key = "another"
    await watch.run()
    provider.key, provider.credits = KEY, 1
    await watch.run()
    provider.key = "another"
    await watch.run()
    assert ["key" in text for text in told(product)] == [True, False, True]


@pytest.mark.parametrize("admins", [""])
async def test_without_admins_it_is_only_in_the_log(
    product: Product, watch: CreditsMonitor, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.credits = 5
    await watch.run()
    assert "Only 5 credits are left" in caplog.text
    assert told(product) == []


@pytest.mark.parametrize("answer", [None, "many", [], True])
async def test_an_answer_that_is_none_is_one_line_in_the_log(
    product: Product,
    watch: CreditsMonitor,
    provider: Provider,
    answer: object,
    caplog: pytest.LogCaptureFixture,
) -> None:
    provider.credits = answer
    await watch.run()
    await watch.run()
    assert caplog.text.count("the number of credits left is unknown") == 1
    assert told(product) == []


async def test_each_trouble_is_one_line_in_the_log(
    product: Product, watch: CreditsMonitor, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    for refusal in ((455, "maintenance"), (455, "maintenance"), None, (455, "maintenance"), (500, "x")):
        provider.credits_refusal = refusal
        await watch.run()
    assert caplog.text.count("the number of credits left is unknown") == 3
    assert told(product) == []


async def test_an_api_that_is_away_is_one_line_in_the_log(
    redis_url: str, telegram: Telegram, caplog: pytest.LogCaptureFixture
) -> None:
    async with run_telegram(telegram) as url, open_product(redis_url, telegram, url) as product:
        watch = watching(product)
        await watch.run()
        await watch.run()
    assert caplog.text.count("the number of credits left is unknown") == 1
