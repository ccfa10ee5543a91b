"""Segments of stems: sample-exact, made once, within a budget, by a process that does not outlive its own."""

import asyncio
import os
import signal
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from av import AudioStream
from numpy.typing import NDArray
from product import Product, result_of, until
from sounds import damage, record, tone
from tones import mp3, of_unknown_codec
from waits import WAIT_S

from sandbox.telegram.chats import Message, User
from sandbox.telegram.faults import DOWNLOAD, FaultKind
from sandbox.telegram.state import Limits
from stemdrop.domain.jobs import Job
from webhook.mixer import segment_folder, segments
from webhook.mixer.app import open_segments
from webhook.mixer.segment_folder import SegmentFolder, remove_leftovers
from webhook.mixer.segments import IN_USE_S, LIFETIME_S

from .conftest import Mixer, refusal

SEGMENT = 3 * 44_100


def samples_of(content: bytes) -> NDArray[np.int16]:
    """Decode to stereo at 44.1 kHz; mono in both channels alike."""
    with av.open(BytesIO(content), "r") as container:
        is_mono = container.streams.audio[0].codec_context.layout.nb_channels == 1
        resampler = av.AudioResampler("s16p", "mono" if is_mono else "stereo", 44_100)
        frames = [part for frame in [*container.decode(audio=0), None] for part in resampler.resample(frame)]
    whole = np.concatenate([frame.to_ndarray() for frame in frames], axis=1)
    return np.repeat(whole, 2, axis=0) if is_mono else whole


def sound(codec: str, form: str, layout: str = "stereo", rate: int = 44_100, seconds: float = 3.1) -> bytes:
    """Noise that differs in its channels."""
    channels = 1 if layout == "mono" else 2
    noise = np.random.default_rng(1).integers(-9000, 9000, (channels, int(rate * seconds)), np.int16)
    written = BytesIO()
    with av.open(written, "w", format=form) as container:
        stream = cast(AudioStream, container.add_stream(codec, rate=rate, layout=layout))
        frame = av.AudioFrame.from_ndarray(noise, format="s16p", layout=layout)
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return written.getvalue()


async def whole(mixer: Mixer, token: str, stem: int) -> list[NDArray[np.int16]]:
    """Fetch and decode a stem's segments up to its end, after which there is silence."""
    found: list[NDArray[np.int16]] = []
    while (segment := samples_of((await mixer.segment(token, stem, len(found))).content)).any():
        found.append(segment)
    assert segment.shape == (2, 441)
    assert (await mixer.segment(token, stem, 9999)).status_code == 200
    return found


def stored(mixer: Mixer) -> list[Path]:
    """The files that the webhook holds."""
    folder = mixer.segments.folder._path
    return sorted(folder.glob("*/*"), key=lambda path: path.name) if folder else []


def fetched(mixer: Mixer) -> int:
    """How often a stem has been fetched from Telegram."""
    return [call.method for call in mixer.product.telegram.calls].count("getFile")


def waits_for_room(mixer: Mixer) -> bool:
    """Whether a stem waits for room."""
    return any(stem.trouble and not stem.is_over for stem in mixer.segments._stems.values())


async def test_segments_together_are_the_stem_to_the_sample(
    mixer: Mixer, job: Job, alice: User, stems: dict[str, bytes]
) -> None:
    """Of each format, and at the same place in all of them: the encoder's delay of MP3 is left out."""
    kinds = [
        stems["vocals"],
        sound("flac", "flac", seconds=6),
        sound("pcm_s16le", "wav", "mono"),
        sound("flac", "flac", rate=48_000),
        sound("aac", "mp4"),
        sound("libopus", "ogg", rate=48_000),
    ]
    keys = ["vocals", "instrumental", "drums", "bass", "guitar", "other"]
    files = dict(zip(keys, kinds, strict=True))
    await mixer.product.store.set(job.id, result=result_of(dict.fromkeys(files, "")))
    await mixer.store(job, files)
    token = await mixer.token(job, alice)
    for number, content in enumerate(kinds):
        found = await whole(mixer, token, number)
        assert [segment.shape[1] for segment in found[:-1]] == [SEGMENT] * (len(found) - 1)
        assert np.array_equal(np.concatenate(found, axis=1), samples_of(content)), number
    # whose length in whole segments has no empty one after it
    assert [segment.shape for segment in await whole(mixer, token, 1)] == [(2, SEGMENT)] * 2


