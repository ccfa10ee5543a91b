"""The separation API refuses, loses answers, and calls back early, late, often, wrongly or never."""

import asyncio
from typing import Any

import pytest
from fault_case import Case, wired
from ledger import ALL_STEMS, VOCALS, Ledger
from provider import Provider
from starlette.responses import Response

REFUSALS = (400, 401, 402, 404, 408, 409, 413, 422, 429, 451, 455, 500, 501, 505)
FAILURES = (400, 408, 413, 451, 500, 501, 531)


@pytest.mark.full
async def test_every_refusal_is_explained_and_costs_nothing(case: Case) -> None:
    deployment, ledger = await case.open("up")
    codes = REFUSALS[:: case.times(6, 1)]
    for code in codes:
        deployment.provider.refusal = (code, "no")
        play = await ledger.play(VOCALS)
        await ledger.over([play])
        assert f"code {code}" in play.texts[-1].text
    case.healed()
    await case.settle(ledger, "API: create refused, every code", len(codes), explained=len(codes))
    assert deployment.provider.creates == []


@pytest.mark.full
async def test_every_failure_is_explained(case: Case) -> None:
    deployment, ledger = await case.open("up")
    codes = FAILURES[:: case.times(3, 1)]
    for code in codes:
        deployment.provider.failure = code
        play = await ledger.play(VOCALS)
        await ledger.over([play])
        assert f"code {code}" in play.texts[-1].text
    case.healed()
    await case.settle(ledger, "API: called back as failed, every code", len(codes), explained=len(codes))


@pytest.mark.full
async def test_no_answer_before_it_has_accepted(case: Case) -> None:
    """Whether the API has accepted it cannot be known: the job is not sent again, and its user is told."""
    deployment, ledger = await case.open("up", JOB_TIMEOUT_S="5")
    deployment.provider.loses_creates = True
    await ledger.play_all([VOCALS] * case.times(1, 5))
    await ledger.over()
    case.healed()
    songs = len(ledger.plays)
    await case.settle(ledger, "API: answer lost before it accepted", songs, explained=songs)


@pytest.mark.full
async def test_no_answer_after_it_has_accepted(case: Case) -> None:
    deployment, ledger = await case.open("up")
    deployment.provider.lose_answer = True
    await ledger.play_all([VOCALS, ALL_STEMS] * case.times(1, 5))
    case.healed()
    await case.settle(ledger, "API: answer lost after it accepted", len(ledger.plays))


@pytest.mark.full
async def test_time_out_after_it_has_accepted(case: Case) -> None:
    deployment, ledger = await case.open("up")
    deployment.provider.hold_answer.clear()
    await ledger.play_all([VOCALS, ALL_STEMS] * 3)
    case.healed()
    await case.settle(ledger, "API: no answer for 60 s after it accepted", len(ledger.plays))


async def _never() -> Response:
    await asyncio.sleep(3600)
    return Response(status_code=504)


@pytest.mark.full
async def test_time_out_before_it_has_accepted(case: Case) -> None:
    deployment, ledger = await case.open("up", JOB_TIMEOUT_S="65")
    deployment.provider.odd_create = _never
    songs = await ledger.play_all([VOCALS] * 3)
    await ledger.over()
    assert all("code lost" in play.texts[-1].text for play in songs)
    case.healed()
    fault = "API: no answer for 60 s, nothing accepted"
    await case.settle(ledger, fault, len(songs), explained=len(songs))
    assert deployment.provider.creates == []


@pytest.mark.full
async def test_reset_before_it_has_accepted(case: Case) -> None:
    async with wired(case, JOB_TIMEOUT_S="3") as (deployment, ledger, wire):

        async def reset() -> Response:
            wire.cut()
            wire.mend()
            return Response(status_code=504)

        deployment.provider.odd_create = reset
        songs = [await ledger.play(VOCALS) for _ in range(case.times(1, 5))]
        await ledger.over()
        assert all("code lost" in play.texts[-1].text for play in songs)
        case.healed()
        fault = "API: connection reset, nothing accepted"
        await case.settle(ledger, fault, len(songs), explained=len(songs))
        assert deployment.provider.creates == []


@pytest.mark.full
async def test_reset_after_it_has_accepted(case: Case) -> None:
    async with wired(case) as (deployment, ledger, wire):
        times = case.times(1, 5)
        for _ in range(times):
            deployment.provider.hold_answer.clear()
            playing = asyncio.create_task(ledger.play(VOCALS))
            await deployment.accepted(len(ledger.plays) + 1)
            wire.cut()
            wire.mend()
            deployment.provider.hold_answer.set()
            await playing
        case.healed()
        await case.settle(ledger, "API: connection reset after it has accepted", times)


@pytest.mark.full
async def test_called_back_before_the_answer(case: Case) -> None:
    deployment, ledger = await case.open("up")
    deployment.provider.early_callback = True
    await ledger.play_all([VOCALS, ALL_STEMS] * case.times(1, 5))
    case.healed()
    await case.settle(ledger, "API: callback before the create call's answer", len(ledger.plays))


