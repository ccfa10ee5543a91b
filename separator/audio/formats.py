"""The file formats in which stems are delivered. No audio library is needed to name them."""

from enum import StrEnum


class FileFormat(StrEnum):
    """The value is the file extension as well."""

    MP3 = "mp3"  # 256 kbit/s
    FLAC = "flac"  # 16 bit
    WAV = "wav"  # 16 bit

    @property
    def media_type(self) -> str:
        return {FileFormat.MP3: "audio/mpeg", FileFormat.FLAC: "audio/flac", FileFormat.WAV: "audio/wav"}[
            self
        ]