async def test_a_damaged_stem_is_cut_to_its_end(mixer: Mixer, job: Job, alice: User, tmp_path: Path) -> None:
    path = record(tmp_path / "a.mp3", "mp3", tone(seconds=5))
    damage(path)
    await mixer.store(job, {"vocals": path.read_bytes()})
    found = np.concatenate(await whole(mixer, await mixer.token(job, alice), 0), axis=1)
    assert found.shape[1] / 44_100 == pytest.approx(5, abs=0.1)
    assert found[:, -44_100:-22_050].any()


async def test_a_segment_is_a_flac_file_that_the_browser_may_keep(
    mixer: Mixer, job: Job, alice: User
) -> None:
    token = await mixer.token(job, alice)
    answer = await mixer.segment(token, 0, 2)
    assert answer.status_code == 200
    assert answer.content[:4] == b"fLaC"
    assert answer.headers["content-type"] == "audio/flac"
    assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.headers["cache-control"] == "private, max-age=86400, immutable"
    for path in ("0/x", "0/-1", "0/99999", "2/0", "x/0", f"{'9' * 5000}/0"):
        other = await mixer.client.get(f"/mixer/segments/{token}/{path}.flac")
        assert refusal(other) == (404, "not_found"), path


async def test_a_stem_is_fetched_once_however_many_ask_for_it_at_once(
    mixer: Mixer, job: Job, alice: User
) -> None:
    token = await mixer.token(job, alice)
    product = mixer.product
    answers = await asyncio.gather(*(mixer.segment(token, stem, 0) for stem in (0, 1) for _ in range(12)))
    assert [answer.status_code for answer in answers] == [200] * 24
    assert len({answer.content for answer in answers}) == 2
    assert fetched(mixer) == 2
    await until(lambda: not mixer.segments._making)
    names = [path.name for path in stored(mixer)]
    assert names == [
        "0.flac",
        "0.flac",
        "1.flac",
        "2.flac",
        *["after_end.flac"] * 2,
    ]
    await product.counters.write()
    counted = await product.counters.all()
    assert (counted["mixer_segments|made"], counted["mixer_segments|served"]) == (4, 24)


async def test_a_stem_that_cannot_be_had_is_said_so_and_tried_again_later(
    mixer: Mixer, job: Job, alice: User, tmp_path: Path
) -> None:
    telegram, product = mixer.product.telegram, mixer.product
    cases: list[tuple[bytes | None, int | None, tuple[FaultKind, str] | None, tuple[int, str]]] = [
        (b"no sound at all", None, None, (404, "not_audio")),
        (b"ID3" + bytes(5000), None, None, (404, "not_audio")),
        (of_unknown_codec(), None, None, (404, "not_audio")),
        (None, 100, None, (404, "too_big")),
        (None, None, (FaultKind.FILE_GONE, "getFile"), (404, "gone")),
        (None, None, (FaultKind.FILE_UNAVAILABLE, "getFile"), (503, "unavailable")),
        (None, None, (FaultKind.SERVER_ERROR, "getFile"), (503, "unavailable")),
        (None, None, (FaultKind.RESET_BEFORE, DOWNLOAD), (503, "unavailable")),
    ]
    for number, case in enumerate(cases):
        content, limit, fault, expected = case
        # each time a file that was not asked for before
        sound = content or mp3(tmp_path / "a.mp3", 0.2, title=str(number))
        await mixer.store(job, {"vocals": sound})
        if limit:
            telegram.limits = Limits(limit, 0)
        if fault:
            telegram.faults.add(fault[0], method=fault[1], times=None)
        token = await mixer.token(job, alice)
        answer = await mixer.segment(token, 0, 0)
        assert refusal(answer) == expected, case
        assert ("retry-after" in answer.headers) is (expected[0] == 503), case
        asked = len(telegram.calls)
        assert refusal(await mixer.segment(token, 0, 0)) == expected, case
        assert len(telegram.calls) == asked, case
        telegram.faults.clear()
        telegram.limits = Limits(None, 0)
        product.clock.advance(60)
        again = await mixer.segment(token, 0, 0)
        assert again.status_code == (404 if content is not None else 200), case
        assert len(telegram.calls) > asked, case


