"""Abuse of the bot: hostile text, buttons of other users, and concurrent orders beyond the daily credits."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import make_job
from product import BotRoom, Product, new_job, open_product, result_of
from redis import Redis
from tones import mp3

from bot.polling import ALLOWED_UPDATES
from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import CallbackQuery, Message, User
from sandbox.telegram.entities import find_entities
from sandbox.telegram.person_actions import Telegram
from stemdrop.chat.callback_data import Action, RemixAction, Screen, Tap
from stemdrop.chat.rendering import TITLE_LENGTH, Details, render
from stemdrop.chat.translations import load_translations
from stemdrop.domain.jobs import CREDITS, Failure, Job, JobState, Mode
from stemdrop.domain.outcomes import Picked, Sent
from stemdrop.domain.taps import Tapped
from stemdrop.domain.titles import in_sentence
from stemdrop.errors import TryLater
from stemdrop.services.orders import _cancelled_at

# Text that would become markup, links or mentions if it were interpreted.
HOSTILE = [
    "<b>bold</b> <a href='https://evil.example'>here</a> &lt;",
    "*bold* _italic_ `code` ||hidden|| [here](https://evil.example) ![x](tg://emoji?id=1)",
    "@somebody and <@somebody> (/start) #tag",
    "\u202eevil\u2066 \u200b@somebody\u2069\u202c",
    "{0} {title} %s %(price)s \\n",
    "a\x00b\nc\r\u2028d",
    "👩‍👩‍👧‍👦" * 40,
]
# Control and invisible characters, which reverse or hide the text around them.
INVISIBLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069]")
MARKED = {"parse_mode", "entities", "caption_entities"}


def marked(value: object) -> bool:
    """Return whether the parameters of a call contain markup at any depth."""
    if isinstance(value, dict):
        return bool(value.keys() & MARKED) or any(marked(part) for part in value.values())
    return isinstance(value, list) and any(marked(part) for part in value)


def entities(text: str) -> set[str]:
    """Return the entities that Telegram finds in a text by itself."""
    return {entity["type"] for entity in find_entities(text)}


# Text


@pytest.mark.parametrize("state", JobState)
def test_hostile_titles_and_stem_names_are_not_interpreted(state: JobState) -> None:
    for words in HOSTILE:
        check_rendered(state, words)


def check_rendered(state: JobState, words: str) -> None:
    source = make_job().source
    job = make_job(
        state=state,
        source=type(source)(**{**vars_of(source), "title": words, "performer": words}),
        failure=Failure("500") if state is JobState.FAILED else None,
        missing=(words,),
        refused=(words,),
        silent=(words,),
        links=((words, "https://files.example/a.wav"),),
    )
    shown = in_sentence(words, TITLE_LENGTH)
    for translate in load_translations().languages.values():
        for delivered in (0, 2):
            text, _ = render(job, translate, Details(delivered=delivered, place=3, elapsed_s=30))
            assert shown in text
            assert entities(text) <= {"url"}
            assert not INVISIBLE.search(text)


def vars_of(source: Any) -> dict[str, Any]:
    return {name: getattr(source, name) for name in source.__slots__}


async def test_no_message_is_sent_with_markup(room: BotRoom, alice: User, tmp_path: Path) -> None:
    bob = room.telegram.add_user("Bob")
    group = room.telegram.add_group("<b>@somebody</b> \u202e", [alice, bob])
    for number, words in enumerate(HOSTILE):
        song = tmp_path / f"{number}.mp3"
        mp3(song, 0.1, words.replace("\x00", "\x01"))  # a tag ends with a NUL
        menu = await room.menu(alice, song)
        assert in_sentence(words.replace("\x00", " "), TITLE_LENGTH) in menu.text
        if "@" in words:
            for tap in (2, -2, 0):  # the instruments, back, the first mode
                await room.taps(menu, tap)
        await room.menu(alice, song, chat_id=group.id, caption="/stems")
    await room.product.users.set_daily_credits(alice.id, 10)
    for text in ("/jobs", "/help", "/start", "/language", "/privacy", "/delete", "<b>hello</b> @somebody"):
        await room.says(alice, text)
    calls = [call for call in room.telegram.calls if call.method not in ("getUpdates", "getMe")]
    assert len({call.method for call in calls}) > 4
    assert [call for call in calls if marked(call.parameters)] == []
    said = [*room.telegram.bot_messages(alice.id), *room.telegram.bot_messages(group.id)]
    assert len(said) >= 3 * len(HOSTILE)
    for message in said:
        assert {entity["type"] for entity in message.content.get("entities", [])} <= {"bot_command", "url"}
        assert not INVISIBLE.search(message.text)


async def test_hostile_names_of_users_and_groups_are_not_interpreted(
    private_room: BotRoom, boss: User, song: Path
) -> None:
    name = "<b>@somebody</b> \u202e/start"
    mallory = private_room.telegram.add_user(name)
    group = private_room.telegram.add_group("@somebody's \u202eband", [mallory])
    for number in (mallory.id, group.id):
        await private_room.says(boss, f"/users add {number}")
    await private_room.product.users.set_name(mallory.id, name)
    menu = await private_room.menu(mallory, song)
    await private_room.taps(menu, 0)
    await private_room.menu(mallory, song, chat_id=group.id, caption="/stems")
    job = (await private_room.product.jobs(mallory.id))[0]
    await private_room.product.store.pick(job, Mode.SPLIT_STEM, "", 0)
    (users,) = await private_room.says(boss, "/users")
    (admin,) = await private_room.says(boss, "/admin")
    (jobs,) = await private_room.says(mallory, "/jobs")
    assert f"<b>@\u2060somebody</b> /\u2060start ({mallory.id})" in users.text
    assert f"({mallory.id})" in admin.text
    assert "in the group “@\u2060somebody's band”" in jobs.text
    await private_room.presses(users, "somebody</b>")
    for shown in (users, admin, jobs, *private_room.telegram.bot_messages(boss.id)):
        for text in (shown.text, *(button["text"] for button in shown.buttons)):
            assert "mention" not in entities(text)
            assert not INVISIBLE.search(text)


# Buttons


def of_job(job: Job, owner: int) -> list[str]:
    """Return every button of a job."""
    return [*of_messages(job, owner), *of_desk(job), *(f"A:{letter}:{job.id}" for letter in "rfs")]


def of_messages(job: Job, owner: int) -> list[str]:
    """Return every button under a job's message, and in its owner's list."""
    modes = (Mode.SEPARATE_VOCAL, Mode.SPLIT_STEM)
    choosing = (Action.PICK, Action.OTHER_MODE)
    taps = [Tap(action, job.id) for action in Action if action not in choosing]
    taps += [Tap(action, job.id, mode) for action in choosing for mode in modes]
    taps += [Tap(action, job.id, Mode.SPLIT_STEM_ADVANCED, "Bass", credits=20) for action in choosing]
    return [*(tap.to_data() for tap in taps), *(f"J:{owner}:{letter}:0:{job.id}" for letter in "xrfs")]


def of_desk(job: Job) -> list[str]:
    """Return every button of a job's mixing desk."""
    mixed = [f"M:{action}:{job.id}" for action in RemixAction]
    words = (f"s:{job.id}:80", f"k:{job.id}:-2", f"w:{job.id}:z", f"r:{job.id}:h")
    return [*mixed, *(f"M:{word}" for word in words)]


