"""A button is pressed: the job moves, at most once however often and by whomever it is tapped."""

from dataclasses import replace
from pathlib import Path

import pytest
from product import BotRoom, result_of

from sandbox.telegram.chats import CallbackQuery, Message, User
from sandbox.telegram.faults import FaultKind
from stemdrop.chat.callback_data import Action, Tap
from stemdrop.chat.instrument_rendering import PAGE_LENGTH
from stemdrop.domain.abilities import ALL, Abilities, Ability
from stemdrop.domain.jobs import INSTRUMENTS, Failure, Job, JobState, Mode
from stemdrop.domain.outcomes import Run
from stemdrop.domain.results import Result

STALE = "This button no longer works. Send the song again."
NOT_YOURS = "Only the person who asked for it can choose."
TOO_LATE = "Too late: this song has moved on."


@pytest.fixture
async def menu(room: BotRoom, alice: User, song: Path) -> Message:
    """The message with the modes, under Alice's song."""
    return await room.menu(alice, song)


async def job_of(room: BotRoom, user: User) -> Job:
    return (await room.product.jobs(user.id))[0]


def press(room: BotRoom, message: Message, data: str, user: User) -> CallbackQuery:
    """A press of a button that the message may no longer show: an old client, or a forger."""
    query = CallbackQuery(f"{len(room.telegram.queries) + 1}", user, message, data, room.telegram.clock())
    room.telegram.queries[query.id] = query
    room.telegram.updates.add("callback_query", query.to_dict())
    return query


def test_buttons_fit_telegrams_limits() -> None:
    for name in INSTRUMENTS:
        data = Tap(Action.PICK, Job.new_id(), Mode.SPLIT_STEM_ADVANCED, name).to_data()
        assert len(data.encode()) <= 64


@pytest.mark.parametrize(("number", "mode"), [(0, Mode.SEPARATE_VOCAL), (1, Mode.SPLIT_STEM)])
async def test_picking_a_mode_adds_its_submission(
    room: BotRoom, alice: User, menu: Message, number: int, mode: Mode
) -> None:
    await room.taps(menu, number)
    job = await job_of(room, alice)
    assert (job.state, job.mode, job.instrument) == (JobState.SUBMITTING, mode, "")
    assert menu.text.startswith("⏳ Splitting “Morning Line”…")
    assert [button["text"] for button in menu.buttons] == ["✖️ Cancel"]
    assert await room.product.ordered() == [("submit", job.id)]


@pytest.mark.parametrize("number", [0, PAGE_LENGTH, len(INSTRUMENTS) - 1])
async def test_an_instrument_is_picked_from_the_pages_of_the_list(
    room: BotRoom, alice: User, menu: Message, number: int
) -> None:
    await room.taps(menu, 2)
    assert menu.text.startswith("🎵 “Morning Line”\nWhich instrument do you want to isolate?")
    page, place = divmod(number, PAGE_LENGTH)
    for _ in range(page):
        turn = [button["text"] for button in menu.buttons].index("›")
        await room.taps(menu, turn)
    await room.taps(menu, place)
    job = await job_of(room, alice)
    assert (job.mode, job.instrument) == (Mode.SPLIT_STEM_ADVANCED, INSTRUMENTS[number])
    assert job.state is JobState.SUBMITTING


async def test_popular_instruments_come_first_in_the_list(room: BotRoom, menu: Message) -> None:
    await room.product.job_statistics.note_instrument("Snare")
    await room.taps(menu, 2)
    assert [button["text"] for button in menu.buttons[:2]] == ["Snare drum", "Lead vocal"]


