"""Songs whose tempo, key and loudness are known, measured by their stems."""

import asyncio
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
from decoding import decode
from numpy.typing import NDArray
from sounds import RATE, record, tone

from stemdrop.domain.audio_types import AudioFormat
from stemdrop.domain.results import Stem
from stemdrop.domain.song_facts import SongFacts
from worker.audio.formats import detect_format
from worker.audio.song_meter import MAX_MEASURED_S, SongMeter
from worker.audio.song_sample import sample_of

ROOT = Path(__file__).parents[3]
SONGS = ROOT / "sandbox" / "songs"


def meter_of(paths: dict[str, Path]) -> SongMeter:
    """A meter that has measured these files as stems by key."""
    stems = [Stem(key, "", is_rest=key.endswith("_rest")) for key in paths]
    meter = SongMeter("a", stems)
    for stem in stems:
        audio_format = detect_format(paths[stem.key])
        assert audio_format
        asyncio.run(meter.measure(stem, paths[stem.key], audio_format, 30))
    return meter


@cache
def waltz() -> NDArray[np.float32]:
    return decode(SONGS / "harbour-waltz.mp3")


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let half a minute count as a long song."""
    monkeypatch.setattr("worker.audio.song_sample._MIN_SAMPLED_S", 20)


def three_times(song: Path, target: Path) -> Path:
    """Write an MP3 of the song three times, so that the sample's long part is in the second."""
    with av.open(str(song)) as source, av.open(str(target), "w") as out:
        stream = out.add_stream_from_template(source.streams.audio[0])
        packets = [bytes(packet) for packet in source.demux(audio=0) if packet.size]
        for number, content in enumerate(packets * 3):
            packet = av.Packet(content)
            packet.stream, packet.time_base = stream, Fraction(1, 44_100)
            packet.pts = packet.dts = number * 1152
            out.mux(packet)
    return target


def facts_of(meter: SongMeter) -> SongFacts | None:
    return asyncio.run(meter.facts())


@pytest.fixture(scope="module")
def demo() -> SongMeter:
    names = ("vocals", "drums", "bass", "other")
    return meter_of({name: ROOT / "tests" / "media" / f"demo-song.{name}.flac" for name in names})


def test_the_demo_song_is_measured_by_its_true_stems(demo: SongMeter) -> None:
    facts = facts_of(demo)
    assert facts
    assert facts.bpm == pytest.approx(104, abs=0.1)
    period = 60 / facts.bpm
    assert facts.beat_s is not None
    assert min(facts.beat_s, period - facts.beat_s) < 0.02  # its first beat is its beginning
    assert facts.key == "C major"
    assert facts.loudness is None
    assert set(demo.peaks) == {"vocals", "drums", "bass", "other"}


def test_loudness_is_stated_only_if_all_of_two_stems_are_known() -> None:
    meter = meter_of({"instrumental": SONGS / "harbour-waltz.mp3"})
    meter.stems = [*meter.stems, Stem("vocals", "")]
    facts = facts_of(meter)
    assert facts
    assert (facts.key, facts.loudness) == ("D minor", None)
    meter.silent.add("vocals")
    facts = facts_of(meter)
    assert facts
    # FFmpeg's filter `ebur128` measures -11.975 LUFS
    assert facts.loudness == pytest.approx(-12, abs=0.1)


@pytest.mark.parametrize(
    ("key", "song", "tempo", "tonality"),
    [("instrumental", "harbour-waltz", 90, "D minor"), ("bass_rest", "night-circuit", 172, "F minor")],
)
def test_without_drums_the_instrumental_or_the_rest_is_measured(
    key: str, song: str, tempo: float, tonality: str
) -> None:
    facts = facts_of(meter_of({key: SONGS / f"{song}.mp3"}))
    assert facts
    assert facts.bpm == pytest.approx(tempo, abs=1)
    assert facts.key == tonality