def of_screens(owner: int) -> list[str]:
    """Return every button of a user, a group and an admin that belongs to no job."""
    return [
        *(f"J:{owner}:p:1", f"L:{owner}:ru", f"L:{owner}:-", f"D:{owner}:y", f"D:{owner}:n"),
        *(f"S:{owner}:v", f"S:{owner}:s", f"S:{owner}:q", f"S:{owner}:n"),
        *("U:l:0", "U:i", f"U:u:{owner}:0", f"U:c:{owner}:0:0", f"U:c:{owner}:0:-", f"U:x:{owner}:0"),
        *("B:77:v:00000000", "B:77:1", "B:77:x", "B:77"),
        *("B:77:a3:00000000", "B:77:i:0", "B:77:b"),
        *("W:l", f"W:y:{owner}", f"W:n:{owner}", "A:v", "A:k", "A:K", "G:1", "G:0"),
    ]


def test_the_tests_below_cover_every_kind_of_button() -> None:
    assert {data[0] for data in (*of_job(make_job(), 1), *of_screens(1))} == {*Action, *Screen}


async def jobs_in_every_state(product: Product, song: Message) -> list[Job]:
    """Return a job in each state that has buttons of its own."""
    store = product.store
    result = result_of({"vocals": "https://cdn.example/a.mp3"})
    states = (JobState.CHOOSING, JobState.SUBMITTING, JobState.SEPARATING, JobState.DELIVERING)
    jobs = [await product.at(state, song, task_id=f"task-{state}", result=result) for state in states]
    for end in ("delivered", "failed", "undeliverable", "cancelled"):
        depth = JobState.SUBMITTING if end in ("failed", "cancelled") else JobState.DELIVERING
        job = await product.at(depth, song, task_id=f"task-{end}", result=result)
        if end == "delivered":
            await store.tick(job.id, {"vocals": Sent(1, "file", "unique")})
            await store.move(job.id, [depth], JobState.DELIVERED, missing=("Drums",))
        elif end == "cancelled":
            await store.cancel(job.id)
        else:
            await store.fail(job.id, [depth], Failure("500" if end == "failed" else end))
        jobs.append(job)
    return jobs


