"""`/privacy` tells what is kept as it is; `/delete` leaves nothing but what it says."""

import asyncio
from pathlib import Path

import pytest
from product import BotRoom
from redis_search import find_keys

from bot.privacy import explanation
from sandbox.telegram.chats import User
from sandbox.telegram.faults import FaultKind
from stemdrop.chat.translations import load_translations
from stemdrop.domain.jobs import CachedStem, Failure, JobState, Mode
from stemdrop.domain.recipes import Recipe
from stemdrop.domain.results import Result
from stemdrop.settings import load_settings
from stemdrop.storage import job_lists
from stemdrop.storage.keys import JOB, JOB_LIFETIME_S, KEPT_LIFETIME_S, OPEN, SPENT_LIFETIME_S, SPENT_OF
from stemdrop.storage.stem_cache import CachedStems
from stemdrop.tasks.engine import Queue, Task

ENVIRONMENT = {
    "TELEGRAM_BOT_TOKEN": "1:token",
    "SEPARATION_API_KEY": "key",
    "SECRET_KEY": "secret",
    "SEPARATION_API_URL": "https://api.kie.ai",
}


def told(room: BotRoom, **settings: str) -> str:
    return explanation(load_settings(ENVIRONMENT | settings), room.product.translations.languages["en"])


def test_days_are_those_of_the_keys() -> None:
    day_s = 24 * 3600
    assert [30 * day_s, 8 * day_s, 180 * day_s] == [JOB_LIFETIME_S, SPENT_LIFETIME_S, KEPT_LIFETIME_S]


async def test_the_privacy_text_names_the_services_that_receive_the_song(room: BotRoom) -> None:
    fetched = told(room, PUBLIC_URL="https://stems.example")
    assert "api.kie.ai gets it: it fetches the file from me" in fetched
    assert "3 days" not in fetched
    uploaded = told(room)
    assert "uploaded to kieai.redpandaai.co, which keeps it for 3 days" in uploaded
    for text in (fetched, uploaded):
        for days in ("30 days", "180 days", "8 days"):
            assert days in text


async def test_a_host_that_charges_nothing_keeps_no_credits(room: BotRoom) -> None:
    settings, translate = load_settings(ENVIRONMENT), room.product.translations.languages["en"]
    text = explanation(settings, translate.where(is_free=True), is_free=True)
    assert "credits" not in text
    assert "credits" in told(room)


ENGLISH = load_translations().languages["en"]
LOCAL, OWN = ENGLISH("privacy.local_server"), ENGLISH("privacy.own_separator")


async def test_the_privacy_text_says_that_a_local_telegram_server_stores_files(room: BotRoom) -> None:
    assert LOCAL in told(room, TELEGRAM_LOCAL_MODE="true")
    assert LOCAL not in told(room)


@pytest.mark.parametrize(
    ("api_url", "is_own"),
    [
        ("http://127.0.0.1:8001", True),
        ("http://[::1]:8001", True),
        ("http://10.1.2.3", True),
        ("http://192.168.0.7:8001", True),
        ("http://localhost:8001", True),
        ("http://separator:8001", True),
        ("http://split.home.arpa", True),
        ("https://8.8.8.8", False),
        ("https://split.example.org", False),
        ("https://notlocalhost.com", False),
    ],
)
async def test_the_privacy_text_names_no_service_for_ones_own_separator(
    room: BotRoom, api_url: str, is_own: bool
) -> None:
    for public_url in ("", "https://stems.example"):
        text = told(room, SEPARATION_API_URL=api_url, PUBLIC_URL=public_url)
        assert (OWN in text) is is_own
        assert ("by its own rules" in text) is not is_own


async def test_the_privacy_text_names_an_upload_host_beside_ones_own_separator(room: BotRoom) -> None:
    elsewhere = {"SEPARATION_API_URL": "http://localhost:8001", "SEPARATION_UPLOAD_URL": "https://up.example"}
    assert "uploaded to up.example" in told(room, **elsewhere)


