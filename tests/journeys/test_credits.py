"""The day's credits: held at the pick, spent or given back exactly once, however it ends."""

import asyncio

import pytest
from deployment import Deployment

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = {"DAILY_CREDITS": "50"}
VOCALS, ALL_STEMS = 0, 1


async def test_of_songs_picked_at_once_only_those_that_fit_are_paid_for(deployment: Deployment) -> None:
    deployment.provider.few_stems = True
    told = "You have used 50 of your 50 credits for today"
    alice = deployment.person()
    menus = [(await alice.asks(deployment.song(f"Race {number}")))[1] for number in range(3)]
    queries = await asyncio.gather(*(alice.taps(menu, ALL_STEMS) for menu in menus))
    refused = [menu for menu, query in zip(menus, queries, strict=True) if query.is_alert]
    assert len(refused) == 2
    assert all(told in query.answer_text for query in queries if query.is_alert)
    (picked,) = [menu for menu in menus if menu not in refused]
    picked = await alice.shows(picked, "✅")
    assert len(deployment.provider.creates) == 1
    for menu in refused:
        await alice.sees(lambda menu=menu: told in menu.text)  # type: ignore[misc]
        assert len(menu.buttons) == 4


async def test_credits_that_were_not_charged_can_be_spent_again(deployment: Deployment) -> None:
    alice = deployment.person()
    deployment.provider.refusal = (500, "no")
    _, menu = await alice.asks(deployment.song("Refused For Nothing"), ALL_STEMS)
    await alice.shows(menu, "⚠️")
    deployment.provider.refusal = None
    deployment.provider.failure = 531
    await alice.taps(menu, 0)
    await alice.shows(menu, "⚠️ That did not work (code 531).")
    assert "This try cost nothing." in menu.text
    deployment.provider.failure = 500
    await alice.taps(menu, 0)
    await alice.shows(menu, "⚠️ That did not work (code 500).")
    assert "charged for this try" in menu.text
    deployment.provider.failure = None
    query = await alice.taps(menu, 0)
    assert query.is_alert
    assert query.answer_text.startswith("You have used 50 of your 50 credits for today")
    assert len(deployment.provider.creates) == 2
    assert menu.text.startswith("⚠️ That did not work (code 500).")


async def test_a_cancelled_song_gives_its_credits_back_until_it_was_submitted(deployment: Deployment) -> None:
    deployment.provider.answers_by_itself = False
    alice = deployment.person()
    menus = [(await alice.asks(deployment.song(f"Line {number}"), VOCALS))[1] for number in range(4)]
    await alice.shows(menus[3], "🕗")  # three are under way
    await deployment.accepted(3)
    await alice.taps(menus[3], 0)
    await alice.shows(menus[3], "✖️ Cancelled: “Line 3”.")
    await alice.taps(menus[0], 0)
    await alice.shows(menus[0], "✖️ Cancelled: “Line 0”. It had already been submitted")
    _, menu = await alice.asks(deployment.song("The Rest"))
    assert "You have used 30 of your 50" in (await alice.taps(menu, ALL_STEMS)).answer_text
    for number in (1, 2):
        await deployment.provider.call_back(number)
        menus[number] = await alice.shows(menus[number], "✅")
    assert len(deployment.provider.creates) == 3


async def test_credits_held_before_a_restart_are_held_after_it(deployment: Deployment) -> None:
    deployment.provider.answers_by_itself = False
    deployment.provider.few_stems = True
    alice = deployment.person()
    _, menu = await alice.asks(deployment.song("Before"), ALL_STEMS)
    await deployment.accepted()
    await deployment.restart()
    _, other = await alice.asks(deployment.song("After"))
    assert (await alice.taps(other, VOCALS)).is_alert
    assert (await deployment.provider.call_back()).status_code == 200
    menu = await alice.shows(menu, "✅")
    assert (await alice.taps(other, VOCALS)).is_alert
    assert len(deployment.provider.creates) == 1
