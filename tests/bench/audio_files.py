"""Real songs of any length: the bundled one, encoded once and written several times over."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

_MEDIA = Path(__file__).parent.parent / "media"


def two_stems(folder: Path) -> dict[str, bytes]:
    """Return MP3s of 3 MB, three minutes each, by their names at the stand-in: a voice, and instruments."""
    instruments = stem_of(folder, "other", 3, 128)
    return {"three": stem_of(folder, "vocals", 3, 128), "three-instrumental": instruments}


def stem_of(folder: Path, name: str, size_mb: float, kbits_per_s: int) -> bytes:
    """Return an MP3 of this size, of the bundled song's stem of this name: 3 MB are three minutes at 128."""
    short, long = folder / f"{name}-short.mp3", folder / f"{name}.mp3"
    _encode(_MEDIA / f"demo-song.{name}.flac", short, kbits_per_s)
    repeat(short, long, max(1, round(size_mb * 1e6 / short.stat().st_size)))
    return long.read_bytes()


def _encode(source: Path, target: Path, kbits_per_s: int) -> None:
    with av.open(str(source)) as song, av.open(str(target), "w", format="mp3") as out:
        stream = out.add_stream("libmp3lame", rate=44100, layout="stereo")
        stream.bit_rate = kbits_per_s * 1000
        resampler = av.AudioResampler("fltp", "stereo", 44100)
        for frame in song.decode(audio=0):
            for part in resampler.resample(frame):
                out.mux(stream.encode(part))
        out.mux(stream.encode(None))


def repeat(source: Path, target: Path, times: int) -> Path:
    """Write an MP3 several times over, packet by packet."""
    with av.open(str(target), "w", format="mp3") as out, av.open(str(source)) as first:
        stream = out.add_stream_from_template(first.streams.audio[0])
        at = 0
        for packet in _packets(source, times):
            packet.pts = packet.dts = at
            at += packet.duration or 0
            packet.stream = stream
            out.mux(packet)
    return target


def _packets(source: Path, times: int) -> Iterator[Any]:
    for _ in range(times):
        with av.open(str(source)) as song:
            for packet in song.demux(song.streams.audio[0]):
                if packet.dts is not None and packet.duration:
                    yield packet
