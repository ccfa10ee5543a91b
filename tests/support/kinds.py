"""Converts a song into the kinds of files that people send."""

import wave
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av import AudioStream


@dataclass(frozen=True)
class Kind:
    """One kind of file. `rate` is a sample rate that its codec accepts."""

    extension: str
    container: str
    codec: str
    rate: int = 44100
    layout: str = "stereo"
    has_picture: bool = False


KINDS = {
    "mp3": Kind(".mp3", "mp3", "libmp3lame"),
    "m4a": Kind(".m4a", "ipod", "aac"),
    "flac": Kind(".flac", "flac", "flac"),
    "wav": Kind(".wav", "wav", "pcm_s16le"),
    "voice": Kind(".ogg", "ogg", "libopus", 48000, "mono"),
    "video": Kind(".mp4", "mp4", "aac", has_picture=True),
}


def silence(path: Path, size_bytes: int) -> Path:
    """Write a silent WAV of about that size."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44100)
        file.writeframes(bytes(size_bytes))
    return path


def record(source: Path, target: Path, kind: Kind, seconds: float) -> Path:
    """Write the first seconds of `source`, a song at 44.1 kHz, as this kind of file."""
    with av.open(str(source)) as song, av.open(str(target), "w", format=kind.container) as file:
        picture = file.add_stream("mpeg4", rate=10) if kind.has_picture else None
        sound = cast(AudioStream, file.add_stream(kind.codec, rate=kind.rate, layout=kind.layout))
        if picture:
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
            for number in range(int(seconds * 10)):
                frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), "uint8"), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 10)
                file.mux(picture.encode(frame))
            file.mux(picture.encode(None))
        resampler = av.AudioResampler(format=sound.codec_context.format, layout=kind.layout, rate=kind.rate)
        left = round(seconds * 44100)
        for piece in song.decode(audio=0):
            if left < piece.samples:
                break
            left -= piece.samples
            for part in resampler.resample(piece):
                file.mux(sound.encode(part))
        for part in resampler.resample(None):
            file.mux(sound.encode(part))
        file.mux(sound.encode(None))
    return target