@pytest.mark.parametrize(
    ("providers", "public_url", "named"),
    [
        ("sunoapi,stemsplit", "https://stems.example", "fails: api.kie.ai, stemsplit.io. Each"),
        ("lalal,sunoapi", "", "fails: www.lalal.ai, api.kie.ai, kieai.redpandaai.co. Each"),
        ("selfhosted,lalal", "", "To split a song, www.lalal.ai gets it, and keeps it"),
        ("fal", "https://stems.example", "To split a song, queue.fal.run gets it, and keeps it"),
        ("selfhosted", "", OWN),
    ],
)
def test_the_privacy_text_names_every_provider(providers: str, public_url: str, named: str) -> None:
    keys = {f"{name}_API_KEY": "key" for name in ("STEMSPLIT", "LALAL", "FAL", "SELFHOSTED")}
    settings = load_settings({**ENVIRONMENT, **keys, "PROVIDERS": providers, "PUBLIC_URL": public_url})
    text = explanation(settings, ENGLISH)
    assert named in text
    assert (OWN in text) is ("selfhosted" in providers)
    assert ENGLISH("privacy.calls", days=400) in text


async def test_the_privacy_text_says_what_the_operator_sees_and_what_stays(room: BotRoom) -> None:
    text = told(room)
    assert ENGLISH("privacy.operator") in text
    assert text.endswith(ENGLISH("privacy.delete"))
    assert "daily credits" in ENGLISH("delete.stays", days=8)


async def test_privacy_is_answered_for_every_user_in_every_chat(
    private_room: BotRoom, alice: User, boss: User
) -> None:
    (answer,) = await private_room.says(alice, "/privacy")
    assert answer.text.startswith("What I keep about you")
    group = private_room.telegram.add_group("Band", [boss])
    (answer,) = await private_room.says(boss, "/privacy", chat_id=group.id)
    assert answer.text == "I've answered you in our private chat."
    assert private_room.telegram.bot_messages(boss.id)[-1].text.startswith("What I keep about you")


@pytest.mark.parametrize(("command", "begins"), [("privacy", "What I keep"), ("delete", "Delete everything")])
async def test_a_user_who_has_no_private_chat_yet_is_given_a_link_to_it(
    room: BotRoom, alice: User, command: str, begins: str
) -> None:
    group = room.telegram.add_group("Band", [alice])
    room.telegram.block_bot(alice.id)
    (answer,) = await room.says(alice, f"/{command}", chat_id=group.id)
    (button,) = answer.buttons
    assert button["url"] == f"https://t.me/stemdrop_sandbox_bot?start={command}"
    room.telegram.unblock_bot(alice.id)
    (opened,) = await room.says(alice, f"/start {command}")
    assert opened.text.startswith(begins)


async def delete(room: BotRoom, user: User) -> str:
    asked = (await room.says(user, "/delete"))[-1]
    await room.presses(asked, "Delete everything")
    return asked.text


async def test_deleting_leaves_only_what_it_says(room: BotRoom, alice: User, song: Path) -> None:
    store, users = room.product.store, room.product.users
    await users.add(alice.id)
    await users.set_name(alice.id, "Alice")
    await users.set_language(alice.id, "en")
    menus = [await room.menu(alice, song) for _ in range(3)]
    await room.taps(menus[0], 0)
    await room.taps(menus[1], 0)
    (spent_first, *_) = reversed(await room.product.jobs(alice.id))
    assert await store.begin_create(spent_first.id)
    await store.accept(spent_first.id, "task-1")
    cached = CachedStems(Result(200), (CachedStem("vocals", "audio", "file"),))
    await room.product.stem_cache.put(await room.product.job(spent_first.id), cached)
    text = await delete(room, alice)
    assert text.split("\n")[:3] == [
        "Deleted: 3 songs.",
        "Forgotten: 1 saved split.",
        "Your name, your language and your settings are gone too.",
    ]
    assert [menu.text.split("“")[0] for menu in menus] == ["✖️ Cancelled: "] * 3
    assert await room.product.jobs(alice.id) == []
    assert await store.open_jobs() == []
    assert await room.product.stem_cache.find(spent_first.source, (Mode.SEPARATE_VOCAL, "")) is None
    person = await users.person(alice.id)
    assert (person.name, person.language, person.is_allowed) == ("", "", True)
    assert (await store.allowance(alice.id, 20)).spent == 10
    left = await find_keys(room.product.settings.redis_url, str(alice.id), "Morning Line", "Alice")
    # at which pace the chat may be written to, for five minutes
    left.remove(f"stemdrop:flood:full:{alice.id}")
    # where the credits are noted that may still be given back
    left.remove(SPENT_OF.format(spent_first.id))
    assert {key.rpartition(":")[0] for key in left} == {f"stemdrop:account:{alice.id}", "stemdrop:people"}


