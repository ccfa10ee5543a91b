"""Delivery of cached stems: sent by their `file_id`, or a question when Telegram has lost them."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
import sounds
from delivered import field, shown, stems
from fileserver import FileServer
from product import Clock, Product, new_job, open_product, result_of
from telegram.error import TimedOut

from sandbox.telegram.chats import Message, User
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.person_actions import Telegram
from stemdrop.domain.abilities import Abilities, Ability
from stemdrop.domain.jobs import Failure, Job, JobState, Mode
from stemdrop.domain.outcomes import Sent
from stemdrop.errors import StoreUnavailable, TryLater
from stemdrop.services.orders import Orders
from stemdrop.storage.flood_limiter import FloodLimiter
from stemdrop.storage.job_store import MAX_IN_FLIGHT, JobStore
from stemdrop.storage.stem_cache import CachedStems
from worker.delivery import MAX_DELIVERY_RUNS, Delivery

ALL_STEMS = (Mode.SPLIT_STEM, "")
FOUR = ("vocals", "drums", "bass", "guitar")


@pytest.fixture
def product_options(files: FileServer) -> dict[str, Any]:
    """The separation API is the file server of the stems."""
    return {"api_url": files.url}


@pytest.fixture
def delivery(product: Product) -> Delivery:
    return product.delivery()


@pytest.fixture
def orders(product: Product) -> Orders:
    return product.orders


@pytest.fixture
async def two(product: Product, delivery: Delivery, files: FileServer, sent: Message, tone: bytes) -> Job:
    """Alice's job with two delivered stems."""
    return await split(product, delivery, sent, {key: files.put(f"{key}.mp3", tone) for key in FOUR[:2]})


