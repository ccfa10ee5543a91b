"""The measures of one stem, in every form of file."""

from pathlib import Path

import av
import numpy as np
import pytest
from sounds import FORMS, RATE, damage, record, tone, without_numbers

from stemdrop.domain.audio_types import AudioFormat
from stemdrop.domain.peaks import PEAKS, decode_peaks
from worker.audio.formats import detect_format
from worker.audio.song_sample import ENERGIES, ONSETS, PITCHES, Part
from worker.audio.sound import Sound, measure_parts, measure_sound


def measured(path: Path) -> Sound:
    audio_format = detect_format(path)
    assert audio_format
    sound = measure_sound(path, audio_format)
    assert sound
    return sound


def peaks(sound: Sound) -> bytes:
    decoded = decode_peaks(sound.peaks)
    assert decoded
    return decoded


@pytest.mark.parametrize("form", FORMS)
def test_a_tone_has_its_pitch_loudness_length_and_peaks(tmp_path: Path, form: str) -> None:
    sound = measured(record(tmp_path / "0", form, tone(-20, 2)))
    assert sound.duration_s == pytest.approx(2, abs=0.15)
    assert np.argmax(sound.pitches.sum(axis=0)) == 90  # A, nine semitones from C
    # BS.1770-5 gives 997 Hz in both channels the level of its peaks; 440 Hz is 0.7 dB weaker
    loudness = -0.691 + 10 * np.log10(np.median(sound.energies))
    assert loudness == pytest.approx(-20.7, abs=0.5)
    assert len(peaks(sound)) == PEAKS
    assert np.median(list(peaks(sound))) == pytest.approx(63 - 20, abs=1)


@pytest.mark.parametrize(("layout", "louder_db"), [("mono", 0), ("stereo", 3), ("5.1", 3)])
def test_channels_add_up(tmp_path: Path, layout: str, louder_db: float) -> None:
    """BS.1770-5 adds the energies of channels; more than two are mixed down to two."""
    path = tmp_path / "0"
    with av.open(str(path), "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout=layout)
        samples = np.zeros((stream.layout.nb_channels, 2 * RATE), np.float32)
        samples[:2] = tone(-20, 2)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate = RATE
        for packed in av.AudioResampler("s16", layout, RATE).resample(frame):
            container.mux(stream.encode(packed))
        container.mux(stream.encode(None))
    loudness = -0.691 + 10 * np.log10(np.median(measured(path).energies))
    assert loudness == pytest.approx(-23.7 + louder_db, abs=0.5)


def test_peaks_and_onsets_are_where_the_sound_is(tmp_path: Path) -> None:
    click = np.zeros(10 * RATE, np.float32)
    click[7 * RATE : 7 * RATE + 2000] = tone(-6, 1)[:2000]
    sound = measured(record(tmp_path / "0", "flac", click, np.zeros_like(click)))
    assert np.argmax(list(peaks(sound))) == pytest.approx(700, abs=4)
    assert max(peaks(sound)) == pytest.approx(57, abs=1)
    assert peaks(sound)[500] == 0
    assert np.argmax(sound.onsets) == pytest.approx(700, abs=2)


@pytest.mark.parametrize("form", FORMS)
def test_parts_are_measured_where_they_are(tmp_path: Path, form: str) -> None:
    """Six seconds, of which the last two are louder by 20 dB, and a click at three."""
    sound = tone(-40, 6)
    sound[4 * RATE :] *= 10
    sound[3 * RATE : 3 * RATE + 2000] = tone(-6, 1)[:2000]
    path = record(tmp_path / "0", form, sound)
    audio_format = detect_format(path)
    assert audio_format
    parts = [Part(at, 0.6, frozenset({ENERGIES})) for at in (1, 5)]
    parts += [Part(4, 1, frozenset({PITCHES})), Part(2, 1.8, frozenset({ONSETS}))]
    found = measure_parts(path, audio_format, 6, parts)
    assert found
    levels = -0.691 + 10 * np.log10(found.energies[[1, 4, 7, 10]])
    assert levels == pytest.approx([-40.7, -40.7, -20.7, -20.7], abs=1)
    assert np.argmax(found.pitches.sum(axis=0)) == 90
    assert found.onsets.size == 180
    # places are near: a page of Ogg lasts most of a second
    assert np.argmax(found.onsets) == pytest.approx(100, abs=75)
    assert (found.peaks, found.duration_s) == ("", 6)


def test_parts_beyond_the_end_and_of_broken_files_have_no_measures(tmp_path: Path) -> None:
    path = record(tmp_path / "0", "flac", tone())
    late = [Part(10, 1, frozenset({ENERGIES, ONSETS, PITCHES}))]
    found = measure_parts(path, AudioFormat.FLAC, 0.5, late)
    assert found is None or found.onsets.size < 100
    path.write_bytes(path.read_bytes()[:16] + b"no sound at all" * 100)
    assert measure_parts(path, AudioFormat.FLAC, 10, late) is None


def test_a_damaged_file_is_measured(tmp_path: Path) -> None:
    path = record(tmp_path / "0", "mp3", tone(-20, 2))
    damage(path)
    sound = measured(path)
    assert sound.duration_s == pytest.approx(2, abs=0.1)
    assert np.median(list(peaks(sound))) == pytest.approx(63 - 20, abs=1)
    found = measure_parts(path, AudioFormat.MP3, 2, [Part(0.5, 1, frozenset({PITCHES}))])
    assert found
    assert np.argmax(found.pitches.sum(axis=0)) == 90


def test_samples_that_are_no_numbers_do_no_harm(tmp_path: Path) -> None:
    sound = measured(record(tmp_path / "0", "float wav", without_numbers(tone(-20, 2))))
    for values in (sound.energies, sound.onsets, sound.pitches):
        assert np.isfinite(values).all()
    assert np.argmax(sound.pitches.sum(axis=0)) == 90
    assert np.median(list(peaks(sound))) == pytest.approx(63 - 20, abs=1)


def test_a_file_that_cannot_be_decoded_or_is_too_long_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = record(tmp_path / "0", "flac", tone())
    whole = path.read_bytes()
    path.write_bytes(whole[:16] + b"no sound at all" * 100)
    assert measure_sound(path, AudioFormat.FLAC) is None
    path.write_bytes(whole)
    monkeypatch.setattr("worker.audio.sound.MAX_AUDIO_S", 0.4)
    assert measure_sound(path, AudioFormat.FLAC) is None
