"""Decodes audio packet by packet, so that a damaged place does not make the rest of a file useless."""

from collections.abc import Iterator

import av.error
from av.audio.frame import AudioFrame
from av.container import InputContainer

from stemdrop.services.audio_files import MAX_STEP_S

# A file with more damaged packets than this, and than frames, is damaged throughout.
_TOLERATED_BAD_PACKETS = 200
# Timestamps may be rounded to milliseconds. The shortest packets of Opus last 2.5 ms.
_MIN_HOLE_S = 0.002
# The most samples in a frame of silence: one for a whole hole could take hundreds of megabytes.
_SILENCE_SAMPLES = 4096


def decode(container: InputContainer, *, may_be_damaged: bool = True) -> Iterator[AudioFrame]:
    """Yield the frames of the first track, with silence where some are damaged or missing between others.

    The sound ends where the container is damaged. The function raises FFmpeg's errors if no frame decodes,
    if more than 200 packets and most of them are damaged, or, unless the file `may_be_damaged`, if any packet
    before the last good one is; `IndexError` without a track, and `ValueError` if FFmpeg lacks the codec.
    """
    end_s = None
    for frame in _frames(container, may_be_damaged=may_be_damaged):
        if frame.pts is not None and frame.time_base is not None:
            start_s = frame.pts * float(frame.time_base)
            if end_s is not None and _MIN_HOLE_S < start_s - end_s <= MAX_STEP_S:
                yield from _silence(frame, start_s - end_s)
            end_s = start_s
        if end_s is not None:
            end_s += frame.samples / frame.sample_rate
        yield frame


def _frames(container: InputContainer, *, may_be_damaged: bool) -> Iterator[AudioFrame]:
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise ValueError("a codec that FFmpeg does not have")
    packets, good, failures = container.demux(stream), 0, list[av.error.FFmpegError]()
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as error:
            if not good or not may_be_damaged or isinstance(error, (MemoryError, OSError)):
                raise
            return
        if packet is None:
            break
        try:
            frames = packet.decode()
        except av.error.FFmpegError as error:
            failures.append(error)
            if isinstance(error, MemoryError) or len(failures) > max(_TOLERATED_BAD_PACKETS, good):
                raise
            continue
        if frames and failures and not may_be_damaged:
            raise failures[0]
        good += len(frames)
        yield from frames
    if failures and not good:
        raise failures[0]


def _silence(like: AudioFrame, length_s: float) -> Iterator[AudioFrame]:
    """Yield frames in the form of another, without timestamps."""
    left = round(length_s * like.sample_rate)
    zero = b"\x80" if like.format.name.startswith("u8") else b"\0"
    while left > 0:
        frame = AudioFrame(like.format.name, like.layout.name, min(left, _SILENCE_SAMPLES))
        frame.sample_rate = like.sample_rate
        for plane in frame.planes:
            plane.update(zero * plane.buffer_size)
        left -= frame.samples
        yield frame
