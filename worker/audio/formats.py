"""Detects the format of a downloaded file from its content, since names from other servers may be wrong."""

from pathlib import Path

import av
import av.error

from stemdrop.domain.audio_types import SAFE_DEMUXERS, SIGNATURE_BYTES, AudioFormat, format_of


def detect_format(path: Path) -> AudioFormat | None:
    """Return the file's format, `None` if it is unknown. Blocking."""
    with path.open("rb") as file:
        return format_of(file.read(SIGNATURE_BYTES))


def has_audio(path: Path) -> bool:
    """Return whether FFmpeg decodes audio from the file, which may be an error page. Blocking."""
    try:
        with av.open(str(path), options={"format_whitelist": SAFE_DEMUXERS}) as container:
            return any(True for _ in container.decode(audio=0))
    except (av.error.FFmpegError, ValueError, IndexError):
        return False
