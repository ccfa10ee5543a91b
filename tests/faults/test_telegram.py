"""Telegram refuses, does not answer, breaks off, or no longer has the chat or the file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fault_case import Case
from ledger import ALL_STEMS, VOCALS, Account, Ledger, Play
from provider import SPLIT_FIELDS
from scenarios import SAY

from sandbox.telegram.faults import FaultKind
from stemdrop.domain.jobs import JobState

ALBUM = 6
METHODS = ("sendMessage", "editMessageText", "sendMediaGroup", "getFile", "answerCallbackQuery", "getUpdates")

# Fault, what the table calls it, how many stems may come again: an album that Telegram took without a word.
KINDS = [
    (FaultKind.TOO_MANY_REQUESTS, "Telegram: 429 with `retry_after` 3 s", 0),
    (FaultKind.SERVER_ERROR, "Telegram: 500", 0),
    (FaultKind.BAD_GATEWAY, "Telegram: 502 with a page of HTML", 0),
    (FaultKind.RESET_BEFORE, "Telegram: connection reset, nothing done", 0),
    (FaultKind.RESET_AFTER, "Telegram: connection reset after it has taken the message", ALBUM),
    (FaultKind.TIMEOUT_AFTER, "Telegram: no answer after it has taken the message", ALBUM),
]
QUICK = (FaultKind.RESET_AFTER,)


@pytest.mark.parametrize(
    ("kind", "fault", "twice"),
    [pytest.param(*row, id=row[0], marks=[] if row[0] in QUICK else [pytest.mark.full]) for row in KINDS],
)
async def test_every_method_fails(case: Case, kind: FaultKind, fault: str, twice: int) -> None:
    deployment, ledger = await case.open("up")
    times = case.times(1, 5)
    orders = [
        deployment.telegram.faults.add(kind, method=method, times=times, retry_after_s=3)
        for method in METHODS
    ]
    await ledger.play_all([VOCALS, ALL_STEMS] * times)
    case.healed()
    await case.settle(ledger, f"{fault}, each of {len(METHODS)} methods", times, twice=twice * times)
    assert all(order.hits for order in orders)


async def test_uploads_break_off(case: Case) -> None:
    deployment, ledger = await case.open("up")
    times = case.times(2, 10)
    order = deployment.telegram.faults.add(FaultKind.RESET_MID_UPLOAD, method="sendMediaGroup", times=times)
    await ledger.play_all([VOCALS, ALL_STEMS] * case.times(1, 5))
    case.healed()
    await case.settle(ledger, "Telegram: connection reset amid an upload", times)
    assert order.hits == times


@pytest.mark.full
async def test_sources_break_off(case: Case) -> None:
    deployment, ledger = await case.open("up")
    kinds = (FaultKind.RESET_MID_DOWNLOAD, FaultKind.SLOW, FaultKind.SERVER_ERROR)
    for kind in kinds:
        deployment.telegram.faults.add(kind, method="download", bytes_per_s=8 * 1024)
    await ledger.play_all([VOCALS] * 4)
    case.healed()
    await case.settle(ledger, "Telegram: song broken off, at 8 kB/s, refused", len(kinds), explained=None)


@pytest.mark.full
async def test_an_expired_source_is_explained(case: Case) -> None:
    deployment, ledger = await case.open("up", PUBLIC_URL="")
    times = case.times(1, 5)
    deployment.telegram.faults.add(FaultKind.FILE_GONE, method="getFile", times=times)
    await ledger.play_all([VOCALS] * times)
    await ledger.play(VOCALS)
    case.healed()
    await case.settle(ledger, "Telegram: `file_id` of the song expired", times, explained=times)
    assert len(deployment.provider.creates) == 1


@pytest.mark.full
async def test_an_expired_source_is_not_paid_for(case: Case) -> None:
    deployment, ledger = await case.open("up")
    times = case.times(1, 5)
    deployment.telegram.faults.add(FaultKind.FILE_GONE, method="getFile", times=None)
    plays = await ledger.play_all([VOCALS] * times)
    await ledger.over()
    assert all("code source_gone" in play.texts[-1].text for play in plays)
    assert deployment.provider.creates == []
    deployment.telegram.faults.clear()
    await ledger.play(VOCALS)
    case.healed()
    fault = "Telegram: `file_id` of the song expired, with a public address"
    await case.settle(ledger, fault, times, explained=times)


@pytest.mark.full
async def test_a_user_whose_cached_stems_expired_is_asked_and_pays_nothing(
    case: Case,
) -> None:
    deployment, ledger = await case.open("up")
    times, asked = case.times(1, 5), SAY("kept_lost", title="Kept")
    for _ in range(times):
        cached = await ledger.play(VOCALS, title="Kept")
        await ledger.over()
        for message in cached.shown:
            if message.kind == "audio" and message.media:
                deployment.telegram.forget_file(message.media["file_id"])
        play = await ledger.play(VOCALS, title="Kept")
        await play.person.sees(lambda play=play: play.texts[-1].text == asked)
        await deployment.tasks_rest()
        assert len(deployment.provider.creates) == 1
        await ledger.press(
            play, SAY("mode_name.separate_vocal"), lambda play=play: play.texts[-1].text != asked
        )
        await ledger.over()
        assert len(deployment.provider.creates) == 1
    case.healed()
    await case.settle(ledger, "Telegram: `file_id` of kept stems expired", times)


@asynccontextmanager
async def between_two_albums(case: Case, ledger: Ledger, play: Play) -> AsyncIterator[None]:
    """Of twelve stems the first album is in the chat, and the second waits until the block ends."""
    provider = ledger.deployment.provider
    provider.held_stems = frozenset(SPLIT_FIELDS[-1:])
    provider.hold_stems.clear()
    await play.person.sees(lambda: len(play.titles) == ALBUM)
    yield
    provider.hold_stems.set()


@pytest.mark.full
async def test_a_user_who_blocks_the_bot_between_two_albums_gets_the_rest_later(case: Case) -> None:
    """The job ends as undeliverable; once the user is back, it sends what is missing and no more."""
    deployment, ledger = await case.open("up")
    deployment.provider.few_stems = False
    times = case.times(1, 5)
    for _ in range(times):
        deployment.provider.hold_stems.clear()
        play = await ledger.play(ALL_STEMS)
        async with between_two_albums(case, ledger, play):
            deployment.telegram.block_bot(play.person.id)
        await deployment.jobs_rest()
        assert len(play.titles) == ALBUM
        async with deployment.store() as store:
            (job,) = await store.failed_jobs()
            assert job.failure
            assert job.failure.code == "undeliverable"
        deployment.telegram.unblock_bot(play.person.id)
        await ledger.over()
    case.healed()
    await case.settle(ledger, "Telegram: bot blocked between two albums, and unblocked", times)


@pytest.mark.full
async def test_a_group_that_becomes_a_supergroup_between_two_albums_gets_the_rest_there(case: Case) -> None:
    deployment, ledger = await case.open("up")
    deployment.provider.few_stems = False
    times, account = case.times(1, 5), Account()
    for number in range(times):
        person = ledger.person()
        group = deployment.telegram.add_group("A band", [deployment.telegram.user(person.id)])
        person.chat_id = group.id
        play = Play(person, f"Moved {number}", ALL_STEMS, len(SPLIT_FIELDS), is_alone=True)
        deployment.provider.hold_stems.clear()
        await person.asks(deployment.song(play.title), ALL_STEMS, caption="/stems")
        async with between_two_albums(case, ledger, play):
            before = play.titles
            person.chat_id = deployment.telegram.migrate_group(group.id).id
        await person.sees(lambda play=play: play.is_done)
        both = before + play.titles
        account.songs += 1
        account.lost += play.stems - len(both)
        account.twice += both.total() - len(both)
    case.healed()
    case.row("Telegram: group became a supergroup between two albums", times, account)
    assert (account.lost, account.twice) == (0, 0)
    await deployment.jobs_rest()


@pytest.mark.full
async def test_a_user_who_blocks_the_bot_ends_the_job_and_the_operator_sees_it(case: Case) -> None:
    deployment, ledger = await case.open("up")
    times = case.times(1, 5)
    deployment.provider.answers_by_itself = False
    gone = await ledger.play_all([ALL_STEMS] * times)
    await deployment.accepted(times)
    for play in gone:
        deployment.telegram.block_bot(play.person.id)
    for number in range(times):
        await deployment.provider.call_back(number)
    deployment.provider.answers_by_itself = True
    ledger.plays.clear()
    await ledger.play(VOCALS)
    case.healed()
    await case.settle(ledger, "Telegram: bot blocked amid a job", times)
    async with deployment.store() as store:
        failed = await store.failed_jobs()
    assert [job.failure and job.failure.code for job in failed] == ["undeliverable"] * times
    assert {job.state for job in failed} == {JobState.FAILED}


@pytest.mark.full
async def test_a_group_that_becomes_a_supergroup_gets_its_stems_there(case: Case) -> None:
    deployment, _ = await case.open("up")
    times, account = case.times(1, 5), Account()

    async def one(number: int) -> None:
        person = deployment.person(f"Member {number}")
        group = deployment.telegram.add_group("A band", [deployment.telegram.user(person.id)])
        person.chat_id = group.id
        _, menu = await person.asks(deployment.song(f"Moved {number}"), VOCALS, caption="/stems")
        await person.shows(menu, "⏳")
        await deployment.accepted(number + 1)
        await deployment.tasks_rest()
        person.chat_id = deployment.telegram.migrate_group(group.id).id
        await deployment.provider.call_back(number)
        await person.sees(lambda: any(shown.text.startswith("✅") for shown in deployment.texts(person)))
        account.songs += 1
        account.lost += 2 - len(set(person.titles()))
        account.twice += len(person.titles()) - len(set(person.titles()))

    deployment.provider.answers_by_itself = False
    for number in range(times):
        await one(number)
    case.healed()
    case.row("Telegram: group became a supergroup amid a job", times, account)
    assert (account.lost, account.twice) == (0, 0)
    await deployment.jobs_rest(60)
