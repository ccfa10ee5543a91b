"""Remixes of the demo song's true stems, and of stems in odd forms."""

import asyncio
import time
import tracemalloc
import wave
from functools import cache
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from decoding import decode
from numpy.typing import NDArray
from sounds import FORMS, damage, record, tone, without_numbers
from tones import of_unknown_codec

from stemdrop.domain.audio_types import AudioFormat
from stemdrop.domain.recipes import OFF_DB, Recipe
from stemdrop.domain.song_facts import SongFacts
from worker.audio.clicks import NoTempo
from worker.audio.formats import NotAudio, detect_format
from worker.audio.mix_input import MixInput
from worker.audio.mixdown import mix_down
from worker.cancellable_thread import ThreadCancelled, raise_if_cancelled, run_in_thread

MEDIA = Path(__file__).parents[2] / "media"
STEMS = ("vocals", "drums", "bass", "other")
RATE = 44_100
Samples = NDArray[np.float32]


def demo(folder: Path, **gains: int) -> list[MixInput]:
    """Four seconds of the true stems, which are written into the folder."""
    for name in STEMS:
        (folder / f"{name}.flac").write_bytes(excerpt(name))
    return [MixInput(folder / f"{name}.flac", AudioFormat.FLAC, gains.get(name, 0)) for name in STEMS]


@cache
def excerpt(name: str) -> bytes:
    """Four seconds of a true stem, in which all play: the voice comes in at nine."""
    written = BytesIO()
    with av.open(str(MEDIA / f"demo-song.{name}.flac")) as source, av.open(written, "w", "flac") as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.pts is not None and packet.time_base and 9 <= packet.pts * packet.time_base < 13:
                packet.stream = stream
                target.mux(packet)
    return written.getvalue()


def stem(path: Path, left: Samples, gain_db: int = 0, form: str = "flac") -> MixInput:
    """A stem of 48 kHz in this form."""
    record(path, form, left)
    audio_format = detect_format(path)
    assert audio_format
    return MixInput(path, audio_format, gain_db)


def rendered(
    inputs: list[MixInput], target: Path, recipe: Recipe | None = None, form: AudioFormat = AudioFormat.FLAC
) -> Samples:
    length_s = mix_down(inputs, recipe or Recipe(), None, target, form)
    samples = decode(target)
    assert samples.shape == (2, round(length_s * RATE))
    return samples


def decibels(ratio: float) -> float:
    return float(20 * np.log10(max(ratio, 1e-9)))


def pitch(samples: Samples) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
    return float(spectrum.argmax() * RATE / samples.size)


