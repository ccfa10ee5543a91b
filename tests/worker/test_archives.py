"""What is asked for beside the stems: one ZIP, small voice messages; from whoever still has them, once."""

import asyncio
import io
import json
import shutil
import zipfile
from collections import namedtuple
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import anyio
import av
import pytest
from fileserver import FileServer
from house import Clock, House, new_job, open_house, result_of

import worker.stems.fetcher
from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import Message, User
from sandbox.telegram.core import Limits
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.person_actions import Telegram
from stemdrop.chat.callback_data import Action
from stemdrop.domain.jobs import Job, JobState, KeptStem, Mode
from stemdrop.errors import StoreUnavailable, TryLater
from stemdrop.storage.flood_limiter import FloodLimiter
from stemdrop.storage.job_store import Run
from stemdrop.storage.keys import JOB_LIFETIME_S
from stemdrop.tasks.engine import Queue, Task
from worker.archives import MAX_RUNS, Packing

ASKING = "api/v1/vocal-removal/record-info"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.stems.fetcher, "PAUSES_S", (0.001,))


@pytest.fixture
async def house(redis_url: str, telegram: Telegram, files: FileServer) -> AsyncIterator[House]:
    """The separation API is where the stems lie."""
    async with (
        run_telegram(telegram) as url,
        open_house(redis_url, telegram, url, api_url=files.url) as opened,
    ):
        yield opened


@pytest.fixture
def packing(house: House) -> Packing:
    return house.packing()


@pytest.fixture
def deliver(house: House, files: FileServer, tone: bytes) -> Callable[..., Awaitable[Job]]:
    """Deliver a second of sound for each of these keys."""

    async def delivered(message: Message, *keys: str, **changes: Any) -> Job:
        result = result_of({key: files.put(f"{key}.mp3", tone) for key in keys})
        job = await house.at(JobState.DELIVERING, message, result=result, **changes)
        await house.delivery().run(job.id)
        return await house.job(job.id)

    return delivered


@pytest.fixture
async def two(deliver: Callable[..., Awaitable[Job]], sent: Message) -> Job:
    """A delivered job with vocals and instrumental."""
    return await deliver(sent, "vocals", "instrumental")


def zip_of(job: Job) -> str:
    return f"{job.id}:{Action.ZIP}"


def small_of(job: Job) -> str:
    return f"{job.id}:{Action.SMALL}"


def shown(house: House, job: Job, kind: str) -> list[Message]:
    return [message for message in house.telegram.bot_messages(job.chat_id) if message.kind == kind]


def said(house: House, job: Job) -> list[str]:
    """What was told beside the job's own message."""
    texts = shown(house, job, "text")
    return [message.text for message in texts if message.message_id != job.message_id]


def content(house: House, message: Message) -> bytes:
    assert message.media
    return house.telegram.file_location(message.media["file_id"]).read_bytes()


def unzipped(house: House, message: Message) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content(house, message))) as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def calls(house: House, method: str) -> int:
    return sum(call.method == method for call in house.telegram.calls)


def downloads_end(house: House) -> None:
    """From now on every file is too big for Telegram to give it to a bot."""
    house.telegram.limits = Limits(10, house.telegram.limits.upload_bytes)


# One ZIP


async def test_one_zip_holds_all_stems_as_they_were_sent(
    house: House, packing: Packing, two: Job, sent: Message
) -> None:
    await packing.run(zip_of(two))
    (archive,) = shown(house, two, "document")
    assert archive.media
    assert archive.media["file_name"] == "Morning Line.zip"
    assert archive.reply_to == sent
    names = ["Morning Line (Vocals).mp3", "Morning Line (Instrumental).mp3"]
    stems = [content(house, message) for message in shown(house, two, "audio")]
    assert unzipped(house, archive) == dict(zip(names, stems, strict=True))
    assert said(house, two) == []


async def test_it_comes_in_the_topic(
    house: House,
    packing: Packing,
    deliver: Callable[..., Awaitable[Job]],
    alice: User,
    sent: Message,
) -> None:
    forum = house.telegram.add_group("Band", [alice], forum=True)
    topic = house.telegram.add_topic(forum.id, "Demos")
    source = house.telegram.post(forum, alice, sent.content, thread_id=topic)
    job = await deliver(source, "vocals", topic_id=topic)
    await packing.run(zip_of(job))
    await packing.run(small_of(job))
    packed = [*shown(house, job, "document"), *shown(house, job, "voice")]
    assert [message.thread_id for message in packed] == [topic] * 2