def redis_content(redis_url: str) -> dict[bytes, bytes | None]:
    """Return the content of Redis except flood limits, throttles and the engine's leases."""
    passing = (b":flood:", b":throttle:", b":ping", b":leases:")
    with Redis.from_url(redis_url) as redis:
        keys = [key for key in redis.scan_iter() if not any(word in key for word in passing)]
        return {key: redis.dump(key) for key in keys}


def said(telegram: Telegram) -> list[tuple[str, int]]:
    """Return every text that the bot shows, and how often it was edited."""
    shown = [message for chat in telegram.chats.values() for message in chat.messages.values()]
    return [(message.text, len(message.history)) for message in shown if message.is_from_bot]


async def refused(room: BotRoom, where: Message, data: list[str], who: User) -> dict[str, str]:
    """Let a user press these buttons and check that nothing changes; returns the answers."""
    telegram = room.telegram
    telegram.query_lifetime_s = 3600  # a busy machine takes minutes for hundreds of taps
    held, words = redis_content(room.product.settings.redis_url), said(telegram)
    queries = [CallbackQuery(f"{where.message_id}-{one}", who, where, one, telegram.clock()) for one in data]
    for query in queries:
        telegram.queries[query.id] = query
        telegram.updates.add("callback_query", query.to_dict())
    await room.handle()
    assert [query.data for query in queries if not query.answer_text] == []
    assert said(telegram) == words
    assert redis_content(room.product.settings.redis_url) == held
    assert await room.product.ordered() == []
    return {query.data: query.answer_text for query in queries}


async def test_buttons_of_another_user_do_nothing(room: BotRoom, alice: User, song: Path) -> None:
    bob = room.telegram.add_user("Bob")
    group = room.telegram.add_group("Band", [alice, bob])
    menu = await room.menu(alice, song, chat_id=group.id, caption="/stems")
    (bobs,) = await room.says(bob, "/jobs")
    jobs = await jobs_in_every_state(room.product, menu.reply_to or menu)
    await room.product.ordered()
    # of the form of Bob's own list, but for Alice's songs
    forged = [f"J:{bob.id}:{letter}:0:{job.id}" for job in jobs for letter in "xrfs"]
    owned = [data for job in jobs for data in of_messages(job, alice.id)]
    # only what was delivered can be mixed
    (mixed,) = [job for job in await room.product.jobs(alice.id) if job.state is JobState.DELIVERED]
    await refused(room, menu, [*owned, *of_desk(mixed), *forged, *of_screens(alice.id)], bob)
    # in a private chat there is no group setting
    await refused(room, bobs, [*of_job(jobs[0], alice.id), *forged[:4], *of_screens(alice.id)[:-2]], bob)


