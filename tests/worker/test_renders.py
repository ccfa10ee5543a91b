"""Remixes are rendered from a job's stems, sent once, and come from the cache the second time."""

import asyncio
import io
import shutil
import threading
import zipfile
from collections import namedtuple
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import IO, Any

import anyio
import av
import numpy as np
import pytest
from decoding import decode
from fileserver import FileServer
from product import Clock, Product, open_product, result_of
from sounds import record
from tones import mp3

import worker.renders
import worker.stems.fetcher
import worker.zip_file
from sandbox.telegram.chats import Message, User
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.state import Limits
from stemdrop.domain.jobs import CachedStem, Job, JobState
from stemdrop.domain.outcomes import Sent
from stemdrop.domain.recipes import OFF_DB, Recipe, Remix, RemixState
from stemdrop.domain.song_facts import SongFacts
from stemdrop.errors import StoreUnavailable, TryLater
from stemdrop.observability.metric_definitions import RENDERS
from stemdrop.operator.job_actions import OperatorActions
from stemdrop.services.remixing import MAX_OPEN_REMIXES
from stemdrop.storage.flood_limiter import FloodLimiter
from stemdrop.storage.keys import REMIX
from stemdrop.tasks.engine import Queue, Task
from worker.audio.mixdown import mix_down
from worker.cancellable_thread import copy_stream, raise_if_cancelled
from worker.renders import MAX_RENDER_RUNS, Renders

KARAOKE = Recipe().with_gain("vocals", OFF_DB)
PACK = tuple(replace(KARAOKE, speed=speed) for speed in (70, 80, 100))
FACTS = SongFacts(bpm=100, beat_s=0.0, key="A minor")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.stems.fetcher, "PAUSES_S", (0.001,))
    monkeypatch.setattr(worker.renders, "WATCH_ORDER_EVERY_S", 0.005)


@pytest.fixture
def product_options(files: FileServer) -> dict[str, Any]:
    """The separation API is the file server of the stems."""
    return {"api_url": files.url}


@pytest.fixture
def renders(product: Product) -> Renders:
    return product.renders()


Deliver = Callable[..., Awaitable[Job]]


@pytest.fixture
def deliver(product: Product, files: FileServer, tone: bytes) -> Deliver:
    """A function that delivers a job with the same sound for each key."""

    async def delivered(message: Message, *keys: str, **changes: Any) -> Job:
        facts, sound = changes.pop("facts", FACTS), changes.pop("sound", tone)
        result = result_of({key: files.put(f"{key}.mp3", sound) for key in keys})
        job = await product.at(JobState.DELIVERING, message, result=result, **changes)
        await product.delivery().run(job.id)
        await product.store.set(job.id, facts=facts)
        return await product.job(job.id)

    return delivered


@pytest.fixture
async def two(product: Product, two: Job) -> Job:
    """A delivered job with vocals and instrumental, of known tempo."""
    await product.store.set(two.id, facts=FACTS)
    return await product.job(two.id)


_taps = count()


async def order(product: Product, job: Job, *recipes: Recipe, **how: Any) -> Remix:
    user_id = how.pop("user_id", job.user_id)
    options = {"by": f"tap {next(_taps)}", "language": "en", **how}
    remix = await product.remixing.order(job, user_id, recipes, **options)
    assert remix
    return remix


async def state(product: Product, remix: Remix) -> RemixState:
    found = await product.remixes.get(remix.id)
    assert found
    return found.state


def remixed(product: Product, job: Job, kind: str = "audio") -> list[Message]:
    """Return the files that came after the job's stems."""
    shown = [it for it in product.telegram.bot_messages(job.chat_id) if it.kind == kind]
    return shown[len(job.result.stems if job.result else ()) :] if kind == "audio" else shown


def texts(product: Product, job: Job) -> list[str]:
    """Return the texts in the chat other than the job's own message."""
    shown = product.telegram.bot_messages(job.chat_id)
    return [it.text for it in shown if it.kind == "text" and it.message_id != job.message_id]


def titles(product: Product, job: Job) -> list[str]:
    return [str(it.media["title"]) for it in remixed(product, job) if it.media]


def content(product: Product, message: Message) -> bytes:
    assert message.media
    return product.telegram.file_location(message.media["file_id"]).read_bytes()


