"""Decodes any audio file to float blocks at 44.1 kHz stereo, with limits against hostile files."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer

from separator.audio.samples import SAMPLE_RATE, Floats
from separator.errors import UnreadableSourceError

_BLOCK = SAMPLE_RATE  # least number of samples per block, except for the last one: one second

# Media containers only: without the list FFmpeg would open the files and URLs of a playlist renamed to
# song.mp3.
_FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,eac3,flac,flv,m4a,matroska,mov,mp3,mp4,3gp,3g2,mj2,mpeg,"
    "mpegts,ogg,tta,w64,wav,webm,wv"
)
# The sample formats of files with more than 16 bit. Decoders of MP3, AAC and Opus make `fltp`.
_FINE = frozenset({"s32", "s32p", "flt", "dbl", "dblp"})
_TOLERATED_BAD_PACKETS = 200
_LOUDEST = 8.0  # full scale is 1; far louder samples are damage
_INAUDIBLE = 0.001  # -60 dBFS
# An MP4 fragment of a long broadcast starts at its time in that broadcast; this is not a lead-in.
_MAX_LEAD_IN_S = 60


@dataclass(frozen=True)
class SourceTags:
    title: str = ""
    artist: str = ""


class Reader:
    """An open audio file; a context manager. It reads `track`, by default the first audible track.

    Opening and reading raise `UnreadableSourceError` for a file that does not decode, and when more than
    `max_duration_s` seconds have been decoded, since the length in the header may be wrong.
    """

    def __init__(self, path: Path, max_duration_s: float, track: int | None = None) -> None:
        self._max_samples = int(max_duration_s * SAMPLE_RATE)
        self._max_duration_s = max_duration_s
        try:
            self._container = _open(path)
        except (av.error.FFmpegError, ValueError) as error:
            raise UnreadableSourceError("this is not a readable audio file") from error
        streams = self._container.streams.audio
        if not streams:
            self._container.close()
            raise UnreadableSourceError("this file has no sound in it")
        if track is None:
            track = _first_audible_track(path, len(streams), max_duration_s) if len(streams) > 1 else 0
        self._stream: AudioStream = streams[track]
        if self._stream.codec_context is None:  # FFmpeg has no decoder for it
            self._container.close()
            raise UnreadableSourceError("the sound of this file is in a format that cannot be read")
        self.is_fine = self._stream.format is not None and self._stream.format.name in _FINE
        """Whether its samples have more than 16 bit."""
        self.tags = _tags(self._container.metadata, self._stream.metadata)

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def blocks(self) -> Iterator[Floats]:
        """Yield blocks of 2 × at least 44,100 finite floats; the last block may be shorter."""
        samples = 0
        waiting: list[Floats] = []
        held = 0
        for piece in self._resampled():
            samples += piece.shape[1]
            if samples > self._max_samples:
                raise UnreadableSourceError(f"the song is longer than {self._max_duration_s / 60:g} minutes")
            waiting.append(piece)
            held += piece.shape[1]
            if held >= _BLOCK:
                yield _joined(waiting)
                waiting, held = [], 0
        if held:
            yield _joined(waiting)
        if not samples:
            raise UnreadableSourceError("no sound could be decoded from this file")

    def _resampled(self) -> Iterator[Floats]:
        try:
            yield from self._resampled_frames()
        except av.error.FFmpegError as error:  # such as for more channels than FFmpeg can mix
            raise UnreadableSourceError("the sound of this file cannot be converted") from error

    def _resampled_frames(self) -> Iterator[Floats]:
        resampler: AudioResampler | None = None
        kind: tuple[object, ...] = ()
        for frame in self._frames():
            if resampler is None:
                yield from self._lead_in(frame)
            skip = _samples_before_start(frame)
            if skip >= frame.samples:
                continue
            frame.pts = None
            if resampler is None or kind != _kind(frame):  # a stream can change its format
                if resampler is not None:
                    yield from map(_stereo, resampler.resample(None))
                kind = _kind(frame)
                resampler = _resampler(frame.layout.nb_channels)
            pieces = map(_stereo, resampler.resample(frame))
            if not skip:
                yield from pieces
                continue
            drop = round(skip * SAMPLE_RATE / frame.sample_rate)
            for piece in pieces:
                if piece.shape[1] > drop:
                    yield piece[:, drop:]
                drop = max(0, drop - piece.shape[1])
        if resampler is not None:
            yield from map(_stereo, resampler.resample(None))

    def _lead_in(self, first: AudioFrame) -> Iterator[Floats]:
        """Yield the silence at the start of an MP4 file's edit list, so that stems stay in step with it."""
        if "mp4" in self._container.format.name and first.pts and first.time_base:
            lead_in_s = float(first.pts * first.time_base)
            if 0 < lead_in_s <= _MAX_LEAD_IN_S:
                yield np.zeros((2, round(lead_in_s * SAMPLE_RATE)), np.float32)

    def _frames(self) -> Iterator[AudioFrame]:
        """Yield all frames that decode. Raises `UnreadableSourceError` when most packets are damaged."""
        good = bad = 0
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.error.FFmpegError:  # the rest of the container is missing or damaged
                return
            try:
                for frame in packet.decode():
                    good += 1
                    yield frame
            except av.error.FFmpegError as error:
                bad += 1
                if bad > _TOLERATED_BAD_PACKETS and bad > good:
                    raise UnreadableSourceError("this file is damaged throughout") from error