async def test_names_in_a_zip_are_safe_and_each_is_one_of_its_own(
    house: House, packing: Packing, deliver: Callable[..., Awaitable[Job]], sent: Message
) -> None:
    job = await deliver(sent, "strings", "strings_2", "Strings")
    await packing.run(zip_of(job))
    (archive,) = shown(house, job, "document")
    names = list(unzipped(house, archive))
    assert len({name.casefold() for name in names}) == 3
    assert all("/" not in name and name.endswith(".mp3") for name in names)


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("", "Song.zip"),
        ("../../etc/passwd", "_.._etc_passwd.zip"),
        ("早晨 🎵", "早晨 🎵.zip"),
        ("x" * 500, "x" * 115 + "….zip"),
    ],
)
async def test_a_zip_is_named_after_the_song(
    house: House,
    packing: Packing,
    deliver: Callable[..., Awaitable[Job]],
    sent: Message,
    title: str,
    name: str,
) -> None:
    source = replace(new_job(sent).source, title=title)
    job = await deliver(sent, "vocals", source=source)
    await packing.run(zip_of(job))
    (archive,) = shown(house, job, "document")
    assert archive.media
    assert archive.media["file_name"] == name


async def test_a_second_tap_sends_the_same_file_at_once(house: House, packing: Packing, two: Job) -> None:
    await packing.run(zip_of(two))
    downloads, uploads = calls(house, "getFile"), len(house.telegram.calls)
    await packing.run(zip_of(two))
    first, second = shown(house, two, "document")
    assert first.media
    assert second.media
    assert first.media["file_unique_id"] == second.media["file_unique_id"]
    assert calls(house, "getFile") == downloads
    assert len(house.telegram.calls) == uploads + 1


async def test_a_zip_that_telegram_lost_is_made_anew(house: House, packing: Packing, two: Job) -> None:
    await packing.run(zip_of(two))
    (archive,) = shown(house, two, "document")
    assert archive.media
    house.telegram.forget_file(archive.media["file_id"])
    await packing.run(zip_of(two))
    assert len(shown(house, two, "document")) == 2
    assert said(house, two) == []


async def test_stems_that_came_since_are_in_the_next_zip(
    house: House,
    packing: Packing,
    deliver: Callable[..., Awaitable[Job]],
    files: FileServer,
    sent: Message,
    tone: bytes,
) -> None:
    result = result_of({"vocals": files.put("v.mp3", tone), "drums": files.put("d.mp3", b"", status=410)})
    job = await house.at(JobState.DELIVERING, sent, result=result)
    await house.delivery().run(job.id)
    await packing.run(zip_of(job))
    files.put("d.mp3", tone)
    assert await house.store.deliver_again(job.id)
    await house.delivery().run(job.id)
    await packing.run(zip_of(job))
    archives = shown(house, job, "document")
    assert [len(unzipped(house, archive)) for archive in archives] == [1, 2]