def calls(product: Product, method: str) -> int:
    return sum(call.method == method for call in product.telegram.calls)


# One remix


async def test_a_remix_comes_as_audio_with_tags_and_a_button(
    product: Product, renders: Renders, deliver: Deliver, sent: Message, tmp_path: Path
) -> None:
    job = await deliver(sent, "vocals", "drums", "bass", sound=mp3(tmp_path / "a.mp3", 1))
    recipe = replace(Recipe().with_gains({"drums": OFF_DB, "bass": -6}), speed=80, semitones=3)
    remix = await order(product, job, recipe)
    await renders.run(remix.id)
    (audio,) = remixed(product, job)
    assert audio.media
    assert audio.media["title"] == "Morning Line (without drums, bass −6 dB, 80%, +3)"
    assert audio.media["file_name"] == "Morning Line (without drums, bass −6 dB, 80%, +3).mp3"
    assert audio.media["performer"]
    assert audio.media["duration"] == 1
    assert audio.reply_to is sent
    assert [button["callback_data"] for button in audio.buttons] == [f"M:d:{job.id}"]
    with av.open(io.BytesIO(content(product, audio))) as container:
        tags = container.metadata
        assert (tags["TBPM"], tags["TKEY"]) == ("80", "Cm")
        assert tags["title"] == audio.media["title"]

        assert float(container.duration or 0) / av.time_base == pytest.approx(1 / 0.8, abs=0.1)
    # two tones in step, one of them 6 dB quieter, both higher
    assert np.abs(decode(content(product, audio))).max() == pytest.approx(0.3 * 1.5, abs=0.05)
    assert texts(product, job) == []
    assert await state(product, remix) is RemixState.SENT
    assert await product.remixes.open_of(job.user_id) == []
    assert product.counters._added[RENDERS.field("sent")] == 1


class Rendering:
    """Holds renders until the test lets them go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.may_end, self.share = threading.Event(), threading.Event(), 0.0

        def held(*args: Any) -> float:
            args[-1](self.share)
            self.begun.set()
            while not self.may_end.wait(0.005):
                raise_if_cancelled()
            return mix_down(*args)

        monkeypatch.setattr("worker.audio.mixdown.mix_down", held)

    async def has_begun(self) -> None:
        with anyio.fail_after(20):
            while not self.begun.is_set():  # noqa: ASYNC110
                await asyncio.sleep(0.005)


@pytest.fixture
def rendering(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rendering]:
    held = Rendering(monkeypatch)
    yield held
    held.may_end.set()


async def test_its_progress_is_shown_and_removed(
    product: Product,
    renders: Renders,
    two: Job,
    sent: Message,
    rendering: Rendering,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker.renders, "SHOW_EVERY_S", 0)
    remix = await order(product, two, KARAOKE, language="ru")
    rendering.share = 0.6
    running = asyncio.create_task(renders.run(remix.id))
    await rendering.has_begun()
    message = product.telegram.bot_messages(two.chat_id)[-1]
    assert message.reply_to is sent
    assert [button["callback_data"] for button in message.buttons] == [f"M:x:{remix.id}"]
    await product.telegram.wait_for(lambda: message.history)
    (before,) = message.history
    assert before.content["text"] == "🎚 Готовлю «Morning Line (минус вокал)»…"
    assert message.text == "🎚 Готовлю «Morning Line (минус вокал)»… 50\xa0%"
    rendering.may_end.set()
    await running
    assert message.is_deleted
    assert titles(product, two) == ["Morning Line (минус вокал)"]


async def test_the_same_recipe_comes_at_once_for_everybody(
    product: Product, renders: Renders, two: Job, mei: User, song: Path
) -> None:
    await renders.run((await order(product, two, KARAOKE)).id)
    again = await product.telegram.send_file(mei.id, song)
    stems = await product.store.sent(two.id)
    cached = tuple(CachedStem(key, it.kind, it.file_id, it.title) for key, it in stems.items())
    job = await product.at(
        JobState.DELIVERING, again, source=two.source, result=two.result, task_id="task-2", cached=cached
    )
    await product.delivery().run(job.id)
    before = len(product.telegram.calls)
    await renders.run((await order(product, job, KARAOKE, language="zh-hans")).id)
    first, second = remixed(product, two)[0], remixed(product, job)[0]
    assert first.media
    assert second.media
    assert first.media["file_unique_id"] == second.media["file_unique_id"]
    assert second.content["caption"] == "Morning Line (去人声)"
    assert [button["callback_data"] for button in second.buttons] == [f"M:d:{job.id}"]
    assert len(product.telegram.calls) == before + 1
    assert product.counters._added[RENDERS.field("cached")] == 1


async def test_a_remix_that_telegram_lost_is_made_again(product: Product, renders: Renders, two: Job) -> None:
    await renders.run((await order(product, two, KARAOKE)).id)
    (first,) = remixed(product, two)
    assert first.media
    product.telegram.forget_file(first.media["file_id"])
    remix = await order(product, two, KARAOKE)
    with pytest.raises(TryLater):
        await renders.run(remix.id)
    await renders.run(remix.id)
    assert len(remixed(product, two)) == 2
    assert texts(product, two) == []


async def test_stems_come_from_the_provider_where_telegram_gives_none(
    product: Product, renders: Renders, files: FileServer, two: Job, tone: bytes
) -> None:
    """A remix waits while the provider's host is away, too."""
    product.telegram.limits = Limits(10, product.telegram.limits.upload_bytes)
    files.put("instrumental.mp3", status=503)
    remix = await order(product, two, KARAOKE)
    with pytest.raises(TryLater):
        await renders.run(remix.id)
    files.put("instrumental.mp3", tone)
    files.requests.clear()
    await renders.run(remix.id)
    assert files.asked == ["instrumental.mp3"]
    assert len(remixed(product, two)) == 1