@pytest.mark.parametrize("way", ["menu", "instruments", "other mode", "retry"])
async def test_a_button_orders_nothing_that_costs_more_than_it_shows(
    room: BotRoom, alice: User, menu: Message, way: str
) -> None:
    product, job = room.product, await job_of(room, alice)
    free = {mode: Ability(0, instruments=INSTRUMENTS) for mode in Mode}
    await product.abilities.put(Abilities({**free, Mode.SEPARATE_VOCAL: Ability(10)}))
    if way in ("other mode", "retry"):
        await product.store.pick(job, Mode.SPLIT_STEM if way == "retry" else Mode.SEPARATE_VOCAL, "", 0, 0)
        await product.fail(job.id, Failure("501", charged=False))
    await product.job_message.show_current(job.id)
    if way == "instruments":
        await room.presses(menu, "One instrument…")
    label = {"instruments": "Bass", "retry": "Try again"}.get(way, "All stems")
    await product.abilities.put(ALL)
    query = await room.presses(menu, label)
    assert query.answer_text.startswith("The price has changed")
    assert await product.ordered() == []
    assert len(await product.jobs(alice.id)) == 1
    if way == "instruments":
        await room.presses(menu, "One instrument…")
    assert "credits" in menu.text + " ".join(button["text"] for button in menu.buttons)
    await room.presses(menu, label)
    assert [task for task, _ in await product.ordered()] == ["submit"]


OWN = Abilities(
    {
        Mode.SEPARATE_VOCAL: Ability(0, ("vocals", "instrumental")),
        Mode.SPLIT_STEM: Ability(0, ("vocals", "drums", "bass", "other")),
        Mode.SPLIT_STEM_ADVANCED: Ability(0, (), ("Lead Vocal", "Drum Kit", "Bass")),
    }
)


async def test_only_what_the_provider_can_do_is_offered_and_no_price_where_nothing_costs(
    room: BotRoom, alice: User, song: Path
) -> None:
    await room.product.abilities.put(OWN)
    menu = await room.menu(alice, song)
    assert menu.text.endswith("\nAll stems (4): Vocals, Drums, Bass, Other")
    labels = [button["text"] for button in menu.buttons]
    assert labels == ["🎤 Vocals + instrumental", "🎛 All stems", "🎸 One instrument…", "✖️ Cancel"]
    await room.taps(menu, 2)
    assert menu.text.endswith("You get it alone, and the song without it.")
    labels = [button["text"] for button in menu.buttons]
    assert labels == ["Lead vocal", "Drums", "Bass", "↩️ Back", "✖️ Cancel"]
    await room.taps(menu, 2)
    job = await job_of(room, alice)
    assert (job.instrument, job.price, job.state) == ("Bass", 0, JobState.SUBMITTING)
    await room.product.fail(job.id, Failure("timeout", charged=None))
    text, keyboard = await room.product.job_message.render(await room.product.job(job.id))
    assert not any(word in text for word in ("charged", "credit", "cost"))
    assert keyboard is not None
    assert keyboard.inline_keyboard[0][0].text == "🔁 Try again"
    assert await room.product.job_statistics.instruments() == INSTRUMENTS, "it failed"


async def test_a_mode_that_is_not_offered_any_more_is_not_ordered(
    room: BotRoom, alice: User, menu: Message
) -> None:
    await room.product.abilities.put(Abilities({Mode.SEPARATE_VOCAL: Ability(10)}))
    query = await room.taps(menu, 1)
    assert query.answer_text == "The service does not offer this. Choose another way."
    assert [button["text"] for button in menu.buttons] == [
        "🎤 Vocals + instrumental · 10 credits",
        "✖️ Cancel",
    ]
    job = await job_of(room, alice)
    assert job.state is JobState.CHOOSING
    assert await room.product.ordered() == []
    # nor under a job that has ended, which stays as it is
    await room.product.store.fail(job.id, [JobState.CHOOSING], Failure("500"))
    ended = replace(await room.product.job(job.id), mode=Mode.SPLIT_STEM)
    for ordered in (
        await room.product.orders.retry(ended),
        await room.product.orders.other_mode(ended, Mode.SPLIT_STEM_ADVANCED, "Bass"),
    ):
        assert (ordered.job_id, ordered.note) == (job.id, "tap.not_offered")
    assert len(await room.product.jobs(alice.id)) == 1


async def test_the_list_goes_back_to_the_modes(room: BotRoom, alice: User, menu: Message) -> None:
    before = menu.text, menu.buttons
    await room.taps(menu, 2)
    assert len(menu.buttons) == PAGE_LENGTH + 3
    assert [button["text"] for button in menu.buttons[-3:]] == ["›", "↩️ Back", "✖️ Cancel"]
    await room.taps(menu, -2)
    assert (menu.text, menu.buttons) == before
    assert (await job_of(room, alice)).state is JobState.CHOOSING