async def test_killed_after_it_was_sent_it_is_not_sent_again(
    house: House, packing: Packing, two: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(*args: Any) -> None:
        raise StoreUnavailable("the process is gone")

    with monkeypatch.context() as patch:
        patch.setattr(packing, "_end_round", killed)
        with pytest.raises(StoreUnavailable):
            await packing.run(zip_of(two))
    await packing.run(zip_of(two))
    assert len(shown(house, two, "document")) == 1
    await packing.run(zip_of(two))  # somebody taps again
    assert len(shown(house, two, "document")) == 2


async def test_what_telegram_gives_no_bot_comes_from_the_provider(
    house: House, packing: Packing, files: FileServer, two: Job
) -> None:
    downloads_end(house)
    files.requests.clear()
    await packing.run(zip_of(two))
    (archive,) = shown(house, two, "document")
    assert len(unzipped(house, archive)) == 2
    assert files.asked == ["vocals.mp3", "instrumental.mp3"]


async def test_addresses_that_expired_are_asked_for_anew(
    house: House, packing: Packing, files: FileServer, two: Job, tone: bytes
) -> None:
    downloads_end(house)
    for name in ("vocals", "instrumental"):
        files.put(f"{name}.mp3", b"", status=410)
    response = {"vocalUrl": files.put("v2.mp3", tone), "instrumentalUrl": files.put("i2.mp3", tone)}
    detail = {"code": 200, "msg": "ok", "data": {"successFlag": "SUCCESS", "response": response}}
    files.put(ASKING, json.dumps(detail).encode(), media_type="application/json")
    await packing.run(zip_of(two))
    (archive,) = shown(house, two, "document")
    assert len(unzipped(house, archive)) == 2


async def test_what_nobody_has_any_more_is_named_and_the_zip_is_not_kept(
    house: House, packing: Packing, files: FileServer, two: Job, tone: bytes
) -> None:
    downloads_end(house)
    files.put("vocals.mp3", b"", status=410)
    await packing.run(zip_of(two))
    (archive,) = shown(house, two, "document")
    assert archive.content["caption"].startswith("Missing here: Vocals.")
    assert list(unzipped(house, archive)) == ["Morning Line (Instrumental).mp3"]
    files.put("vocals.mp3", tone)
    await packing.run(zip_of(two))
    whole = shown(house, two, "document")[1]
    assert len(unzipped(house, whole)) == 2
    assert "caption" not in whole.content


@pytest.mark.parametrize("order", [zip_of, small_of])
async def test_nothing_to_be_had_is_said(
    house: House,
    packing: Packing,
    files: FileServer,
    two: Job,
    sent: Message,
    order: Callable[[Job], str],
) -> None:
    downloads_end(house)
    files.files.clear()
    await packing.run(order(two))
    assert said(house, two) == [
        "The stems of “Morning Line” are kept nowhere any more. Send the song again to have it split anew."
    ]
    assert shown(house, two, "text")[-1].reply_to == sent
    assert shown(house, two, "document") == shown(house, two, "voice") == []


async def test_stems_that_are_too_much_for_one_file_are_said_to_be(
    house: House, two: Job, tone: bytes
) -> None:
    packing = house.packing(max_bytes=2 * len(tone))  # tagged, each is longer
    await packing.run(zip_of(two))
    (text,) = said(house, two)
    assert text.startswith("All stems of “Morning Line” together are more than")
    assert shown(house, two, "document") == []


async def test_what_telegram_finds_too_large_is_said_to_be(
    house: House, packing: Packing, two: Job, tone: bytes
) -> None:
    house.telegram.limits = Limits(house.telegram.limits.download_bytes, 2 * len(tone))
    await packing.run(zip_of(two))
    (text,) = said(house, two)
    assert text.startswith("All stems of “Morning Line” together are more than 50")


async def test_stems_that_telegram_kept_from_another_job_are_packed_too(
    house: House,
    packing: Packing,
    files: FileServer,
    two: Job,
    sent: Message,
) -> None:
    before = await house.store.sent(two.id)
    kept = tuple(KeptStem(key, it.kind, it.file_id, it.title) for key, it in before.items())
    bare = result_of(dict.fromkeys(before, ""))
    again = await house.at(
        JobState.DELIVERING, sent, result=bare, kept=kept, task_id="task-2", mode=Mode.SEPARATE_VOCAL
    )
    await house.delivery().run(again.id)
    files.requests.clear()
    await packing.run(zip_of(again))
    await packing.run(small_of(again))
    (archive,) = shown(house, again, "document")
    assert len(unzipped(house, archive)) == 2
    assert len(shown(house, again, "voice")) == 2
    assert files.requests == []


# Voice messages


def heard(data: bytes) -> tuple[str, int, str, float]:
    """Codec, channels, container and seconds."""
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.audio[0]
        samples = sum(frame.samples for frame in container.decode(audio=0))
        name = stream.codec_context.name
        return name, stream.codec_context.channels, container.format.name, samples / stream.rate


async def test_each_stem_is_a_small_voice_message_in_order(
    house: House, packing: Packing, two: Job, sent: Message
) -> None:
    await packing.run(small_of(two))
    voices = shown(house, two, "voice")
    assert [voice.content["caption"] for voice in voices] == [
        "Morning Line (Vocals)",
        "Morning Line (Instrumental)",
    ]
    assert [voice.reply_to for voice in voices] == [sent, sent]
    for voice in voices:
        assert voice.media
        assert voice.media["duration"] == 1
        codec, channels, container, seconds = heard(content(house, voice))
        assert (codec, channels, container) == ("opus", 1, "ogg")
        assert seconds == pytest.approx(1, abs=0.1)
        assert len(content(house, voice)) < 48_000 / 8 * 1.4
    assert said(house, two) == []


async def test_who_forbids_voice_messages_gets_audio(house: House, packing: Packing, two: Job) -> None:
    house.telegram.forbid_voice(two.chat_id)
    before = len(shown(house, two, "audio"))
    await packing.run(small_of(two))
    small = shown(house, two, "audio")[before:]
    titles = [message.media["title"] for message in small if message.media]
    assert titles == ["Morning Line (Vocals)", "Morning Line (Instrumental)"]
    assert heard(content(house, small[0]))[:2] == ("aac", 1)
    assert calls(house, "sendVoice") == 1
    await packing.run(small_of(two))
    assert len(shown(house, two, "audio")) == before + 4
    assert said(house, two) == []


async def test_voices_forbidden_since_come_as_audio(house: House, packing: Packing, two: Job) -> None:
    await packing.run(small_of(two))
    house.telegram.forbid_voice(two.chat_id)
    before = len(shown(house, two, "audio"))
    await packing.run(small_of(two))
    assert len(shown(house, two, "audio")) == before + 2


async def test_a_run_that_broke_off_sends_only_the_rest(
    house: House, packing: Packing, deliver: Callable[..., Awaitable[Job]], sent: Message
) -> None:
    job = await deliver(sent, "vocals", "drums", "bass")
    await packing.run(small_of(job))
    for _ in range(2):  # the first order, and one that is sent again by file_id
        before = len(shown(house, job, "voice"))
        send, seen = house.telegram.post, []

        def post(*args: Any, seen: list[Any] = seen, send: Any = send, **how: Any) -> Message:
            seen.append(args)
            if len(seen) == 2:
                house.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendVoice")
            return send(*args, **how)  # type: ignore[no-any-return]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(house.telegram, "post", post)
            with pytest.raises(TryLater):
                await packing.run(small_of(job))
        assert len(shown(house, job, "voice")) == before + 2
        await packing.run(small_of(job))
        assert len(shown(house, job, "voice")) == before + 3
    assert said(house, job) == []


@pytest.mark.parametrize(("stem", "status"), [(b"", 410), (b"no audio at all", 200)])
async def test_a_stem_that_cannot_be_had_is_named_and_the_others_come(
    house: House, packing: Packing, files: FileServer, two: Job, stem: bytes, status: int
) -> None:
    downloads_end(house)
    files.put("vocals.mp3", stem, status=status)
    await packing.run(small_of(two))
    assert [voice.content["caption"] for voice in shown(house, two, "voice")] == [
        "Morning Line (Instrumental)"
    ]
    assert said(house, two)[0].startswith("Missing here: Vocals.")


# Both


async def test_what_was_packed_is_no_stem(house: House, packing: Packing, two: Job) -> None:
    before = await house.store.sent(two.id)
    await packing.run(zip_of(two))
    await packing.run(small_of(two))
    assert await house.store.sent(two.id) == before
    assert (await house.job(two.id)) == two
    assert set(await house.store.packed(two.id)) == {"zip:2", "voice:vocals", "voice:instrumental"}


async def test_what_was_packed_goes_with_the_job(house: House, packing: Packing, two: Job) -> None:
    await packing.run(zip_of(two))
    key = f"stemdrop:job:{two.id}:packed"
    assert 0 < await house.redis.ttl(key) <= JOB_LIFETIME_S
    await house.store.forget(two.id)
    assert await house.redis.exists(key) == 0
    await packing.run(zip_of(two))
    assert len(shown(house, two, "document")) == 1


@pytest.mark.parametrize("argument", ["", "nobody:z", "nobody", "nobody:"])
async def test_an_order_for_no_job_is_nothing(packing: Packing, argument: str) -> None:
    await packing.run(argument)


async def test_a_letter_of_another_button_is_nothing(house: House, packing: Packing, two: Job) -> None:
    before = len(house.telegram.calls)
    await packing.run(f"{two.id}:x")
    assert len(house.telegram.calls) == before


@pytest.mark.parametrize(("order", "method"), [(zip_of, "sendDocument"), (small_of, "sendVoice")])
async def test_what_fails_over_and_over_is_told_once(
    house: House,
    packing: Packing,
    two: Job,
    order: Callable[[Job], str],
    method: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    house.telegram.faults.add(FaultKind.SERVER_ERROR, method=method, times=None)
    for _ in range(MAX_RUNS):
        with pytest.raises(TryLater):
            await packing.run(order(two))
    assert said(house, two) == []
    await packing.run(order(two))
    (text,) = said(house, two)
    assert text.startswith("The stems of “Morning Line” could not be put together")
    assert f"job {two.id}: " in caplog.text
    assert [letter.key for letter in await house.letters.all()] == [f"pack:{order(two)}"]
    assert house.settings.telegram_bot_token.get_secret_value() not in caplog.text
    house.telegram.faults.clear()
    await packing.run(order(two))
    assert len(said(house, two)) == 1
    assert shown(house, two, "document") or shown(house, two, "voice")


@pytest.mark.parametrize(("order", "what"), [(zip_of, "ZIP"), (small_of, "voice")])
async def test_an_order_that_kills_its_workers_is_told_and_a_dead_letter(
    house: House, packing: Packing, two: Job, order: Callable[[Job], str], what: str
) -> None:
    kind = {zip_of: Run.ZIP, small_of: Run.SMALL}[order]
    await house.store.count_run(two.id, kind, by=MAX_RUNS)
    house.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage")
    await packing.give_up(order(two))
    (letter,) = await house.letters.all()
    assert letter.key == f"pack:{order(two)}"
    assert what in letter.what
    assert said(house, two) == []
    await packing.give_up(order(two))
    assert len(await house.letters.all()) == 1
    (text,) = said(house, two)
    assert text.startswith("The stems of “Morning Line” could not be put together")
    # who orders it again finds it as new; what went well is no dead letter
    await packing.run(order(two))
    assert shown(house, two, "document") or shown(house, two, "voice")
    assert await house.letters.all() == []
    for nothing in ("0000000000000000:z", f"{two.id}:q", two.id, ""):
        await packing.give_up(nothing)
    assert await house.letters.all() == []


async def test_a_download_that_breaks_off_is_tried_again(house: House, packing: Packing, two: Job) -> None:
    house.telegram.faults.add(FaultKind.RESET_MID_DOWNLOAD)
    with pytest.raises(TryLater) as raised:
        await packing.run(zip_of(two))
    assert "http" not in str(raised.value)
    await packing.run(zip_of(two))
    assert len(shown(house, two, "document")) == 1


async def test_a_chat_that_is_gone_ends_it_without_noise(
    house: House, packing: Packing, two: Job, caplog: pytest.LogCaptureFixture
) -> None:
    house.telegram.block_bot(two.chat_id)
    await packing.run(zip_of(two))
    assert await house.store.count_run(two.id, Run.ZIP) == 1
    assert "ERROR" not in caplog.text


async def test_a_group_that_moves_meanwhile_gets_it_where_it_is(
    house: House, packing: Packing, deliver: Callable[..., Awaitable[Job]], alice: User, sent: Message
) -> None:
    group = house.telegram.add_group("Band", [alice])
    source = house.telegram.post(group, alice, sent.content)
    job = await deliver(source, "vocals")
    moved = house.telegram.migrate_group(group.id)
    with pytest.raises(TryLater):
        await packing.run(zip_of(job))
    await packing.run(zip_of(job))
    assert [message.kind for message in house.telegram.bot_messages(moved.id)] == ["document"]


async def test_a_full_disk_is_waited_for(
    house: House, packing: Packing, two: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
        with pytest.raises(TryLater):
            await packing.run(zip_of(two))
    await packing.run(zip_of(two))
    assert len(shown(house, two, "document")) == 1


async def test_two_taps_before_it_is_done_are_one_order(house: House, packing: Packing, two: Job) -> None:
    for _ in range(2):
        await house.engine.add(Task.PACK, zip_of(two), zip_of(two))
    stop = asyncio.Event()
    await house.engine.add(Task.PACK, "the last", "the last")

    async def pack(argument: str) -> None:
        if argument == "the last":
            stop.set()
        else:
            await packing.run(argument)

    with anyio.fail_after(20):
        await house.engine.work(Queue.PACKS, {Task.PACK: pack}, stop, concurrency=1)
    assert len(shown(house, two, "document")) == 1


@pytest.mark.parametrize(("order", "kind", "count"), [(zip_of, "document", 1), (small_of, "voice", 2)])
async def test_what_was_made_before_takes_up_no_place_while_it_waits_for_the_limits(
    house: House,
    packing: Packing,
    two: Job,
    redis_url: str,
    order: Callable[[Job], str],
    kind: str,
    count: int,
) -> None:
    await packing.run(order(two))
    async with open_house(
        redis_url, house.telegram, house.settings.telegram_api_url, is_flood_limited=True, clock=Clock()
    ) as busy:
        flood = FloodLimiter(busy.redis, busy.clock)
        await flood.pause(60)
        with anyio.fail_after(20):
            for _ in range(MAX_RUNS + 1):  # it is no failure, however often
                with pytest.raises(TryLater) as later:
                    await busy.packing().run(order(two))
                assert later.value.after_s == pytest.approx(60, abs=1)
    house.telegram.flood.is_enforced = False
    await packing.run(order(two))
    assert len(shown(house, two, kind)) == 2 * count
    assert said(house, two) == []