async def test_a_stem_that_is_gone_is_named_and_such_a_remix_is_not_cached(
    product: Product, renders: Renders, files: FileServer, deliver: Deliver, sent: Message, tone: bytes
) -> None:
    job = await deliver(sent, "vocals", "drums", "bass")
    product.telegram.limits = Limits(10, product.telegram.limits.upload_bytes)
    files.put("bass.mp3", b"", status=410)
    await renders.run((await order(product, job, KARAOKE)).id)
    (audio,) = remixed(product, job)
    assert audio.content["caption"] == "Missing here: Bass. No longer available."
    files.put("bass.mp3", tone)
    await renders.run((await order(product, job, KARAOKE)).id)
    first, second = remixed(product, job)
    assert "caption" not in second.content
    assert first.media
    assert second.media
    assert first.media["file_unique_id"] != second.media["file_unique_id"]


async def test_a_remix_of_which_nothing_is_left_is_explained(
    product: Product, renders: Renders, files: FileServer, two: Job
) -> None:
    product.telegram.limits = Limits(10, product.telegram.limits.upload_bytes)
    files.files.clear()
    remix = await order(product, two, KARAOKE)
    await renders.run(remix.id)
    assert texts(product, two) == [
        "The stems of “Morning Line” are no longer available. Send the song again to split it again."
    ]
    assert await state(product, remix) is RemixState.FAILED
    assert remixed(product, two) == []


async def test_a_remix_of_silence_is_explained(product: Product, renders: Renders, two: Job) -> None:
    silence = Recipe().with_gains({"vocals": OFF_DB, "instrumental": OFF_DB})
    await renders.run((await order(product, two, silence)).id)
    (text,) = texts(product, two)
    assert text.startswith("🔇 With these levels nothing of “Morning Line (without")
    assert calls(product, "getFile") == 0


async def test_a_song_of_unknown_tempo_has_no_clicks(
    product: Product, renders: Renders, deliver: Deliver, sent: Message
) -> None:
    job = await deliver(sent, "vocals", "instrumental", facts=None)
    await renders.run((await order(product, job, replace(KARAOKE, has_count_in=True))).id)
    assert titles(product, job) == ["Morning Line (without vocals)"]


async def test_a_count_in_is_rendered(
    product: Product, renders: Renders, deliver: Deliver, sent: Message, tmp_path: Path
) -> None:
    sound, facts = mp3(tmp_path / "a.mp3", 1), replace(FACTS, bpm=240)
    job = await deliver(sent, "vocals", "instrumental", sound=sound, facts=facts)
    await renders.run((await order(product, job, replace(KARAOKE, has_count_in=True))).id)
    (audio,) = remixed(product, job)
    assert audio.media
    assert audio.media["title"] == "Morning Line (without vocals, count-in)"
    assert audio.media["duration"] == 3  # eight beats of 0.25 s, and a second of song


