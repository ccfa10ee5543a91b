"""Encoding of stems as small voice messages."""

from pathlib import Path

import av
import numpy as np
import pytest
from decoding import decode
from sounds import FORMS, damage, record, tone, without_numbers

from worker.audio.formats import NotAudio
from worker.audio.voice_encoder import AAC, OPUS, VoiceFormat, encode_voice


def level_db(path: Path) -> float:
    """The level of a tone's peaks, without its first and last quarter."""
    samples = decode(path)[0]
    middle = samples[samples.size // 4 : -samples.size // 4]
    return float(20 * np.log10(middle.std() * 2**0.5))


@pytest.mark.parametrize(("form", "voice"), [*((form, OPUS) for form in FORMS), ("mp3", AAC)])
def test_every_format_becomes_small_and_keeps_its_length(
    tmp_path: Path, form: str, voice: VoiceFormat
) -> None:
    source = record(tmp_path / f"stem{FORMS[form][0]}", form, tone(seconds=1.5), tone(-20, seconds=1.5))
    small = tmp_path / "small"
    assert encode_voice(source, small, voice) == pytest.approx(1.5, abs=0.1)
    with av.open(str(small)) as container:
        stream = container.streams.audio[0]
        assert stream.codec_context.channels == 1
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert samples / stream.rate == pytest.approx(1.5, abs=0.1)
    assert small.stat().st_size < 1.5 * voice.bits_per_s / 8 * 1.3


def test_a_damaged_stem_keeps_its_length(tmp_path: Path) -> None:
    source = record(tmp_path / "stem.mp3", "mp3", tone(seconds=2.0))
    damage(source)
    assert encode_voice(source, tmp_path / "small", OPUS) == pytest.approx(2, abs=0.1)


def test_both_channels_are_mixed(tmp_path: Path) -> None:
    silence = 0 * tone()
    for left, right in ((tone(), silence), (silence, tone())):
        source = record(tmp_path / "stem.wav", "wav", left, right)
        encode_voice(source, tmp_path / "small", OPUS)
        # half as loud as the one channel
        assert level_db(tmp_path / "small") == pytest.approx(-10 - 6, abs=0.5)


@pytest.mark.parametrize("voice", [OPUS, AAC])
@pytest.mark.parametrize("form", ["mp3", "flac"])
def test_a_voice_message_is_as_loud_as_the_stem(tmp_path: Path, form: str, voice: VoiceFormat) -> None:
    for given_db in (-10, -1):
        source = record(tmp_path / "stem", form, tone(given_db, seconds=1.0))
        encode_voice(source, tmp_path / "small", voice)
        assert level_db(tmp_path / "small") == pytest.approx(given_db, abs=0.6)


@pytest.mark.parametrize("voice", [OPUS, AAC])
def test_samples_that_are_no_numbers_are_encoded(tmp_path: Path, voice: VoiceFormat) -> None:
    source = record(tmp_path / "stem.wav", "float wav", without_numbers(tone(seconds=2.0)))
    assert encode_voice(source, tmp_path / "small", voice) == pytest.approx(2, abs=0.1)
    assert level_db(tmp_path / "small") == pytest.approx(-10, abs=0.5)


@pytest.mark.parametrize("content", [b"", b"not audio at all", b"ID3" + bytes(100), b"RIFF....WAVE"])
def test_a_file_without_audio_is_refused(tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "stem.mp3"
    source.write_bytes(content)
    with pytest.raises(NotAudio):
        encode_voice(source, tmp_path / "small", OPUS)


def test_a_video_without_sound_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "film.mp4"
    with av.open(str(source), "w") as container:
        film = container.add_stream("mpeg4", rate=10)
        film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        container.mux(film.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(film.encode(None))
    with pytest.raises(NotAudio):
        encode_voice(source, tmp_path / "small", OPUS)


@pytest.mark.parametrize("voice", [OPUS, AAC])
def test_a_full_disk_is_no_fault_of_the_audio(tmp_path: Path, voice: VoiceFormat) -> None:
    source = record(tmp_path / "stem.flac", "flac", tone())
    with pytest.raises(OSError, match="No space left on device"):
        encode_voice(source, Path("/dev/full"), voice)


def test_a_playlist_is_not_opened(tmp_path: Path) -> None:
    record(tmp_path / "secret.wav", "wav", tone())
    source = tmp_path / "stem.mp3"
    source.write_text("ffconcat version 1.0\nfile secret.wav\n")
    with pytest.raises(NotAudio):
        encode_voice(source, tmp_path / "small", OPUS)


def test_audio_longer_than_any_song_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = record(tmp_path / "stem.flac", "flac", tone(seconds=2.0))
    monkeypatch.setattr("worker.audio.voice_encoder.MAX_AUDIO_S", 1)
    with pytest.raises(NotAudio):
        encode_voice(source, tmp_path / "small", OPUS)
