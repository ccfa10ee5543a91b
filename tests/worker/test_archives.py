"""Orders of one ZIP or of voice messages: sent once, from Telegram's files or the provider's."""

import asyncio
import io
import json
import shutil
import zipfile
from collections import namedtuple
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import anyio
import av
import pytest
from fileserver import FileServer
from product import Clock, Product, new_job, open_product, result_of
from tones import mp3

import worker.archives
import worker.stems.fetcher
import worker.zip_file
from sandbox.telegram.chats import Message, User
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.state import Limits
from stemdrop.chat.callback_data import Action
from stemdrop.domain.jobs import CachedStem, Job, JobState, Mode
from stemdrop.domain.outcomes import Run
from stemdrop.errors import StoreUnavailable, TryLater
from stemdrop.storage.flood_limiter import FloodLimiter
from stemdrop.storage.keys import JOB_LIFETIME_S
from stemdrop.tasks.engine import Queue, Task
from worker.archives import MAX_PACK_RUNS, Archives
from worker.audio.voice_encoder import encode_voice
from worker.cancellable_thread import copy_stream

ASKING = "api/v1/vocal-removal/record-info"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.stems.fetcher, "PAUSES_S", (0.001,))


@pytest.fixture
def product_options(files: FileServer) -> dict[str, Any]:
    """The separation API is the file server of the stems."""
    return {"api_url": files.url}


@pytest.fixture
def archives(product: Product) -> Archives:
    return product.archives()


@pytest.fixture
def deliver(product: Product, files: FileServer, tone: bytes) -> Callable[..., Awaitable[Job]]:
    """A function that delivers a job with these stems: the same sound for each, or those of `sounds`."""

    async def delivered(message: Message, *keys: str, **changes: Any) -> Job:
        sounds = changes.pop("sounds", [tone] * len(keys))
        result = result_of(
            {key: files.put(f"{key}.mp3", sound) for key, sound in zip(keys, sounds, strict=True)}
        )
        job = await product.at(JobState.DELIVERING, message, result=result, **changes)
        await product.delivery().run(job.id)
        return await product.job(job.id)

    return delivered


def zip_of(job: Job) -> str:
    return f"{job.id}:{Action.ZIP}"


def small_of(job: Job) -> str:
    return f"{job.id}:{Action.SMALL}"


def shown(product: Product, job: Job, kind: str) -> list[Message]:
    return [message for message in product.telegram.bot_messages(job.chat_id) if message.kind == kind]


def said(product: Product, job: Job) -> list[str]:
    """Return the texts in the chat other than the job's own message."""
    messages = shown(product, job, "text")
    return [message.text for message in messages if message.message_id != job.message_id]


def content(product: Product, message: Message) -> bytes:
    assert message.media
    return product.telegram.file_location(message.media["file_id"]).read_bytes()


def unzipped(product: Product, message: Message) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content(product, message))) as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def calls(product: Product, method: str) -> int:
    return sum(call.method == method for call in product.telegram.calls)


def downloads_end(product: Product) -> None:
    """Make every file too large for a bot to download."""
    product.telegram.limits = Limits(10, product.telegram.limits.upload_bytes)


# One ZIP


async def test_one_zip_holds_all_stems_as_they_were_sent(
    product: Product, archives: Archives, two: Job, sent: Message
) -> None:
    await archives.run(zip_of(two))
    (archive,) = shown(product, two, "document")
    assert archive.media
    assert archive.media["file_name"] == "Morning Line.zip"
    assert archive.reply_to == sent
    names = ["Morning Line (Vocals).mp3", "Morning Line (Instrumental).mp3"]
    stems = [content(product, message) for message in shown(product, two, "audio")]
    assert unzipped(product, archive) == dict(zip(names, stems, strict=True))
    assert said(product, two) == []


async def test_orders_arrive_in_the_topic(
    product: Product,
    archives: Archives,
    deliver: Callable[..., Awaitable[Job]],
    alice: User,
    sent: Message,
) -> None:
    forum = product.telegram.add_group("Band", [alice], forum=True)
    topic = product.telegram.add_topic(forum.id, "Demos")
    source = product.telegram.post(forum, alice, sent.content, thread_id=topic)
    job = await deliver(source, "vocals", topic_id=topic)
    await archives.run(zip_of(job))
    await archives.run(small_of(job))
    packed = [*shown(product, job, "document"), *shown(product, job, "voice")]
    assert [message.thread_id for message in packed] == [topic] * 2


