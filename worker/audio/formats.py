"""Opens downloaded files by the format of their content, since names from other servers may be wrong."""

from pathlib import Path
from typing import TYPE_CHECKING

from stemdrop.domain.audio_types import SIGNATURE_BYTES, AudioFormat, format_of
from stemdrop.errors import StemdropError

if TYPE_CHECKING:
    from av.container import InputContainer

# Longer than any song: a few bytes can decode to hours of silence and keep a worker busy.
MAX_AUDIO_S = 2 * 3600


class NotAudio(StemdropError):
    """A file cannot be decoded as audio, or is longer than any song."""


def detect_format(path: Path) -> AudioFormat | None:
    """Return the file's format, `None` if it is unknown. Blocking."""
    with path.open("rb") as file:
        return format_of(file.read(SIGNATURE_BYTES))


def open_audio(path: Path, audio_format: AudioFormat) -> "InputContainer":
    """Open a file as this format; if FFmpeg chose it, a playlist could make it open other files. Blocking.

    Seeking in an MP3 goes to an estimated position.
    """
    import av  # noqa: PLC0415

    from stemdrop.services.audio_files import probe_options  # noqa: PLC0415

    options = probe_options(audio_format) | {"fflags": "fastseek"}
    return av.open(str(path), format=audio_format.value, container_options=options, metadata_errors="replace")


def is_mono(container: "InputContainer") -> bool:
    """Return whether the sound has one channel. Raises `ValueError` if FFmpeg lacks its codec."""
    codec = container.streams.audio[0].codec_context
    if codec is None:
        raise ValueError("a codec that FFmpeg does not have")
    return codec.layout.nb_channels == 1