async def test_a_lossless_job_gives_a_lossless_remix_or_mp3_where_that_is_too_large(
    product: Product, files: FileServer, deliver: Deliver, sent: Message, tmp_path: Path
) -> None:
    job = await deliver(sent, "vocals", "instrumental", file_format="flac")
    await product.renders().run((await order(product, job, KARAOKE)).id)
    (document,) = remixed(product, job, "document")
    assert document.media
    assert document.media["file_name"] == "Morning Line (without vocals).flac"
    assert [button["callback_data"] for button in document.buttons] == [f"M:d:{job.id}"]
    noise = np.random.default_rng(1).normal(0, 0.1, 48_000).astype(np.float32)
    files.put("instrumental.mp3", record(tmp_path / "noise.flac", "flac", noise).read_bytes())
    product.telegram.limits = Limits(10, product.telegram.limits.upload_bytes)
    renders = product.renders()
    renders.maker.max_bytes = 60_000
    await renders.run((await order(product, job, PACK[1])).id)
    assert titles(product, job) == ["Morning Line (without vocals, 80%)"]


async def test_a_remix_beyond_the_limit_is_explained(product: Product, two: Job, tone: bytes) -> None:
    remix = await order(product, two, replace(KARAOKE, speed=50))
    await product.renders(max_bytes=len(tone)).run(remix.id)
    (text,) = texts(product, two)
    assert text.startswith("Larger than ")
    assert text.endswith("so not sent: Morning Line (without vocals, 50%).")
    assert await state(product, remix) is RemixState.FAILED


# Practice packs


async def test_a_pack_is_one_album_in_order(
    product: Product, renders: Renders, two: Job, sent: Message
) -> None:
    await renders.run((await order(product, two, *PACK)).id)
    assert titles(product, two) == [
        "Morning Line (without vocals, 70%)",
        "Morning Line (without vocals, 80%)",
        "Morning Line (without vocals)",
    ]
    assert len({it.media_group_id for it in remixed(product, two)} - {None}) == 1
    assert all(it.reply_to is sent for it in remixed(product, two))
    await renders.run((await order(product, two, PACK[0], *PACK, replace(KARAOKE, speed=90))).id)
    assert len(remixed(product, two)) == 8
    assert titles(product, two)[-1] == "Morning Line (without vocals, 90%)"


async def test_a_pack_as_one_zip(product: Product, renders: Renders, two: Job) -> None:
    for number in (1, 2):  # the second comes from the cache
        await renders.run((await order(product, two, *PACK, is_archive=True)).id)
        documents = remixed(product, two, "document")
        assert len(documents) == number
        assert documents[-1].media
        assert documents[-1].media["file_name"] == "Morning Line (practice pack).zip"
        assert [button["callback_data"] for button in documents[-1].buttons] == [f"M:d:{two.id}"]
    with zipfile.ZipFile(io.BytesIO(content(product, documents[0]))) as archive:
        assert archive.namelist() == [
            "Morning Line (without vocals, 70%).mp3",
            "Morning Line (without vocals, 80%).mp3",
            "Morning Line (without vocals).mp3",
        ]
        assert archive.testzip() is None
    assert product.counters._added[RENDERS.field("cached")] == 1


async def test_a_zip_beyond_the_limit_comes_as_an_album_of_what_fits(product: Product, two: Job) -> None:
    await product.renders().run((await order(product, two, PACK[0])).id)
    (slowest,) = remixed(product, two)
    assert slowest.media
    pack = (replace(KARAOKE, speed=50), PACK[1], replace(KARAOKE, speed=90))
    renders = product.renders(max_bytes=slowest.media["file_size"])
    await renders.run((await order(product, two, *pack, is_archive=True)).id)
    assert titles(product, two)[1:] == [
        "Morning Line (without vocals, 80%)",
        "Morning Line (without vocals, 90%)",
    ]
    (text,) = texts(product, two)
    assert "so not sent: Morning Line (without vocals, 50%)." in text
    assert "so they are here one by one" in text


# Cancelled, deleted, killed


