"""Delivery of one job's stems: complete, once and in order, with failures of networks and disks."""

import asyncio
import json
import shutil
import threading
from collections import namedtuple
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import av
import numpy as np
import pytest
import sounds
import tones
from decoding import decode
from delivered import TWELVE, field, shown, stems
from fileserver import FileServer
from product import Product, new_job, open_product, result_of, until
from telegram.error import BadRequest
from waits import WAIT_S

import worker.delivery
import worker.stems.download
import worker.stems.fetcher
from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import Message, User
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.media import jpeg_from_colour
from sandbox.telegram.person_actions import Telegram
from stemdrop.domain.jobs import INSTRUMENTS, Charge, Failure, Job, JobState, Mode
from stemdrop.domain.outcomes import Receipt, Run, Sent
from stemdrop.domain.results import Result, Stem
from stemdrop.errors import StoreUnavailable, TryLater
from stemdrop.services.result_polling import GIVE_UP_S
from stemdrop.storage.keys import PACE
from worker.cancellable_thread import raise_if_cancelled
from worker.delivery import MAX_BROKEN_RUNS, MAX_DELIVERY_RUNS, WORTH_SHOWING_S, Delivery
from worker.stems.download import FETCHES_PER_JOB
from worker.stems.stem_sender import StemSender

FOUR = ("vocals", "drums", "bass", "guitar")
# The buttons under a result of the mode "all stems".
AGAIN = "🔁 Fetch missing stems"
OTHER_MODES = ("🎤 Vocals + instrumental · 10 credits", "🎸 One instrument… · 20 credits")
ASKING = "api/v1/vocal-removal/record-info"
REMIXED = ("🎚 Remix · free", "🎛 Mixer")
PACKED = ("📦 One ZIP", "🎙 As voice messages")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.stems.fetcher, "PAUSES_S", (0.001,))
    monkeypatch.setattr(worker.delivery, "NOT_ENDED_S", 0.0)


@pytest.fixture
def product_options(files: FileServer) -> dict[str, Any]:
    """The separation API is the file server of the stems."""
    return {"api_url": files.url}


@pytest.fixture
def delivery(product: Product) -> Delivery:
    return product.delivery()


@pytest.fixture
def put(files: FileServer, tone: bytes) -> Callable[..., dict[str, str]]:
    """Serve a second of sound for each key; returns the URLs by key."""

    def put_stems(*keys: str) -> dict[str, str]:
        return {key: files.put(f"{key}.mp3", tone) for key in keys}

    return put_stems


@pytest.fixture
async def two(product: Product, sent: Message, put: Callable[..., dict[str, str]]) -> Job:
    """A job whose result has vocals and instrumental."""
    result = result_of(put("vocals", "instrumental"))
    return await product.at(JobState.DELIVERING, sent, result=result)


