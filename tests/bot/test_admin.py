"""`/admin`: what runs, what failed, and what helps; the affected user reads it in their own language."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from product import BotRoom, Product, open_product, result_of
from provider import Provider

from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import Message, User
from sandbox.telegram.person_actions import Telegram
from stemdrop.domain.abilities import Abilities, Ability
from stemdrop.domain.jobs import CachedStem, Failure, JobState, Mode
from stemdrop.domain.outcomes import Sent
from stemdrop.domain.results import Result
from stemdrop.observability.metric_definitions import CREATE_CALLS
from stemdrop.storage.stem_cache import CachedStems

URL = "https://cdn.example/a.mp3"


@pytest.fixture
async def run_room(
    redis_url: str, telegram: Telegram, provider: Provider, boss: User
) -> AsyncIterator[BotRoom]:
    """A bot for everybody with an admin and a separation API that answers."""
    async with (
        run_telegram(telegram) as url,
        open_product(redis_url, telegram, url, api_url=provider.url, ADMINS=str(boss.id)) as product,
    ):
        application = product.application()
        await application.initialize()
        yield BotRoom(product, application)
        await application.shutdown()


async def look(room: BotRoom, boss: User) -> Message:
    return (await room.says(boss, "/admin"))[-1]


async def test_an_empty_overview_says_that_nothing_runs(run_room: BotRoom, boss: User) -> None:
    shown = await look(run_room, boss)
    assert "Nothing is running." in shown.text
    assert "Nothing has failed lately." in shown.text
    assert "Songs that Telegram keeps, free to send again: 0" in shown.text
    assert [button["text"] for button in shown.buttons] == ["🔄 Refresh"]


async def test_the_credits_left_are_shown_or_said_to_be_unknown(
    run_room: BotRoom, private_room: BotRoom, boss: User
) -> None:
    assert "Credits left at the separation service: 1" in (await look(run_room, boss)).text
    assert "unknown, it does not answer" in (await look(private_room, boss)).text


async def test_each_of_several_providers_has_a_line(
    several_providers: Product, provider: Provider, telegram: Telegram
) -> None:
    product, boss = several_providers, telegram.add_user("Boss", user_id=555)
    provider.key = "another"
    product.counters.add(CREATE_CALLS, "selfhosted", "succeeded", by=2)
    product.counters.add(CREATE_CALLS, "selfhosted", "failed")
    await product.counters.write()
    await product.circuits.failed("sunoapi", "it refuses the key", at_once=True)
    application = product.application()
    await application.initialize()
    lines = (await look(BotRoom(product, application), boss)).text.split("\n")
    await application.shutdown()
    assert re.fullmatch(r"sunoapi\.org · refuses \(code 401\) · gets no songs for \d+ sec", lines[2])
    assert lines[3] == "own separator · 1,000 left · 2 of 3 succeeded in the last hour"


async def test_no_credits_are_shown_where_nothing_costs_any(run_room: BotRoom, boss: User) -> None:
    await run_room.product.abilities.put(Abilities({Mode.SPLIT_STEM: Ability()}))
    for command in ("/admin", "/help"):
        assert "redits" not in (await run_room.says(boss, command))[-1].text


async def test_running_jobs_are_counted_and_the_longest_listed(
    run_room: BotRoom, boss: User, alice: User, song: Path
) -> None:
    for _ in range(5):
        await run_room.taps(await run_room.other_menu(alice, song), 0)
    shown = await look(run_room, boss)
    assert "Queued: 2\nSubmitting: 3\n" in shown.text
    head, *longest = shown.text.split("\n")[2:6]
    assert head == "Running longest:"
    line = rf"• “Morning Line” · Vocals \+ instrumental · {alice.id} · \d+ sec"
    assert all(re.fullmatch(line, text) for text in longest)
    for job in await run_room.product.jobs(alice.id):
        await run_room.product.store.cancel(job.id)
    await run_room.presses(shown, "Refresh")
    assert "Nothing is running" in shown.text


async def test_an_admin_retries_a_job_beyond_its_users_credits(
    run_room: BotRoom, boss: User, mei: User, song: Path
) -> None:
    menu = await run_room.menu(mei, song)
    await run_room.taps(menu, 1)
    (job,) = await run_room.product.jobs(mei.id)
    await run_room.product.ordered()
    await run_room.product.fail(job.id, Failure("500", charged=True))
    await run_room.product.status.show_current(job.id)
    await run_room.product.users.set_daily_credits(mei.id, 50)
    await run_room.product.users.set_name(mei.id, "Mei")
    failed_text = menu.text
    shown = await look(run_room, boss)
    assert f"1. “Morning Line” · All stems · Mei ({mei.id}) · failed (code 500) · " in shown.text
    query = await run_room.presses(shown, "1. 🔁 Try again · 50 credits")
    assert query.answer_text == "A new try is on its way."
    await run_room.again(query)
    new, _ = await run_room.product.jobs(mei.id)
    assert await run_room.product.ordered() == [("submit", new.id)]
    assert (await run_room.product.store.allowance(mei.id, 50)).spent == 50  # as before
    assert "Nothing has failed lately." in shown.text
    assert menu.text != failed_text
    assert "Submitting" not in menu.text  # it is Chinese


async def test_an_admin_resends_stems_without_buying_them(
    run_room: BotRoom, boss: User, alice: User, song: Path
) -> None:
    sent = await run_room.sends(alice, song)
    product = run_room.product
    stuck = await product.at(JobState.DELIVERING, sent, result=result_of({"vocals": URL}))
    await product.store.fail(stuck.id, [JobState.DELIVERING], Failure("undeliverable", charged=True))
    done = await product.at(
        JobState.DELIVERING,
        sent,
        task_id="task-2",
        result=result_of({"vocals": URL}),
        mode=Mode.SEPARATE_VOCAL,
    )
    await product.store.tick(done.id, {"vocals": Sent(1, "file", "unique")})
    await product.store.move(done.id, [JobState.DELIVERING], JobState.DELIVERED)
    shown = await look(run_room, boss)
    assert "1. “Morning Line” · All stems" in shown.text
    assert "Last delivered:\n2. “Morning Line” · Vocals + instrumental" in shown.text
    await run_room.presses(shown, "1. 🔁 Fetch missing stems")
    assert await product.ordered() == [("deliver", stuck.id)]
    await run_room.presses(shown, "Send again")
    ((task, job_id),) = await product.ordered()
    assert task == "deliver"
    assert (await product.job(job_id)).cached


async def test_a_user_who_blocked_the_bot_does_not_hinder_the_admin(
    run_room: BotRoom, boss: User, alice: User, song: Path
) -> None:
    sent = await run_room.sends(alice, song)
    job = await run_room.product.at(JobState.SUBMITTING, sent)
    await run_room.product.fail(job.id, Failure("500"))
    run_room.telegram.block_bot(alice.id)
    shown = await look(run_room, boss)
    await run_room.presses(shown, "Try again")
    assert len(await run_room.product.ordered()) == 1
    assert "Submitting: 1" in shown.text


async def test_the_cache_is_cleared_after_a_question(
    run_room: BotRoom, boss: User, alice: User, song: Path
) -> None:
    sent = await run_room.sends(alice, song)
    job = await run_room.product.at(JobState.SUBMITTING, sent)
    cached = CachedStems(Result(200), (CachedStem("vocals", "audio", "file"),))
    await run_room.product.stem_cache.put(job, cached)
    shown = await look(run_room, boss)
    await run_room.presses(shown, "Clear kept songs (1)")
    assert shown.text.startswith("Clear the 1 kept songs?")
    await run_room.presses(shown, "Back")
    assert await run_room.product.stem_cache.count() == 1
    await run_room.presses(shown, "Clear")
    query = await run_room.presses(shown, "Clear")
    assert query.answer_text == "Cleared: 1."
    assert await run_room.product.stem_cache.find(job.source, (Mode.SPLIT_STEM, "")) is None
    assert "free to send again: 0" in shown.text


async def test_users_who_are_not_admins_are_refused(run_room: BotRoom, alice: User, song: Path) -> None:
    sent = await run_room.sends(alice, song)
    job = await run_room.product.at(JobState.SUBMITTING, sent)
    await run_room.product.fail(job.id, Failure("500"))
    (answer,) = await run_room.says(alice, "/admin")
    assert answer.text == "Only the operator of this bot can do that."
    for data in (f"A:r:{job.id}", "A:K", "A:k", "A:v", f"A:s:{job.id}"):
        query = await run_room.forges(answer, data, alice)
        assert query.answer_text == answer.text
    assert len(await run_room.product.jobs(alice.id)) == 2
    group = run_room.telegram.add_group("Band", [alice])
    assert await run_room.says(alice, "/admin", chat_id=group.id) == []


async def test_a_stale_button_says_that_it_does_nothing(run_room: BotRoom, boss: User) -> None:
    shown = await look(run_room, boss)
    for data in ("A:r:0000000000000000", "A:", "A:q", "A:r:1:2"):
        query = await run_room.forges(shown, data, boss)
        assert query.answer_text == "This button no longer works. Send the command again."


async def test_the_longest_jobs_are_listed_first_with_their_time(
    run_room: BotRoom, boss: User, alice: User, song: Path
) -> None:
    sent = await run_room.sends(alice, song)
    store = run_room.product.store
    for minutes in (5, 90, 20, 1):
        job = await run_room.product.at(JobState.SEPARATING, sent, task_id=f"task-{minutes}")
        await store.set(job.id, picked_at=0.0, create_started_at=time.time() - minutes * 60)
    longest = (await look(run_room, boss)).text.split("\n")[2:5]
    times = [line.rpartition(" · ")[2] for line in longest]
    assert [re.sub(r" \d+ sec$", "", text) for text in times] == ["1 hr 30 min", "20 min", "5 min"]


@pytest.mark.parametrize(("code", "offered"), [("400", False), ("451", True), ("unknown", True)])
async def test_a_retry_is_offered_only_where_it_may_help(
    run_room: BotRoom, boss: User, alice: User, song: Path, code: str, offered: bool
) -> None:
    sent = await run_room.sends(alice, song)
    job = await run_room.product.at(JobState.SUBMITTING, sent)
    await run_room.product.fail(job.id, Failure(code))
    labels = [button["text"] for button in (await look(run_room, boss)).buttons]
    assert labels[:-1] == (["1. 🔁 Try again · 50 credits"] if offered else [])


async def test_a_free_retry_says_so_and_buys_nothing_once_it_is_not(
    run_room: BotRoom, boss: User, alice: User, song: Path
) -> None:
    sent = await run_room.sends(alice, song)
    job = await run_room.product.at(JobState.SUBMITTING, sent)
    await run_room.product.fail(job.id, Failure("500"))
    await run_room.product.stem_cache.put(
        job, CachedStems(Result(200), (CachedStem("vocals", "audio", "file"),))
    )
    shown = await look(run_room, boss)
    assert shown.buttons[0]["text"] == "1. 🔁 Try again · free"
    await run_room.product.stem_cache.forget_all()
    query = await run_room.presses(shown, "1. 🔁 Try again")
    assert query.answer_text.startswith("The price has changed")
    assert await run_room.product.ordered() == []
    await run_room.presses(shown, "1. 🔁 Try again · 50 credits")
    assert [task for task, _ in await run_room.product.ordered()] == ["submit"]


async def test_credits_that_are_not_a_number_are_unknown(
    run_room: BotRoom, boss: User, provider: Provider
) -> None:
    provider.credits = "many"
    assert "Credits left at the separation service: unknown" in (await look(run_room, boss)).text
    provider.credits = 1234567.4
    assert "Credits left at the separation service: 1,234,567\n" in (await look(run_room, boss)).text


async def test_an_api_that_does_not_answer_does_not_delay_the_overview(
    redis_url: str, telegram: Telegram, boss: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.admin.CREDITS_WAIT_S", 0.05)
    released = asyncio.Event()

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server, run_telegram(telegram) as url:
        api_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with open_product(redis_url, telegram, url, api_url=api_url, ADMINS=str(boss.id)) as product:
            application = product.application()
            await application.initialize()
            async with asyncio.timeout(120):
                shown = await look(BotRoom(product, application), boss)
            assert "unknown, it does not answer" in shown.text
            await application.shutdown()
        released.set()
