"""`/jobs`: one's own songs, each with its state and the button that helps."""

import re
import time
from pathlib import Path

import pytest
from product import BotRoom, result_of

from sandbox.telegram.chats import Message, User
from sandbox.telegram.faults import FaultKind
from stemdrop.domain.jobs import CachedStem, Failure, Job, JobState, Mode
from stemdrop.domain.outcomes import Sent
from stemdrop.domain.results import Result
from stemdrop.storage.stem_cache import CachedStems

URL = "https://cdn.example/a.mp3"


@pytest.fixture
async def sent(room: BotRoom, alice: User, song: Path) -> Message:
    """Alice's message with the song, already handled."""
    return await room.sends(alice, song)


async def failed(room: BotRoom, sent: Message, code: str = "500") -> Job:
    job = await room.product.at(JobState.SUBMITTING, sent)
    await room.product.fail(job.id, Failure(code))
    return await room.product.job(job.id)


async def delivered(room: BotRoom, sent: Message) -> Job:
    """A job with one stem in the chat."""
    job = await room.product.at(JobState.DELIVERING, sent, result=result_of({"vocals": URL}))
    assert sent.media is not None
    arrived = Sent(1, sent.media["file_id"], sent.media["file_unique_id"])
    await room.product.store.tick(job.id, {"vocals": arrived})
    await room.product.store.move(job.id, [JobState.DELIVERING], JobState.DELIVERED)
    return await room.product.job(job.id)


async def listed(room: BotRoom, user: User, **how: int) -> Message:
    return (await room.says(user, "/jobs", **how))[-1]


async def test_a_user_without_songs_is_told_so(room: BotRoom, alice: User) -> None:
    shown = await listed(room, alice)
    assert shown.text == "You have no songs here yet. Send me one!"
    assert not shown.buttons


async def test_every_state_is_shown_with_the_newest_song_first(
    room: BotRoom, alice: User, sent: Message
) -> None:
    await delivered(room, sent)
    await failed(room, sent, "451")
    cancelled = await room.product.at(JobState.SUBMITTING, sent, mode=Mode.SEPARATE_VOCAL)
    await room.product.store.cancel(cancelled.id)
    await room.product.at(
        JobState.SEPARATING, sent, mode=Mode.SPLIT_STEM_ADVANCED, instrument="Bass", task_id="task-2"
    )
    await room.product.at(JobState.SUBMITTING, sent)
    shown = await listed(room, alice)
    assert re.sub(r"\d+ sec", "no time", shown.text).split("\n") == [
        "🎵 Your songs, newest first:",
        "1. “Morning Line” · All stems · submitting",
        "2. “Morning Line” · Bass · splitting, no time so far",
        "3. “Morning Line” · Vocals + instrumental · cancelled",
        "4. “Morning Line” · All stems · failed (code 451)",
        "5. “Morning Line” · All stems · 1 stem",
    ]
    assert [button["text"] for button in shown.buttons] == [
        "1. ✖️ Cancel",
        "2. ✖️ Cancel",
        "4. 🔁 Try again · 50 credits",
        "5. 📨 Send again",
    ]


async def test_a_queued_song_shows_its_place(room: BotRoom, alice: User, song: Path) -> None:
    for _ in range(5):
        await room.taps(await room.other_menu(alice, song), 0)
    shown = await listed(room, alice)
    assert "1. “Morning Line” · Vocals + instrumental · number 2 in your queue" in shown.text
    assert "2. “Morning Line” · Vocals + instrumental · number 1 in your queue" in shown.text


async def test_a_song_without_a_mode_is_not_listed(room: BotRoom, alice: User, sent: Message) -> None:
    assert "no songs here yet" in (await listed(room, alice)).text


async def test_the_list_has_pages_of_five(room: BotRoom, alice: User, sent: Message) -> None:
    for _ in range(7):
        await failed(room, sent, "400")
    shown = await listed(room, alice)
    assert shown.text.count("failed") == 5
    assert [button["text"] for button in shown.buttons] == ["›"]
    await room.presses(shown, "›")
    assert shown.text.split("\n")[1].startswith("6. ")
    assert shown.text.count("failed") == 2
    await room.presses(shown, "‹")
    assert shown.text.split("\n")[1].startswith("1. ")
    assert room.after(shown) == []