async def test_names_in_a_zip_are_safe_and_unique(
    product: Product, archives: Archives, deliver: Callable[..., Awaitable[Job]], sent: Message
) -> None:
    job = await deliver(sent, "strings", "strings_2", "Strings")
    await archives.run(zip_of(job))
    (archive,) = shown(product, job, "document")
    names = list(unzipped(product, archive))
    assert len({name.casefold() for name in names}) == 3
    assert all("/" not in name and name.endswith(".mp3") for name in names)


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("", "Song.zip"),
        ("../../早晨 🎵", "_.._早晨 🎵.zip"),
        ("x" * 500, "x" * 115 + "….zip"),
    ],
)
async def test_a_zip_is_named_after_the_song(
    product: Product,
    archives: Archives,
    deliver: Callable[..., Awaitable[Job]],
    sent: Message,
    title: str,
    name: str,
) -> None:
    source = replace(new_job(sent).source, title=title)
    job = await deliver(sent, "vocals", source=source)
    await archives.run(zip_of(job))
    (archive,) = shown(product, job, "document")
    assert archive.media
    assert archive.media["file_name"] == name


async def test_a_second_tap_sends_the_same_file_at_once(
    product: Product, archives: Archives, two: Job
) -> None:
    await archives.run(zip_of(two))
    downloads, uploads = calls(product, "getFile"), len(product.telegram.calls)
    await archives.run(zip_of(two))
    first, second = shown(product, two, "document")
    assert first.media
    assert second.media
    assert first.media["file_unique_id"] == second.media["file_unique_id"]
    assert calls(product, "getFile") == downloads
    assert len(product.telegram.calls) == uploads + 1


async def test_a_zip_that_telegram_lost_is_made_again(product: Product, archives: Archives, two: Job) -> None:
    await archives.run(zip_of(two))
    (archive,) = shown(product, two, "document")
    assert archive.media
    product.telegram.forget_file(archive.media["file_id"])
    await archives.run(zip_of(two))
    assert len(shown(product, two, "document")) == 2
    assert said(product, two) == []


async def test_stems_that_arrived_later_are_in_the_next_zip(
    product: Product,
    archives: Archives,
    deliver: Callable[..., Awaitable[Job]],
    files: FileServer,
    sent: Message,
    tone: bytes,
) -> None:
    result = result_of({"vocals": files.put("v.mp3", tone), "drums": files.put("d.mp3", b"", status=410)})
    job = await product.at(JobState.DELIVERING, sent, result=result)
    await product.delivery().run(job.id)
    await archives.run(zip_of(job))
    files.put("d.mp3", tone)
    assert await product.store.deliver_again(job.id)
    await product.delivery().run(job.id)
    await archives.run(zip_of(job))
    sent_archives = shown(product, job, "document")
    assert [len(unzipped(product, archive)) for archive in sent_archives] == [1, 2]