async def test_a_remix_is_cancelled_while_it_is_rendered(
    product: Product, renders: Renders, two: Job, rendering: Rendering
) -> None:
    remix = await order(product, two, KARAOKE)
    running = asyncio.create_task(renders.run(remix.id))
    await rendering.has_begun()
    assert await product.remixing.cancel(remix)
    with anyio.fail_after(20):
        await running
    assert texts(product, two) == ["✖️ Cancelled: “Morning Line (without vocals)”."]
    assert remixed(product, two) == []
    await renders.run(remix.id)
    assert len(texts(product, two)) == 1


async def test_a_remix_that_is_being_sent_is_not_cancelled(
    product: Product, renders: Renders, two: Job
) -> None:
    remix = await order(product, two, KARAOKE)
    product.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendAudio")
    with pytest.raises(TryLater):
        await renders.run(remix.id)
    assert not await product.remixing.cancel(remix)
    assert await state(product, remix) is RemixState.SENDING
    await renders.run(remix.id)
    assert len(remixed(product, two)) == 1
    assert texts(product, two) == []


async def test_a_remix_whose_order_is_deleted_is_not_sent(
    product: Product, renders: Renders, two: Job, rendering: Rendering
) -> None:
    remix = await order(product, two, KARAOKE)
    running = asyncio.create_task(renders.run(remix.id))
    await rendering.has_begun()
    await product.remixes.forget_of(two.user_id)
    with anyio.fail_after(20):
        await running
    assert texts(product, two) == remixed(product, two) == []
    await renders.run(remix.id)


async def test_a_remix_of_a_deleted_job_ends(product: Product, renders: Renders, two: Job) -> None:
    remix = await order(product, two, KARAOKE)
    await product.store.forget(two.id)
    await renders.run(remix.id)
    assert await state(product, remix) is RemixState.FAILED
    await renders.run("unknown")
    await renders.give_up("unknown")


async def test_a_worker_that_stops_hands_the_remix_back(
    product: Product, renders: Renders, two: Job, rendering: Rendering
) -> None:
    remix = await order(product, two, KARAOKE)
    running = asyncio.create_task(renders.run(remix.id))
    await rendering.has_begun()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    rendering.may_end.set()
    run = await product.remixes.begin(remix)
    assert run
    assert run.number == 1
    await renders.run(remix.id)
    assert len(remixed(product, two)) == 1
    assert texts(product, two) == []


async def test_a_run_that_another_one_overrides_sends_nothing(
    product: Product, two: Job, rendering: Rendering
) -> None:
    remix = await order(product, two, KARAOKE)
    cut_off = asyncio.create_task(product.renders().run(remix.id))
    await rendering.has_begun()
    assert await product.remixes.begin(remix)
    with anyio.fail_after(20):
        await cut_off
    rendering.may_end.set()
    assert remixed(product, two) == []
    await product.renders().run(remix.id)
    assert len(remixed(product, two)) == 1


