"""Alerts to the admins about low credits and a refused key."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from product import Product, open_product
from provider import KEY, Provider

from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import User
from sandbox.telegram.person_actions import Telegram
from stemdrop.domain.abilities import Abilities, Ability
from stemdrop.domain.jobs import Mode
from stemdrop.services.admin_alerts import AdminAlerts
from stemdrop.storage.keys import ADMINS
from worker.credits_monitor import CreditsMonitor

BOSS = 555


@pytest.fixture
def admins() -> str:
    """The setting `ADMINS`; a test overrides it by a parameter."""
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
def monitor(product: Product) -> CreditsMonitor:
    return another_monitor(product)


def another_monitor(product: Product) -> CreditsMonitor:
    """Return the monitor of another worker."""
    alerts = AdminAlerts(product.bot, product.users, product.translations)
    return CreditsMonitor(product.providers, alerts, product.abilities, product.circuits)


def alerts(product: Product, user_id: int = BOSS) -> list[str]:
    return [message.text for message in product.telegram.bot_messages(user_id)]


async def test_where_nothing_costs_credits_none_are_missed(
    product: Product, monitor: CreditsMonitor, provider: Provider
) -> None:
    await product.abilities.put(Abilities({Mode.SPLIT_STEM: Ability()}))
    provider.credits = 0
    await monitor.run()
    assert alerts(product) == []


async def test_enough_credits_cause_no_alert(
    product: Product, monitor: CreditsMonitor, provider: Provider
) -> None:
    provider.credits = 100
    await monitor.run()
    assert alerts(product) == []


async def test_low_credits_cause_one_alert_over_all_workers(
    product: Product, monitor: CreditsMonitor, provider: Provider
) -> None:
    for provider.credits in (99.6, 60, 10):
        await monitor.run()
        await another_monitor(product).run()
    assert alerts(product) == ["⚠️ Only 100 credits are left at the separation service."]


async def test_credits_that_are_low_again_cause_another_alert(
    product: Product, monitor: CreditsMonitor, provider: Provider
) -> None:
    for provider.credits in (40, 1000, 30):
        await monitor.run()
    assert [text.split()[2] for text in alerts(product)] == ["40", "30"]


async def test_each_admin_reads_the_alert_in_their_language(
    product: Product, monitor: CreditsMonitor, provider: Provider, telegram: Telegram
) -> None:
    other = telegram.add_user("Ming")
    await product.redis.sadd(ADMINS, str(other.id))  # as the one-time link adds them
    await product.users.set_language(other.id, "zh")
    provider.credits = 5
    await monitor.run()
    assert alerts(product, other.id) == [product.translations.language("zh")("alert.credits_low", credits=5)]
    assert alerts(product) == [product.translations.language("en")("alert.credits_low", credits=5)]


async def test_a_refused_key_causes_an_alert_each_time_it_stops_working(
    product: Product, monitor: CreditsMonitor, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    for provider.key in ("another", "another", KEY, "another"):
        await monitor.run()
    assert len(alerts(product)) == 2
    assert set(alerts(product)) == {product.translations.language("en")("alert.key")}
    assert KEY not in "".join([*alerts(product), caplog.text])


async def test_a_new_key_with_low_credits_causes_an_alert_about_credits(
    product: Product, monitor: CreditsMonitor, provider: Provider
) -> None:
    provider.key = "another"
    await monitor.run()
    provider.key, provider.credits = KEY, 1
    await monitor.run()
    provider.key = "another"
    await monitor.run()
    assert ["key" in text for text in alerts(product)] == [True, False, True]


@pytest.mark.parametrize("admins", [""])
async def test_without_admins_the_alert_is_only_logged(
    product: Product, monitor: CreditsMonitor, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.credits = 5
    await monitor.run()
    assert "Only 5 credits are left" in caplog.text
    assert alerts(product) == []


async def test_an_invalid_answer_is_logged_once(
    product: Product, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    for provider.credits in (None, "many", [], True):
        caplog.clear()
        monitor = another_monitor(product)
        await monitor.run()
        await monitor.run()
        assert caplog.text.count("the number of credits left is unknown") == 1, provider.credits
    assert alerts(product) == []


async def test_each_new_error_is_logged_once(
    product: Product, monitor: CreditsMonitor, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    for refusal in ((455, "maintenance"), (455, "maintenance"), None, (455, "maintenance"), (500, "x")):
        provider.credits_refusal = refusal
        await monitor.run()
    assert caplog.text.count("the number of credits left is unknown (own separator)") == 3
    assert alerts(product) == []


async def test_where_several_are_asked_an_alert_names_its_provider_and_ends_with_it(
    boss: User, several_providers: Product, provider: Provider, own_separator: Provider
) -> None:
    product = several_providers
    monitor = CreditsMonitor(product.providers, product.alerts, product.abilities, product.circuits)
    own_separator.credits = 99
    client: Any = product.providers["selfhosted"]
    client.capabilities = replace(client.capabilities, balance_unit="minutes")
    for provider.key in ("another", KEY, "another"):  # the second answer does not end the first's alert
        await monitor.run()
    refused = "⚠️ sunoapi.org refuses this bot's key. Until it is corrected, no song can be split there."
    few = "⚠️ The balance at own separator is low: 1 hr 39 min."
    assert alerts(product) == [refused, few, refused]
    await product.circuits.failed("selfhosted", "it is away", at_once=True)
    await monitor.run()
    product.clock.advance(1900)
    await monitor.run()
    assert len(alerts(product)) == 3  # it was not asked since
    await product.circuits.failed("selfhosted", "it is away", at_once=True)
    await monitor.run()
    assert alerts(product)[3].startswith("⚠️ own separator has failed for more than half an hour.")


async def test_an_unreachable_api_is_logged_once(
    redis_url: str, telegram: Telegram, caplog: pytest.LogCaptureFixture
) -> None:
    async with run_telegram(telegram) as url, open_product(redis_url, telegram, url) as product:
        monitor = another_monitor(product)
        await monitor.run()
        await monitor.run()
    assert caplog.text.count("the number of credits left is unknown") == 1
