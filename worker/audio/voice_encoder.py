"""Encodes stems as small mono audio, the size of voice messages, for slow connections."""

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from stemdrop.domain.audio_types import AudioFormat
from worker.audio.formats import MAX_AUDIO_S, NotAudio, detect_format, open_audio
from worker.cancellable_thread import raise_if_cancelled

if TYPE_CHECKING:
    from av import AudioFrame


@dataclass(frozen=True, slots=True)
class VoiceFormat:
    """A format for small audio; `container` and `codec` are FFmpeg's names."""

    extension: str
    container: str
    codec: str
    rate: int
    bits_per_s: int


# Bot API, sendVoice: an OGG file with Opus is shown as a voice message.
OPUS = VoiceFormat(".ogg", "ogg", "libopus", 48_000, 48_000)
# Bot API, sendAudio: "must be in the .MP3 or .M4A format".
AAC = VoiceFormat(".m4a", "ipod", "aac", 44_100, 64_000)


def encode_voice(source: Path, target: Path, voice: VoiceFormat) -> float:
    """Encode `source` as mono `voice` and return its length in seconds. Blocking.

    Raises `NotAudio`, and `OSError` if `target` cannot be written.
    """
    import av.error  # noqa: PLC0415
    from av.audio.stream import AudioStream  # noqa: PLC0415

    audio_format, samples = detect_format(source), 0
    if audio_format is None:
        raise NotAudio("the format is unknown")
    try:
        with (
            closing(_decode(source, audio_format)) as frames,
            av.open(str(target), "w", format=voice.container) as file,
        ):
            stream = file.add_stream(voice.codec, rate=voice.rate, layout="mono")
            assert isinstance(stream, AudioStream)  # noqa: S101 - both codecs are for audio
            stream.bit_rate = voice.bits_per_s
            # FFmpeg's mono is the mean of the channels in integers, and 3 dB louder in floats
            resampler = av.AudioResampler(format="s16", layout="mono", rate=voice.rate)
            for decoded in chain(frames, [None]):
                raise_if_cancelled()
                if samples > MAX_AUDIO_S * voice.rate:
                    raise NotAudio(f"it is longer than {MAX_AUDIO_S} s")
                for frame in resampler.resample(decoded):
                    samples += frame.samples
                    file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
    except OSError:  # FFmpeg's errors of the disk are of both types
        raise
    except (av.error.FFmpegError, ValueError, IndexError) as error:
        raise NotAudio(f"{type(error).__name__}: {error}") from error
    if not samples:
        raise NotAudio("it has no sound")
    return samples / voice.rate


def _decode(source: Path, audio_format: AudioFormat) -> "Generator[AudioFrame]":
    """Yield the frames of a file. Raises `NotAudio` for any error, so that others are of the target."""
    import av.error  # noqa: PLC0415

    from stemdrop.services.audio_decoding import decode  # noqa: PLC0415

    try:
        with open_audio(source, audio_format) as song:
            yield from decode(song)
    except (av.error.FFmpegError, ValueError, IndexError) as error:
        raise NotAudio(f"{type(error).__name__}: {error}") from error