async def test_ten_taps_on_a_mode_make_one_submission(room: BotRoom, alice: User, menu: Message) -> None:
    data = menu.buttons[0]["callback_data"]
    queries = [room.telegram.tap(alice.id, menu.message_id, data) for _ in range(10)]
    await room.handle()
    assert all(query.is_answered for query in queries)
    job = await job_of(room, alice)
    assert await room.product.ordered() == [("submit", job.id)]
    assert room.after(menu) == []


async def test_the_first_of_two_modes_tapped_at_once_counts(
    room: BotRoom, alice: User, menu: Message
) -> None:
    for number in (1, 0):
        room.telegram.tap(alice.id, menu.message_id, menu.buttons[number]["callback_data"])
    await room.handle()
    assert (await job_of(room, alice)).mode is Mode.SPLIT_STEM
    assert len(await room.product.ordered()) == 1


async def test_a_tap_after_the_job_moved_on_shows_its_state(
    room: BotRoom, alice: User, menu: Message
) -> None:
    pick = menu.buttons[0]["callback_data"]
    await room.taps(menu, 0)
    await room.product.store.begin_create((await job_of(room, alice)).id)
    await room.product.store.accept((await job_of(room, alice)).id, "task-1")
    query = press(room, menu, pick, alice)
    await room.handle()
    assert query.is_answered
    assert menu.text.startswith("⏳ Splitting “Morning Line”…")


async def test_a_tap_by_another_member_changes_nothing(room: BotRoom, alice: User, song: Path) -> None:
    bob = room.telegram.add_user("Bob")
    group = room.telegram.add_group("Band", [alice, bob])
    menu = await room.menu(alice, song, chat_id=group.id, caption="/stems")
    for number in range(4):
        query = await room.taps(menu, number, bob)
        assert query.answer_text == NOT_YOURS
    assert (await job_of(room, alice)).state is JobState.CHOOSING
    assert len(menu.buttons) == 4
    await room.taps(menu, 0, alice)
    assert (await job_of(room, alice)).state is JobState.SUBMITTING


async def test_an_unknown_button_says_that_it_is_stale(room: BotRoom, alice: User, menu: Message) -> None:
    job = await job_of(room, alice)
    nonsense = [
        "p:0000000000000000:v",
        "x:0000000000000000",
        f"p:{job.id}:v1",
        f"p:{job.id}:a",
        f"p:{job.id}:a99",
        f"p:{job.id}:a-1",
        f"p:{job.id}:a٣",
        f"p:{job.id}:z",
        f"p:{job.id}",
        f"x:{job.id}:v",
        f"q:{job.id}",
        "::::",
        "p",
        "something of an old version",
    ]
    queries = [press(room, menu, data, alice) for data in nonsense]
    await room.handle()
    assert {query.data: query.answer_text for query in queries} == dict.fromkeys(nonsense, STALE)
    assert await job_of(room, alice) == job


async def test_a_song_without_a_mode_is_cancelled(room: BotRoom, alice: User, menu: Message) -> None:
    await room.taps(menu, -1)
    assert (await job_of(room, alice)).state is JobState.CANCELLED
    assert menu.text == "✖️ Cancelled: “Morning Line”."
    assert await room.product.store.open_jobs() == []


async def test_a_song_before_its_create_call_is_cancelled(room: BotRoom, alice: User, menu: Message) -> None:
    await room.taps(menu, 0)
    await room.taps(menu, -1)
    assert (await job_of(room, alice)).state is JobState.CANCELLED
    assert menu.text == "✖️ Cancelled: “Morning Line”."


async def test_a_song_after_its_create_call_is_not_cancelled(
    room: BotRoom, alice: User, menu: Message
) -> None:
    await room.taps(menu, 0)
    job = await job_of(room, alice)
    await room.product.store.begin_create(job.id)
    await room.product.store.accept(job.id, "task-1")
    await room.product.status.show_current(job.id)
    await room.taps(menu, -1)
    assert (await job_of(room, alice)).state is JobState.CANCELLED
    assert menu.text.endswith("so it may have been charged.")