async def test_deleting_starts_no_queued_job(room: BotRoom, alice: User, song: Path) -> None:
    for _ in range(6):
        await room.taps(await room.other_menu(alice, song), 0)
    jobs = {job.id for job in await room.product.jobs(alice.id) if job.state is JobState.SUBMITTING}
    assert len(jobs) == 3
    await delete(room, alice)
    assert {job_id for _, job_id in await room.product.ordered()} == jobs
    assert (await room.product.store.allowance(alice.id, 20)).spent == 0


async def test_deleting_more_songs_than_are_read_at_once(
    room: BotRoom,
    alice: User,
    song: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(job_lists, "_JOBS_A_STEP", 10)
    sent = await room.sends(alice, song)
    for number in range(15):
        await room.product.at(JobState.CHOOSING, sent, source_message_id=1000 + number)
    room.telegram.flood.is_enforced = False
    jobs = await room.product.store.jobs_of(alice.id, 1000)
    for job in jobs[1:]:
        await room.product.store.cancel(job.id)
    assert (await delete(room, alice)).startswith("Deleted: 16 songs")
    assert await room.product.jobs(alice.id) == []
    assert "could not be read" not in caplog.text


@pytest.mark.parametrize(("field", "value"), [("state", "dreaming"), ("source", "{}"), ("links", "[1]")])
async def test_jobs_that_cannot_be_read_are_deleted_too(
    room: BotRoom, alice: User, song: Path, caplog: pytest.LogCaptureFixture, field: str, value: str
) -> None:
    await room.taps(await room.menu(alice, song), 0)
    ((_, job_id),) = await room.product.ordered()
    await room.product.redis.hset(JOB.format(job_id), field, value)
    assert (await delete(room, alice)).startswith("Deleted: 1 song.")
    assert await find_keys(room.product.settings.redis_url, "Morning Line") == []
    assert await room.product.redis.zcard(OPEN) == 0
    assert (await room.product.store.allowance(alice.id, 20)).spent == 0
    assert f"job {job_id}: its user has deleted it; it could not be read" in caplog.text


async def test_a_song_counts_once_however_often_it_was_tried(room: BotRoom, alice: User, song: Path) -> None:
    sent = await room.sends(alice, song)
    for _ in range(3):
        job = await room.product.at(JobState.SUBMITTING, sent)
        await room.product.fail(job.id, Failure("500"))
    assert (await delete(room, alice)).startswith("Deleted: 1 song.")


async def test_a_job_deleted_during_its_delivery_is_shown_as_deleted(
    room: BotRoom, alice: User, song: Path
) -> None:
    menu = await room.menu(alice, song)
    (job,) = await room.product.jobs(alice.id)
    await room.product.store.move(job.id, [JobState.CHOOSING], JobState.DELIVERING, mode=Mode.SPLIT_STEM)
    await room.product.status.show_current(job.id)
    assert "Sending the stems…" in menu.text
    await delete(room, alice)
    assert menu.text == "🗑 Deleted: “Morning Line”."
    assert not menu.buttons


async def test_deleting_removes_remixes_and_the_message_that_shows_their_progress(
    room: BotRoom, alice: User, song: Path
) -> None:
    product, menu = room.product, await room.menu(alice, song)
    (job,) = await product.jobs(alice.id)
    await product.store.set(job.id, mode=Mode.SPLIT_STEM)
    for number in range(2):
        order = product.remixing.order
        assert await order(job, alice.id, [Recipe(speed=80)], by=f"tap {number}", language="en")
    (remix, _) = await product.remixes.open_of(alice.id)
    await product.remixes.note_message(remix.id, alice.id, menu.message_id)
    await delete(room, alice)
    assert menu.is_deleted
    assert await product.remixes.get(remix.id) is None
    assert await product.remixes.open_ids(product.clock()) == []
    assert await product.redis.keys("stemdrop:*remix*") == []


async def test_deleting_sends_no_message_that_is_gone(room: BotRoom, alice: User, song: Path) -> None:
    menu = await room.menu(alice, song)
    (job,) = await room.product.jobs(alice.id)
    await room.product.store.move(job.id, [JobState.CHOOSING], JobState.DELIVERING, mode=Mode.SPLIT_STEM)
    room.telegram.delete_message(alice.id, menu.message_id)
    asked = (await room.says(alice, "/delete"))[-1]
    await room.presses(asked, "Delete everything")
    assert asked.text.startswith("Deleted: 1 song")
    assert room.after(asked) == []


async def test_deleting_is_reported_although_the_first_reply_failed(
    room: BotRoom, alice: User, song: Path
) -> None:
    await room.menu(alice, song)
    (job,) = await room.product.jobs(alice.id)
    await room.product.store.set(job.id, mode=Mode.SPLIT_STEM)
    cached = CachedStems(Result(200), (CachedStem("vocals", "audio", "file"),))
    await room.product.stem_cache.put(await room.product.job(job.id), cached)
    asked = (await room.says(alice, "/delete"))[-1]
    # first the song's own message, then the answer
    fault = room.telegram.faults.add(FaultKind.SERVER_ERROR, method="editMessageText", times=2)
    query = await room.presses(asked, "Delete everything")
    assert fault.hits == 2
    assert await room.product.jobs(alice.id) == []
    for _ in range(2):
        await room.again(query)
        assert asked.text.startswith("Deleted: 1 song.\nForgotten: 1 saved split.\n")


async def test_a_second_tap_on_delete_shows_what_the_first_one_deleted(
    room: BotRoom, mei: User, song: Path
) -> None:
    await room.product.users.set_language(mei.id, "es")
    await room.menu(mei, song)
    asked = (await room.says(mei, "/delete"))[-1]
    data = asked.buttons[0]["callback_data"]
    await room.taps(asked, 0, mei)
    assert asked.text.startswith("Borrada: 1 canción")
    await room.forges(asked, data, mei)
    assert asked.text.startswith("Borrada: 1 canción")


async def test_deleting_nothing_and_twice_is_harmless(room: BotRoom, alice: User) -> None:
    asked = (await room.says(alice, "/delete"))[-1]
    query = await room.presses(asked, "Delete everything")
    await room.again(query)
    assert asked.text.startswith("Deleted: 0 songs")


async def test_deleting_keeps_other_users_songs(room: BotRoom, alice: User, mei: User, song: Path) -> None:
    menu = await room.menu(mei, song)
    await delete(room, alice)
    assert menu.buttons
    assert len(await room.product.jobs(mei.id)) == 1


async def test_a_user_who_declines_keeps_everything(room: BotRoom, alice: User, song: Path) -> None:
    await room.menu(alice, song)
    asked = (await room.says(alice, "/delete"))[-1]
    await room.presses(asked, "Keep it")
    assert asked.text == "Nothing was deleted."
    assert len(await room.product.jobs(alice.id)) == 1


async def test_only_the_asker_deletes_and_never_in_a_group(
    room: BotRoom, alice: User, mei: User, song: Path
) -> None:
    await room.menu(alice, song)
    asked = (await room.says(alice, "/delete"))[-1]
    query = await room.forges(asked, f"D:{alice.id}:y", mei)
    assert query.answer_text
    assert len(await room.product.jobs(alice.id)) == 1
    group = room.telegram.add_group("Band", [alice])
    (answer,) = await room.says(alice, "/delete", chat_id=group.id)
    assert answer.text == "Send me that in a private chat, please."


async def test_updates_are_removed_from_the_engine_at_once(room: BotRoom, alice: User) -> None:
    text = "a secret between us"
    room.telegram.send_text(alice.id, text)
    (update,) = await room.product.bot.get_updates(timeout=0)
    stop = asyncio.Event()
    handler = room.product.updates(room.application)

    async def run(update_json: str) -> None:
        assert await find_keys(url, text)
        await handler.run(update_json)
        stop.set()

    url = room.product.settings.redis_url
    await room.product.engine.add(Task.UPDATE, "1", update.to_json())
    await room.product.engine.work(Queue.UPDATES, {Task.UPDATE: run}, stop)
    assert len(room.telegram.bot_messages(alice.id)) == 1
    assert await find_keys(url, text) == []
