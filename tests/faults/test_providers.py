"""The first of two separation providers refuses, is down, or fails: the second one does the songs."""

import asyncio

import pytest
from deployment import TWO_PROVIDERS, Deployment
from fault_case import Case, wired
from ledger import ALL_STEMS, VOCALS, Ledger
from scenarios import RETRY

from stemdrop.domain.providers import SUNOAPI
from stemdrop.storage.circuits import FAILURES_TO_OPEN, Circuit, Circuits
from stemdrop.storage.connection import connect

pytestmark = pytest.mark.full


async def settle(case: Case, ledger: Ledger, fault: str, times: int) -> None:
    """As `Case.settle`; no user's credits may differ from what the providers were paid, either."""
    await case.settle(ledger, fault, times)
    assert await ledger.miscounted() == ""


async def circuit_of_first(deployment: Deployment) -> Circuit:
    async with connect(deployment.redis_url) as redis:
        return await Circuits(redis).get(SUNOAPI)


async def test_the_first_has_no_credits(case: Case) -> None:
    deployment, ledger = await case.open("up", **TWO_PROVIDERS)
    first, second = deployment.providers
    first.refusal = (402, "no credits")
    times = case.times(1, 5)
    for _ in range(times):
        await ledger.play_all([VOCALS, ALL_STEMS])
        await ledger.over()
        await deployment.tasks_rest()
        assert (await circuit_of_first(deployment)).is_open
        await deployment.close_circuits()
    case.healed()
    await settle(case, ledger, "Providers: the first has no credits", times)
    assert (first.creates, len(second.creates)) == ([], len(ledger.plays))


async def test_the_first_is_down_amid_a_busy_evening(case: Case) -> None:
    """What it has accepted comes later; what comes meanwhile goes to the second, most without asking it."""
    async with wired(case, **TWO_PROVIDERS) as (deployment, ledger, wire):
        first, second = deployment.providers
        times = case.times(1, 3)
        for _ in range(times):
            first.answers_by_itself = first.remembers = False
            before = len(first.creates)
            await ledger.play_all([VOCALS] * 3)
            await deployment.accepted(before + 3)
            accepted = first.creates[before:]
            await deployment.tasks_rest()
            wire.close()
            wire.cut()  # the open connections
            wire.mend()
            for modes in ([VOCALS, ALL_STEMS] * FAILURES_TO_OPEN, [VOCALS] * 3):
                await ledger.over(await ledger.play_all(modes))
                assert (await circuit_of_first(deployment)).is_open
            await wire.listen()
            case.healed()
            for create in accepted:
                await first.post_patiently(create)
            while (await circuit_of_first(deployment)).is_open:  # noqa: ASYNC110 - Redis sets no event
                await asyncio.sleep(0.2)
            first.answers_by_itself = first.remembers = True
            await ledger.play_all([VOCALS, ALL_STEMS])
            await ledger.over()
            assert await circuit_of_first(deployment) == Circuit()
        await settle(case, ledger, "Providers: the first is down amid a busy evening", times)
        assert len(first.creates) == 5 * times
        assert len(first.creates) + len(second.creates) == len(ledger.plays)


async def test_a_charged_failure_goes_to_the_second_when_its_user_says_so(case: Case) -> None:
    deployment, ledger = await case.open("up", **TWO_PROVIDERS)
    first, second = deployment.providers
    first.failure = 500
    times = case.times(1, 5)
    for number in range(times):
        play = await ledger.play(VOCALS)
        await ledger.over([play])
        assert len(second.creates) == number, "its user was not asked"
        await ledger.press(play, f"{RETRY} 6 credits", lambda: len(second.creates) > number)  # noqa: B023
        await play.person.sees(lambda: play.is_done)  # noqa: B023
    case.healed()
    fault = "Providers: the first fails and charges, the user has the second asked"
    await settle(case, ledger, fault, times)
    assert (len(first.creates), len(second.creates)) == (times, times)
