"""A tap orders once, also when its answer fails; a refused order leaves nothing behind."""

from pathlib import Path
from typing import Any

import pytest
from product import BotRoom, result_of

from sandbox.telegram.chats import Message, User
from sandbox.telegram.faults import FaultKind
from stemdrop.domain.jobs import Charge, Failure, Job, JobState, Mode
from stemdrop.domain.outcomes import Sent
from stemdrop.domain.taps import Tapped
from stemdrop.storage.keys import SPLIT
from stemdrop.tasks.engine import Task

VOCALS, ALL_STEMS = 0, 1
STEMS = result_of({"vocals": "https://files.example/v.mp3", "instrumental": "https://files.example/i.mp3"})


@pytest.fixture
async def menu(room: BotRoom, alice: User, song: Path) -> Message:
    return await room.menu(alice, song)


async def newest(room: BotRoom, user: User) -> Job:
    return (await room.product.jobs(user.id))[0]


async def delivered(room: BotRoom, user: User, menu: Message) -> Job:
    """The job of this menu, with both stems in the chat."""
    product = room.product
    await room.taps(menu, VOCALS)
    job = await newest(room, user)
    await product.store.begin_create(job.id)
    await product.store.accept(job.id, "task-1")
    await product.store.receive(job.id, job.chat_id, "task-1", STEMS)
    await product.store.tick(job.id, {key: Sent(1, f"file-{key}", key) for key in ("vocals", "instrumental")})
    await product.store.move(job.id, [JobState.DELIVERING], JobState.DELIVERED)
    await product.status.show_current(job.id)
    await product.ordered()
    return await product.job(job.id)


@pytest.mark.parametrize("fault", [FaultKind.BAD_GATEWAY, FaultKind.RESET_AFTER])
async def test_a_tap_whose_answer_does_not_arrive_pays_once(
    room: BotRoom, alice: User, menu: Message, fault: FaultKind
) -> None:
    await delivered(room, alice, menu)
    menu = room.telegram.bot_messages(alice.id)[-1]
    room.telegram.faults.add(fault, method="answerCallbackQuery", times=5)
    room.telegram.tap(alice.id, menu.message_id, menu.buttons[0]["callback_data"])
    await room.handle()
    made = await newest(room, alice)
    assert await room.product.ordered() == [("submit", made.id)]
    assert made.mode is Mode.SPLIT_STEM


async def test_a_tap_is_answered_although_telegram_fails_once(
    room: BotRoom, alice: User, menu: Message
) -> None:
    await delivered(room, alice, menu)
    menu = room.telegram.bot_messages(alice.id)[-1]
    room.telegram.faults.add(FaultKind.BAD_GATEWAY, method="answerCallbackQuery")
    query = await room.taps(menu, 0)  # which asserts that it is answered
    assert query.answer_text


async def test_taps_for_a_job_that_has_ended_are_told_apart_by_their_id_and_time(
    room: BotRoom, alice: User, menu: Message
) -> None:
    """A tap that is handled again finds its job, and the second of two quick taps the job of the first."""
    product, orders = room.product, room.product.orders
    job = await delivered(room, alice, menu)

    async def tap(*tapped: Any) -> str:
        return (await orders.other_mode(job, Mode.SPLIT_STEM, "", Tapped(*tapped))).job_id

    first = await tap("tap-1")
    await product.fail(first, Failure("500", charged=True))
    ended_at = (await product.job(first)).moved_at
    assert await tap("tap-1") == await tap("tap-2", ended_at - 0.01) == first
    assert await tap("tap-3", ended_at + 0.01) != first
    assert await tap("tap-4") != first


@pytest.mark.parametrize("label", ["All stems", "One instrument"])
async def test_a_clock_that_was_set_back_does_not_keep_buttons_from_ordering(
    room: BotRoom, alice: User, menu: Message, label: str
) -> None:
    product = room.product
    await delivered(room, alice, menu)
    result = room.telegram.bot_messages(alice.id)[-1]
    (data,) = [button["callback_data"] for button in result.buttons if label in button["text"]]
    ids = {job.id for job in await product.jobs(alice.id)}
    for _ in range(2):
        room.telegram.tap(alice.id, result.message_id, data)
        await room.handle(received_at=product.clock())
        (made,) = [job for job in await product.jobs(alice.id) if job.id not in ids]
        ids.add(made.id)
        await product.orders.pick(made, Mode.SPLIT_STEM_ADVANCED, "Bass")
        await product.fail(made.id, Failure("500", charged=True))
        product.clock.advance(-3600)