@pytest.mark.parametrize("state", [JobState.DELIVERING, JobState.DELIVERED, JobState.FAILED])
async def test_cancelling_too_late_is_told(
    room: BotRoom, alice: User, menu: Message, state: JobState
) -> None:
    cancel = menu.buttons[-1]["callback_data"]
    job = await job_of(room, alice)
    await room.product.store.move(job.id, [JobState.CHOOSING], state, failure=Failure("500"))
    query = press(room, menu, cancel, alice)
    await room.handle()
    assert query.answer_text == TOO_LATE
    assert (await job_of(room, alice)).state is state


async def test_a_repeated_cancel_is_confirmed(room: BotRoom, alice: User, menu: Message) -> None:
    cancel = menu.buttons[-1]["callback_data"]
    queries = [press(room, menu, cancel, alice) for _ in range(2)]
    await room.handle()
    assert all(query.is_answered for query in queries)
    assert [query.answer_text or "" for query in queries] == ["", ""]
    assert (await job_of(room, alice)).state is JobState.CANCELLED
    assert menu.text == "✖️ Cancelled: “Morning Line”."


async def failed(room: BotRoom, alice: User, menu: Message) -> Job:
    """Alice's job, failed and shown so."""
    await room.taps(menu, 0)
    job = await job_of(room, alice)
    await room.product.ordered()
    await room.product.fail(job.id, Failure("500"))
    await room.product.status.show_current(job.id)
    return job


async def test_ten_taps_on_retry_make_one_new_job(room: BotRoom, alice: User, menu: Message) -> None:
    old = await failed(room, alice, menu)
    data = menu.buttons[0]["callback_data"]
    queries = [room.telegram.tap(alice.id, menu.message_id, data) for _ in range(10)]
    await room.handle()
    assert all(query.is_answered for query in queries)
    new, *rest = await room.product.jobs(alice.id)
    assert rest == [await room.product.job(old.id)]
    assert new.id != old.id
    assert (new.state, new.mode, new.source) == (JobState.SUBMITTING, old.mode, old.source)
    assert (new.create_started_at, new.task_id, new.failure) == (0, "", None)
    assert await room.product.ordered() == [("submit", new.id)]
    assert new.message_id == menu.message_id
    assert menu.text.startswith("⏳")
    assert room.after(menu) == []


async def test_a_retry_of_a_job_that_did_not_fail_does_nothing(
    room: BotRoom, alice: User, menu: Message
) -> None:
    job = await job_of(room, alice)
    query = press(room, menu, Tap(Action.RETRY, job.id).to_data(), alice)
    await room.handle()
    assert query.answer_text == TOO_LATE
    assert len(await room.product.jobs(alice.id)) == 1


async def test_a_retry_keeps_topic_instrument_and_language(room: BotRoom, song: Path) -> None:
    mei = room.telegram.add_user("Mei", language_code="zh-hans")
    forum = room.telegram.add_group("Band", [mei], forum=True)
    thread_id = room.telegram.add_topic(forum.id, "Demos")
    menu = await room.menu(mei, song, chat_id=forum.id, thread_id=thread_id, caption="/stems")
    await room.taps(menu, 2, mei)
    await room.taps(menu, INSTRUMENTS.index("Bass"), mei)
    old = await job_of(room, mei)
    await room.product.fail(old.id, Failure("500"))
    await room.product.status.show_current(old.id)
    await room.taps(menu, 0, mei)
    new = await job_of(room, mei)
    assert new.id != old.id
    assert (new.topic_id, new.instrument, new.language) == (thread_id, "Bass", "zh_Hans")
    assert (new.chat_id, new.source_message_id) == (old.chat_id, old.source_message_id)


async def test_missing_stems_are_fetched_again_once(room: BotRoom, alice: User, menu: Message) -> None:
    job = await job_of(room, alice)
    await room.product.store.move(job.id, [JobState.CHOOSING], JobState.DELIVERED, missing=["Drums"])
    await room.product.status.show_current(job.id)
    assert "Could not be fetched: Drums." in menu.text
    again = menu.buttons[0]["callback_data"]
    queries = [room.telegram.tap(alice.id, menu.message_id, again) for _ in range(3)]
    await room.handle()
    assert room.telegram.unanswered_queries == []
    assert [query.answer_text or "" for query in queries] == [""] * 3
    assert (await job_of(room, alice)).state is JobState.DELIVERING
    assert await room.product.ordered() == [("deliver", job.id)]


