"""The engine's input and output: formats, lengths, damage, attacks, tags, memory."""

import struct
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from remuxing import remux
from sounds import record
from sounds import tone as sine
from tones import of_unknown_codec

from separator.audio.formats import FileFormat
from separator.audio.reader import Reader
from separator.audio.spectrum import BINS
from separator.engine import REST, EngineRequest, Separation
from separator.engines import known_stems, load
from separator.errors import UnreadableSourceError
from separator.light import engine, stream
from separator.light.engine import stem_pieces
from separator.light.median import median_of_bins, median_of_frames
from separator.stem_files import write_stems

Floats = npt.NDArray[np.float32]
Tone = Callable[..., Floats]
WriteAudio = Callable[..., Path]
Decode = Callable[[Path], Floats]

SECOND = 44_100


def _read(path: Path, max_duration_s: float = 60) -> Floats:
    with Reader(path, max_duration_s) as reader:
        return np.concatenate(list(reader.blocks()), axis=1)


def _separate(source: Path, only: str | None = "vocals", kind: FileFormat = FileFormat.MP3) -> Separation:
    folder = source.parent / "out"
    folder.mkdir(exist_ok=True)
    return load("light").separate(EngineRequest(source, folder, only, kind, max_duration_s=60))


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.mp3", (44_100, 2)),
        ("mono.mp3", (8_000, 1)),
        ("a.m4a", (44_100, 2)),
        ("a.mp4", (48_000, 2)),
        ("a.ogg", (48_000, 2)),
        ("a.webm", (48_000, 2)),
        ("a.flac", (96_000, 2)),
        ("a.wav", (22_050, 1)),
        ("surround.flac", (48_000, 6)),
        ("surround.m4a", (44_100, 6)),
    ],
)
def test_every_format_keeps_its_length_position_and_level(
    tmp_path: Path, tone: Tone, write_audio: WriteAudio, name: str, form: tuple[int, int]
) -> None:
    rate, channels = form
    sound = _read(write_audio(tmp_path / name, tone(1.4, rate, channels), rate))
    assert abs(sound.shape[1] / SECOND - 1.4) < 0.05
    click = int(np.abs(sound[0]).argmax())
    assert abs(click / SECOND - 1.0) < 0.002
    assert np.abs(sound[:, int(1.1 * SECOND) : int(1.3 * SECOND)]).max() == pytest.approx(0.3, rel=0.1)
    assert np.abs(sound).max() < 1.1
    assert sound.dtype == np.float32


def test_the_silence_before_the_start_of_an_edit_list_is_kept(tmp_path: Path) -> None:
    song = record(tmp_path / "song.m4a", "m4a", sine(seconds=1))
    late = _read(remux(tmp_path / "late.m4a", "ipod", song, start_s=2))
    assert late.shape[1] / SECOND == pytest.approx(3, abs=0.05)
    assert int(np.argmax(np.abs(late[0]) > 0.1)) / SECOND == pytest.approx(2, abs=0.05)


def test_the_first_track_with_sound_is_read(tmp_path: Path) -> None:
    parts = [
        record(tmp_path / "silent.m4a", "m4a", sine(-80, seconds=1.2)),
        record(tmp_path / "song.m4a", "m4a", sine(seconds=1)),
    ]
    sound = _read(remux(tmp_path / "two.mp4", "mp4", *parts))
    assert sound.shape[1] / SECOND == pytest.approx(1, abs=0.05)
    assert np.abs(sound).max() > 0.2


