"""Stems as small as voice messages are: one channel, for phones and slow lines."""

from dataclasses import dataclass
from pathlib import Path

import av
import av.error
from av.audio.stream import AudioStream

from stemdrop.errors import StemdropError
from worker.audio.formats import detect_format
from worker.audio.silence import LONGEST_S
from worker.stems.temp_folders import go_on


@dataclass(frozen=True, slots=True)
class Voice:
    """A form of small audio, in FFmpeg's words."""

    extension: str
    container: str
    codec: str
    rate: int
    bits_per_s: int


# Bot API, sendVoice: OGG with Opus is played as a voice message.
OPUS = Voice(".ogg", "ogg", "libopus", 48_000, 48_000)
# Bot API, sendAudio: 'must be in the .MP3 or .M4A format'.
AAC = Voice(".m4a", "ipod", "aac", 44_100, 64_000)


class NotAudio(StemdropError):
    """A file that cannot be read as audio, or that is longer than any song."""


def record(source: Path, target: Path, voice: Voice) -> float:
    """Write the sound of `source` as this form of small audio; returns its length in seconds.

    Frame by frame, so that its length is no matter to the memory. Blocking. Raises `NotAudio`.
    """
    form, samples = detect_format(source), 0
    if form is None:
        raise NotAudio("it is of no form that is known here")
    try:
        with (
            # by its form, since other formats of FFmpeg's name further files and addresses to be opened
            av.open(str(source), format=form.value, metadata_errors="replace") as song,
            av.open(str(target), "w", format=voice.container) as file,
        ):
            sound = file.add_stream(voice.codec, rate=voice.rate, layout="mono")
            assert isinstance(sound, AudioStream)  # noqa: S101 - all codecs above are of audio
            sound.bit_rate = voice.bits_per_s
            resampler = av.AudioResampler(format=sound.format, layout="mono", rate=voice.rate)
            for frame in song.decode(audio=0):
                go_on()
                if samples > LONGEST_S * voice.rate:
                    raise NotAudio(f"it goes on after {LONGEST_S} s")
                for part in resampler.resample(frame):
                    samples += part.samples
                    file.mux(sound.encode(part))
            for part in resampler.resample(None):
                samples += part.samples
                file.mux(sound.encode(part))
            file.mux(sound.encode(None))
    except (av.error.FFmpegError, ValueError, IndexError) as error:
        raise NotAudio(f"{type(error).__name__}: {error}") from error
    if not samples:
        raise NotAudio("there is no sound in it")
    return samples / voice.rate