async def test_fetching_again_when_nothing_is_missing_does_nothing(
    room: BotRoom, alice: User, menu: Message
) -> None:
    job = await job_of(room, alice)
    await room.product.store.move(job.id, [JobState.CHOOSING], JobState.DELIVERED)
    query = press(room, menu, Tap(Action.FETCH_AGAIN, job.id).to_data(), alice)
    await room.handle()
    assert query.answer_text == TOO_LATE
    assert (await job_of(room, alice)).state is JobState.DELIVERED


async def undeliverable(room: BotRoom, menu: Message, result: Result) -> Job:
    """The job of the song above the menu, come to its end with stems that could not be sent."""
    source = menu.reply_to
    assert source is not None
    store = room.product.store
    job = await room.product.at(JobState.DELIVERING, source, message_id=menu.message_id, result=result)
    for kind in Run:
        await store.count_run(job.id, kind, by=50)
    await store.fail(job.id, [JobState.DELIVERING], Failure("undeliverable", charged=True))
    await room.product.status.show_current(job.id)
    return job


async def test_stems_that_could_not_be_sent_are_fetched_again_and_not_bought(
    room: BotRoom, menu: Message
) -> None:
    job = await undeliverable(room, menu, result_of({"vocals": "https://cdn.example/a.mp3"}))
    assert [button["text"] for button in menu.buttons] == ["🔁 Fetch missing stems"]
    query = await room.taps(menu, 0)
    assert not query.answer_text
    now = await room.product.job(job.id)
    assert (now.state, now.failure, now.result) == (JobState.DELIVERING, None, job.result)
    assert await room.product.ordered() == [("deliver", job.id)]
    assert [await room.product.store.count_run(job.id, kind) for kind in Run] == [1] * len(Run)
    assert menu.text.startswith("📤")


async def test_a_job_without_stems_has_nothing_to_fetch_again(
    room: BotRoom, alice: User, menu: Message
) -> None:
    job = await undeliverable(room, menu, Result(500))
    query = press(room, menu, Tap(Action.FETCH_AGAIN, job.id).to_data(), alice)
    await room.handle()
    assert query.answer_text == TOO_LATE
    assert (await room.product.job(job.id)).state is JobState.FAILED
    assert await room.product.ordered() == []


async def test_a_tap_that_waited_too_long_still_counts(room: BotRoom, alice: User, menu: Message) -> None:
    room.telegram.query_lifetime_s = -1
    query = room.telegram.tap(alice.id, menu.message_id, menu.buttons[0]["callback_data"])
    await room.handle()
    assert not query.is_answered
    assert (await job_of(room, alice)).state is JobState.SUBMITTING


async def test_a_tap_is_answered_although_the_message_cannot_be_edited(
    room: BotRoom, alice: User, menu: Message
) -> None:
    room.telegram.faults.add(FaultKind.SERVER_ERROR, method="editMessageText")
    query = room.telegram.tap(alice.id, menu.message_id, menu.buttons[0]["callback_data"])
    await room.handle()
    assert query.is_answered
    assert (await job_of(room, alice)).state is JobState.SUBMITTING


async def test_a_deleted_menu_is_sent_again(room: BotRoom, alice: User, menu: Message) -> None:
    data = menu.buttons[0]["callback_data"]
    query = room.telegram.tap(alice.id, menu.message_id, data)
    room.telegram.delete_message(alice.id, menu.message_id)
    await room.handle()
    assert query.is_answered
    (shown,) = room.telegram.bot_messages(alice.id)
    assert shown.text.startswith("⏳")
    assert (await job_of(room, alice)).message_id == shown.message_id


async def test_a_forwarded_menu_serves_only_its_owner(room: BotRoom, alice: User, menu: Message) -> None:
    bob = room.telegram.add_user("Bob")
    query = press(room, menu, menu.buttons[0]["callback_data"], bob)
    await room.handle()
    assert query.answer_text == NOT_YOURS
    assert (await job_of(room, alice)).state is JobState.CHOOSING


async def test_buttons_work_after_a_restart(room: BotRoom, alice: User, menu: Message) -> None:
    application = room.product.application()
    await application.initialize()
    restarted = BotRoom(room.product, application)
    await restarted.taps(menu, 0)
    assert (await job_of(room, alice)).state is JobState.SUBMITTING