@pytest.mark.parametrize("form", ["opus", "vorbis", "flac in ogg"])
def test_all_streams_of_a_chained_file_are_read(tmp_path: Path, form: str) -> None:
    links = [record(tmp_path / "link", form, sine(level, seconds=1)).read_bytes() for level in (-10, -30)]
    path = tmp_path / "chained.ogg"
    path.write_bytes(b"".join(links))
    sound = _read(path)
    assert sound.shape[1] / SECOND == pytest.approx(2, abs=0.05)
    middle = [np.abs(sound[0, start : start + 1000]).max() for start in (SECOND // 2, 3 * SECOND // 2)]
    assert middle == [pytest.approx(0.32, rel=0.2), pytest.approx(0.032, rel=0.2)]


@pytest.mark.parametrize("kind", list(FileFormat))
def test_stems_are_as_long_as_the_song_and_not_shifted(
    tmp_path: Path, tone: Tone, write_audio: WriteAudio, decode: Decode, kind: FileFormat
) -> None:
    source = write_audio(tmp_path / "song.flac", tone(1.1), title="Ein Lied", artist="Die Band")
    result = _separate(source, "vocals", kind)
    assert set(result.files) == {"vocals", REST}
    assert result.duration_s == pytest.approx(1.1, abs=1e-4)
    sounds = [decode(file) for file in result.files.values()]
    assert all(abs(sound.shape[1] / SECOND - 1.1) < 0.001 for sound in sounds)
    difference = sounds[0] + sounds[1] - _read(source)[:, : sounds[0].shape[1]]
    assert np.sqrt(np.mean(difference**2)) < 0.01


def _halves(blocks: Iterable[Floats]) -> Iterator[dict[str, Floats]]:
    for block in blocks:
        half = block * np.float32(0.5)
        yield {"vocals": half, REST: half}


@pytest.mark.parametrize("kind", [FileFormat.FLAC, FileFormat.WAV])
@pytest.mark.parametrize(("name", "bits"), [("song.wav", "s32"), ("song.flac", "s16"), ("song.mp3", "s16")])
def test_lossless_stems_have_the_bits_of_their_source(
    tmp_path: Path,
    tone: Tone,
    write_audio: WriteAudio,
    decode: Decode,
    name: str,
    bits: str,
    kind: FileFormat,
) -> None:
    source = write_audio(tmp_path / name, tone(0.4))  # the WAV file has floats
    files = write_stems(EngineRequest(source, tmp_path, "vocals", kind, 60), _halves).files.values()
    for file in files:
        with av.open(str(file)) as stem:
            assert stem.streams.audio[0].format.name == bits
    difference = np.abs(sum(map(decode, files)) - _read(source))
    assert difference.max() <= (2**-22 if bits == "s32" else 2**-14)


def test_a_stem_that_gets_too_large_becomes_mp3(
    tmp_path: Path, write_audio: WriteAudio, decode: Decode
) -> None:
    """During the song, and by its last byte."""
    length = round(3.3 * SECOND)  # FFmpeg writes 256 KB at once
    noise = np.random.default_rng(1).normal(0, 0.1, (2, length)).astype(np.float32)
    source = write_audio(tmp_path / "song.flac", noise, title="Ein Lied")
    whole = write_stems(EngineRequest(source, tmp_path, "vocals", FileFormat.FLAC, 60), _halves)
    size = whole.files[REST].stat().st_size  # with its longer title the larger one
    limits = ((size, ".flac", ".flac"), (size - 1, ".mp3", ".flac"), (size // 3, ".mp3", ".mp3"))
    for limit, kind, meanwhile in limits:
        folder = tmp_path / str(limit)
        folder.mkdir()

        def separate(blocks: Iterable[Floats]) -> Iterator[dict[str, Floats]]:
            yield from _halves(blocks)
            # all but the last piece is written
            assert {file.suffix for file in folder.iterdir()} == {meanwhile}  # noqa: B023

        request = EngineRequest(source, folder, "vocals", FileFormat.FLAC, 60, limit)
        files = write_stems(request, separate).files
        assert sorted(folder.iterdir()) == sorted(files.values())
        sound = decode(files[REST])
        assert (files[REST].suffix, sound.shape[1]) == (kind, pytest.approx(length, abs=1200))
        part = slice(SECOND // 2, SECOND)
        assert np.sqrt(np.mean((2 * sound[:, part] - noise[:, part]) ** 2)) < 0.05
        with av.open(str(files[REST])) as stem:
            assert stem.metadata["title"] == "Ein Lied (instrumental)"


def test_a_very_short_stem_may_have_a_largest_size(
    tmp_path: Path, tone: Tone, write_audio: WriteAudio, decode: Decode
) -> None:
    """FLAC writes nothing before its first 4,608 samples."""
    source = write_audio(tmp_path / "song.wav", tone(0.05))
    request = EngineRequest(source, tmp_path, "vocals", FileFormat.FLAC, 60, 10**6)
    assert decode(write_stems(request, _halves).files[REST]).shape == (2, round(0.05 * SECOND))


def test_stems_carry_the_songs_tags(tmp_path: Path, tone: Tone, write_audio: WriteAudio) -> None:
    result = _separate(write_audio(tmp_path / "song.mp3", tone(1.0), title="Ein Lied", artist="Die Band"))
    with av.open(str(result.files[REST])) as stem:
        assert stem.metadata["title"] == "Ein Lied (instrumental)"
        assert stem.metadata["artist"] == "Die Band"
        assert stem.streams.audio[0].codec_context.name.startswith("mp3")
        assert stem.bit_rate == pytest.approx(256_000, rel=0.1)


@pytest.mark.parametrize("seconds", [0.1, 0.001])
def test_a_very_short_song_is_separated(
    tmp_path: Path, tone: Tone, write_audio: WriteAudio, decode: Decode, seconds: float
) -> None:
    result = _separate(write_audio(tmp_path / "song.wav", tone(seconds)), None, FileFormat.WAV)
    assert set(result.files) == set(known_stems("light"))
    for file in result.files.values():
        assert decode(file).shape == (2, round(seconds * SECOND))


def test_silence_gives_silence(tmp_path: Path, write_audio: WriteAudio, decode: Decode) -> None:
    result = _separate(write_audio(tmp_path / "song.wav", np.zeros((2, SECOND // 2), np.float32)), None)
    for file in result.files.values():
        assert np.abs(decode(file)).max() < 1e-4


def test_not_a_number_becomes_silence(tmp_path: Path, tone: Tone, write_audio: WriteAudio) -> None:
    sound = tone(1.0)
    sound[:, 1000:2000:3] = np.nan
    sound[:, 1001:2000:3] = np.inf
    read = _read(write_audio(tmp_path / "song.wav", sound))
    assert np.isfinite(read).all()
    np.testing.assert_allclose(read[:, 3000:], sound[:, 3000:], atol=1e-6)
    stems = _separate(tmp_path / "song.wav", None, FileFormat.WAV)
    assert stems.duration_s == 1.0


def _text(path: Path) -> None:
    path.write_text("la la la\n" * 5000)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(200_000))


def _video_without_sound(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64  # type: ignore[union-attr]
        for _ in range(10):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            out.mux(stream.encode(frame))  # type: ignore[union-attr]
        out.mux(stream.encode(None))  # type: ignore[union-attr]


def _of_unknown_codec(path: Path) -> None:
    path.write_bytes(of_unknown_codec())


def _of_64_channels(path: Path) -> None:
    header = struct.pack("<HHIIHH", 1, 64, 44_100, 44_100 * 128, 128, 16)
    sound = np.random.default_rng(0).bytes(128 * 2_000)
    chunks = b"fmt " + struct.pack("<I", 16) + header + b"data" + struct.pack("<I", len(sound)) + sound
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)


@pytest.mark.parametrize(
    "make", [_text, _empty, _noise, _video_without_sound, _of_unknown_codec, _of_64_channels]
)
def test_a_file_without_audio_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    source = tmp_path / "song.mp3"
    make(source)
    with pytest.raises(UnreadableSourceError):
        _separate(source)
    assert not list((tmp_path / "out").iterdir()), "a stem file was created"


@pytest.mark.parametrize("kind", ["hls", "concat", "dash"])
def test_a_playlist_renamed_to_audio_opens_no_other_file(
    tmp_path: Path, tone: Tone, write_audio: WriteAudio, kind: str
) -> None:
    other = write_audio(tmp_path / "secret.mp3", tone(1.0))
    text = {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n",
        "concat": f"ffconcat version 1.0\nfile {other.name}\n",
        "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
        f"<Period><AdaptationSet><Representation><BaseURL>{other}</BaseURL></Representation></AdaptationSet>"
        "</Period></MPD>",
    }[kind]
    source = tmp_path / "song.mp3"
    source.write_text(text)
    with pytest.raises(UnreadableSourceError, match="not a readable audio file"):
        _read(source)


def test_damage_in_the_middle_costs_only_that_part(tmp_path: Path, demo_song: Path) -> None:
    data = bytearray(demo_song.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20_000] = np.random.default_rng(0).bytes(20_000)
    source = tmp_path / "song.mp3"
    source.write_bytes(data)
    assert 28 < _read(source).shape[1] / SECOND <= 30.1


def test_the_length_limit_holds_while_decoding(tmp_path: Path, tone: Tone, write_audio: WriteAudio) -> None:
    source = write_audio(tmp_path / "song.flac", tone(3.0))
    assert _read(source, max_duration_s=3).shape[1] == 3 * SECOND
    with pytest.raises(UnreadableSourceError, match="longer than"):
        _read(source, max_duration_s=2.9)


def test_a_video_stream_and_a_cover_are_ignored(tmp_path: Path, tone: Tone, write_audio: WriteAudio) -> None:
    sound = write_audio(tmp_path / "sound.mp3", tone(2.0))
    for name, codec in (("video.mp4", "mpeg4"), ("cover.mp4", "mjpeg")):
        path = tmp_path / name
        with av.open(str(path), "w") as out, av.open(str(sound)) as audio:
            picture = out.add_stream(codec, rate=10)
            picture.width = picture.height = 64  # type: ignore[union-attr]
            picture.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"  # type: ignore[union-attr]
            if codec == "mjpeg":
                picture.disposition = av.stream.Disposition.attached_pic
            copy = out.add_stream_from_template(audio.streams.audio[0])
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            out.mux(picture.encode(frame))  # type: ignore[arg-type]
            out.mux(picture.encode(None))  # type: ignore[union-attr]
            for packet in audio.demux(audio.streams.audio[0]):
                if packet.dts is not None:
                    packet.stream = copy
                    out.mux(packet)
        assert abs(_read(path).shape[1] / SECOND - 2.0) < 0.08, name


def test_memory_does_not_grow_with_the_song(
    tmp_path: Path, tone: Tone, write_audio: WriteAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peak of each block that has all surroundings that a block can have."""
    monkeypatch.setattr(stream, "_BLOCK", 16)  # 0.4 s instead of three
    peaks = []

    def measured(blocks: Iterable[Floats], only: str | None) -> Iterator[dict[str, Floats]]:
        for piece in stem_pieces(blocks, only):
            yield piece
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.reset_peak()

    monkeypatch.setattr(engine, "stem_pieces", measured)
    source = write_audio(tmp_path / "song.flac", tone(7.0))
    tracemalloc.start()
    try:
        _separate(source, "vocals", FileFormat.FLAC)
    finally:
        tracemalloc.stop()
    steady = peaks[stream._BEFORE : -stream._AFTER]
    assert len(steady) >= 6
    spectra_of_a_block = 2 * 16 * BINS * 8
    # what grows is in each peak; other threads add to some
    assert min(steady[-3:]) - min(steady[:3]) < spectra_of_a_block / 2


@pytest.mark.parametrize("k", [1, 3, 5, 9, 15, 21, 25])
def test_medians(k: int) -> None:
    rng = np.random.default_rng(k)
    sound = rng.integers(0, 256, (40, 70), dtype=np.uint8)
    chosen = rng.integers(0, 40, (19, k))
    np.testing.assert_array_equal(median_of_frames(sound, chosen), np.median(sound[chosen], axis=1))
    neighbours = np.clip(np.arange(70)[:, None] + range(-k + 1, k, 2), 0, 69)
    expected = np.median(sound[:, neighbours], axis=2)
    np.testing.assert_array_equal(median_of_bins(sound, range(-k + 1, k, 2)), expected)


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(ValueError, match="'heavy'"):
        load("heavy")