async def test_buttons_do_nothing_for_a_stranger(private_room: BotRoom, alice: User, song: Path) -> None:
    await private_room.product.users.add(alice.id)
    await private_room.menu(alice, song)
    mallory = private_room.telegram.add_user("Mallory")
    (turned_away,) = await private_room.says(mallory, "/start")
    (job,) = await private_room.product.jobs(alice.id)
    buttons = [*of_job(job, alice.id), *of_screens(alice.id)]
    answers = await refused(private_room, turned_away, buttons, mallory)
    # strangers may ask about their own data, and in their language
    open_to_all = {data for data in answers if data[0] in (Screen.LANGUAGE, Screen.DELETE)}
    assert {answers[data] for data in open_to_all} == {"Only the person who asked can use these buttons."}
    assert {answers[data] for data in answers.keys() - open_to_all} == {
        load_translations().languages["en"]("access.closed", id=mallory.id)
    }


# Credits


async def products(
    stack: AsyncExitStack, redis_url: str, telegram: Telegram, url: str, count: int
) -> list[Product]:
    """Build the product several times, each with connections of its own, like several bot processes."""
    return [
        await stack.enter_async_context(open_product(redis_url, telegram, url, DAILY_CREDITS="60"))
        for _ in range(count)
    ]


@pytest.fixture
async def crowd(redis_url: str, telegram: Telegram) -> AsyncIterator[list[Product]]:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(run_telegram(telegram))
        yield await products(stack, redis_url, telegram, url, 3)


async def at(product: Product, state: JobState, song: Message, mode: Mode | None) -> Job:
    """A job with another song: jobs with one song share what one of them pays for."""
    source = replace(new_job(song).source, file_unique_id=Job.new_id())
    return await product.at(state, song, mode=mode, source=source)


async def ended(product: Product, song: Message, end: JobState) -> Job:
    """Return a job that failed without a charge, or was delivered."""
    job = await at(product, JobState.SUBMITTING, song, Mode.SEPARATE_VOCAL)
    if end is JobState.FAILED:
        await product.fail(job.id, Failure("500", charged=False))
    else:
        await product.store.move(job.id, [JobState.SUBMITTING], JobState.DELIVERED)
    return await product.job(job.id)


async def test_concurrent_orders_do_not_exceed_the_daily_credits(
    crowd: list[Product], alice: User, song: Path
) -> None:
    """Picks, retries and other modes, each twice, in several processes."""
    first, *_ = crowd
    sent = await first.telegram.send_file(alice.id, song)
    choosing = [await at(first, JobState.CHOOSING, sent, None) for _ in range(10)]
    failed = [await ended(first, sent, JobState.FAILED) for _ in range(8)]
    delivered = [await ended(first, sent, JobState.DELIVERED) for _ in range(7)]
    modes = [Mode.SEPARATE_VOCAL, Mode.SPLIT_STEM_ADVANCED, Mode.SPLIT_STEM]
    calls = []
    for number in range(50):
        orders, turn = crowd[number % 3].orders, number % 25
        mode = modes[turn % 3]
        instrument = "Bass" if mode is Mode.SPLIT_STEM_ADVANCED else ""
        if turn < 10:
            calls.append(orders.pick(choosing[turn], mode, instrument))
        elif turn < 18:
            calls.append(orders.retry(failed[turn - 10]))
        else:
            calls.append(orders.other_mode(delivered[turn - 18], mode, instrument, Tapped(f"tap-{number}")))
    await asyncio.gather(*calls)
    allowance = await first.store.allowance(alice.id, 60)
    # not even the cheapest mode fits into the rest
    assert 60 - min(CREDITS.values()) < allowance.spent <= 60
    paid = [job for job in await first.jobs(alice.id) if job.price]
    assert sum(job.price for job in paid) == allowance.spent
    assert all(job.state in (JobState.SUBMITTING, JobState.QUEUED) for job in paid)
    submitted = [argument for task, argument in await first.ordered() if task == "submit"]
    assert sorted(submitted) == sorted(job.id for job in paid if job.state is JobState.SUBMITTING)
    # refused orders leave no job in another state
    assert {job.state for job in await first.jobs(alice.id)} <= {
        *(JobState.CHOOSING, JobState.SUBMITTING, JobState.QUEUED),
        *(JobState.FAILED, JobState.DELIVERED),
    }