async def test_a_doubled_tap_is_one_order_also_if_the_clock_is_set_back_after_it(
    room: BotRoom, alice: User, menu: Message
) -> None:
    product = room.product
    await delivered(room, alice, menu)
    (job,) = await product.jobs(alice.id)
    tapped_at = product.clock()
    ordered = await product.orders.other_mode(job, Mode.SPLIT_STEM, "", Tapped("tap-1", tapped_at))
    product.clock.advance(20)
    await product.fail(ordered.job_id, Failure("500", charged=True))
    product.clock.advance(-3600)
    again = await product.orders.other_mode(job, Mode.SPLIT_STEM, "", Tapped("tap-2", tapped_at + 0.5))
    assert again.job_id == ordered.job_id


async def test_two_quick_taps_open_one_list_of_instruments(room: BotRoom, alice: User, menu: Message) -> None:
    product, orders = room.product, room.product.orders
    job = await delivered(room, alice, menu)
    first = await orders.choose_again(job, Tapped("tap-1"))
    await orders.pick(first, Mode.SPLIT_STEM_ADVANCED, "Bass")
    chosen_at = (await product.job(first.id)).picked_at
    assert (await orders.choose_again(job, Tapped("tap-2", chosen_at - 0.01))).id == first.id
    assert (await orders.choose_again(job, Tapped("tap-3", chosen_at + 0.01))).id != first.id


async def test_a_late_tap_on_the_choice_orders_nothing_new(room: BotRoom, alice: User, menu: Message) -> None:
    opens = menu.buttons[2]["callback_data"]
    job = await delivered(room, alice, menu)
    menu = room.telegram.bot_messages(alice.id)[-1]
    assert opens == menu.buttons[1]["callback_data"]  # the same button is in both
    for received_at, songs in ((job.moved_at - 0.01, 1), (job.moved_at + 0.01, 2)):
        room.telegram.tap(alice.id, menu.message_id, opens)
        await room.handle(received_at)
        assert len(await room.product.jobs(alice.id)) == songs


@pytest.mark.parametrize("label", ["ZIP", "voice"])
async def test_packing_leaves_the_jobs_message_alone(
    room: BotRoom, alice: User, menu: Message, label: str
) -> None:
    await delivered(room, alice, menu)
    menu = room.telegram.bot_messages(alice.id)[-1]
    number = next(index for index, button in enumerate(menu.buttons) if label in button["text"])
    edits = len(menu.history)
    room.telegram.faults.add(FaultKind.SERVER_ERROR, method="editMessageText", times=None)
    room.telegram.faults.add(FaultKind.SERVER_ERROR, method="answerCallbackQuery")
    room.telegram.tap(alice.id, menu.message_id, menu.buttons[number]["callback_data"])
    calls = len(room.telegram.calls)
    await room.handle()
    methods = [call.method for call in room.telegram.calls[calls:] if call.method != "getUpdates"]
    assert methods == ["answerCallbackQuery"] * 2
    assert len(menu.history) == edits


async def test_another_mode_beyond_the_days_credits_leaves_no_job(
    room: BotRoom, alice: User, menu: Message
) -> None:
    job = await delivered(room, alice, menu)
    menu = room.telegram.bot_messages(alice.id)[-1]
    await room.product.users.set_daily_credits(alice.id, 55)
    query = await room.taps(menu, 0)
    assert query.is_alert
    assert [found.id for found in await room.product.jobs(alice.id)] == [job.id]
    (answer,) = await room.says(alice, "/cancel")
    assert answer.text == "There is nothing to cancel."
    await room.product.users.set_daily_credits(alice.id, 60)
    await room.taps(menu, 0)
    assert len(await room.product.ordered()) == 1


async def test_a_retry_beyond_yesterdays_credits_works_today(
    room: BotRoom, alice: User, menu: Message
) -> None:
    product = room.product
    await room.taps(menu, VOCALS)
    job = await newest(room, alice)
    await product.fail(job.id, Failure("500", charged=True))
    await product.status.show_current(job.id)
    await product.users.set_daily_credits(alice.id, 10)
    await product.ordered()
    assert (await room.taps(menu, 0)).is_alert
    await room.says(alice, "/cancel")
    assert menu.text.startswith("⚠️")
    product.clock.advance(86_400)
    query = await room.taps(menu, 0)
    assert query.answer_text == "A new try is on its way."
    ((task, retried),) = await product.ordered()
    assert task == Task.SUBMIT
    assert retried != job.id


