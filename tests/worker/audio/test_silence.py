"""Detection of silent stems."""

from pathlib import Path

import numpy as np
import pytest
from sounds import FORMS, RATE, record, tone

from stemdrop.domain.audio_types import AudioFormat
from worker.audio.formats import detect_format
from worker.audio.silence import is_silent

NOTHING = np.zeros(RATE, np.float32)


@pytest.mark.parametrize("form", FORMS)
def test_silence_is_silent_and_a_tone_is_not(tmp_path: Path, form: str) -> None:
    for sound, expected in ((NOTHING, True), (tone(-40), False)):
        path = record(tmp_path / "0", form, sound)
        assert is_silent(path, detect_format(path)) is expected


@pytest.mark.parametrize("form", ["flac", "wav", "aiff"])
@pytest.mark.parametrize(("level_db", "expected"), [(-61, True), (-59, False)])
def test_the_threshold_is_minus_60_dbfs(tmp_path: Path, form: str, level_db: float, expected: bool) -> None:
    path = record(tmp_path / "0", form, tone(level_db))
    assert is_silent(path, detect_format(path)) is expected


@pytest.mark.parametrize("sign", [1, -1])
def test_one_loud_sample_in_one_channel_is_not_silence(tmp_path: Path, sign: int) -> None:
    late = NOTHING.copy()
    late[-100] = sign * 0.5
    path = record(tmp_path / "0", "wav", NOTHING, late)
    assert not is_silent(path, AudioFormat.WAV)


def test_channels_of_opposite_phase_are_not_silence(tmp_path: Path) -> None:
    path = record(tmp_path / "0", "flac", tone(), -tone())
    assert not is_silent(path, AudioFormat.FLAC)


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_cannot_be_decoded_is_not_silent(tmp_path: Path, form: str) -> None:
    path = record(tmp_path / "0", form, NOTHING)
    start = path.read_bytes()[:16]
    path.write_bytes(start + b"no sound at all" * 100)
    found = detect_format(path)
    assert found
    assert not is_silent(path, found)


def test_a_damaged_file_is_silent_if_the_rest_is(tmp_path: Path) -> None:
    for sound, expected in ((NOTHING, True), (tone(-40, 1), False)):
        path = record(tmp_path / "0", "mp3", sound)
        path.write_bytes(path.read_bytes() + bytes(2000))
        assert is_silent(path, AudioFormat.MP3) is expected


def test_a_stem_whose_only_sound_is_damaged_is_not_silent(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, RATE // 2).astype(np.float32)
    sound = np.concatenate([np.zeros(RATE, np.float32), noise, np.zeros(4 * RATE, np.float32)])
    path = record(tmp_path / "0", "flac", sound)
    content = bytearray(path.read_bytes())
    # the frames with sound are the only large ones
    middle = len(content) // 2
    content[middle - 20_000 : middle + 20_000] = bytes(40_000)
    path.write_bytes(content)
    assert not is_silent(path, AudioFormat.FLAC)


@pytest.mark.parametrize("form", ["mp3", "flac", "wav"])
@pytest.mark.parametrize("at", [None, 0, 0.2, 0.55, 0.95])
def test_a_short_sound_anywhere_is_found(tmp_path: Path, form: str, at: float | None) -> None:
    """The likeliest places are looked at first, and then all of them."""
    sound = np.zeros(2 * RATE, np.float32)
    if at is not None:
        sound[round(at * sound.size) :][: RATE // 10] = tone(-20)[: RATE // 10]
    path = record(tmp_path / "0", form, sound)
    assert is_silent(path, detect_format(path)) is (at is None)


def test_a_file_longer_than_any_song_is_not_decoded_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = record(tmp_path / "0", "flac", NOTHING)
    monkeypatch.setattr("worker.audio.silence.MAX_AUDIO_S", 0.9)
    assert not is_silent(path, AudioFormat.FLAC)


def test_a_playlist_is_not_opened(tmp_path: Path) -> None:
    silent = record(tmp_path / "silent.wav", "wav", NOTHING)
    playlist = tmp_path / "0"
    playlist.write_text(f"#EXTM3U\n#EXTINF:1,\n{silent}\n#EXT-X-ENDLIST\n")
    assert not is_silent(playlist, detect_format(playlist))
