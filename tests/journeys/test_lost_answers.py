"""A create call's answer is lost: the chat says so at once, and each song is delivered once."""

import pytest
from deployment import Deployment, until
from starlette.responses import Response

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = {"DAILY_CREDITS": "40"}
VOCALS = 0
LOST = "⏳ The separation service did not confirm the order for “{}”."
ASK_AGAIN = "🔁 Ask again · 10 credits"


async def test_a_gateway_error_before_acceptance_is_told_and_the_order_can_be_cancelled(
    deployment: Deployment,
) -> None:
    deployment.provider.loses_creates = True
    alice = deployment.person()
    _, menu = await alice.asks(deployment.song("Bad Gateway"), VOCALS)
    await alice.shows(menu, LOST.format("Bad Gateway"))
    await deployment.age_lost_answers()
    await alice.sees(lambda: ASK_AGAIN in str(menu.buttons))
    assert "has not fetched your song, so most likely nothing was charged" in menu.text
    await alice.presses(menu, "Cancel")
    await alice.shows(menu, "✖️ Cancelled")
    assert alice.audios() == []


async def test_a_fetched_source_means_that_the_order_was_accepted(deployment: Deployment) -> None:
    """The provider fetches the song, answers with a reset, and calls back once."""
    deployment.provider.answers_by_itself = False
    deployment.provider.lose_answer = True
    alice = deployment.person()
    _, menu = await alice.asks(deployment.song("Fetched"), VOCALS)
    await alice.shows(menu, LOST.format("Fetched"))
    await deployment.age_lost_answers()
    await alice.sees(lambda: "It has fetched your song, so it took the order." in menu.text)
    assert [button["text"] for button in menu.buttons] == ["✖️ Cancel"]
    assert (await deployment.provider.call_back()).status_code == 200
    menu = await alice.shows(menu, "✅")
    assert len(alice.audios()) == 2
    assert len(deployment.provider.creates) == 1


async def test_asked_again_the_first_of_two_results_is_delivered_once(deployment: Deployment) -> None:
    provider = deployment.provider
    provider.answers_by_itself = provider.fetches_source = False
    provider.lose_answer = True
    alice = deployment.person()
    _, menu = await alice.asks(deployment.song("Asked Twice"), VOCALS)
    await alice.shows(menu, LOST.format("Asked Twice"))
    await deployment.age_lost_answers()
    await alice.sees(lambda: ASK_AGAIN in str(menu.buttons))
    provider.lose_answer = False
    await alice.presses_twice(menu, ASK_AGAIN)
    await alice.sees(lambda: menu.text.startswith("⏳") and "confirm" not in menu.text)
    for number in (1, 0):
        assert (await provider.call_back(number)).status_code == 200
    menu = await alice.shows(menu, "✅")
    await deployment.tasks_rest()
    assert (await provider.call_back(0)).status_code == 200
    await deployment.tasks_rest()
    assert len(alice.audios()) == 2
    assert len(provider.creates) == 2
    assert "20 of 40" in (await alice.answer_to(alice.says("/jobs"))).text


async def test_a_reset_connection_is_told_at_once(deployment: Deployment) -> None:
    """Nothing is accepted; asked again, the song comes."""
    provider, broken = deployment.provider, list[int]()

    async def break_off() -> Response:
        broken.append(1)
        raise ConnectionResetError

    provider.odd_create = break_off
    alice = deployment.person()
    _, menu = await alice.asks(deployment.song("Broken Off"), VOCALS)
    await alice.shows(menu, LOST.format("Broken Off"))
    await until(lambda: broken)
    provider.odd_create = None
    await deployment.age_lost_answers()
    await alice.sees(lambda: ASK_AGAIN in str(menu.buttons))
    await alice.presses(menu, ASK_AGAIN)
    menu = await alice.shows(menu, "✅")
    assert len(provider.creates) == 1
    assert len(alice.audios()) == 2