@pytest.fixture
async def two_albums(
    product: Product,
    delivery: Delivery,
    files: FileServer,
    sent: Message,
    tone: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> Job:
    """Alice's job with four delivered stems, in albums of two."""
    monkeypatch.setattr("worker.stems.stem_sender.MAX_ALBUM", 2)
    return await split(product, delivery, sent, {key: files.put(f"{key}.mp3", tone) for key in FOUR})


async def split(product: Product, delivery: Delivery, sent: Message, urls: dict[str, str]) -> Job:
    job = await product.at(JobState.DELIVERING, sent, result=result_of(urls))
    await delivery.run(job.id)
    return await product.job(job.id)


@pytest.fixture
def bob(telegram: Telegram) -> User:
    return telegram.add_user("Bob")


async def again(product: Product, orders: Orders, user: User, song: Path, language: str = "en") -> Job:
    """Send the same song as this user and pick all stems."""
    sent = await product.telegram.send_file(user.id, song)
    job = replace(new_job(sent), language=language)
    await product.store.add(job, once=job.id)
    await orders.pick(job, *ALL_STEMS)
    return await product.job(job.id)


async def test_everybody_gets_the_format_of_their_choice(
    product: Product,
    delivery: Delivery,
    orders: Orders,
    files: FileServer,
    sent: Message,
    bob: User,
    song: Path,
    tone: bytes,
    tmp_path: Path,
) -> None:
    """Of lossless stems one was too large for Telegram and came as MP3, which is told each time."""
    await product.abilities.put(Abilities({Mode.SPLIT_STEM: Ability()}, formats=("mp3", "flac")))
    await split(product, delivery, sent, {"vocals": files.put("vocals.mp3", tone)})
    await product.users.set_file_format(bob.id, "flac")
    lossless = sounds.record(tmp_path / "a.flac", "flac", sounds.tone(seconds=0.1)).read_bytes()
    urls = {"vocals": files.put("v.flac", lossless), "drums": files.put("d.mp3", tone)}

    job = await again(product, orders, bob, song)
    assert (job.state, job.file_format) == (JobState.SUBMITTING, "flac")
    assert await product.store.begin_create(job.id)
    await product.store.accept(job.id, "task-2")
    await product.store.receive(job.id, job.chat_id, "task-2", result_of(urls))
    await delivery.run(job.id)
    assert sorted(message.kind for message in stems(product, bob.id)) == ["audio", "document"]
    told = "Too large as a lossless file, so sent as MP3: Drums."
    assert told in shown(product, job).text

    carol = product.telegram.add_user("Carol")
    for wanted, kinds in (("mp3", ["audio"]), ("flac", ["audio", "document"])):
        await product.users.set_file_format(carol.id, wanted)
        before = len(stems(product, carol.id))
        kept = await again(product, orders, carol, song)
        assert (kept.state, kept.file_format) == (JobState.DELIVERING, wanted)
        await delivery.run(kept.id)
        assert sorted(message.kind for message in stems(product, carol.id)[before:]) == kinds
        text = [found.text for found in product.telegram.bot_messages(carol.id) if found.kind == "text"][-1]
        assert (told in text) is (wanted == "flac")
    # sent again in the format in which they came, whatever is chosen now
    await product.users.set_file_format(carol.id, "mp3")
    resent = await product.job((await orders.resend(await product.job(kept.id))).job_id)
    assert (resent.file_format, len(resent.cached)) == ("flac", 2)


async def test_cached_stems_arrive_in_albums_at_no_cost(
    product: Product,
    delivery: Delivery,
    orders: Orders,
    files: FileServer,
    two_albums: Job,
    bob: User,
    song: Path,
) -> None:
    files.requests.clear()
    job = await again(product, orders, bob, song)
    assert (job.state, job.price) == (JobState.DELIVERING, 0)
    await delivery.run(job.id)
    original, arrived = stems(product, two_albums.chat_id), stems(product, job.chat_id)
    assert field(arrived, "file_unique_id") == field(original, "file_unique_id")
    assert field(arrived, "title") == field(original, "title")
    assert {message.reply_to.message_id for message in arrived if message.reply_to} == {job.source_message_id}
    album_ids = [message.media_group_id for message in arrived]
    assert album_ids == [album_ids[0]] * 2 + [album_ids[-1]] * 2
    assert {message.text for message in arrived} == {""}
    assert files.requests == []
    assert shown(product, job).text == (
        "✅ “Morning Line”: 4 stems are here. They cost nothing: this song was split this way before."
    )
    now = await product.job(job.id)
    assert (now.state, now.silent, now.refused) == (JobState.DELIVERED, (), ())
    assert set(await product.store.sent(job.id)) == set(FOUR)
    assert (await product.store.allowance(bob.id, 0)).spent == 0
    assert await product.store.open_jobs() == []


async def test_titles_in_another_language_are_captions(
    product: Product, delivery: Delivery, orders: Orders, two: Job, bob: User, song: Path
) -> None:
    job = await again(product, orders, bob, song, language="zh-hans")
    await delivery.run(job.id)
    translate = product.translations.language("zh-hans")
    captions = [message.text for message in stems(product, job.chat_id)]
    assert captions == [f"Morning Line ({translate(f'stem.{key}')})" for key in FOUR[:2]]
    cached = await product.store.sent(job.id)
    assert cached["vocals"].title == "Morning Line (Vocals)"


async def test_cached_stems_arrive_in_the_topic_of_the_request(
    product: Product, delivery: Delivery, orders: Orders, two: Job, bob: User, song: Path
) -> None:
    forum = product.telegram.add_group("Band", [bob], forum=True)
    thread_id = product.telegram.add_topic(forum.id, "Demos")
    sent = await product.telegram.send_file(forum.id, song, thread_id=thread_id)
    job = new_job(sent)
    await product.store.add(job, once=job.id)
    await orders.pick(job, *ALL_STEMS)
    await delivery.run(job.id)
    arrived = stems(product, forum.id)
    assert len(arrived) == 2
    assert {message.thread_id for message in arrived} == {thread_id}
    assert [message.reply_to for message in arrived] == [sent] * 2


async def test_documents_stay_documents_and_silent_stems_are_named_again(
    product: Product,
    delivery: Delivery,
    orders: Orders,
    files: FileServer,
    sent: Message,
    bob: User,
    song: Path,
    tone: bytes,
    tmp_path: Path,
) -> None:
    wave = sounds.record(tmp_path / "a.wav", "wav", sounds.tone(seconds=0.1)).read_bytes()
    silence = sounds.record(tmp_path / "b.wav", "wav", 0 * sounds.tone(seconds=0.1)).read_bytes()
    urls = {
        "vocals": files.put("v.wav", wave),
        "drums": files.put("d.mp3", tone),
        "bass": files.put("b.wav", silence),
        "guitar": files.put("g.wav", wave),
    }
    await split(product, delivery, sent, urls)
    job = await again(product, orders, bob, song)
    await delivery.run(job.id)
    arrived = stems(product, job.chat_id)
    assert field(arrived, "file_name") == [
        *("Morning Line (Drums).mp3", "Morning Line (Vocals).wav", "Morning Line (Guitar).wav")
    ]
    assert [message.kind for message in arrived] == ["audio", "document", "document"]
    assert arrived[1].media_group_id == arrived[2].media_group_id is not None
    assert {message.text for message in arrived} == {""}
    assert (await product.job(job.id)).silent == ("Bass",)
    assert shown(product, job).text.endswith("\nSilent, so not sent: Bass.")


async def test_only_a_complete_result_is_cached(
    product: Product, delivery: Delivery, files: FileServer, sent: Message, tone: bytes
) -> None:
    urls = {key: files.put(f"{key}.mp3", tone) for key in ("vocals", "drums")}
    files.put("drums.mp3", b"", status=404)
    job = await split(product, delivery, sent, urls)
    assert await product.stem_cache.find(job.source, ALL_STEMS) is None
    files.put("drums.mp3", tone)
    assert await product.store.deliver_again(job.id)
    await delivery.run(job.id)
    cached = await product.stem_cache.find(job.source, ALL_STEMS)
    assert cached
    assert [(stem.key, stem.kind, stem.title) for stem in cached.stems] == [
        ("vocals", "audio", "Morning Line (Vocals)"),
        ("drums", "audio", "Morning Line (Drums)"),
    ]
    assert {stem.url for stem in cached.result.stems} == {""}


async def test_a_job_deleted_during_its_delivery_is_not_cached(
    product: Product, delivery: Delivery, two: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    await product.stem_cache.forget(two.source, ALL_STEMS)
    assert await product.store.deliver_again(two.id)
    put = product.stem_cache.put

    async def put_then_deleted(job: Job, cached: CachedStems) -> None:
        await put(job, cached)
        await product.store.forget(job.id)

    monkeypatch.setattr(product.stem_cache, "put", put_then_deleted)
    await delivery.run(two.id)
    assert await product.stem_cache.find(two.source, ALL_STEMS) is None


async def test_the_user_is_asked_before_paying_for_stems_that_telegram_lost(
    product: Product,
    delivery: Delivery,
    orders: Orders,
    files: FileServer,
    two_albums: Job,
    bob: User,
    song: Path,
) -> None:
    job = await again(product, orders, bob, song)
    assert job.cached[3].key == FOUR[3]
    product.telegram.forget_file(job.cached[3].file_id)
    await delivery.run(job.id)
    assert field(stems(product, bob.id), "title") == field(stems(product, two_albums.chat_id)[:2], "title")
    now = await product.job(job.id)
    assert (now.state, now.cached, now.result, now.is_cache_lost) == (JobState.CHOOSING, (), None, True)
    assert (now.mode, now.price) == (Mode.SPLIT_STEM, 0)
    message = shown(product, job)
    assert "Telegram no longer has the stems" in message.text
    assert [button["text"] for button in message.buttons] == ["All stems · 50 credits", "✖️ Cancel"]
    assert await product.stem_cache.find(job.source, ALL_STEMS) is None

    await orders.pick(now, *ALL_STEMS)
    assert (await product.job(job.id)).state is JobState.SUBMITTING
    assert await product.store.begin_create(job.id)
    await product.store.accept(job.id, "task-2")
    files.requests.clear()
    assert two_albums.result
    await product.store.receive(job.id, job.chat_id, "task-2", two_albums.result)
    await delivery.run(job.id)
    assert set(files.asked) == {f"{key}.mp3" for key in FOUR[2:]}
    assert field(stems(product, bob.id), "title") == field(stems(product, two_albums.chat_id), "title")
    assert shown(product, job).text == "✅ “Morning Line”: 4 stems are here."
    cached = await product.stem_cache.find(job.source, ALL_STEMS)
    assert cached
    assert len(cached.stems) == 4


async def test_stems_that_another_user_has_paid_for_since_stay_cached(
    product: Product, delivery: Delivery, orders: Orders, two: Job, bob: User, song: Path
) -> None:
    job = await again(product, orders, bob, song)
    product.telegram.forget_file(job.cached[0].file_id)
    assert job.result
    await product.stem_cache.put(two, CachedStems(job.result, job.cached[1:]))
    await delivery.run(job.id)
    now = await product.job(job.id)
    assert now.is_cache_lost
    await orders.pick(now, *ALL_STEMS)
    await delivery.run(job.id)
    assert len(stems(product, bob.id)) == 1
    assert (await product.job(job.id)).price == 0


async def test_a_question_that_could_not_be_shown_is_shown_by_the_next_run(
    product: Product,
    delivery: Delivery,
    orders: Orders,
    two: Job,
    bob: User,
    song: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = await again(product, orders, bob, song)
    product.telegram.forget_file(job.cached[0].file_id)
    show = product.job_message.show_current

    async def show_unless_choosing(job_id: str) -> None:
        if (await product.job(job_id)).state is JobState.CHOOSING:
            raise TimedOut
        await show(job_id)

    with monkeypatch.context() as patch:
        patch.setattr(product.job_message, "show_current", show_unless_choosing)
        with pytest.raises(TryLater):
            await delivery.run(job.id)
    assert (await product.job(job.id)).is_cache_lost
    await delivery.run(job.id)
    assert "Telegram no longer has the stems" in shown(product, job).text
    assert stems(product, bob.id) == []


async def test_the_user_is_asked_although_the_answer_of_the_move_was_lost(
    product: Product,
    delivery: Delivery,
    orders: Orders,
    two: Job,
    bob: User,
    song: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = await again(product, orders, bob, song)
    for _ in range(MAX_IN_FLIGHT - 1):
        other = await again(product, orders, bob, song)
        assert other.state is JobState.DELIVERING
    waiting = replace(new_job(await product.telegram.send_file(bob.id, song)))
    await product.store.add(waiting, once=waiting.id)
    await product.store.pick(waiting, Mode.SEPARATE_VOCAL, "", 0)
    assert (await product.job(waiting.id)).state is JobState.QUEUED
    product.telegram.forget_file(job.cached[0].file_id)
    move = product.store.move

    async def move_twice(*args: Any, **changes: Any) -> bool:
        await move(*args, **changes)
        return await move(*args, **changes)  # the Redis client repeats a command whose answer was lost

    monkeypatch.setattr(product.store, "move", move_twice)
    await delivery.run(job.id)
    texts = [found.text for found in product.telegram.bot_messages(bob.id) if found.kind == "text"]
    assert any("Telegram no longer has the stems" in text for text in texts)
    assert (await product.job(waiting.id)).state is JobState.SUBMITTING


async def test_a_cached_delivery_is_postponed_by_flood_limits(
    product: Product, orders: Orders, two: Job, bob: User, song: Path, redis_url: str
) -> None:
    job = await again(product, orders, bob, song)
    async with (
        open_product(
            redis_url,
            product.telegram,
            product.settings.telegram_api_url,
            is_flood_limited=True,
            clock=Clock(),
        ) as busy,
    ):
        await FloodLimiter(busy.redis, busy.clock).pause(60)
        with anyio.fail_after(20), pytest.raises(TryLater) as later:
            await busy.delivery().run(job.id)
        assert later.value.after_s == pytest.approx(60, abs=1)


async def test_an_error_of_telegram_loses_no_cached_stem(
    product: Product, delivery: Delivery, orders: Orders, two: Job, bob: User, song: Path
) -> None:
    for number, fault in enumerate(
        (FaultKind.SERVER_ERROR, FaultKind.BAD_GATEWAY, FaultKind.RESET_BEFORE), 1
    ):
        job = await again(product, orders, bob, song)
        product.telegram.faults.add(fault, method="sendMediaGroup")
        with pytest.raises(TryLater):
            await delivery.run(job.id)
        assert await product.stem_cache.find(job.source, ALL_STEMS), fault
        await delivery.run(job.id)
        assert len(stems(product, bob.id)) == 2 * number, fault


async def test_a_user_who_blocked_the_bot_is_not_charged(
    product: Product, delivery: Delivery, orders: Orders, two: Job, bob: User, song: Path
) -> None:
    job = await again(product, orders, bob, song)
    product.telegram.block_bot(bob.id)
    await delivery.run(job.id)
    assert (await product.job(job.id)).failure == Failure("undeliverable", charged=False)
    assert await product.stem_cache.find(job.source, ALL_STEMS)


async def test_a_cached_delivery_that_is_given_up_was_not_charged(
    product: Product, delivery: Delivery, orders: Orders, two: Job, bob: User, song: Path
) -> None:
    job = await again(product, orders, bob, song)
    await product.redis.hset(f"stemdrop:job:{job.id}", "runs:deliver", MAX_DELIVERY_RUNS)
    await delivery.run(job.id)
    assert (await product.job(job.id)).failure == Failure("undeliverable", charged=False)
    assert "This try cost nothing." in shown(product, job).text


async def test_the_rest_is_sent_after_a_run_died_after_the_first_album(
    product: Product,
    delivery: Delivery,
    orders: Orders,
    two_albums: Job,
    bob: User,
    song: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = await again(product, orders, bob, song)
    tick = product.store.tick

    async def tick_and_die(job_id: str, sent: dict[str, Sent]) -> None:
        await tick(job_id, sent)
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(product.store, "tick", tick_and_die)
        with pytest.raises(asyncio.CancelledError):
            await delivery.run(job.id)
    assert len(stems(product, bob.id)) == 2
    await delivery.run(job.id)
    assert field(stems(product, bob.id), "title") == field(stems(product, two_albums.chat_id), "title")
    assert "4 stems are here. They cost nothing" in shown(product, job).text


async def test_nothing_is_sent_again_after_a_run_died_before_its_end(
    product: Product,
    delivery: Delivery,
    orders: Orders,
    two: Job,
    bob: User,
    song: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = await again(product, orders, bob, song)

    async def away(*_: object, **__: object) -> bool:
        raise StoreUnavailable("Redis does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(product.store, "move", away)
        with pytest.raises(StoreUnavailable):
            await delivery.run(job.id)
    assert len(stems(product, bob.id)) == 2
    await delivery.run(job.id)
    await delivery.run(job.id)
    assert len(stems(product, bob.id)) == 2
    assert (await product.job(job.id)).state is JobState.DELIVERED
    assert "2 stems are here. They cost nothing" in shown(product, job).text


class PausingStore(JobStore):
    """A store whose caller waits after the first album that it has recorded."""

    def __init__(self, product: Product) -> None:
        super().__init__(product.redis, product.clock)
        self.recorded, self.go_on = asyncio.Event(), asyncio.Event()

    async def tick(self, job_id: str, sent: dict[str, Sent]) -> None:
        await super().tick(job_id, sent)
        self.recorded.set()
        await self.go_on.wait()


async def test_a_frozen_run_sends_no_cached_album_that_another_run_has_sent(
    product: Product,
    two_albums: Job,
    bob: User,
    orders: Orders,
    song: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.delivery.NOT_ENDED_S", 0.0)
    job = await again(product, orders, bob, song)
    store = PausingStore(product)
    frozen = asyncio.create_task(product.changed(store=store).delivery().run(job.id))
    async with asyncio.timeout(120):
        await store.recorded.wait()
    await product.delivery().run(job.id)
    store.go_on.set()
    await frozen
    audios = [message for message in product.telegram.bot_messages(bob.id) if message.kind == "audio"]
    assert len(audios) == 4
    assert (await product.job(job.id)).state is JobState.DELIVERED
