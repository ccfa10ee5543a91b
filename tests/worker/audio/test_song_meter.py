"""Songs whose tempo, key and loudness are known, measured by their stems."""

from pathlib import Path

import numpy as np
import pytest
from sounds import RATE, record, tone

from stemdrop.domain.results import Stem
from worker.audio.formats import detect_format
from worker.audio.song_meter import SongMeter

ROOT = Path(__file__).parents[3]
SONGS = ROOT / "sandbox" / "songs"


def meter_of(paths: dict[str, Path]) -> SongMeter:
    """A meter that has measured these files as stems by key."""
    stems = [Stem(key, "", is_rest=key.endswith("_rest")) for key in paths]
    meter = SongMeter("a", stems)
    for stem in stems:
        audio_format = detect_format(paths[stem.key])
        assert audio_format
        meter.measure(stem, paths[stem.key], audio_format)
    return meter


@pytest.fixture(scope="module")
def demo() -> SongMeter:
    names = ("vocals", "drums", "bass", "other")
    return meter_of({name: ROOT / "tests" / "media" / f"demo-song.{name}.flac" for name in names})


def test_the_demo_song_is_measured_by_its_true_stems(demo: SongMeter) -> None:
    facts = demo.facts()
    assert facts
    assert facts.bpm == pytest.approx(104, abs=0.1)
    period = 60 / facts.bpm
    assert min(facts.beat_s, period - facts.beat_s) < 0.02  # its first beat is its beginning
    assert facts.key == "C major"
    # FFmpeg's filter `ebur128` measures -15.6 LUFS for their sum
    assert facts.loudness == pytest.approx(-15.6, abs=0.2)
    assert set(demo.peaks) == {"vocals", "drums", "bass", "other"}


def test_loudness_is_stated_only_if_all_stems_are_known(demo: SongMeter) -> None:
    lacking = SongMeter("a", [*demo.stems, Stem("strings", "")], _sounds=demo._sounds)
    facts = lacking.facts()
    assert facts
    assert (facts.key, facts.loudness) == ("C major", None)
    lacking.silent.add("strings")
    assert lacking.facts() == demo.facts()


@pytest.mark.parametrize("key", ["instrumental", "bass_rest"])
@pytest.mark.parametrize(
    ("song", "tempo", "tonality"), [("harbour-waltz", 90, "D minor"), ("night-circuit", 172, "F minor")]
)
def test_without_drums_the_instrumental_or_the_rest_is_measured(
    song: str, tempo: float, tonality: str, key: str
) -> None:
    facts = meter_of({key: SONGS / f"{song}.mp3"}).facts()
    assert facts
    assert facts.bpm == pytest.approx(tempo, abs=1)
    assert facts.key == tonality


def test_vocals_drones_and_short_songs_have_no_facts(demo: SongMeter, tmp_path: Path) -> None:
    assert SongMeter("a", [Stem("vocals", "")], _sounds=demo._sounds).facts() is None
    noise = np.random.default_rng(1).uniform(-0.3, 0.3, 12 * RATE).astype(np.float32)
    assert meter_of({"instrumental": record(tmp_path / "0", "flac", noise)}).facts() is None
    assert meter_of({"drums": record(tmp_path / "1", "flac", tone(seconds=2))}).facts() is None
    assert SongMeter("a", []).facts() is None


def test_an_unexpected_error_is_logged_once(
    demo: SongMeter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("worker.audio.song_meter.measure_sound", broken)
    meter = meter_of(dict.fromkeys(("drums", "bass"), SONGS / "harbour-waltz.mp3"))
    assert meter.facts() is None
    assert meter.peaks == {}
    assert [record.getMessage() for record in caplog.records] == ["job a: its song cannot be measured"]
    assert caplog.text.count("Traceback") == 1