async def test_concurrent_taps_do_not_exceed_the_daily_credits(
    crowd: list[Product], alice: User, song: Path
) -> None:
    """The same through the chat: two bots share the updates."""
    first, second, _ = crowd
    telegram = first.telegram
    async with AsyncExitStack() as stack:
        applications = [product.application() for product in (first, second)]
        for application in applications:
            await application.initialize()
            stack.push_async_callback(application.shutdown)
        room = BotRoom(first, applications[0])
        menus = [await room.other_menu(alice, song) for _ in range(7)]
        for number in range(21):
            menu = menus[number % 7]
            data = menu.buttons[number // 7 % 2]["callback_data"]
            telegram.tap(alice.id, menu.message_id, data)
        updates = await first.bot.get_updates(offset=room._offset, timeout=0, allowed_updates=ALLOWED_UPDATES)
        assert len(updates) == 21
        handlers = [
            product.updates(application) for application, product in zip(applications, crowd, strict=False)
        ]

        async def handle(number: int) -> None:
            while True:  # as the engine does
                with suppress(TryLater):
                    await handlers[number % 2].run(updates[number].to_json())
                    return

        await asyncio.gather(*(handle(number) for number in range(21)))
    allowance = await first.store.allowance(alice.id, 60)
    assert 60 - min(CREDITS.values()) < allowance.spent <= 60
    paid = [job for job in await first.jobs(alice.id) if job.price]
    assert sum(job.price for job in paid) == allowance.spent
    submitted = [argument for task, argument in await first.ordered() if task == "submit"]
    assert sorted(submitted) == sorted(job.id for job in paid if job.state is JobState.SUBMITTING)
    assert not telegram.unanswered_queries


async def test_a_retry_by_user_and_admin_at_once_is_one_job_that_stays(
    crowd: list[Product], alice: User, song: Path
) -> None:
    """The user's retry exceeds the daily credits and withdraws its job unless the admin's uses it."""
    first, second, _ = crowd
    sent = await first.telegram.send_file(alice.id, song)
    await first.users.set_daily_credits(alice.id, 5)
    for _ in range(8):
        failed = await ended(first, sent, JobState.FAILED)
        own, admins = await asyncio.gather(
            first.orders.retry(failed), second.orders.retry(failed, is_unlimited=True)
        )
        new = await first.job(admins.job_id)
        assert (admins.note, new.state, new.price) == ("retried", JobState.SUBMITTING, 0)
        assert own.over or own.job_id == new.id
        assert await first.store.cancel(new.id)
    assert (await first.store.allowance(alice.id, 5)).spent == 0


async def test_an_order_creates_its_job_again_if_another_tap_withdrew_it(
    room: BotRoom, alice: User, song: Path
) -> None:
    product, orders = room.product, room.product.orders
    failed = await ended(product, await room.telegram.send_file(alice.id, song), JobState.FAILED)
    made: list[Job] = []

    async def make() -> Job:
        made.append(await orders._new(failed, f"retry:{failed.id}", _cancelled_at))
        if len(made) == 1:  # like the other tap, between the two steps of this one
            assert await product.store.forget(made[0].id, only_in=JobState.CHOOSING)
        return made[-1]

    ordered = await orders._order(make, (Mode.SEPARATE_VOCAL, ""))
    assert ordered.job_id == made[1].id != made[0].id
    assert await product.ordered() == [("submit", made[1].id)]


async def test_a_job_that_was_picked_meanwhile_is_not_withdrawn(
    room: BotRoom, alice: User, song: Path
) -> None:
    sent = await room.telegram.send_file(alice.id, song)
    store = room.product.store
    job = await room.product.at(JobState.CHOOSING, sent, mode=None)
    assert (await store.pick(job, Mode.SEPARATE_VOCAL, "", 0))[0] is Picked.STARTED
    assert not await store.forget(job.id, only_in=JobState.CHOOSING)
    assert (await room.product.job(job.id)).state is JobState.SUBMITTING
    assert await store.forget(job.id)
    assert await store.get(job.id) is None