async def test_a_cancelled_job_is_shown_in_both_messages(room: BotRoom, alice: User, song: Path) -> None:
    menu = await room.menu(alice, song)
    await room.taps(menu, 0)
    shown = await listed(room, alice)
    query = await room.presses(shown, "Cancel")
    await room.again(query)
    assert menu.text == "✖️ Cancelled: “Morning Line”."
    assert shown.text.endswith("cancelled")
    assert not shown.buttons


async def test_a_retry_makes_one_job_and_one_line(room: BotRoom, alice: User, song: Path) -> None:
    menu = await room.menu(alice, song)
    await room.taps(menu, 0)
    (job,) = await room.product.jobs(alice.id)
    await room.product.ordered()
    await room.product.fail(job.id, Failure("500"))
    await room.product.status.show_current(job.id)
    shown = await listed(room, alice)
    query = await room.presses(shown, "Try again")
    assert query.answer_text == "A new try is on its way."
    await room.again(query)
    new, old = await room.product.jobs(alice.id)
    assert old.id == job.id
    assert await room.product.ordered() == [("submit", new.id)]
    assert menu.text.startswith("⏳")
    assert shown.text.split("\n")[1:] == ["1. “Morning Line” · Vocals + instrumental · submitting"]


async def test_delivered_stems_are_resent_once_and_free(room: BotRoom, alice: User, sent: Message) -> None:
    job = await delivered(room, sent)
    shown = await listed(room, alice)
    query = await room.presses(shown, "Send again")
    assert query.answer_text == "It is on its way."
    await room.again(query)
    new = (await room.product.jobs(alice.id))[0]
    assert new.id != job.id
    assert (new.state, new.charge, [stem.key for stem in new.cached]) == (JobState.DELIVERING, "", ["vocals"])
    assert await room.product.ordered() == [("deliver", new.id)]


async def test_undelivered_stems_are_fetched_again(room: BotRoom, alice: User, sent: Message) -> None:
    job = await room.product.at(JobState.DELIVERING, sent, result=result_of({"vocals": URL}))
    await room.product.store.fail(job.id, [JobState.DELIVERING], Failure("undeliverable", charged=True))
    await room.presses(await listed(room, alice), "Fetch missing stems")
    assert await room.product.ordered() == [("deliver", job.id)]


async def test_a_daily_limit_is_shown_and_enforced(
    room: BotRoom, alice: User, sent: Message, song: Path
) -> None:
    await room.product.users.set_daily_credits(alice.id, 1030)
    await room.taps(await room.menu(alice, song), 1)
    await room.product.ordered()
    await room.product.users.set_daily_credits(alice.id, 55)
    job = await room.product.at(JobState.SUBMITTING, sent, mode=Mode.SEPARATE_VOCAL)
    await room.product.fail(job.id, Failure("500"))
    shown = await listed(room, alice)
    assert "Credits today: 50 of 55; they renew in " in shown.text
    query = await room.presses(shown, "Try again")
    assert query.is_alert
    assert query.answer_text.startswith("You have used 50 of your 55 credits")
    assert (await room.product.job(job.id)).state is JobState.FAILED
    assert await room.product.ordered() == []


async def test_without_a_limit_none_is_shown(room: BotRoom, alice: User, sent: Message) -> None:
    await failed(room, sent)
    assert "Today" not in (await listed(room, alice)).text


async def test_in_a_group_only_its_songs_are_listed_and_only_the_asker_taps(
    room: BotRoom, alice: User, sent: Message, song: Path
) -> None:
    bob = room.telegram.add_user("Bob")
    group = room.telegram.add_group("Band", [alice, bob])
    await failed(room, sent, "451")
    await room.taps(await room.menu(alice, song, chat_id=group.id, caption="/stems"), 0, alice)
    shown = await listed(room, alice, chat_id=group.id)
    assert "submitting" in shown.text
    assert "451" not in shown.text
    query = await room.presses(shown, "Cancel", bob)
    assert query.answer_text == "Only the person who asked can use these buttons."
    assert (await room.product.jobs(alice.id))[0].state is JobState.SUBMITTING
    assert "no songs here yet" in (await listed(room, bob, chat_id=group.id)).text
    in_private = await listed(room, alice)
    assert "451" in in_private.text
    assert "submitting" in in_private.text