def test_without_drums_is_the_sum_of_the_others_and_gains_are_exact(tmp_path: Path) -> None:
    true_stems = {name: decode(excerpt(name)) for name in STEMS}
    progress: list[float] = []
    mix_down(demo(tmp_path, drums=OFF_DB), Recipe(), None, tmp_path / "a", AudioFormat.FLAC, progress.append)
    without_drums = sum(true_stems[name] for name in STEMS if name != "drums")
    assert decibels(np.abs(decode(tmp_path / "a") - without_drums).max()) < -60
    assert progress == sorted(progress)
    assert progress[0] < 0.1
    assert progress[-1] == 1
    quiet = rendered(demo(tmp_path, vocals=-12, drums=OFF_DB, bass=OFF_DB, other=OFF_DB), tmp_path / "b")
    assert decibels(quiet.std() / true_stems["vocals"].std()) == pytest.approx(-12, abs=0.1)


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize("form", [AudioFormat.FLAC, AudioFormat.MP3])
def test_speed_changes_the_length_alone_and_semitones_the_pitch(tmp_path: Path, form: AudioFormat) -> None:
    given = [stem(tmp_path / "a", tone(seconds=2))]
    samples = rendered(given, tmp_path / "b", Recipe(speed=80, semitones=2), form)
    assert samples.shape[1] / RATE == pytest.approx(2 / 0.8, abs=0.001)
    assert pitch(samples[0]) == pytest.approx(440 * 1.1225, rel=0.005)
    # the segments do not show
    levels = np.abs(samples[0, 4410:-4410][: samples.shape[1] // 882 * 441]).reshape(-1, 441).max(axis=1)
    assert decibels(levels.max() / levels.min()) < 0.5


def test_no_peak_is_above_full_scale(tmp_path: Path) -> None:
    loud = demo(tmp_path, **dict.fromkeys(STEMS, 6))
    assert np.abs(rendered(loud, tmp_path / "a")).max() <= 1
    noise = np.random.default_rng(1).normal(0, 0.4, 24_000).astype(np.float32)
    given = [stem(tmp_path / "b", noise, 6)] * 3
    for speed in (100, 80):
        samples = rendered(given, tmp_path / "c", Recipe(speed=speed), AudioFormat.MP3)
        assert 0.8 < np.abs(samples).max() <= 1


def test_stems_of_other_lengths_rates_and_channels_are_played_together(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "mono.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((tone(-20, 1.0)[: RATE // 2] * 32767).astype("<i2").tobytes())
    short = MixInput(tmp_path / "mono.wav", AudioFormat.WAV)
    long = stem(tmp_path / "long.flac", tone(-20, 1.5))
    both, alone = rendered([short, long], tmp_path / "a"), rendered([long], tmp_path / "b")
    assert both.shape[1] == alone.shape[1] == 1.5 * RATE
    assert np.array_equal(both[:, RATE // 2 :], alone[:, RATE // 2 :])
    assert pitch(alone[0]) == pytest.approx(440, abs=1)
    of_short = both[:, : RATE // 2] - alone[:, : RATE // 2]
    assert np.array_equal(of_short[0], of_short[1])
    assert decibels(of_short.std() / alone.std()) == pytest.approx(0, abs=0.1)


def test_sixty_four_stems_are_added_up(tmp_path: Path) -> None:
    given = stem(tmp_path / "a", tone(-20, 0.3), -30)
    samples = rendered([given] * 64, tmp_path / "b")
    assert decibels(np.abs(samples).max()) == pytest.approx(-20 - 30 + decibels(64), abs=0.1)


@pytest.mark.parametrize("form", ["mp3", "m4a", "opus", "vorbis", "wav"])
def test_the_delay_of_an_encoder_is_not_heard(tmp_path: Path, form: str) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, 48_000).astype(np.float32)
    noise[:24_000] = 0
    exact = rendered([stem(tmp_path / "a.flac", noise)], tmp_path / "b")
    other = rendered([stem(tmp_path / f"c{FORMS[form][0]}", noise, form=form)], tmp_path / "d")
    size = 2 * exact.shape[1]
    alike = np.fft.irfft(np.fft.rfft(other[0], size) * np.fft.rfft(exact[0], size).conj())
    late = int(alike.argmax())
    assert min(late, size - late) <= 1


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize("speed", [100, 125])
def test_memory_does_not_grow_with_the_song(tmp_path: Path, speed: int) -> None:
    peaks = []
    for seconds in (2, 4):
        given = [stem(tmp_path / "a", tone(seconds=seconds))]
        tracemalloc.start()
        mix_down(given, Recipe(speed=speed), None, tmp_path / "b", AudioFormat.FLAC)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    a_second = RATE * 2 * 4
    assert peaks[1] - peaks[0] < a_second / 2


async def test_a_cancelled_render_ends_at_the_next_block(tmp_path: Path) -> None:
    loop, progress = asyncio.get_running_loop(), list[float]()

    def on_progress(share: float) -> None:
        progress.append(share)
        loop.call_soon_threadsafe(task.cancel)
        while not is_cancelled():
            time.sleep(0.001)

    task = asyncio.create_task(
        run_in_thread(mix_down, demo(tmp_path), Recipe(), None, tmp_path / "a", AudioFormat.MP3, on_progress)
    )
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(progress) == 1


def is_cancelled() -> bool:
    try:
        raise_if_cancelled()
    except ThreadCancelled:
        return True
    return False


@pytest.mark.parametrize(
    "audio_format", [AudioFormat.FLAC, AudioFormat.MP3, AudioFormat.MP4, AudioFormat.WAV]
)
@pytest.mark.parametrize(
    "content", [b"", b"not audio at all", b"fLaC" + bytes(500), of_unknown_codec(), None]
)
def test_a_stem_that_cannot_be_decoded_is_told(
    tmp_path: Path, content: bytes | None, audio_format: AudioFormat
) -> None:
    good, bad = stem(tmp_path / "a.flac", tone(seconds=0.1)), tmp_path / "bad"
    if content is not None:
        bad.write_bytes(content)
    with pytest.raises(NotAudio):
        rendered([good, MixInput(bad, audio_format)], tmp_path / "c")


def test_a_damaged_stem_is_mixed_in_step_with_the_others(tmp_path: Path) -> None:
    good, bad = stem(tmp_path / "a.flac", tone(seconds=3)), stem(tmp_path / "b", tone(-20, 3), form="m4a")
    whole = rendered([good, bad], tmp_path / "c")
    damage(bad.path)
    mixed = rendered([good, bad], tmp_path / "d")
    assert mixed.shape == whole.shape
    assert np.abs(mixed - whole)[:, -RATE:].max() < 0.01


@pytest.mark.parametrize("form", [AudioFormat.FLAC, AudioFormat.MP3])
@pytest.mark.parametrize("speed", [100, 80])
def test_samples_that_are_no_numbers_do_no_harm(tmp_path: Path, speed: int, form: AudioFormat) -> None:
    given = stem(tmp_path / "a", without_numbers(tone(seconds=1.6)), form="float wav")
    samples = rendered([given], tmp_path / "b", Recipe(speed=speed), form)
    assert np.abs(samples).max() <= 1
    assert decibels(samples[:, RATE : -RATE // 2].std() * 2**0.5) == pytest.approx(-10, abs=0.5)


def test_a_song_without_sound_or_that_is_too_long_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = stem(tmp_path / "a.flac", tone(seconds=2.5))
    for inputs in ([], [MixInput(given.path, given.audio_format, OFF_DB)]):
        with pytest.raises(NotAudio):
            rendered(inputs, tmp_path / "b")
    monkeypatch.setattr("worker.audio.stem_mixer.MAX_AUDIO_S", 1)
    with pytest.raises(NotAudio):
        rendered([given], tmp_path / "b")


@pytest.mark.parametrize("facts", [None, SongFacts(key="C major")])
def test_clicks_need_a_tempo(tmp_path: Path, facts: SongFacts | None) -> None:
    for recipe in (Recipe(has_count_in=True), Recipe(has_metronome=True)):
        with pytest.raises(NoTempo):
            mix_down(demo(tmp_path), recipe, facts, tmp_path / "a", AudioFormat.FLAC)