@pytest.fixture
async def four(
    product: Product, sent: Message, put: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> Job:
    """A job whose result has four stems, in two albums."""
    monkeypatch.setattr("worker.stems.stem_sender.MAX_ALBUM", 2)
    return await product.at(JobState.DELIVERING, sent, result=result_of(put(*FOUR)))


def labels(message: Message) -> list[str]:
    return [button["text"] for button in message.buttons]


async def test_two_stems_arrive_as_one_album_in_reply(
    product: Product, delivery: Delivery, two: Job, sent: Message, tone: bytes
) -> None:
    await delivery.run(two.id)
    arrived = stems(product, two.chat_id)
    assert field(arrived, "title") == ["Morning Line (Vocals)", "Morning Line (Instrumental)"]
    assert field(arrived, "file_name") == ["Morning Line (Vocals).mp3", "Morning Line (Instrumental).mp3"]
    assert field(arrived, "performer") == ["Sandbox Band"] * 2
    assert field(arrived, "duration") == [1, 1]
    assert [message.kind for message in arrived] == ["audio", "audio"]
    assert [message.reply_to for message in arrived] == [sent, sent]
    assert arrived[0].media_group_id is not None
    assert arrived[0].media_group_id == arrived[1].media_group_id
    for message in arrived:
        assert message.media
        assert np.array_equal(decode(product.telegram.file_location(message.media["file_id"])), decode(tone))
    assert shown(product, two).text == "✅ “Morning Line”: 2 stems are here."
    assert product.telegram.bot_messages(two.chat_id) == [*arrived, shown(product, two)]
    assert (await product.job(two.id)).state is JobState.DELIVERED
    assert await product.store.open_jobs() == []
    recorded = await product.store.sent(two.id)
    assert [recorded[key].message_id for key in ("vocals", "instrumental")] == [m.message_id for m in arrived]
    assert {entry.file_unique_id for entry in recorded.values()} == set(field(arrived, "file_unique_id"))


async def test_one_stem_arrives_as_single_audio(
    product: Product, delivery: Delivery, sent: Message, put: Callable[..., dict[str, str]]
) -> None:
    job = await product.at(JobState.DELIVERING, sent, result=result_of(put("vocals")))
    await delivery.run(job.id)
    (audio,) = stems(product, job.chat_id)
    assert (audio.kind, audio.media_group_id, audio.reply_to) == ("audio", None, sent)
    assert "sendAudio" in [call.method for call in product.telegram.calls]
    assert shown(product, job).text == "✅ “Morning Line”: 1 stem is here."


async def test_twelve_stems_arrive_as_two_albums_in_order(
    product: Product, delivery: Delivery, sent: Message, put: Callable[..., dict[str, str]]
) -> None:
    job = await product.at(JobState.DELIVERING, sent, result=result_of(put(*TWELVE)))
    await delivery.run(job.id)
    arrived = stems(product, job.chat_id)
    translate = product.translations.language("en")
    named = [f"Morning Line ({translate(f'stem.{key}')})" for key in TWELVE]
    assert field(arrived, "title") == named
    album_ids = [message.media_group_id for message in arrived]
    assert album_ids == [album_ids[0]] * 6 + [album_ids[-1]] * 6
    assert album_ids[0] != album_ids[-1]


async def test_a_stem_has_the_duration_of_its_sound(
    product: Product, delivery: Delivery, sent: Message, files: FileServer, tmp_path: Path
) -> None:
    """Not that of its song, or the one that the provider names."""
    url = files.put("a.mp3", tones.mp3(tmp_path / "a.mp3", seconds=2, rate=24_000))
    listed = Result(200, (Stem("bass", url, "Bass", False, 12.4), Stem("bass_rest", url, "Bass", True)))
    job = await product.at(JobState.DELIVERING, sent, result=listed)
    assert job.source.duration_s == 1
    await delivery.run(job.id)
    arrived = stems(product, job.chat_id)
    assert field(arrived, "duration") == [2, 2]
    assert field(arrived, "title") == ["Morning Line (Bass)", "Morning Line (Without Bass)"]


async def test_an_unavailable_cover_delays_nothing(
    product: Product, delivery: Delivery, sent: Message, put: Callable[..., dict[str, str]]
) -> None:
    cover = product.telegram.files.add_jpeg(jpeg_from_colour(300, 300))
    source, result = (
        replace(new_job(sent).source, thumbnail_file_id=cover["file_id"]),
        result_of(put("vocals")),
    )
    for number, fault in enumerate((FaultKind.FILE_GONE, FaultKind.RESET_BEFORE), 1):
        product.telegram.faults.add(fault, method="download")
        job = await product.at(JobState.DELIVERING, sent, source=source, result=result, task_id=fault)
        await delivery.run(job.id)
        assert len(stems(product, job.chat_id)) == number, fault


async def test_a_cover_that_the_shared_disk_does_not_give_delays_nothing(
    redis_url: str, tmp_path: Path, song: Path, files: FileServer, put: Callable[..., dict[str, str]]
) -> None:
    telegram = Telegram(tmp_path / "local", local=True)
    async with (
        run_telegram(telegram) as url,
        open_product(redis_url, telegram, url, api_url=files.url, TELEGRAM_LOCAL_MODE="true") as product,
    ):
        sent = await telegram.send_file(telegram.add_user("Alice").id, song)
        cover = telegram.files.add_jpeg(jpeg_from_colour(300, 300))
        location = telegram.file_location(cover["file_id"])
        location.unlink()
        location.symlink_to("/proc/self/mem")  # which opens, and fails to be read
        source = replace(new_job(sent).source, thumbnail_file_id=cover["file_id"])
        result = result_of(put("vocals", "drums"))
        job = await product.at(JobState.DELIVERING, sent, source=source, result=result)
        await product.delivery().run(job.id)
        assert len(stems(product, job.chat_id)) == 2


async def test_a_cover_that_telegram_refuses_delays_nothing(
    product: Product, delivery: Delivery, sent: Message, put: Callable[..., dict[str, str]]
) -> None:
    huge = product.telegram.files.add_jpeg(jpeg_from_colour(400, 400))
    source = replace(new_job(sent).source, thumbnail_file_id=huge["file_id"])
    job = await product.at(JobState.DELIVERING, sent, source=source, result=result_of(put("vocals", "drums")))
    await delivery.run(job.id)
    assert len(stems(product, job.chat_id)) == 2


async def in_topic(product: Product, user: User, song: Path) -> Message:
    forum = product.telegram.add_group("Band", [user], forum=True)
    thread_id = product.telegram.add_topic(forum.id, "Demos")
    return await product.telegram.send_file(forum.id, song, thread_id=thread_id)


async def test_stems_arrive_in_the_topic_or_else_in_its_group(
    product: Product, delivery: Delivery, alice: User, song: Path, put: Callable[..., dict[str, str]]
) -> None:
    result, telegram = result_of(put("vocals", "drums")), product.telegram
    for topic, change in (
        ("open", None),
        ("closed", telegram.close_topic),
        ("deleted", telegram.delete_topic),
    ):
        sent = await in_topic(product, alice, song)
        assert sent.thread_id
        job = await product.at(JobState.DELIVERING, sent, result=result, task_id=topic)
        if change:
            change(job.chat_id, sent.thread_id)
        await delivery.run(job.id)
        thread_ids = [message.thread_id for message in stems(product, job.chat_id)]
        assert thread_ids == [None if change else sent.thread_id] * 2, topic
        assert (await product.job(job.id)).state is JobState.DELIVERED, topic


async def test_a_chat_that_takes_no_music_now_gets_its_stems_later(
    product: Product,
    delivery: Delivery,
    alice: User,
    song: Path,
    put: Callable[..., dict[str, str]],
) -> None:
    group = product.telegram.add_group("Band", [alice])
    sent = await product.telegram.send_file(group.id, song)
    job = await product.at(JobState.DELIVERING, sent, result=result_of(put("vocals", "drums")))
    await product.status.show(job)
    product.telegram.forbid(group.id, "can_send_audios")
    await delivery.run(job.id)
    now, code = await product.job(job.id), "no_music"
    assert (now.state, now.failure, now.is_undelivered) == (
        JobState.FAILED,
        Failure(code, charged=True),
        True,
    )
    await product.recovery().run()
    message = shown(product, job)
    assert "I may not send music in this chat" in message.text
    assert labels(message) == ["📤 Send now · free"]
    assert (await product.orders.fetch_again(now)).note is None
    await delivery.run(job.id)  # nothing has changed in the chat
    assert (await product.job(job.id)).failure == Failure(code, charged=True)
    product.telegram.forbid(group.id)
    for _ in range(2):  # two taps
        await product.orders.fetch_again(now)
        await delivery.run(job.id)
    assert (await product.job(job.id)).state is JobState.DELIVERED
    assert len(stems(product, group.id)) == 2


async def test_a_muted_bot_tells_its_user_in_private(
    product: Product, delivery: Delivery, alice: User, song: Path, put: Callable[..., dict[str, str]]
) -> None:
    group = product.telegram.add_group("Band", [alice])
    sent = await product.telegram.send_file(group.id, song)
    job = await product.at(JobState.DELIVERING, sent, result=result_of(put("vocals", "drums")))
    await product.status.show(job)
    product.telegram.forbid(group.id, "can_send_messages", "can_send_audios", bot_only=True)
    await delivery.run(job.id)
    (told,) = product.telegram.bot_messages(alice.id)
    assert "may not send music in this chat" in told.text
    assert labels(told) == ["📤 Send now · free"]
    product.telegram.forbid(group.id, bot_only=True)
    await product.orders.fetch_again(await product.job(job.id))
    await delivery.run(job.id)
    assert len(stems(product, group.id)) == 2


async def test_stems_that_were_sent_before_an_obstacle_are_not_sent_again(
    product: Product,
    delivery: Delivery,
    alice: User,
    song: Path,
    put: Callable[..., dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.stems.stem_sender.MAX_ALBUM", 2)
    group = product.telegram.add_group("Band", [alice])
    sent = await product.telegram.send_file(group.id, song)
    job = await product.at(JobState.DELIVERING, sent, result=result_of(put(*FOUR)))
    tick = product.store.tick

    async def tick_then_forbid(job_id: str, sent: dict[str, Sent]) -> None:
        await tick(job_id, sent)
        product.telegram.forbid(group.id, "can_send_audios", bot_only=True)

    with monkeypatch.context() as patch:
        patch.setattr(product.store, "tick", tick_then_forbid)
        await delivery.run(job.id)
    assert len(stems(product, group.id)) == 2
    product.telegram.forbid(group.id, bot_only=True)
    await product.orders.fetch_again(await product.job(job.id))
    await delivery.run(job.id)
    assert len(set(field(stems(product, group.id), "title"))) == len(stems(product, group.id)) == 4


async def test_slow_mode_delays_the_stems(
    product: Product, delivery: Delivery, two: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(*args: Any, **named: Any) -> Any:
        raise BadRequest("SLOWMODE_WAIT_30")

    monkeypatch.setattr(StemSender, "_send_album", slow)
    with pytest.raises(TryLater) as caught:
        await delivery.run(two.id)
    assert caught.value.after_s == 30
    monkeypatch.undo()
    await delivery.run(two.id)
    assert (await product.job(two.id)).state is JobState.DELIVERED


async def test_stems_of_a_deleted_source_message_arrive_without_a_reply(
    product: Product, delivery: Delivery, two: Job
) -> None:
    product.telegram.delete_message(two.chat_id, two.source_message_id)
    await delivery.run(two.id)
    arrived = stems(product, two.chat_id)
    assert [message.reply_to for message in arrived] == [None, None]


async def test_a_stem_that_telegram_refuses_is_named_and_the_others_arrive(
    product: Product, delivery: Delivery, files: FileServer, sent: Message, put: Callable[..., dict[str, str]]
) -> None:
    urls = put("vocals", "drums", "bass")
    files.put("drums.mp3", b"ID3, but no sound at all")
    product.telegram.faults.add(FaultKind.FILE_GONE, method="sendDocument")
    job = await product.at(JobState.DELIVERING, sent, result=result_of(urls))
    await delivery.run(job.id)
    assert field(stems(product, job.chat_id), "title") == ["Morning Line (Vocals)", "Morning Line (Bass)"]
    message = shown(product, job)
    assert message.text == "✅ “Morning Line”: 2 stems are here.\nTelegram does not accept: Drums."
    assert AGAIN not in labels(message)
    now = await product.job(job.id)
    assert (now.state, now.missing, now.refused) == (JobState.DELIVERED, (), ("Drums",))


async def test_wav_stems_arrive_as_documents_beside_audio(
    product: Product, delivery: Delivery, files: FileServer, sent: Message, tmp_path: Path, tone: bytes
) -> None:
    wave = sounds.record(tmp_path / "a.wav", "wav", sounds.tone(seconds=0.1)).read_bytes()
    urls = {
        "vocals": files.put("v.wav", wave, media_type="audio/wav"),
        "drums": files.put("d.mp3", tone),
        "bass": files.put("b.wav", wave, media_type="audio/wav"),
    }
    job = await product.at(JobState.DELIVERING, sent, result=result_of(urls))
    await delivery.run(job.id)
    arrived = stems(product, job.chat_id)
    assert sorted(field(arrived, "file_name")) == [
        "Morning Line (Bass).wav",
        "Morning Line (Drums).mp3",
        "Morning Line (Vocals).wav",
    ]
    assert sorted(message.kind for message in arrived) == ["audio", "document", "document"]


@pytest.mark.parametrize("form", ["flac", "wav"])
async def test_lossless_stems_arrive_as_one_album_of_tagged_documents(
    product: Product, delivery: Delivery, files: FileServer, sent: Message, tmp_path: Path, form: str
) -> None:
    stem = sounds.record(tmp_path / f"a.{form}", form, sounds.tone(seconds=0.1))
    # the server's names have a wrong extension
    urls = {key: files.put(f"{key}.mp3", stem.read_bytes()) for key in ("vocals", "drums", "bass")}
    job = await product.at(JobState.DELIVERING, sent, result=result_of(urls))
    await delivery.run(job.id)
    arrived = stems(product, job.chat_id)
    assert field(arrived, "file_name") == [
        f"Morning Line ({name}).{form}" for name in ("Vocals", "Drums", "Bass")
    ]
    assert [message.kind for message in arrived] == ["document"] * 3
    assert len({message.media_group_id for message in arrived}) == 1
    assert [message.reply_to for message in arrived] == [sent] * 3
    for message, title in zip(arrived, ("Vocals", "Drums", "Bass"), strict=True):
        assert message.media
        path = product.telegram.file_location(message.media["file_id"])
        assert tags_of(path)["title"] == f"Morning Line ({title})"
        assert np.array_equal(decode(path), decode(stem))


def tags_of(path: Path) -> dict[str, str]:
    with av.open(str(path)) as container:
        return {key.lower(): value for key, value in container.metadata.items()}


async def test_each_stem_has_tags_and_the_cover_of_the_source(
    product: Product, delivery: Delivery, sent: Message, put: Callable[..., dict[str, str]]
) -> None:
    cover = product.telegram.files.add_jpeg(jpeg_from_colour(300, 300))
    source = replace(new_job(sent).source, thumbnail_file_id=cover["file_id"])
    job = await product.at(JobState.DELIVERING, sent, source=source, result=result_of(put("vocals", "drums")))
    await delivery.run(job.id)
    (call,) = [call for call in product.telegram.calls if call.method == "sendMediaGroup"]
    assert call.parameters["media"].count('"thumbnail"') == 2  # not only the pictures in their tags
    original = product.telegram.file_location(cover["file_id"]).read_bytes()
    for number, (message, name) in enumerate(
        zip(stems(product, job.chat_id), ("Vocals", "Drums"), strict=True)
    ):
        assert message.media
        thumbnail = product.telegram.file_location(message.media["thumbnail"]["file_id"])
        assert thumbnail.read_bytes() == original
        path = product.telegram.file_location(message.media["file_id"])
        tags = {key: value for key, value in tags_of(path).items() if key != "encoder"}
        assert tags == {
            "title": f"Morning Line ({name})",
            "artist": "Sandbox Band",
            "album": "Morning Line",
            "track": f"{number + 1}/2",
            "stem": name,
        }
        assert original in path.read_bytes()


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Enough of a song to measure its tempo and key."""
    song = Path(__file__).parents[2] / "sandbox" / "songs" / "demo-song.mp3"
    return tones.beginning_with_tags(song, tmp_path_factory.mktemp("music") / "a.mp3", 10).read_bytes()


async def test_tempo_key_and_loudness_are_shown_tagged_and_kept(
    product: Product,
    delivery: Delivery,
    files: FileServer,
    telegram: Telegram,
    sent: Message,
    song: Path,
    music: bytes,
    tone: bytes,
) -> None:
    urls = {
        "vocals": files.put("vocals.mp3", tone),
        "instrumental": files.put("song.mp3", music),
    }
    job = await product.at(JobState.DELIVERING, sent, result=result_of(urls))
    await delivery.run(job.id)
    told = "104 BPM · C major · −17 LUFS"
    assert shown(product, job).text == f"✅ “Morning Line”: 2 stems are here.\n{told}"
    for message in stems(product, job.chat_id):
        assert message.media
        tags = tags_of(product.telegram.file_location(message.media["file_id"]))
        assert (tags["tbpm"], tags["tkey"]) == ("104", "C")
    again = await product.telegram.send_file(telegram.add_user("Bob").id, song)
    cached = new_job(again)
    await product.store.add(cached, once=cached.id)
    await product.orders.pick(cached, Mode.SPLIT_STEM, "")
    await delivery.run(cached.id)
    assert shown(product, await product.job(cached.id)).text.endswith(f"\n{told}")
    kept = await product.stem_cache.find(cached.source, (Mode.SPLIT_STEM, ""))
    assert kept
    assert set(kept.peaks) == set(urls)


async def test_a_song_that_cannot_be_measured_is_delivered_all_the_same(
    product: Product,
    delivery: Delivery,
    two: Job,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("worker.audio.sound.measure_sound", broken)
    await delivery.run(two.id)
    assert shown(product, two).text == "✅ “Morning Line”: 2 stems are here."
    assert caplog.text.count("Traceback") == 1
    assert f"job {two.id}: its song cannot be measured" in caplog.text


async def test_a_kill_while_stems_are_measured_loses_and_doubles_nothing(
    product: Product, delivery: Delivery, two: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def endless(*_: object) -> None:
        begun.set()
        while True:
            raise_if_cancelled()

    with monkeypatch.context() as patched:
        patched.setattr("worker.audio.sound.measure_sound", endless)
        running = asyncio.create_task(delivery.run(two.id))
        await until(begun.is_set)
        running.cancel()
        assert [type(end) for end in await asyncio.gather(running, return_exceptions=True)] == [
            asyncio.CancelledError
        ]
    assert stems(product, two.chat_id) == []
    await delivery.run(two.id)
    assert len(stems(product, two.chat_id)) == 2
    assert shown(product, two).text == "✅ “Morning Line”: 2 stems are here."


async def test_a_run_that_sends_the_rest_states_what_the_first_run_knew(
    product: Product, delivery: Delivery, files: FileServer, four: Job, music: bytes
) -> None:
    files.put("drums.mp3", music)
    held = [files.hold(f"{key}.mp3") for key in FOUR[2:]]
    running = asyncio.create_task(delivery.run(four.id))
    await first_album(product, four)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    for event in held:
        event.set()
    await delivery.run(four.id)
    assert shown(product, four).text == "✅ “Morning Line”: 4 stems are here.\n104 BPM"
    assert len(set(field(stems(product, four.chat_id), "title"))) == 4


async def test_an_unexpected_error_of_the_tag_writer_is_logged_once_with_its_traceback(
    product: Product,
    delivery: Delivery,
    sent: Message,
    put: Callable[..., dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(worker.stems.download, "write_tags", broken)
    job = await product.at(JobState.DELIVERING, sent, result=result_of(put("vocals")))
    with caplog.at_level("INFO"):
        await delivery.run(job.id)
    assert len(stems(product, job.chat_id)) == 1
    assert caplog.text.count("Traceback") == 1
    assert "in broken" in caplog.text


async def test_a_stem_that_cannot_be_tagged_is_sent_unchanged(
    product: Product,
    delivery: Delivery,
    files: FileServer,
    sent: Message,
    put: Callable[..., dict[str, str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    urls = put("vocals", "drums")
    broken = b"fLaC, but no sound at all"
    files.put("drums.mp3", broken)
    job = await product.at(JobState.DELIVERING, sent, result=result_of(urls))
    with caplog.at_level("INFO", "worker.stems.download"):
        await delivery.run(job.id)
    document = stems(product, job.chat_id)[1]
    assert document.media
    assert product.telegram.file_location(document.media["file_id"]).read_bytes() == broken
    (line,) = [record.getMessage() for record in caplog.records if record.name == "worker.stems.download"]
    assert line.startswith(f"job {job.id}: stem drums is sent without tags: ")


async def test_a_silent_stem_is_named_and_not_sent(
    product: Product, delivery: Delivery, files: FileServer, sent: Message, silence: bytes, tone: bytes
) -> None:
    urls = {
        "vocals": files.put("v.mp3", tone),
        "drums": files.put("d.mp3", silence),
        "bass": files.put("b.mp3", silence),
    }
    job = await product.at(JobState.DELIVERING, sent, result=result_of(urls))
    await delivery.run(job.id)
    assert field(stems(product, job.chat_id), "title") == ["Morning Line (Vocals)"]
    message = shown(product, job)
    assert message.text == "✅ “Morning Line”: 1 stem is here.\nSilent, so not sent: Drums, Bass."
    assert AGAIN not in labels(message)
    assert (await product.job(job.id)).silent == ("Drums", "Bass")


async def test_a_result_of_silent_stems_only_is_explained(
    product: Product, delivery: Delivery, files: FileServer, sent: Message, silence: bytes
) -> None:
    urls = {key: files.put(f"{key}.mp3", silence) for key in ("vocals", "instrumental")}
    job = await product.at(JobState.DELIVERING, sent, result=result_of(urls))
    await delivery.run(job.id)
    assert stems(product, job.chat_id) == []
    message = shown(product, job)
    assert message.text.startswith("🔇 “Morning Line” was split, but all stems are silent")
    assert "⚠️" not in message.text
    assert AGAIN not in labels(message)
    assert await product.stem_cache.find(job.source, (Mode.SPLIT_STEM, "")) is None


@pytest.fixture(scope="module")
def silence(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A silent MP3."""
    path = tmp_path_factory.mktemp("silence") / "silence.mp3"
    return sounds.record(path, "mp3", 0 * sounds.tone(seconds=0.1)).read_bytes()


async def test_the_duration_of_a_job_is_noted_once(
    product: Product, delivery: Delivery, files: FileServer, sent: Message, put: Callable[..., dict[str, str]]
) -> None:
    urls = put("vocals", "drums")
    files.put("drums.mp3", b"", status=404)
    job = await product.at(JobState.SEPARATING, sent)
    product.clock.advance(90)
    await product.store.receive(job.id, job.chat_id, "task-1", result_of(urls))
    product.clock.advance(20)
    await delivery.run(job.id)
    assert await paces(product) == ["90.0"]
    assert await product.store.deliver_again(job.id)
    await delivery.run(job.id)
    assert await paces(product) == ["90.0"]


async def test_the_duration_of_a_late_result_is_not_noted(
    product: Product, delivery: Delivery, sent: Message, put: Callable[..., dict[str, str]]
) -> None:
    job = await product.at(JobState.SEPARATING, sent)
    product.clock.advance(3600)
    assert await product.store.fail(job.id, [JobState.SEPARATING], Failure("timeout", charged=True))
    success = result_of(put("vocals", "drums"))
    assert await product.store.receive(job.id, job.chat_id, "task-1", success) is Receipt.STORED
    await delivery.run(job.id)
    assert (await product.job(job.id)).state is JobState.DELIVERED
    assert await paces(product) == []


async def test_an_instrument_is_popular_once_it_was_delivered(
    product: Product, delivery: Delivery, sent: Message, put: Callable[..., dict[str, str]]
) -> None:
    chosen = {"mode": Mode.SPLIT_STEM_ADVANCED, "instrument": "Snare", "picked_at": product.clock()}
    popular = []
    for result in (Result(500), result_of(put("snare"))):
        job = await product.at(
            JobState.DELIVERING, sent, result=result, task_id=f"task-{result.code}", **chosen
        )
        await delivery.run(job.id)
        popular.append((await product.job_statistics.instruments())[0])
    assert popular == [INSTRUMENTS[0], "Snare"]


async def paces(product: Product) -> list[str]:
    return [str(pace) for pace in await product.redis.lrange(PACE.format(Mode.SPLIT_STEM), 0, -1)]


async def test_a_stem_too_large_for_telegram_becomes_a_link(
    product: Product,
    files: FileServer,
    sent: Message,
    put: Callable[..., dict[str, str]],
    tone: bytes,
) -> None:
    urls = put("vocals", "drums")
    urls["drums"] = files.put("big drums.mp3", bytes(len(tone) + 1))
    job = await product.at(JobState.DELIVERING, sent, result=result_of(urls))
    await product.delivery(max_bytes=len(tone)).run(job.id)
    assert field(stems(product, job.chat_id), "title") == ["Morning Line (Vocals)"]
    message = shown(product, job)
    assert f"Too big for Telegram: Drums. Download it within a few days: {urls['drums']}" in message.text
    assert "Could not be fetched" not in message.text
    assert AGAIN not in labels(message)


async def test_a_missing_stem_is_named_and_only_it_is_fetched_again(
    product: Product,
    delivery: Delivery,
    files: FileServer,
    sent: Message,
    put: Callable[..., dict[str, str]],
    tone: bytes,
) -> None:
    urls = put("vocals", "drums", "bass")
    files.put("drums.mp3", b"", status=404)
    files.put("bass.mp3", b"", status=500)
    job = await product.at(JobState.DELIVERING, sent, result=result_of(urls))
    await delivery.run(job.id)
    message = shown(product, job)
    assert message.text.startswith("✅ “Morning Line”: 1 stem is here.")
    assert "Could not be fetched: Drums, Bass. Fetching again costs nothing." in message.text
    assert labels(message) == [AGAIN, *OTHER_MODES, *PACKED]
    put("drums", "bass")
    files.requests.clear()
    assert await product.store.move(job.id, [JobState.DELIVERED], JobState.DELIVERING, missing=())
    await delivery.run(job.id)
    assert sorted(files.asked) == ["bass.mp3", "drums.mp3"]
    assert field(stems(product, job.chat_id), "title") == [
        *("Morning Line (Vocals)", "Morning Line (Drums)", "Morning Line (Bass)")
    ]
    message = shown(product, job)
    assert message.text == "✅ “Morning Line”: 3 stems are here."
    assert product.telegram.bot_messages(job.chat_id)[-1] is message
    assert labels(message) == [*OTHER_MODES, *REMIXED, *PACKED]


async def test_a_result_without_any_available_stem_is_explained(
    product: Product, delivery: Delivery, files: FileServer, two: Job
) -> None:
    for name in ("vocals", "instrumental"):
        files.put(f"{name}.mp3", b"", status=403)
    await delivery.run(two.id)
    message = shown(product, two)
    assert message.text.startswith("⚠️ “Morning Line” was split, but no stem has reached you yet.")
    assert labels(message) == [AGAIN, *OTHER_MODES]
    assert (await product.job(two.id)).state is JobState.DELIVERED


async def handed_over(product: Product, sent: Message) -> Job:
    """A job that was given the task of one that was deleted."""
    store, jobs = product.store, []
    for account in (1, sent.sender.id):
        job = replace(new_job(sent), account=account, user_id=account)
        await store.add(job, once=job.id)
        await store.pick(job, Mode.SEPARATE_VOCAL, "", 0)
        jobs.append(job)
        if account == 1:
            await store.begin_create(job.id)
            await store.accept(job.id, "task-1")
    await store.forget(jobs[0].id)
    return await product.job(jobs[1].id)


async def test_stems_that_a_deleted_job_paid_for_and_that_are_gone_can_be_bought_anew(
    product: Product, files: FileServer, sent: Message
) -> None:
    store, heir = product.store, await handed_over(product, sent)
    gone = result_of({"vocals": files.put("vocals.mp3", b"", status=403)})
    assert await store.receive(heir.id, heir.chat_id, "task-1", gone) is Receipt.STORED
    await product.delivery().run(heir.id)
    heir = await product.job(heir.id)
    assert heir.state is JobState.CHOOSING
    await store.cancel(heir.id)
    assert not (await product.job(heir.id)).is_paid_and_cancelled
    await store.resume(heir.id)
    await store.pick(heir, Mode.SEPARATE_VOCAL, "", 0)
    assert await store.begin_create(heir.id)


@pytest.mark.parametrize(
    ("stem_status", "api_status"),
    [(503, 404), (403, 503), (403, 429)],
    ids=["stem host away", "link expired and API away", "link expired and API busy"],
)
async def test_stems_that_a_deleted_job_paid_for_and_that_are_away_are_fetched_again_free(
    product: Product, files: FileServer, sent: Message, tone: bytes, stem_status: int, api_status: int
) -> None:
    store, heir = product.store, await handed_over(product, sent)
    gone, away = (files.put(name, status=status) for name, status in (("v.mp3", 404), ("i.mp3", stem_status)))
    files.put(ASKING, status=api_status)
    await store.receive(heir.id, heir.chat_id, "task-1", result_of({"vocals": gone, "instrumental": away}))
    await product.delivery().run(heir.id)
    heir = await product.job(heir.id)
    assert (heir.state, heir.is_cache_lost) == (JobState.DELIVERED, False)
    assert AGAIN in labels(shown(product, heir))
    files.put("v.mp3", tone)
    files.put("i.mp3", tone)
    assert await store.deliver_again(heir.id)
    await product.delivery().run(heir.id)
    assert len(stems(product, heir.chat_id)) == 2
    assert (await product.job(heir.id)).price == 0


async def test_a_failure_of_a_task_that_another_job_paid_for_is_not_told_as_charged(
    product: Product, sent: Message
) -> None:
    heir = await handed_over(product, sent)
    await product.store.receive(heir.id, heir.chat_id, "task-1", Result(501))
    await product.delivery().run(heir.id)
    assert (await product.job(heir.id)).failure == Failure("501", charged=False)


async def test_fresh_urls_are_requested_once_for_all_expired_ones(
    product: Product, delivery: Delivery, files: FileServer, two: Job, tone: bytes
) -> None:
    names = ("vocals", "instrumental")
    for name in names:
        files.put(f"{name}.mp3", b"", status=410)
    vocal, instrumental = (files.put(f"fresh {name}.mp3", tone) for name in names)
    asking = answer_detail(files, vocalUrl=vocal, instrumentalUrl=instrumental)
    await delivery.run(two.id)
    assert len(stems(product, two.chat_id)) == 2
    assert files.asked.count(asking) == 1


PAGE = b"<!DOCTYPE html><html><body>This link has expired.</body></html>"


def answer_detail(files: FileServer, **urls: str) -> str:
    """Serve the API's answer with these URLs; returns its path."""
    detail = {"code": 200, "msg": "ok", "data": {"successFlag": "SUCCESS", "response": urls}}
    files.put(ASKING, json.dumps(detail).encode(), media_type="application/json")
    return ASKING


async def test_a_fresh_url_is_requested_for_a_page_in_place_of_a_stem(
    product: Product, delivery: Delivery, files: FileServer, two: Job, tone: bytes
) -> None:
    files.put("vocals.mp3", PAGE, media_type="text/html")
    files.put("instrumental.mp3", PAGE, media_type="audio/mpeg")
    names = {"vocalUrl": "fresh vocals.mp3", "instrumentalUrl": "fresh instrumental.mp3"}
    asking = answer_detail(files, **{field: files.put(name, tone) for field, name in names.items()})
    await delivery.run(two.id)
    arrived = stems(product, two.chat_id)
    assert field(arrived, "title") == ["Morning Line (Vocals)", "Morning Line (Instrumental)"]
    for message in arrived:
        assert message.media
        assert np.array_equal(decode(product.telegram.file_location(message.media["file_id"])), decode(tone))
    assert files.asked.count(asking) == 1


@pytest.mark.parametrize("fresh", [PAGE, None], ids=["fresh one is a page too", "no other is known"])
async def test_a_page_in_place_of_a_stem_is_not_sent(
    product: Product, delivery: Delivery, files: FileServer, two: Job, fresh: bytes | None
) -> None:
    files.put("vocals.mp3", PAGE)
    name = "fresh vocals.mp3" if fresh else "vocals.mp3"
    asking = answer_detail(files, vocalUrl=files.put(name, PAGE))
    await delivery.run(two.id)
    assert field(stems(product, two.chat_id), "title") == ["Morning Line (Instrumental)"]
    message = shown(product, two)
    assert "Could not be fetched: Vocals." in message.text
    assert AGAIN in labels(message)
    assert await product.stem_cache.find(two.source, (Mode.SPLIT_STEM, "")) is None
    assert [files.asked.count(path) for path in ("vocals.mp3", asking)] == [1, 1]


async def test_audio_of_an_unknown_format_is_sent_unchanged(
    product: Product, delivery: Delivery, files: FileServer, two: Job, tmp_path: Path
) -> None:
    sound = sounds.record(tmp_path / "a", "webm", sounds.tone(seconds=0.1)).read_bytes()
    files.put("vocals.mp3", sound)
    await delivery.run(two.id)
    sent = [message.media for message in stems(product, two.chat_id)]
    files_sent = [product.telegram.file_location(media["file_id"]).read_bytes() for media in sent if media]
    assert sound in files_sent


async def test_all_downloads_of_a_job_share_one_deadline(
    product: Product,
    delivery: Delivery,
    files: FileServer,
    sent: Message,
    put: Callable[..., dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker.stems.download, "STEMS_TIMEOUT_S", 0.1)
    job = await product.at(JobState.DELIVERING, sent, result=result_of(put(*TWELVE)))
    for key in TWELVE:
        files.hold(f"{key}.mp3")
    async with asyncio.timeout(120):
        await delivery.run(job.id)
    now = await product.job(job.id)
    assert (now.state, len(now.missing)) == (JobState.DELIVERED, 12)
    assert len(files.requests) <= FETCHES_PER_JOB
    assert AGAIN in labels(shown(product, job))


async def test_the_link_of_a_too_large_stem_is_the_fresh_url(
    product: Product, files: FileServer, sent: Message, tone: bytes
) -> None:
    job = await product.at(
        JobState.DELIVERING, sent, result=result_of({"vocals": files.put("v.mp3", b"", status=410)})
    )
    fresh = files.put("fresh v.mp3", bytes(len(tone) + 1))
    answer_detail(files, vocalUrl=fresh)
    await product.delivery(max_bytes=len(tone)).run(job.id)
    assert (await product.job(job.id)).links == (("Vocals", fresh),)
    message = shown(product, job)
    assert message.text.startswith("✅ “Morning Line” is split.\nToo big for Telegram: Vocals.")
    assert fresh in message.text


async def test_a_private_address_is_not_requested(
    product: Product, delivery: Delivery, sent: Message, put: Callable[..., dict[str, str]]
) -> None:
    async with FileServer().run() as private:
        urls = put("vocals") | {"drums": private.put("drums.mp3", b"secret")}
        job = await product.at(JobState.DELIVERING, sent, result=result_of(urls))
        await delivery.run(job.id)
        assert private.requests == []
    assert "Could not be fetched: Drums." in shown(product, job).text


async def test_a_repeated_run_sends_nothing(
    product: Product, delivery: Delivery, files: FileServer, two: Job
) -> None:
    await delivery.run(two.id)
    await delivery.run(two.id)
    assert len(stems(product, two.chat_id)) == 2
    assert len(files.requests) == 2
    await delivery.run("0000000000000000")


async def test_the_rest_is_sent_after_a_kill_between_two_albums(
    product: Product, delivery: Delivery, files: FileServer, four: Job
) -> None:
    held = [files.hold(f"{key}.mp3") for key in FOUR[2:]]
    running = asyncio.create_task(delivery.run(four.id))
    await first_album(product, four)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert len(stems(product, four.chat_id)) == 2
    assert (await product.job(four.id)).state is JobState.DELIVERING
    for event in held:
        event.set()
    files.requests.clear()
    await delivery.run(four.id)
    assert set(files.asked) == {f"{key}.mp3" for key in FOUR[2:]}
    arrived = stems(product, four.chat_id)
    assert len(arrived) == 4
    assert len(set(field(arrived, "title"))) == 4
    assert shown(product, four).text == "✅ “Morning Line”: 4 stems are here."


async def first_album(product: Product, job: Job) -> None:
    """Wait until the first album is recorded: one in flight may arrive twice."""
    with anyio.fail_after(WAIT_S):
        while not await product.store.sent(job.id):  # noqa: ASYNC110
            await anyio.sleep(0.01)


@asynccontextmanager
async def half_sent(product: Product, delivery: Delivery, files: FileServer, job: Job) -> AsyncIterator[None]:
    """A run that has sent two of four stems, and has the last one when the block ends."""
    held = files.hold(f"{FOUR[-1]}.mp3")
    frozen = asyncio.create_task(delivery.run(job.id))
    await first_album(product, job)
    yield
    held.set()
    await frozen


@pytest.mark.parametrize("is_delivered_again", [False, True])
async def test_a_run_that_was_replaced_leaves_the_rest_to_the_new_run(
    product: Product, delivery: Delivery, files: FileServer, four: Job, is_delivered_again: bool
) -> None:
    """The first run was only cut off from Redis for longer than its lease.

    Delivering again restarts the count of runs: both runs are the first of their count.
    """
    job = four
    async with half_sent(product, delivery, files, job):
        if is_delivered_again:
            given_up = Failure("undeliverable", charged=True)
            assert await product.store.fail(job.id, [JobState.DELIVERING], given_up)
            assert await product.store.deliver_again(job.id)
        successor = asyncio.create_task(product.delivery().run(job.id))
        await until(lambda: files.asked.count(f"{FOUR[-1]}.mp3") == 2)
    await successor
    assert len(stems(product, job.chat_id)) == 4
    assert (await product.job(job.id)).state is JobState.DELIVERED


async def test_nothing_more_is_sent_of_a_dropped_job(
    product: Product, delivery: Delivery, files: FileServer, four: Job
) -> None:
    job, dropped = four, Failure("undeliverable", charged=True)
    async with half_sent(product, delivery, files, job):
        assert await product.store.fail(job.id, [JobState.DELIVERING], dropped)
    assert len(stems(product, job.chat_id)) == 2
    assert (await product.job(job.id)).failure == dropped
    # the user fetches the missing stems
    await product.store.deliver_again(job.id)
    await delivery.run(job.id)
    assert len(stems(product, job.chat_id)) == 4


async def test_a_failure_is_explained_with_its_code(
    product: Product, delivery: Delivery, sent: Message
) -> None:
    for code, charged, helps in ((400, True, False), (531, False, True), (599, True, True)):
        job = await product.at(JobState.DELIVERING, sent, result=Result(code), task_id=f"task-{code}")
        await delivery.run(job.id)
        assert (await product.job(job.id)).failure == Failure(str(code), charged=charged)
        message = product.telegram.bot_messages(job.chat_id)[-1]
        assert message.text.startswith(f"⚠️ That did not work (code {code}).")
        told = "The service charged for this try." if charged else "This try cost nothing."
        assert told in message.text, code
        assert labels(message) == (["🔁 Try again · 50 credits"] if helps else []), code
    assert await product.store.open_jobs() == []


async def test_a_success_without_stems_is_asked_for_twice_before_it_is_empty(
    product: Product, files: FileServer, sent: Message
) -> None:
    answer_detail(files)
    job = await product.at(JobState.DELIVERING, sent, result=Result(200))
    with pytest.raises(TryLater) as later:
        await product.delivery().run(job.id)
    assert "found nothing" not in "".join(found.text for found in product.telegram.bot_messages(job.chat_id))
    with pytest.raises(TryLater):  # too soon, as after a restart
        await product.delivery().run(job.id)
    assert files.asked == [ASKING]
    product.clock.advance(later.value.after_s)
    await product.delivery().run(job.id)
    assert files.asked == [ASKING] * 2
    assert (await product.job(job.id)).failure == Failure("empty", charged=True)
    assert "found nothing to split" in shown(product, job).text


@pytest.mark.parametrize("empty_answers", [0, 1])
async def test_stems_that_come_after_a_success_are_delivered(
    product: Product, files: FileServer, sent: Message, tone: bytes, empty_answers: int
) -> None:
    job = await product.at(JobState.DELIVERING, sent, result=Result(200))
    answer_detail(files)
    for _ in range(empty_answers):
        with pytest.raises(TryLater) as later:
            await product.delivery().run(job.id)
        product.clock.advance(later.value.after_s)
    answer_detail(files, vocalUrl=files.put("v.mp3", tone), instrumentalUrl=files.put("i.mp3", tone))
    with pytest.raises(TryLater):
        await product.delivery().run(job.id)
    await product.delivery().run(job.id)
    assert (await product.job(job.id)).state is JobState.DELIVERED
    assert len(stems(product, job.chat_id)) == 2


async def test_a_success_without_stems_waits_for_an_api_that_is_away(
    product: Product, files: FileServer, sent: Message
) -> None:
    files.put(ASKING, b"bad gateway", status=502)
    job = await product.at(JobState.DELIVERING, sent, result=Result(200))
    for _ in range(3):
        with pytest.raises(TryLater) as later:
            await product.delivery().run(job.id)
        product.clock.advance(later.value.after_s)
    product.clock.advance(GIVE_UP_S)
    with pytest.raises(TryLater) as later:
        await product.delivery().run(job.id)
    product.clock.advance(later.value.after_s)
    await product.delivery().run(job.id)
    assert (await product.job(job.id)).failure == Failure("empty", charged=True)


async def test_a_result_in_an_unknown_form_is_told_as_that_and_can_be_fetched_later(
    product: Product, files: FileServer, sent: Message, tone: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answer_detail(files)
    job = await product.at(JobState.DELIVERING, sent, result=Result(200, shape="{voice: URL}"))
    with pytest.raises(TryLater) as later:
        await product.delivery().run(job.id)
    product.clock.advance(later.value.after_s)
    await product.delivery().run(job.id)
    assert (await product.job(job.id)).failure == Failure("unknown_form", charged=True)
    assert "in a form that I don't understand" in shown(product, job).text
    assert labels(shown(product, job)) == [AGAIN]
    (line,) = [record.getMessage() for record in caplog.records if "{voice: URL}" in record.getMessage()]
    assert job.id in line
    answer_detail(files, vocalUrl=files.put("v.mp3", tone))
    await product.orders.fetch_again(await product.job(job.id))
    with pytest.raises(TryLater):
        await product.delivery().run(job.id)
    await product.delivery().run(job.id)
    assert (await product.job(job.id)).state is JobState.DELIVERED


async def test_a_callback_without_credits_costs_nothing_and_alerts_the_admins(
    product: Product, delivery: Delivery, sent: Message, caplog: pytest.LogCaptureFixture
) -> None:
    job = await product.at(JobState.DELIVERING, sent, result=Result(402))
    await delivery.run(job.id)
    assert (await product.job(job.id)).failure == Failure("402", charged=False)
    assert product.translations.language("en")("alert.credits_out") in caplog.text


async def test_a_job_ends_when_its_user_has_blocked_the_bot(
    product: Product, delivery: Delivery, two: Job
) -> None:
    product.telegram.block_bot(two.chat_id)
    await delivery.run(two.id)
    assert (await product.job(two.id)).state is JobState.FAILED
    assert await product.store.open_jobs() == []
    assert product.telegram.bot_messages(two.chat_id) == []


async def test_a_job_ends_when_its_user_blocks_the_bot_during_the_delivery(
    product: Product, delivery: Delivery, files: FileServer, two: Job
) -> None:
    held = files.hold("vocals.mp3")
    running = asyncio.create_task(delivery.run(two.id))
    await until(lambda: files.requests)
    product.telegram.block_bot(two.chat_id)
    held.set()
    await running
    assert (await product.job(two.id)).state is JobState.FAILED
    assert await product.store.open_jobs() == []


async def test_a_group_that_became_a_supergroup_gets_its_stems_there(
    product: Product, delivery: Delivery, alice: User, song: Path, put: Callable[..., dict[str, str]]
) -> None:
    group = product.telegram.add_group("Band", [alice])
    sent = await product.telegram.send_file(group.id, song)
    job = await product.at(JobState.DELIVERING, sent, result=result_of(put("vocals", "drums")))
    new = product.telegram.migrate_group(group.id)
    with pytest.raises(TryLater):
        await delivery.run(job.id)
    await delivery.run(job.id)
    assert len(stems(product, new.id)) == 2
    now = await product.job(job.id)
    assert (now.chat_id, now.state) == (new.id, JobState.DELIVERED)


async def test_a_flood_wait_of_telegram_is_obeyed(
    redis_url: str,
    telegram: Telegram,
    files: FileServer,
    sent: Message,
    put: Callable[..., dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PTB_TIMEDELTA", "1")  # or the library warns
    async with (
        run_telegram(telegram) as url,
        open_product(redis_url, telegram, url, is_flood_limited=True, STEM_HOSTS=files.host) as product,
    ):
        job = await product.at(JobState.DELIVERING, sent, result=result_of(put("vocals", "drums")))
        telegram.faults.add(FaultKind.TOO_MANY_REQUESTS, method="sendMediaGroup", retry_after_s=1)
        await product.delivery().run(job.id)
        refused, taken = [call for call in telegram.calls if call.method == "sendMediaGroup"]
        assert (refused.status, taken.status) == (429, 200)
        assert taken.time - refused.time >= 1
        assert telegram.flood_refusals == 0
        assert len(stems(product, job.chat_id)) == 2


async def test_an_error_of_telegram_is_retried(product: Product, delivery: Delivery, two: Job) -> None:
    for fault in (FaultKind.BAD_GATEWAY, FaultKind.RESET_BEFORE):
        product.telegram.faults.add(fault, method="sendMediaGroup")
        with pytest.raises(TryLater) as later:
            await delivery.run(two.id)
        assert 0 < later.value.after_s <= 300, fault
        assert (await product.job(two.id)).state is JobState.DELIVERING, fault
    await delivery.run(two.id)
    assert len(stems(product, two.chat_id)) == 2


async def test_a_delivery_waits_for_room_on_the_disk(
    product: Product, delivery: Delivery, files: FileServer, two: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
        with pytest.raises(TryLater):
            await delivery.run(two.id)
    assert files.requests == []
    await delivery.run(two.id)
    assert len(stems(product, two.chat_id)) == 2


async def test_a_delivery_is_given_up_after_many_runs(product: Product, delivery: Delivery, two: Job) -> None:
    await product.store.count_run(two.id, Run.DELIVER, by=MAX_DELIVERY_RUNS)
    await delivery.run(two.id)
    assert (await product.job(two.id)).failure == Failure("undeliverable", charged=True)
    message = shown(product, two)
    assert "sending them kept failing" in message.text
    assert labels(message) == [AGAIN]
    assert await product.store.deliver_again(two.id)
    await delivery.run(two.id)
    assert len(stems(product, two.chat_id)) == 2
    assert shown(product, two).text == "✅ “Morning Line”: 2 stems are here."


async def test_an_unexpected_error_is_not_repeated_for_ever(
    product: Product, delivery: Delivery, two: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(shutil, "disk_usage", broken)
    for _ in range(MAX_BROKEN_RUNS):
        with pytest.raises(ZeroDivisionError):
            await delivery.run(two.id)
    assert (await product.job(two.id)).state is JobState.DELIVERING
    await delivery.run(two.id)
    assert (await product.job(two.id)).failure == Failure("undeliverable", charged=True)
    await delivery.run(two.id)


async def test_a_delivery_that_kills_its_process_is_not_repeated_for_ever(
    product: Product, delivery: Delivery, two: Job
) -> None:
    for kind in (Run.DELIVER, Run.BROKEN_DELIVERY):  # the counts that killed runs leave
        await product.store.count_run(two.id, kind, by=MAX_BROKEN_RUNS)
    await delivery.run(two.id)
    assert (await product.job(two.id)).failure == Failure("undeliverable", charged=True)


async def test_a_cancelled_run_does_not_count_as_broken(
    product: Product, delivery: Delivery, files: FileServer, two: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.delivery.MAX_BROKEN_RUNS", 1)
    held = [files.hold(f"{name}.mp3") for name in ("vocals", "instrumental")]
    for count in range(1, 3):
        running = asyncio.create_task(delivery.run(two.id))
        await until(lambda count=count: len(files.requests) == 2 * count)
        running.cancel()
        (ended,) = await asyncio.gather(running, return_exceptions=True)
        assert ended is not None
    for hold in held:
        hold.set()
    await delivery.run(two.id)
    assert (await product.job(two.id)).state is JobState.DELIVERED


async def test_a_postponed_run_does_not_count_as_broken(
    product: Product, delivery: Delivery, two: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.delivery.MAX_BROKEN_RUNS", 1)
    product.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMediaGroup", times=2)
    for _ in range(2):
        with pytest.raises(TryLater):
            await delivery.run(two.id)
    await delivery.run(two.id)
    assert (await product.job(two.id)).state is JobState.DELIVERED
    assert await product.store.count_run(two.id, Run.BROKEN_DELIVERY, by=0) == 0


async def test_a_finished_run_subtracts_only_its_own_count(
    product: Product, delivery: Delivery, two: Job
) -> None:
    await product.store.count_run(two.id, Run.BROKEN_DELIVERY, by=MAX_BROKEN_RUNS - 1)
    await delivery.run(two.id)
    assert (await product.job(two.id)).state is JobState.DELIVERED
    assert await product.store.count_run(two.id, Run.BROKEN_DELIVERY, by=0) == MAX_BROKEN_RUNS - 1


async def test_the_progress_message_is_written_once_for_all_runs(
    product: Product, delivery: Delivery, two: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each message takes of the limits that the stems need."""
    monkeypatch.setattr("worker.delivery.WORTH_SHOWING_S", 0)
    product.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMediaGroup", times=2)
    for _ in range(2):
        with pytest.raises(TryLater):
            await delivery.run(two.id)
    assert _written(product) == 1


async def test_short_runs_of_a_long_delivery_show_that_stems_are_being_sent(
    product: Product, delivery: Delivery, two: Job
) -> None:
    product.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMediaGroup", times=2)
    with pytest.raises(TryLater):
        await delivery.run(two.id)
    assert _written(product) == 0
    product.clock.advance(WORTH_SHOWING_S)
    with pytest.raises(TryLater):
        await delivery.run(two.id)
    assert "Sending the stems…" in shown(product, two).text


def _written(product: Product) -> int:
    methods = [call.method for call in product.telegram.calls]
    return methods.count("sendMessage") + methods.count("editMessageText")


async def test_only_a_long_delivery_shows_that_stems_are_being_sent(
    product: Product, delivery: Delivery, files: FileServer, two: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = files.hold("vocals.mp3")
    running = asyncio.create_task(delivery.run(two.id))
    await until(lambda: files.requests)
    assert _written(product) == 0
    running.cancel()
    await asyncio.wait({running})
    monkeypatch.setattr("worker.delivery.WORTH_SHOWING_S", 0)
    running = asyncio.create_task(delivery.run(two.id))
    await until(lambda: _written(product))
    assert "Sending the stems…" in shown(product, two).text
    hold.set()
    await running
    assert shown(product, two).text.startswith("✅")


@pytest.mark.parametrize("code", [500, 531])
@pytest.mark.parametrize("moment", ["before it is shown", "while it is shown"])
async def test_a_success_replaces_the_failure_that_is_being_shown(
    product: Product,
    delivery: Delivery,
    sent: Message,
    put: Callable[..., dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    code: int,
) -> None:
    job = await failing(product, sent, code)
    success = result_of(put("vocals", "drums"))
    fail, show = product.store.fail, product.job_message.show_current
    receipts: list[Receipt] = []

    async def success_comes() -> None:
        if not receipts:
            receipts.append(await product.store.receive(job.id, job.chat_id, "task-1", success))

    async def fail_late(*args: Any) -> bool:
        await success_comes()
        return await fail(*args)

    async def show_late(job_id: str) -> None:
        await show(job_id)
        await success_comes()

    if moment == "before it is shown":
        monkeypatch.setattr(product.store, "fail", fail_late)
    else:
        monkeypatch.setattr(product.job_message, "show_current", show_late)
    with pytest.raises(TryLater):
        await delivery.run(job.id)
    assert receipts == [Receipt.STORED]
    if moment == "before it is shown":
        assert product.telegram.bot_messages(job.chat_id) == []
    await delivery.run(job.id)
    assert len(stems(product, job.chat_id)) == 2
    now = await product.job(job.id)
    assert (now.state, now.charge) == (JobState.DELIVERED, Charge.SETTLED)
    assert (await product.store.allowance(job.account, 0)).spent == 50
    assert shown(product, job).text == "✅ “Morning Line”: 2 stems are here."


async def failing(product: Product, sent: Message, code: int) -> Job:
    """Return a paid job whose result is this failure."""
    job = await product.at(JobState.CHOOSING, sent)
    await product.store.pick(job, Mode.SPLIT_STEM, "", 0)
    assert await product.store.begin_create(job.id)
    await product.store.accept(job.id, "task-1")
    await product.store.receive(job.id, job.chat_id, "task-1", Result(code))
    return await product.job(job.id)


async def test_a_success_that_overtook_a_stored_failure_is_delivered(
    product: Product, delivery: Delivery, sent: Message, put: Callable[..., dict[str, str]]
) -> None:
    job = await failing(product, sent, 531)
    success = result_of(put("vocals", "drums"))
    assert await product.store.receive(job.id, job.chat_id, "task-1", success) is Receipt.STORED
    assert await product.store.fail(job.id, [JobState.DELIVERING], Failure("531", charged=False))
    await product.store.close(job.id)
    with pytest.raises(TryLater):
        await delivery.run(job.id)
    await delivery.run(job.id)
    assert len(stems(product, job.chat_id)) == 2
    assert (await product.job(job.id)).charge is Charge.SETTLED
    assert (await product.store.allowance(job.account, 0)).spent == 50


async def test_a_delivery_waits_when_the_disk_becomes_full(
    product: Product, delivery: Delivery, two: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        create = worker.stems.fetcher._create
        patch.setattr(worker.stems.fetcher, "_create", lambda _: create(Path("/dev/full")))
        with pytest.raises(TryLater, match="No space left on device") as later:
            await delivery.run(two.id)
    assert later.value.after_s == 60
    assert (await product.job(two.id)).state is JobState.DELIVERING
    await delivery.run(two.id)
    assert len(stems(product, two.chat_id)) == 2


async def test_a_lost_connection_among_single_stems_repeats_none(
    product: Product, delivery: Delivery, files: FileServer, sent: Message, put: Callable[..., dict[str, str]]
) -> None:
    job = await product.at(JobState.DELIVERING, sent, result=result_of(put("vocals", "drums", "bass")))
    # the album is refused because of this one, and the others are sent singly
    files.put("bass.mp3", b"ID3, but no sound at all")
    product.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendDocument")
    with pytest.raises(TryLater):
        await delivery.run(job.id)
    assert set(await product.store.sent(job.id)) == {"vocals", "drums"}
    await delivery.run(job.id)
    assert field(stems(product, job.chat_id), "file_name") == [
        *("Morning Line (Vocals).mp3", "Morning Line (Drums).mp3", "Morning Line (Bass).mp3")
    ]


async def test_an_album_is_recorded_after_a_pause_of_redis(
    product: Product, delivery: Delivery, two: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep, tick, away = asyncio.sleep, product.store.tick, [1, 2, 3]

    async def nap(seconds: float) -> None:
        await sleep(min(seconds, 0.01))

    async def tick_later(job_id: str, sent: dict[str, Sent]) -> None:
        if away:
            away.pop()
            raise StoreUnavailable("Redis does not answer")
        await tick(job_id, sent)

    monkeypatch.setattr("stemdrop.storage.connection.sleep", nap)
    monkeypatch.setattr(product.store, "tick", tick_later)
    await delivery.run(two.id)
    assert away == []
    assert set(await product.store.sent(two.id)) == {"vocals", "instrumental"}
    assert len(stems(product, two.chat_id)) == 2


async def test_no_file_is_left_on_the_disk(
    product: Product, delivery: Delivery, two: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    await delivery.run(two.id)
    product.telegram.block_bot(two.chat_id)
    assert [path.name for path in folder.iterdir() if path.name.startswith("stemdrop-")] == []