@pytest.mark.usefixtures("sampled")
@pytest.mark.parametrize("form", ["mp3", "flac"])
def test_of_a_longer_song_a_sample_tells_the_same(tmp_path: Path, form: str) -> None:
    """Where the beats are, and the peaks, are known of whole stems alone."""
    if form == "mp3":  # whose frames are copied, since encoding takes long
        path = three_times(SONGS / "night-circuit.mp3", tmp_path / "0.mp3")
        length_s, key = 73.0, "F minor"
    else:
        song = waltz()
        path = record(tmp_path / "0", form, song[0], song[1])
        length_s, key = song.shape[1] / RATE, "E♭ minor"  # at 48,000 Hz it is higher
    facts = {}
    for is_whole in (False, True):
        meter = SongMeter("a", [Stem("vocals", ""), Stem("instrumental", "")], is_whole)
        meter.silent.add("vocals")
        asyncio.run(meter.measure(meter.stems[1], path, AudioFormat(form), length_s))
        facts[is_whole] = facts_of(meter)
        assert bool(meter.peaks) is is_whole
    sampled, whole = facts[False], facts[True]
    assert sampled
    assert whole
    assert (sampled.has_beats, whole.has_beats) == (False, True)
    assert sampled.bpm == pytest.approx(whole.bpm, abs=0.4)
    assert sampled.key == whole.key == key
    assert sampled.loudness == pytest.approx(whole.loudness, abs=1)


def test_a_break_in_the_middle_of_a_song_does_not_hide_its_tempo(tmp_path: Path) -> None:
    song = np.tile(waltz(), 2)
    song[:, round(song.shape[1] * 0.35) : round(song.shape[1] * 0.6)] = 0
    path = record(tmp_path / "0", "wav", song[0], song[1])
    meter = SongMeter("a", [Stem("instrumental", "")])
    asyncio.run(meter.measure(meter.stems[0], path, AudioFormat.WAV, song.shape[1] / RATE))
    facts = facts_of(meter)
    assert facts
    assert facts.bpm == pytest.approx(90 * 48 / 44.1, abs=0.5)


@pytest.mark.usefixtures("sampled")
def test_a_stem_that_is_shorter_than_any_place_of_a_sample_adds_nothing(tmp_path: Path) -> None:
    song = waltz()
    paths = [
        record(tmp_path / "0", "wav", song[0], song[1]),
        record(tmp_path / "1", "wav", tone(seconds=0.05)),
    ]
    meter = SongMeter("a", [Stem("instrumental", ""), Stem("bass", "")])
    for stem, path in zip(meter.stems, paths, strict=True):
        asyncio.run(meter.measure(stem, path, AudioFormat.WAV, song.shape[1] / RATE))
    facts = facts_of(meter)
    assert facts
    assert facts.key == "E♭ minor"


def test_no_more_of_a_stem_is_decoded_than_its_measures_need() -> None:
    """The drums tell the tempo; the others the key. Of more than two stems voices tell nothing."""
    stems = [Stem(key, "") for key in ("vocals", "drums", "bass", "other")]
    lengths = [sum(part.length_s for part in sample_of(it, stems, 200)) for it in stems]
    assert lengths == pytest.approx([0, 10, 7.2, 7.2])
    assert [part.length_s for part in sample_of(stems[0], stems[:1], 200)] == [0.4] * 12


def test_vocals_drones_and_short_songs_have_no_facts(demo: SongMeter, tmp_path: Path) -> None:
    assert facts_of(SongMeter("a", [Stem("vocals", "")], _sounds=demo._sounds)) is None
    noise = np.random.default_rng(1).uniform(-0.3, 0.3, 12 * RATE).astype(np.float32)
    assert facts_of(meter_of({"instrumental": record(tmp_path / "0", "flac", noise)})) is None
    assert facts_of(meter_of({"drums": record(tmp_path / "1", "flac", tone(seconds=2))})) is None
    assert facts_of(SongMeter("a", [])) is None


async def test_long_recordings_are_not_measured() -> None:
    stem, song = Stem("drums", ""), SONGS / "harbour-waltz.mp3"
    meter = SongMeter("a", [stem])
    await meter.measure(stem, song, AudioFormat.MP3, MAX_MEASURED_S + 1)
    assert meter.peaks == {}
    await meter.measure(stem, song, AudioFormat.MP3, 30)
    assert set(meter.peaks) == {"drums"}


def test_an_unexpected_error_is_logged_once(
    demo: SongMeter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("worker.audio.sound.measure_sound", broken)
    meter = meter_of(dict.fromkeys(("drums", "bass"), SONGS / "harbour-waltz.mp3"))
    assert facts_of(meter) is None
    assert meter.peaks == {}
    assert [record.getMessage() for record in caplog.records] == ["job a: its song cannot be measured"]
    assert caplog.text.count("Traceback") == 1