def _first_audible_track(path: Path, tracks: int, max_duration_s: float) -> int:
    for track in range(tracks):
        with suppress(UnreadableSourceError), Reader(path, max_duration_s, track) as reader:
            if any(np.abs(block).max() > _INAUDIBLE for block in reader.blocks()):
                return track
    return 0


def _open(path: Path) -> InputContainer:
    return av.open(
        str(path),
        container_options={"format_whitelist": _FORMATS, "protocol_whitelist": "file"},
        metadata_errors="replace",  # the default raises for a badly encoded tag
    )


def _kind(frame: AudioFrame) -> tuple[object, ...]:
    return frame.format.name, frame.layout.name, frame.layout.nb_channels, frame.sample_rate


def _samples_before_start(frame: AudioFrame) -> int:
    """Return how many of a frame's samples are before time zero, which players skip (encoder delay)."""
    if frame.pts is None or frame.time_base is None or frame.pts >= 0:
        return 0
    return round(-frame.pts * frame.time_base * frame.sample_rate)


def _resampler(channels: int) -> AudioResampler:
    """Return a resampler to 44.1 kHz, mono or stereo.

    `_stereo` converts mono, since FFmpeg would make it 3 dB quieter. FFmpeg's downmix of 5.1 and similar
    layouts stays within full scale only for integer samples.
    """
    return AudioResampler(
        format="fltp" if channels <= 2 else "s32p",
        layout="mono" if channels == 1 else "stereo",
        rate=SAMPLE_RATE,
    )


def _stereo(frame: AudioFrame) -> Floats:
    samples = frame.to_ndarray()
    if samples.dtype == np.int32:
        samples = samples / np.float32(2**31)
    sound = samples.astype(np.float32, copy=False)
    return np.repeat(sound, 2, axis=0) if len(sound) == 1 else sound


def _joined(pieces: list[Floats]) -> Floats:
    """Return the pieces as one block, with the invalid or far too loud samples of a bad file replaced."""
    block: Floats = np.nan_to_num(np.concatenate(pieces, axis=1), copy=False, nan=0.0)
    return np.clip(block, -_LOUDEST, _LOUDEST, out=block)


def _tags(*sources: dict[str, Any]) -> SourceTags:
    found = {str(key).lower(): str(value) for source in sources for key, value in source.items()}
    return SourceTags(title=_clean(found.get("title", "")), artist=_clean(found.get("artist", "")))


def _clean(text: str) -> str:
    """Return the printable characters, at most 200."""
    return "".join(letter for letter in text if letter.isprintable()).strip()[:200]