async def test_an_unlimited_retry_is_not_counted_in_the_users_day(
    room: BotRoom, alice: User, menu: Message
) -> None:
    product = room.product
    await product.users.set_daily_credits(alice.id, 10)
    await room.taps(menu, VOCALS)
    job = await newest(room, alice)
    await product.fail(job.id, Failure("500", charged=True))
    ordered = await room.product.orders.retry(await product.job(job.id), is_unlimited=True)
    assert ordered.note == "retried"
    assert (await product.job(ordered.job_id)).charge is Charge.NONE
    assert (await product.store.allowance(alice.id, 10)).spent == 10


async def test_a_song_of_the_group_itself_is_paid_for_by_the_first_user_to_tap(
    room: BotRoom, alice: User, song: Path
) -> None:
    product = room.product
    bob = room.telegram.add_user("Bob")
    group = room.telegram.add_group("Band", [alice, bob])
    menu = await room.menu(alice, song, chat_id=group.id, caption="/stems")
    (job,) = await product.jobs(alice.id)
    await product.store.set(job.id, user_id=0, account=group.id)
    await product.users.set_daily_credits(bob.id, 10)
    assert (await room.taps(menu, ALL_STEMS, bob)).is_alert
    assert (await room.taps(menu, VOCALS, alice)).answer_text.startswith("Only the person")
    await room.taps(menu, VOCALS, bob)
    assert (await product.store.allowance(bob.id, 10)).spent == 10
    assert (await product.store.allowance(group.id, 0)).spent == 0
    assert [found.id for found in await product.jobs(bob.id)] == [job.id]


async def test_a_message_follows_its_owners_language(room: BotRoom, alice: User, menu: Message) -> None:
    await room.product.users.set_language(alice.id, "ru")
    await room.taps(menu, VOCALS)
    translate = room.product.translations.languages["ru"]
    assert menu.text.startswith(translate("state.separating", title="Morning Line"))


@pytest.mark.parametrize("is_begun", [False, True], ids=["unpaid", "paid"])
async def test_cancelled_has_a_button_back(room: BotRoom, alice: User, menu: Message, is_begun: bool) -> None:
    product = room.product
    await room.taps(menu, VOCALS)
    job = await newest(room, alice)
    await product.ordered()
    if is_begun:
        await product.store.begin_create(job.id)
    await room.taps(menu, 0)
    assert (await product.job(job.id)).state is JobState.CANCELLED
    assert [button["text"] for button in menu.buttons] == [
        "▶️ Continue · free" if is_begun else "↩️ Choose again"
    ]
    await room.taps(menu, 0)
    await room.handle_again()
    state = JobState.SUBMITTING if is_begun else JobState.CHOOSING
    assert (await product.job(job.id)).state is state
    assert await product.ordered() == ([(Task.SUBMIT.value, job.id)] if is_begun else [])


async def test_two_people_who_pick_the_same_pay_once(
    room: BotRoom, alice: User, menu: Message, song: Path
) -> None:
    product, bob = room.product, room.telegram.add_user("Bob")
    await room.taps(menu, VOCALS)
    await room.taps(other := await room.menu(bob, song), VOCALS)
    first, second = await newest(room, alice), await newest(room, bob)
    assert await product.ordered() == [("submit", first.id)]
    assert "already" in other.text
    await product.store.begin_create(first.id)
    await room.taps(menu, 0)
    await product.store.receive(first.id, first.chat_id, "task-1", STEMS)
    assert (await product.job(second.id)).state is JobState.DELIVERING
    await room.taps(menu, 0)
    assert (await product.job(first.id)).state is JobState.DELIVERING
    assert await product.ordered() == [("deliver", first.id)]
    again = await room.menu(alice, song)
    await room.taps(again, VOCALS)
    third = await newest(room, alice)
    assert await product.ordered() == [("deliver", third.id)]
    assert third.charge is Charge.NONE


async def test_a_retry_of_a_job_whose_stems_have_come_fetches_them(
    room: BotRoom, alice: User, menu: Message
) -> None:
    """An old message may still offer it: the answer was lost, the stems came, and the chat took none."""
    product = room.product
    await room.taps(menu, VOCALS)
    job = await newest(room, alice)
    await product.store.begin_create(job.id)
    await product.store.receive(job.id, job.chat_id, "task-1", STEMS)
    await product.store.fail(job.id, [JobState.DELIVERING], Failure("no_rights", charged=True))
    await product.redis.delete(SPLIT.format(job.source.split_id(Mode.SEPARATE_VOCAL, "")))  # it has expired
    ordered = await product.orders.retry(await product.job(job.id))
    assert ordered.job_id == job.id
    assert (await product.job(job.id)).state is JobState.DELIVERING
    assert [it.id for it in await product.jobs(alice.id)] == [job.id]