@pytest.mark.parametrize("method", ["tick", "move"])
async def test_what_is_recorded_is_not_sent_again(
    product: Product, renders: Renders, two: Job, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill after the record of an album, and one before the end of the order."""
    remix = await order(product, two, *PACK)
    step = getattr(product.remixes, method)

    async def killed(*args: Any, **how: Any) -> Any:
        if method == "tick" or RemixState.SENT in args:
            if method == "tick":
                await step(*args, **how)
            raise asyncio.CancelledError
        return await step(*args, **how)

    with monkeypatch.context() as patch:
        patch.setattr(product.remixes, method, killed)
        with suppress(asyncio.CancelledError):
            await renders.run(remix.id)
    assert len(remixed(product, two)) == 3
    await renders.run(remix.id)
    assert len(remixed(product, two)) == 3
    assert await state(product, remix) is RemixState.SENT
    assert texts(product, two) == []


async def test_a_remix_that_kills_its_workers_is_given_up_and_a_dead_letter(
    product: Product, renders: Renders, two: Job
) -> None:
    remix = await order(product, two, KARAOKE)
    await renders.give_up(remix.id)
    (letter,) = await product.dead_letters.all()
    assert letter.key == f"render:{remix.id}"
    assert texts(product, two) == [
        "⚠️ “Morning Line (without vocals)” could not be made. You can try again later."
    ]
    assert await state(product, remix) is RemixState.FAILED
    await renders.give_up(remix.id)
    await renders.run(remix.id)
    assert remixed(product, two) == []
    assert len(texts(product, two)) == 1
    # the operator has it made after all
    actions = OperatorActions(product)
    assert (await actions.perform("retry", letter)).is_done
    assert not (await actions.perform("retry", replace(letter, key="render:unknown"))).is_done
    assert await product.taken(Queue.RENDERS, Task.RENDER) == [remix.id]
    await renders.run(remix.id)
    assert len(remixed(product, two)) == 1
    assert await product.dead_letters.all() == []


async def test_a_remix_that_fails_repeatedly_is_explained_once(
    product: Product, renders: Renders, two: Job, caplog: pytest.LogCaptureFixture
) -> None:
    product.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendAudio", times=None)
    remix = await order(product, two, KARAOKE)
    await product.redis.hset(REMIX.format(remix.id), "runs", str(MAX_RENDER_RUNS - 1))
    with pytest.raises(TryLater):
        await renders.run(remix.id)
    assert texts(product, two) == ["🎚 Making “Morning Line (without vocals)”…"]
    await renders.run(remix.id)
    (text,) = texts(product, two)
    assert text.startswith("⚠️")
    assert f"job {two.id}: remix {remix.id} given up" in caplog.text
    assert product.settings.telegram_bot_token.get_secret_value() not in caplog.text
    await renders.run(remix.id)
    assert await state(product, remix) is RemixState.FAILED


# Telegram, Redis, the disk


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        (FaultKind.RESET_MID_DOWNLOAD, None),
        (FaultKind.SERVER_ERROR, "getFile"),
        (FaultKind.SERVER_ERROR, "sendMessage"),
        (FaultKind.RESET_BEFORE, "sendAudio"),
        (FaultKind.SERVER_ERROR, "deleteMessage"),
    ],
)
async def test_a_broken_call_is_made_again(
    product: Product, renders: Renders, two: Job, kind: FaultKind, method: str | None
) -> None:
    product.telegram.faults.add(kind, method=method)
    remix = await order(product, two, KARAOKE)
    with pytest.raises(TryLater) as raised:
        await renders.run(remix.id)
    assert "://" not in str(raised.value)
    await renders.run(remix.id)
    assert len(remixed(product, two)) == 1
    assert texts(product, two) == []


async def test_a_user_who_blocked_the_bot_ends_the_order(
    product: Product, renders: Renders, two: Job, caplog: pytest.LogCaptureFixture
) -> None:
    product.telegram.block_bot(two.chat_id)
    remix = await order(product, two, KARAOKE)
    await renders.run(remix.id)
    assert await state(product, remix) is RemixState.FAILED
    assert calls(product, "getFile") == 0
    assert "ERROR" not in caplog.text


async def test_a_group_that_takes_no_music_is_told_and_a_new_order_works(
    product: Product, renders: Renders, deliver: Deliver, alice: User, song: Path
) -> None:
    group = product.telegram.add_group("Band", [alice])
    job = await deliver(await product.telegram.send_file(group.id, song), "vocals", "instrumental")
    product.telegram.forbid(group.id, "can_send_audios")
    await renders.run((await order(product, job, KARAOKE)).id)
    (told,) = texts(product, job)
    assert told.startswith("I may not send music in this chat.")
    assert told.endswith("🎚 Morning Line (without vocals)")
    product.telegram.forbid(group.id)
    await renders.run((await order(product, job, KARAOKE)).id)
    assert len(remixed(product, job)) == 1


async def test_a_remix_arrives_in_the_topic(
    product: Product, renders: Renders, deliver: Deliver, alice: User, sent: Message
) -> None:
    forum = product.telegram.add_group("Band", [alice], forum=True)
    topic = product.telegram.add_topic(forum.id, "Demos")
    source = product.telegram.post(forum, alice, sent.content, thread_id=topic)
    job = await deliver(source, "vocals", "instrumental", topic_id=topic)
    await renders.run((await order(product, job, KARAOKE)).id)
    assert [it.thread_id for it in remixed(product, job)] == [topic]


async def test_a_remix_arrives_in_the_supergroup_that_the_group_became(
    product: Product, renders: Renders, deliver: Deliver, alice: User, sent: Message
) -> None:
    group = product.telegram.add_group("Band", [alice])
    job = await deliver(product.telegram.post(group, alice, sent.content), "vocals", "instrumental")
    remix = await order(product, job, KARAOKE)
    moved = product.telegram.migrate_group(group.id)
    with pytest.raises(TryLater):
        await renders.run(remix.id)
    # its number names another message there than in the old group
    other = await product.bot.send_message(moved.id, "Another message")
    await product.remixes.note_message(remix.id, group.id, other.message_id)
    await renders.run(remix.id)
    assert [(it.kind, it.text) for it in product.telegram.bot_messages(moved.id)] == [
        ("text", "Another message"),
        ("audio", ""),
    ]


async def test_a_remix_waits_for_room_on_the_disk(
    product: Product, renders: Renders, two: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    remix = await order(product, two, KARAOKE)
    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
        with pytest.raises(TryLater):
            await renders.run(remix.id)
    await renders.run(remix.id)
    assert len(remixed(product, two)) == 1


def copy_to_full_disk(source: IO[bytes], _: IO[bytes]) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        copy_stream(source, full)


async def test_a_pack_waits_when_the_disk_becomes_full(
    product: Product, renders: Renders, two: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    remix = await order(product, two, *PACK[:2], is_archive=True)
    with monkeypatch.context() as patch:
        patch.setattr(worker.zip_file, "copy_stream", copy_to_full_disk)
        with pytest.raises(TryLater, match="No space left on device"):
            await renders.run(remix.id)
    await renders.run(remix.id)
    assert len(remixed(product, two, "document")) == 1


async def test_flood_limits_put_a_remix_off_and_such_runs_do_not_count(
    product: Product, two: Job, redis_url: str
) -> None:
    await product.renders().run((await order(product, two, KARAOKE)).id)
    remix = await order(product, two, KARAOKE)
    clock = Clock()
    url = product.settings.telegram_api_url
    async with open_product(redis_url, product.telegram, url, is_flood_limited=True, clock=clock) as busy:
        await FloodLimiter(busy.redis, busy.clock).pause(60)
        with anyio.fail_after(20):
            for _ in range(MAX_RENDER_RUNS + 1):
                with pytest.raises(TryLater):
                    await busy.renders().run(remix.id)
    product.telegram.flood.is_enforced = False
    await product.renders().run(remix.id)
    assert len(remixed(product, two)) == 2
    assert await state(product, remix) is RemixState.SENT


# Owners and queues


async def test_one_user_has_one_remix_rendered_at_once_and_others_wait_for_their_turn(
    product: Product, renders: Renders, two: Job, mei: User, rendering: Rendering
) -> None:
    first, second = await order(product, two, PACK[0]), await order(product, two, PACK[1])
    others = await order(product, two, PACK[2], user_id=mei.id)
    running = [asyncio.create_task(renders.run(first.id))]
    await rendering.has_begun()
    with pytest.raises(TryLater):
        await renders.run(second.id)
    running.append(asyncio.create_task(renders.run(others.id)))
    waiting = "🎚 “Morning Line (without vocals)” will be made after the remixes before it."
    await product.telegram.wait_for(lambda: texts(product, two)[1:] == [waiting])
    rendering.may_end.set()
    await asyncio.gather(*running)
    await renders.run(second.id)
    assert len(remixed(product, two)) == 3
    assert texts(product, two) == []


async def test_a_user_orders_a_limited_number_and_a_tap_that_is_handled_twice_orders_once(
    product: Product, two: Job
) -> None:
    for number in range(MAX_OPEN_REMIXES):
        for _ in range(2):
            await order(product, two, KARAOKE, by=f"own tap {number}")
    assert len(await product.taken(Queue.RENDERS, Task.RENDER)) == MAX_OPEN_REMIXES
    refused = await product.remixing.order(two, two.user_id, [KARAOKE], by="one more", language="en")
    assert refused is None


async def test_an_order_whose_task_was_lost_is_started_again(product: Product, two: Job) -> None:
    remix = await order(product, two, KARAOKE)
    lost = await product.taken(Queue.RENDERS, Task.RENDER)
    recovery = product.recovery()
    await recovery.run()
    assert await product.taken(Queue.RENDERS, Task.RENDER) == []
    product.clock.advance(61)
    await recovery.run()
    assert await product.taken(Queue.RENDERS, Task.RENDER) == lost == [remix.id]
    await product.redis.delete(REMIX.format(remix.id))
    await recovery.run()
    assert await product.remixes.open_ids(product.clock()) == []


async def test_redis_away_during_a_render_loses_nothing(
    product: Product, renders: Renders, two: Job, rendering: Rendering, monkeypatch: pytest.MonkeyPatch
) -> None:
    remix = await order(product, two, KARAOKE)

    async def away(*args: Any) -> Any:
        raise StoreUnavailable("Redis does not answer")

    running = asyncio.create_task(renders.run(remix.id))
    await rendering.has_begun()
    with monkeypatch.context() as patch:
        patch.setattr(product.remixes, "is_rendered_by", away)
        patch.setattr(product.remixes, "move", away)
        rendering.may_end.set()
        with pytest.raises(StoreUnavailable):
            await running
    await renders.run(remix.id)
    assert len(remixed(product, two)) == 1


async def test_a_chat_that_closes_when_its_remix_is_there_does_not_fail_the_order(
    product: Product, renders: Renders, two: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message above the remix cannot be removed any more; the second run is after a kill."""
    remix = await order(product, two, KARAOKE)
    note = product.remixes.tick

    async def blocked(*args: Any) -> None:
        await note(*args)
        product.telegram.block_bot(two.chat_id)

    monkeypatch.setattr(product.remixes, "tick", blocked)
    await renders.run(remix.id)
    assert await state(product, remix) is RemixState.SENT
    await product.redis.hset(REMIX.format(remix.id), "state", "sending")
    await renders.run(remix.id)
    assert await state(product, remix) is RemixState.SENT
    assert product.counters._added[RENDERS.field("refused")] == 0


async def test_a_chat_that_closes_after_a_cancel_ends_the_run(
    product: Product, renders: Renders, two: Job, rendering: Rendering
) -> None:
    remix = await order(product, two, KARAOKE)
    running = asyncio.create_task(renders.run(remix.id))
    await rendering.has_begun()
    product.telegram.block_bot(two.chat_id)
    await product.remixing.cancel(remix)
    with anyio.fail_after(20):
        await running
    await renders.run(remix.id)


async def test_a_pack_of_which_a_part_has_come_singly_goes_on_singly(
    product: Product, renders: Renders, two: Job
) -> None:
    """What is left is no whole pack, which others would get from the cache."""
    remix = await order(product, two, *PACK, is_archive=True)
    await product.remixes.tick(remix.id, {"0": Sent(9, "file-9", "unique-9")})
    await renders.run(remix.id)
    assert titles(product, two) == ["Morning Line (without vocals, 80%)", "Morning Line (without vocals)"]
    await renders.run((await order(product, two, *PACK, is_archive=True)).id)
    (document,) = remixed(product, two, "document")
    with zipfile.ZipFile(io.BytesIO(content(product, document))) as archive:
        assert len(archive.namelist()) == 3


async def test_an_order_that_cannot_be_read_stops_no_other_recovery(product: Product, two: Job) -> None:
    """A process of a newer version may have stored it."""
    odd, remix = await order(product, two, KARAOKE), await order(product, two, KARAOKE)
    await product.redis.hset(REMIX.format(odd.id), "recipes", '[{"gains": [], "reverb": 3}]')
    await product.taken(Queue.RENDERS, Task.RENDER)
    product.clock.advance(61)
    await product.recovery().run()
    assert await product.taken(Queue.RENDERS, Task.RENDER) == [odd.id, remix.id]


async def test_a_stem_in_the_chat_is_mixed_although_a_silent_one_has_its_name(
    product: Product, renders: Renders, deliver: Deliver, sent: Message
) -> None:
    job = await deliver(sent, "vocals", "guitar")
    assert job.result
    second = replace(job.result.stems[1], key="guitar_2", name="Guitar", url="")
    result = replace(job.result, stems=(*job.result.stems, second))
    await product.store.set(job.id, result=result, silent=("Guitar",))
    await renders.run((await order(product, await product.job(job.id), KARAOKE)).id)
    assert titles(product, job) == ["Morning Line (without vocals)"]


async def test_a_pack_from_the_cache_is_named_in_its_users_language(
    product: Product, renders: Renders, two: Job
) -> None:
    for language in ("en", "en", "ru", "ru"):
        await renders.run((await order(product, two, *PACK, is_archive=True, language=language)).id)
    captions = [it.content.get("caption") for it in remixed(product, two, "document")]
    assert captions == [None, None, *["Morning Line (для занятий).zip"] * 2]