async def test_the_oldest_stems_make_room_for_new_ones_unless_they_are_in_use(
    mixer: Mixer, job: Job, alice: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(segments, "_ROOM_AGAIN_S", 0.01)
    token = await mixer.token(job, alice)
    assert (await mixer.segment(token, 0, 2)).status_code == 200
    await until(lambda: not mixer.segments._making)
    first = [path.stat().st_size for path in stored(mixer)]
    monkeypatch.setattr(segment_folder, "MOST_SEGMENT_BYTES", sum(first) + 1000)
    assert (await mixer.segment(token, 1, 0)).status_code == 200
    await until(lambda: waits_for_room(mixer))
    assert (await mixer.segment(token, 0, 0)).status_code == 200
    assert fetched(mixer) == 2
    mixer.product.clock.advance(IN_USE_S + 1)
    await until(lambda: len(stored(mixer)) == 2)
    assert (await mixer.segment(token, 0, 0)).status_code == 200  # made again
    await until(lambda: not mixer.segments._making)
    assert fetched(mixer) == 3
    assert "disk is full" not in caplog.text
    mixer.product.clock.advance(LIFETIME_S + 1)
    await mixer.segments.remove_old()
    assert not stored(mixer)


async def test_a_stem_for_which_there_is_no_room_goes_on_when_there_is_some(
    mixer: Mixer, job: Job, alice: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(segments, "_ROOM_AGAIN_S", 0.01)
    monkeypatch.setattr(segment_folder, "MOST_SEGMENT_BYTES", 1000)
    token = await mixer.token(job, alice)
    for number, status in ((0, 200), (2, 503), (0, 200)):
        assert (await mixer.segment(token, 0, number)).status_code == status
    mixer.product.clock.advance(IN_USE_S / 2)
    assert refusal(await mixer.segment(token, 0, 2)) == (503, "busy")
    monkeypatch.setattr(segment_folder, "MOST_SEGMENT_BYTES", 10**9)
    await until(lambda: not mixer.segments._making)
    assert (await mixer.segment(token, 0, 2)).status_code == 200
    assert fetched(mixer) == 1
    assert "disk is full" not in caplog.text

    monkeypatch.setattr(segment_folder, "MOST_SEGMENT_BYTES", 1000)
    assert (await mixer.segment(token, 1, 0)).status_code == 200
    await until(lambda: waits_for_room(mixer))
    for _ in range(3):  # it is in use, but not for ever
        assert refusal(await mixer.segment(token, 1, 2)) == (503, "busy")
        mixer.product.clock.advance(40)
    await until(lambda: not mixer.segments._making)
    assert refusal(await mixer.segment(token, 1, 2)) == (404, "no_room")
    assert caplog.text.count("disk is full") == 1


async def test_stems_that_do_not_fit_together_leave_room_for_the_others_of_their_song(
    mixer: Mixer, job: Job, alice: User, stems: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "_ROOM_AGAIN_S", 0.01)
    await mixer.store(job, {"vocals": sound("flac", "flac", seconds=7), "instrumental": stems["vocals"]})
    token = await mixer.token(job, alice)
    assert (await mixer.segment(token, 0, 2)).status_code == 200
    await until(lambda: not mixer.segments._making)
    room = sum(path.stat().st_size for path in stored(mixer)) * 5 // 4
    await mixer.segments._remove(next(iter(mixer.segments._stems)))
    monkeypatch.setattr(segment_folder, "MOST_SEGMENT_BYTES", room)

    async def ask() -> list[int]:
        answers = await asyncio.gather(*(mixer.segment(token, stem, 2) for stem in range(2)))
        return [answer.status_code for answer in answers]

    statuses = await ask()
    async with asyncio.timeout(WAIT_S):
        while 404 not in statuses:
            mixer.product.clock.advance(5)
            statuses = await ask()
        while 503 in statuses:
            statuses = await ask()
    assert sorted(statuses) == [200, 404]


async def test_a_stem_is_cut_again_after_the_disk_was_full(
    mixer: Mixer, job: Job, alice: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    token = await mixer.token(job, alice)
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(segment_folder, "temp_root", lambda: "/dev/full")
        assert refusal(await mixer.segment(token, 0, 0)) == (503, "busy")
    assert "the mixer's segments cannot be written" in caplog.text
    mixer.product.clock.advance(segments._FAILED_AGAIN_S + 1)
    assert (await mixer.segment(token, 0, 0)).status_code == 200


async def test_a_stem_without_a_folder_removes_nothing(
    mixer: Mixer, job: Job, alice: User, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Least of all the working directory, which an empty path names."""
    kept = tmp_path / "kept"
    kept.touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(segment_folder, "temp_root", lambda: "/dev/full")
    assert refusal(await mixer.segment(await mixer.token(job, alice), 0, 0)) == (503, "busy")
    mixer.product.clock.advance(LIFETIME_S + 1)
    await mixer.segments.remove_old()
    assert kept.exists()


async def test_a_process_that_dies_is_started_again(mixer: Mixer, job: Job, alice: User) -> None:
    token = await mixer.token(job, alice)
    assert (await mixer.segment(token, 1, 0)).status_code == 200
    pid = mixer.segments.maker.pid
    assert pid
    assert os.getpriority(os.PRIO_PROCESS, pid) >= 10
    await until(lambda: not mixer.segments._making)
    os.kill(pid, signal.SIGSTOP)
    waiting = asyncio.create_task(mixer.segment(token, 0, 0))
    await until(lambda: mixer.segments.maker._answers)
    os.kill(pid, signal.SIGKILL)
    assert refusal(await waiting) == (503, "busy")
    assert mixer.segments.maker.pid is None
    mixer.product.clock.advance(60)
    assert (await mixer.segment(token, 0, 0)).status_code == 200


async def test_nothing_is_left_of_a_webhook_that_ends_or_was_killed(product: Product, tmp_path: Path) -> None:
    async with open_segments(product) as opened:
        kept = opened.folder.new()
        killed = SegmentFolder()
        left = killed.new()
        remove_leftovers()
        assert left.exists()  # its webhook lives
        os.close(killed._lock)
        remove_leftovers()
        assert not left.exists()
        assert kept.exists()
    assert not kept.parent.exists()


async def test_stems_whose_folder_was_removed_are_made_again(mixer: Mixer, job: Job, alice: User) -> None:
    token = await mixer.token(job, alice)
    assert (await mixer.segment(token, 1, 0)).status_code == 200
    await until(lambda: not mixer.segments._making)
    for path in stored(mixer):
        path.unlink()
    assert refusal(await mixer.segment(token, 1, 0)) == (503, "busy")
    assert (await mixer.segment(token, 1, 0)).status_code == 200


async def test_one_user_does_not_take_all_places_of_stems_that_are_cut(
    mixer: Mixer, job: Job, alice: User, mei: User, sent: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "_MOST_OF_USER", 1)
    monkeypatch.setattr(segments, "SEGMENT_PATIENCE_S", 0.1)
    mixer.product.telegram.faults.add(FaultKind.SLOW_ANSWER, method="getFile", times=None, delay_s=30)
    token = await mixer.token(job, alice)
    links = mixer.product.links
    others = links.mixer_token(replace(links.read_mixer(token), user_id=mei.id))

    for user, stem, expected in ((token, 0, 1), (token, 1, 1), (others, 1, 2)):
        assert refusal(await mixer.segment(user, stem, 0)) == (503, "busy")
        assert len(mixer.segments._making) == expected