@pytest.mark.full
async def test_called_back_after_the_job_was_given_up(case: Case) -> None:
    deployment, ledger = await case.open("up", JOB_TIMEOUT_S="3")
    deployment.provider.remembers = deployment.provider.answers_by_itself = False
    plays = await ledger.play_all([VOCALS] * case.times(1, 5))
    await ledger.over()
    assert all("code timeout" in play.texts[-1].text for play in plays)
    for number in range(len(plays)):
        await deployment.provider.call_back(number)
    for play in plays:
        await play.person.sees(lambda play=play: play.is_done)
    case.healed()
    await case.settle(ledger, "API: callback after the job was given up", len(plays))


async def called_back(case: Case, fault: str, bodies: list[list[dict[str, Any] | None]]) -> None:
    """Send each list of callbacks at the same moment, for two songs; None is the song's own callback."""
    deployment, ledger = await case.open(*(("webhook", "bot", "worker") if case.is_full else ("up",)))
    provider = deployment.provider
    provider.answers_by_itself = False
    for wanted in bodies:
        await ledger.play_all([VOCALS, ALL_STEMS])
        await deployment.accepted(len(ledger.plays))
        answers = await asyncio.gather(
            *(
                provider.call_back(last, with_task(provider, last, body))
                for last in (-1, -2)
                for body in wanted
            )
        )
        assert {answer.status_code for answer in answers} == {200}
    case.healed()
    await case.settle(ledger, fault, len(provider.callback_answers))


def with_task(provider: Provider, number: int, body: dict[str, Any] | None) -> dict[str, Any] | None:
    return body and {**body, "data": {**body["data"], "task_id": provider.task_id(number)}}


@pytest.mark.full
async def test_called_back_a_hundred_times_at_once(case: Case) -> None:
    await called_back(case, "API: 100 callbacks of one task at once", [[None] * 100] * case.times(1, 5))


FAILED: dict[str, Any] = {"code": 500, "msg": "no", "data": {"vocal_removal_info": None}}


async def test_called_back_as_failed_and_as_done(case: Case) -> None:
    """In whatever order they are taken: what is paid for is delivered."""
    orders = [[FAILED, None], [None, FAILED], [FAILED, None, FAILED], [FAILED] * 5 + [None]]
    await called_back(case, "API: failure and success of one task at once", orders[: case.times(2, 4)])


@pytest.mark.full
async def test_called_back_the_other_way_one_after_the_other(case: Case) -> None:
    """A failure when the success was answered, a failure when its stems are there, and a success when the
    failure was told."""
    deployment, ledger = await case.open("webhook", "bot", "worker")
    provider, times = deployment.provider, case.times(1, 5)
    provider.answers_by_itself = False
    orders = [(None, False, FAILED), (None, True, FAILED), (FAILED, True, None)]
    for first, is_awaited, second in orders * times:
        play = await ledger.play(VOCALS)
        await deployment.accepted(len(ledger.plays))
        answers = [await provider.call_back(-1, with_task(provider, -1, first))]
        if is_awaited:
            await play.person.sees(lambda play=play: play.is_over)
        answers.append(await provider.call_back(-1, with_task(provider, -1, second)))
        assert [answer.status_code for answer in answers] == [200, 200]
        await play.person.sees(lambda play=play: play.is_done)
        await deployment.tasks_rest()
        assert play.texts[-1].text.startswith("✅")
    case.healed()
    await case.settle(ledger, "API: failure after success, and success after failure", len(ledger.plays))


async def polled(case: Case, fault: str, ledger: Ledger) -> None:
    await ledger.play_all([VOCALS, ALL_STEMS] * case.times(1, 5))
    case.healed()
    await case.settle(ledger, fault, len(ledger.plays))


@pytest.mark.full
async def test_never_called_back(case: Case) -> None:
    deployment, ledger = await case.open("up", POLL_AFTER_S="1", POLL_INTERVAL_S="1")
    deployment.provider.answers_by_itself = False
    await polled(case, "API: callback never comes (polled)", ledger)


@pytest.mark.full
async def test_callback_exception(case: Case) -> None:
    deployment, ledger = await case.open("up", POLL_AFTER_S="1", POLL_INTERVAL_S="1")
    deployment.provider.answers_by_itself = False
    deployment.provider.flag = "CALLBACK_EXCEPTION"
    await polled(case, "API: `CALLBACK_EXCEPTION`", ledger)


async def test_polled_and_called_back_at_the_same_moment(case: Case) -> None:
    deployment, ledger = await case.open("up", POLL_AFTER_S="1", POLL_INTERVAL_S="1")
    deployment.provider.answers_by_itself = False
    deployment.provider.calls_back_when_asked = True
    await polled(case, "API: callback while it is polled", ledger)
    assert deployment.provider.callback_answers


@pytest.mark.full
async def test_unreachable_for_a_while(case: Case) -> None:
    """A create call that was never sent is sent again."""
    async with wired(case) as (_, ledger, wire):
        times = case.times(1, 5)
        for _ in range(times):
            wire.close()
            playing = asyncio.create_task(ledger.play_all([VOCALS] * 3))
            await asyncio.sleep(2)
            await wire.listen()
            await playing
            await ledger.over()
        case.healed()
        await case.settle(ledger, "API: nothing listens for 2 s", times)
