"""The file formats of stems. Imports no audio library."""

from enum import StrEnum


class FileFormat(StrEnum):
    """The value is also the file extension."""

    MP3 = "mp3"  # 256 kbit/s
    FLAC = "flac"  # 16 bit, or 24 bit for a source of more than 16 bit
    WAV = "wav"  # the same bit depths as FLAC