async def test_a_forged_button_reaches_no_job_of_another(room: BotRoom, alice: User, sent: Message) -> None:
    job = await room.product.at(JobState.SUBMITTING, sent)
    bob = room.telegram.add_user("Bob")
    shown = await listed(room, bob)
    for data in (
        f"J:{bob.id}:x:0:{job.id}",
        f"J:{bob.id}:x:0:none",
        f"J:{bob.id}:q:0",
        "J:",
        f"J:{bob.id}:p:x",
    ):
        await room.forges(shown, data, bob)
    assert (await room.product.job(job.id)).state is JobState.SUBMITTING


async def test_the_list_is_in_the_users_language(room: BotRoom, mei: User, song: Path) -> None:
    await room.taps(await room.menu(mei, song), 0)
    shown = await listed(room, mei)
    assert shown.buttons[0]["text"].endswith("取消")


def labels(shown: Message) -> list[str]:
    return [button["text"] for button in shown.buttons]


async def test_stems_that_never_arrived_are_fetched_and_not_resent(
    room: BotRoom, alice: User, sent: Message
) -> None:
    job = await room.product.at(JobState.DELIVERING, sent, result=result_of({"vocals": URL}))
    await room.product.store.move(job.id, [JobState.DELIVERING], JobState.DELIVERED, missing=("Vocals",))
    shown = await listed(room, alice)
    assert labels(shown) == ["1. 🔁 Fetch missing stems"]
    await room.presses(shown, "Fetch")
    assert await room.product.ordered() == [("deliver", job.id)]


async def test_missing_stems_are_fetched_beside_a_resend(room: BotRoom, alice: User, sent: Message) -> None:
    job = await delivered(room, sent)
    await room.product.store.set(job.id, missing=("Drums",))
    assert labels(await listed(room, alice)) == ["1. 🔁 Fetch missing stems", "1. 📨 Send again"]


async def test_a_free_retry_says_so_and_buys_nothing_once_it_is_not(
    room: BotRoom, alice: User, sent: Message
) -> None:
    job = await failed(room, sent)
    cached = CachedStems(Result(200), (CachedStem("vocals", "audio", "file"),))
    await room.product.stem_cache.put(job, cached)
    shown = await listed(room, alice)
    assert labels(shown) == ["1. 🔁 Try again · free"]
    await room.product.stem_cache.forget_all()
    query = await room.presses(shown, "Try again")
    assert query.answer_text.startswith("The price has changed")
    assert labels(shown) == ["1. 🔁 Try again · 50 credits"]
    assert await room.product.ordered() == []


async def test_a_groups_songs_are_not_resent_from_another_chat(
    room: BotRoom, alice: User, song: Path
) -> None:
    group = room.telegram.add_group("The {Band}", [alice])
    there = await room.sends(alice, song, chat_id=group.id)
    job = await delivered(room, there)
    shown = await listed(room, alice)
    assert shown.text.split("\n")[1] == "1. “Morning Line” · All stems · in the group “The {Band}” · 1 stem"
    assert labels(shown) == []
    query = await room.forges(shown, f"J:{alice.id}:s:0:{job.id}", alice)
    assert query.answer_text == "This button no longer works. Send the command again."
    assert await room.product.ordered() == []
    in_group = await listed(room, alice, chat_id=group.id)
    assert in_group.text.split("\n")[1] == "1. “Morning Line” · All stems · 1 stem"
    assert labels(in_group) == ["1. 📨 Send again"]
    room.telegram.faults.add(FaultKind.BLOCKED, method="getChat")
    assert "· in a group ·" in (await listed(room, alice)).text


async def test_the_time_runs_since_the_create_call(room: BotRoom, alice: User, sent: Message) -> None:
    job = await room.product.at(JobState.SEPARATING, sent)
    await room.product.store.set(
        job.id, picked_at=time.time() - 7200, create_started_at=time.time() - 600, moved_at=time.time()
    )
    assert "splitting, 10 min" in (await listed(room, alice)).text
    await room.product.store.set(job.id, create_started_at=0)
    assert re.search(r"splitting, \d sec", (await listed(room, alice)).text)