async def test_a_zip_is_sent_once_if_the_worker_is_killed_after_sending(
    product: Product, archives: Archives, two: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(*args: Any) -> None:
        raise StoreUnavailable("the process is gone")

    with monkeypatch.context() as patch:
        patch.setattr(archives, "_end_order", killed)
        with pytest.raises(StoreUnavailable):
            await archives.run(zip_of(two))
    await archives.run(zip_of(two))
    assert len(shown(product, two, "document")) == 1
    await archives.run(zip_of(two))  # a second tap
    assert len(shown(product, two, "document")) == 2


async def test_stems_too_large_for_a_bot_to_download_come_from_the_provider(
    product: Product, archives: Archives, files: FileServer, two: Job
) -> None:
    downloads_end(product)
    files.requests.clear()
    await archives.run(zip_of(two))
    (archive,) = shown(product, two, "document")
    assert len(unzipped(product, archive)) == 2
    assert files.asked == ["vocals.mp3", "instrumental.mp3"]


async def test_fresh_urls_are_requested_for_expired_ones(
    product: Product, archives: Archives, files: FileServer, two: Job, tone: bytes
) -> None:
    downloads_end(product)
    for name in ("vocals", "instrumental"):
        files.put(f"{name}.mp3", b"", status=410)
    response = {"vocalUrl": files.put("v2.mp3", tone), "instrumentalUrl": files.put("i2.mp3", tone)}
    detail = {"code": 200, "msg": "ok", "data": {"successFlag": "SUCCESS", "response": response}}
    files.put(ASKING, json.dumps(detail).encode(), media_type="application/json")
    await archives.run(zip_of(two))
    (archive,) = shown(product, two, "document")
    assert len(unzipped(product, archive)) == 2


async def test_an_unavailable_stem_is_named_and_the_incomplete_zip_is_not_reused(
    product: Product, archives: Archives, files: FileServer, two: Job, tone: bytes
) -> None:
    downloads_end(product)
    files.put("vocals.mp3", b"", status=410)
    await archives.run(zip_of(two))
    (archive,) = shown(product, two, "document")
    assert archive.content["caption"].startswith("Missing here: Vocals.")
    assert list(unzipped(product, archive)) == ["Morning Line (Instrumental).mp3"]
    files.put("vocals.mp3", tone)
    await archives.run(zip_of(two))
    whole = shown(product, two, "document")[1]
    assert len(unzipped(product, whole)) == 2
    assert "caption" not in whole.content


@pytest.mark.parametrize("order", [zip_of, small_of])
async def test_an_order_without_any_available_stem_is_explained(
    product: Product,
    archives: Archives,
    files: FileServer,
    two: Job,
    sent: Message,
    order: Callable[[Job], str],
) -> None:
    downloads_end(product)
    files.files.clear()
    await archives.run(order(two))
    assert said(product, two) == [
        "The stems of “Morning Line” are no longer available. Send the song again to split it again."
    ]
    assert shown(product, two, "text")[-1].reply_to == sent
    assert shown(product, two, "document") == shown(product, two, "voice") == []


@pytest.mark.parametrize(
    ("order", "kind", "count", "stem_status", "api_status"),
    [(zip_of, "document", 1, 503, 404), (small_of, "voice", 2, 410, 503)],
    ids=["stem host away", "link expired and API away"],
)
async def test_an_order_waits_for_a_stem_that_is_away(
    product: Product,
    archives: Archives,
    files: FileServer,
    two: Job,
    tone: bytes,
    order: Callable[[Job], str],
    kind: str,
    count: int,
    stem_status: int,
    api_status: int,
) -> None:
    downloads_end(product)
    files.put("instrumental.mp3", status=stem_status)
    files.put(ASKING, status=api_status)
    with pytest.raises(TryLater):
        await archives.run(order(two))
    assert said(product, two) == []
    files.put("instrumental.mp3", tone)
    await archives.run(order(two))
    assert len(shown(product, two, kind)) == count
    assert said(product, two) == []


async def test_an_order_goes_on_at_last_without_a_stem_that_stays_away(
    product: Product, archives: Archives, files: FileServer, two: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.stems.downloader.RUNS_THAT_WAIT", 1)
    downloads_end(product)
    files.put("vocals.mp3", status=503)
    with pytest.raises(TryLater):
        await archives.run(zip_of(two))
    await archives.run(zip_of(two))
    (archive,) = shown(product, two, "document")
    assert archive.content["caption"].startswith("Missing here: Vocals.")


async def test_stems_that_exceed_the_limit_together_are_refused(
    product: Product, two: Job, tone: bytes
) -> None:
    archives = product.archives(max_bytes=2 * len(tone))  # tags make each stem longer
    await archives.run(zip_of(two))
    (text,) = said(product, two)
    assert text.startswith("Together the stems of “Morning Line” exceed")
    assert shown(product, two, "document") == []


async def test_a_zip_that_telegram_finds_too_large_is_explained(
    product: Product, archives: Archives, two: Job, tone: bytes
) -> None:
    product.telegram.limits = Limits(product.telegram.limits.download_bytes, 2 * len(tone))
    await archives.run(zip_of(two))
    (text,) = said(product, two)
    assert text.startswith("Together the stems of “Morning Line” exceed 50")


async def test_cached_stems_of_another_job_can_be_ordered(
    product: Product,
    archives: Archives,
    files: FileServer,
    two: Job,
    sent: Message,
) -> None:
    before = await product.store.sent(two.id)
    cached = tuple(CachedStem(key, it.kind, it.file_id, it.title) for key, it in before.items())
    bare = result_of(dict.fromkeys(before, ""))
    again = await product.at(
        JobState.DELIVERING, sent, result=bare, cached=cached, task_id="task-2", mode=Mode.SEPARATE_VOCAL
    )
    await product.delivery().run(again.id)
    files.requests.clear()
    await archives.run(zip_of(again))
    await archives.run(small_of(again))
    (archive,) = shown(product, again, "document")
    assert len(unzipped(product, archive)) == 2
    assert len(shown(product, again, "voice")) == 2
    assert files.requests == []


# Voice messages


def decode(data: bytes) -> tuple[str, int, str, float]:
    """Return codec, channels, container and seconds."""
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.audio[0]
        samples = sum(frame.samples for frame in container.decode(audio=0))
        name = stream.codec_context.name
        return name, stream.codec_context.channels, container.format.name, samples / stream.rate


async def test_each_stem_is_a_small_voice_message_in_order(
    product: Product,
    archives: Archives,
    deliver: Callable[..., Awaitable[Job]],
    sent: Message,
    tmp_path: Path,
) -> None:
    lengths = (1, 2)
    sounds = [mp3(tmp_path / f"{length_s}.mp3", length_s) for length_s in lengths]
    job = await deliver(sent, "vocals", "instrumental", sounds=sounds)
    await archives.run(small_of(job))
    voices = shown(product, job, "voice")
    assert [voice.content["caption"] for voice in voices] == [
        "Morning Line (Vocals)",
        "Morning Line (Instrumental)",
    ]
    assert [voice.reply_to for voice in voices] == [sent, sent]
    for voice, length_s in zip(voices, lengths, strict=True):
        assert voice.media
        assert voice.media["duration"] == length_s
        codec, channels, container, seconds = decode(content(product, voice))
        assert (codec, channels, container) == ("opus", 1, "ogg")
        assert seconds == pytest.approx(length_s, abs=0.1)
        assert len(content(product, voice)) < length_s * 48_000 / 8 * 1.4
    assert said(product, job) == []


async def test_a_user_who_forbids_voice_messages_gets_audio(
    product: Product, archives: Archives, two: Job
) -> None:
    product.telegram.forbid_voice(two.chat_id)
    before = len(shown(product, two, "audio"))
    await archives.run(small_of(two))
    small = shown(product, two, "audio")[before:]
    titles = [message.media["title"] for message in small if message.media]
    assert titles == ["Morning Line (Vocals)", "Morning Line (Instrumental)"]
    assert decode(content(product, small[0]))[:2] == ("aac", 1)
    assert calls(product, "sendVoice") == 1
    await archives.run(small_of(two))
    assert len(shown(product, two, "audio")) == before + 4
    assert said(product, two) == []


async def test_voice_messages_that_were_forbidden_later_arrive_as_audio(
    product: Product, archives: Archives, two: Job
) -> None:
    await archives.run(small_of(two))
    product.telegram.forbid_voice(two.chat_id)
    before = len(shown(product, two, "audio"))
    await archives.run(small_of(two))
    assert len(shown(product, two, "audio")) == before + 2


async def test_a_group_that_takes_no_files_gets_its_zip_later(
    product: Product,
    archives: Archives,
    deliver: Callable[..., Awaitable[Job]],
    alice: User,
    song: Path,
) -> None:
    group = product.telegram.add_group("Band", [alice])
    job = await deliver(await product.telegram.send_file(group.id, song), "vocals", "drums")
    product.telegram.forbid(group.id, "can_send_documents")
    await archives.run(zip_of(job))
    (told,) = said(product, job)
    assert told.startswith("I may not send files in this chat.")
    assert await product.dead_letters.all() == []
    product.telegram.forbid(group.id)
    await archives.run(zip_of(job))
    assert len(shown(product, job, "document")) == 1


async def test_the_run_after_an_interrupted_one_sends_only_the_rest(
    product: Product, archives: Archives, deliver: Callable[..., Awaitable[Job]], sent: Message
) -> None:
    job = await deliver(sent, "vocals", "drums", "bass")
    await archives.run(small_of(job))
    for _ in range(2):  # a new order, and one that is sent by file_id
        before = len(shown(product, job, "voice"))
        send = product.telegram.post
        seen: list[Any] = []

        def post(*args: Any, seen: list[Any] = seen, send: Any = send, **how: Any) -> Message:
            seen.append(args)
            if len(seen) == 2:
                product.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendVoice")
            return send(*args, **how)  # type: ignore[no-any-return]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(product.telegram, "post", post)
            with pytest.raises(TryLater):
                await archives.run(small_of(job))
        assert len(shown(product, job, "voice")) == before + 2
        await archives.run(small_of(job))
        assert len(shown(product, job, "voice")) == before + 3
    assert said(product, job) == []


@pytest.mark.parametrize(("stem", "status"), [(b"", 410), (b"no audio at all", 200)])
async def test_an_unavailable_stem_is_named_and_the_other_voices_arrive(
    product: Product, archives: Archives, files: FileServer, two: Job, stem: bytes, status: int
) -> None:
    downloads_end(product)
    files.put("vocals.mp3", stem, status=status)
    await archives.run(small_of(two))
    assert [voice.content["caption"] for voice in shown(product, two, "voice")] == [
        "Morning Line (Instrumental)"
    ]
    assert said(product, two)[0].startswith("Missing here: Vocals.")


# Both


async def test_orders_do_not_change_the_job_and_its_stems(
    product: Product, archives: Archives, two: Job
) -> None:
    before = await product.store.sent(two.id)
    await archives.run(zip_of(two))
    await archives.run(small_of(two))
    assert await product.store.sent(two.id) == before
    assert (await product.job(two.id)) == two
    assert set(await product.store.packed(two.id)) == {"zip:2", "voice:vocals", "voice:instrumental"}


async def test_records_of_orders_are_deleted_with_the_job(
    product: Product, archives: Archives, two: Job
) -> None:
    await archives.run(zip_of(two))
    key = f"stemdrop:job:{two.id}:packed"
    assert 0 < await product.redis.ttl(key) <= JOB_LIFETIME_S
    await product.store.forget(two.id)
    assert await product.redis.exists(key) == 0
    await archives.run(zip_of(two))
    assert len(shown(product, two, "document")) == 1


@pytest.mark.parametrize("argument", ["", "unknown:z", "unknown", "unknown:"])
async def test_an_order_for_an_unknown_job_is_ignored(archives: Archives, argument: str) -> None:
    await archives.run(argument)


async def test_an_order_with_an_unknown_action_is_ignored(
    product: Product, archives: Archives, two: Job
) -> None:
    before = len(product.telegram.calls)
    await archives.run(f"{two.id}:x")
    assert len(product.telegram.calls) == before


@pytest.mark.parametrize(("order", "method"), [(zip_of, "sendDocument"), (small_of, "sendVoice")])
async def test_an_order_that_fails_repeatedly_is_explained_once(
    product: Product,
    archives: Archives,
    two: Job,
    order: Callable[[Job], str],
    method: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    product.telegram.faults.add(FaultKind.SERVER_ERROR, method=method, times=None)
    await product.store.count_run(two.id, Run.ZIP if order is zip_of else Run.SMALL, by=MAX_PACK_RUNS - 1)
    with pytest.raises(TryLater):
        await archives.run(order(two))
    assert said(product, two) == []
    await archives.run(order(two))
    (text,) = said(product, two)
    assert text.startswith("The stems of “Morning Line” could not be packed")
    assert f"job {two.id}: " in caplog.text
    assert [letter.key for letter in await product.dead_letters.all()] == [f"pack:{order(two)}"]
    assert product.settings.telegram_bot_token.get_secret_value() not in caplog.text
    product.telegram.faults.clear()
    await archives.run(order(two))
    assert len(said(product, two)) == 1
    assert shown(product, two, "document") or shown(product, two, "voice")


@pytest.mark.parametrize(("order", "what"), [(zip_of, "ZIP"), (small_of, "voice")])
async def test_an_order_that_kills_its_workers_is_explained_and_a_dead_letter(
    product: Product, archives: Archives, two: Job, order: Callable[[Job], str], what: str
) -> None:
    kind = Run.ZIP if order is zip_of else Run.SMALL
    await product.store.count_run(two.id, kind, by=MAX_PACK_RUNS)
    product.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage")
    await archives.give_up(order(two))
    (letter,) = await product.dead_letters.all()
    assert letter.key == f"pack:{order(two)}"
    assert what in letter.what
    assert said(product, two) == []
    await archives.give_up(order(two))
    assert len(await product.dead_letters.all()) == 1
    (text,) = said(product, two)
    assert text.startswith("The stems of “Morning Line” could not be packed")
    # a new order is counted anew, and its success removes the dead letter
    await archives.run(order(two))
    assert shown(product, two, "document") or shown(product, two, "voice")
    assert await product.dead_letters.all() == []
    for nothing in ("0000000000000000:z", f"{two.id}:q", two.id, ""):
        await archives.give_up(nothing)
    assert await product.dead_letters.all() == []


async def test_an_interrupted_download_is_retried(product: Product, archives: Archives, two: Job) -> None:
    product.telegram.faults.add(FaultKind.RESET_MID_DOWNLOAD)
    with pytest.raises(TryLater) as raised:
        await archives.run(zip_of(two))
    assert "http" not in str(raised.value)
    await archives.run(zip_of(two))
    assert len(shown(product, two, "document")) == 1


async def test_a_lost_chat_ends_the_order_without_an_error(
    product: Product, archives: Archives, two: Job, caplog: pytest.LogCaptureFixture
) -> None:
    product.telegram.block_bot(two.chat_id)
    await archives.run(zip_of(two))
    assert await product.store.count_run(two.id, Run.ZIP) == 1
    assert "ERROR" not in caplog.text


async def test_an_order_arrives_in_the_supergroup_that_the_group_became(
    product: Product, archives: Archives, deliver: Callable[..., Awaitable[Job]], alice: User, sent: Message
) -> None:
    group = product.telegram.add_group("Band", [alice])
    source = product.telegram.post(group, alice, sent.content)
    job = await deliver(source, "vocals")
    moved = product.telegram.migrate_group(group.id)
    with pytest.raises(TryLater):
        await archives.run(zip_of(job))
    await archives.run(zip_of(job))
    assert [message.kind for message in product.telegram.bot_messages(moved.id)] == ["document"]


async def test_an_order_waits_for_room_on_the_disk(
    product: Product, archives: Archives, two: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
        with pytest.raises(TryLater):
            await archives.run(zip_of(two))
    await archives.run(zip_of(two))
    assert len(shown(product, two, "document")) == 1


def copy_to_full_disk(source: IO[bytes], _: IO[bytes]) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        copy_stream(source, full)


@pytest.mark.parametrize(("order", "kind", "count"), [(zip_of, "document", 1), (small_of, "voice", 2)])
async def test_an_order_waits_when_the_disk_becomes_full(
    product: Product,
    archives: Archives,
    two: Job,
    monkeypatch: pytest.MonkeyPatch,
    order: Callable[[Job], str],
    kind: str,
    count: int,
) -> None:
    full = Path("/dev/full")
    with monkeypatch.context() as patch:
        patch.setattr(worker.zip_file, "copy_stream", copy_to_full_disk)
        patch.setattr(
            worker.archives, "encode_voice", lambda source, _, voice: encode_voice(source, full, voice)
        )
        with pytest.raises(TryLater, match="No space left on device") as later:
            await archives.run(order(two))
    assert later.value.after_s == 60
    assert said(product, two) == []
    await archives.run(order(two))
    assert len(shown(product, two, kind)) == count


async def test_two_taps_before_the_end_are_one_order(product: Product, archives: Archives, two: Job) -> None:
    for _ in range(2):
        await product.engine.add(Task.PACK, zip_of(two), zip_of(two))
    stop = asyncio.Event()
    await product.engine.add(Task.PACK, "the last", "the last")

    async def pack(argument: str) -> None:
        if argument == "the last":
            stop.set()
        else:
            await archives.run(argument)

    with anyio.fail_after(20):
        await product.engine.work(Queue.PACKS, {Task.PACK: pack}, stop, concurrency=1)
    assert len(shown(product, two, "document")) == 1


@pytest.mark.parametrize(("order", "kind", "count"), [(zip_of, "document", 1), (small_of, "voice", 2)])
async def test_a_repeated_order_is_postponed_by_flood_limits(
    product: Product,
    archives: Archives,
    two: Job,
    redis_url: str,
    order: Callable[[Job], str],
    kind: str,
    count: int,
) -> None:
    await archives.run(order(two))
    async with open_product(
        redis_url, product.telegram, product.settings.telegram_api_url, is_flood_limited=True, clock=Clock()
    ) as busy:
        flood = FloodLimiter(busy.redis, busy.clock)
        await flood.pause(60)
        with anyio.fail_after(20):
            for _ in range(MAX_PACK_RUNS + 1):  # such runs do not count
                with pytest.raises(TryLater) as later:
                    await busy.archives().run(order(two))
                assert later.value.after_s == pytest.approx(60, abs=1)
    product.telegram.flood.is_enforced = False
    await archives.run(order(two))
    assert len(shown(product, two, kind)) == 2 * count
    assert said(product, two) == []
