"""Types of audio and video files: extensions, MIME types, signatures, and what Telegram plays. No I/O."""

from enum import StrEnum

# The accepted extensions and their MIME types, of which the first is the one that is sent.
_MIME_TYPES = {
    ".mp3": ("audio/mpeg", "audio/mp3"),
    ".m4a": ("audio/mp4", "audio/x-m4a", "audio/m4a"),
    ".m4b": ("audio/mp4",),
    ".aac": ("audio/aac", "audio/x-aac"),
    ".wav": ("audio/wav", "audio/x-wav", "audio/vnd.wave"),
    ".flac": ("audio/flac", "audio/x-flac"),
    ".ogg": ("audio/ogg", "application/ogg"),
    ".oga": ("audio/ogg",),
    ".opus": ("audio/ogg", "audio/opus"),
    ".aiff": ("audio/aiff", "audio/x-aiff"),
    ".aif": ("audio/aiff",),
    ".wma": ("audio/x-ms-wma",),
    ".amr": ("audio/amr",),
    ".ac3": ("audio/ac3",),
    ".ape": ("audio/x-ape",),
    ".wv": ("audio/x-wavpack",),
    ".caf": ("audio/x-caf",),
    ".mka": ("audio/x-matroska",),
    ".mp4": ("video/mp4",),
    ".m4v": ("video/mp4",),
    ".mov": ("video/quicktime",),
    ".webm": ("video/webm", "audio/webm"),
    ".mkv": ("video/x-matroska",),
    ".avi": ("video/x-msvideo", "video/avi"),
    ".3gp": ("video/3gpp", "audio/3gpp"),
}
EXTENSIONS = frozenset(_MIME_TYPES)
# `.ogg` for `audio/ogg`: the first extension of the table that has the type.
_EXTENSION_OF_MIME_TYPE = {
    mime_type: extension
    for extension, mime_types in reversed(_MIME_TYPES.items())
    for mime_type in mime_types
}
# Bot API, sendAudio: "must be in the .MP3 or .M4A format". Other files are sent as documents.
PLAYABLE_EXTENSIONS = frozenset({".mp3", ".m4a"})
# FFmpeg's demuxers that do not open other files or addresses named in a file, as those for playlists do.
SAFE_DEMUXERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,tta,w64,wav,wv"
)


class AudioFormat(StrEnum):
    """Formats that are recognised by their first bytes; the values are FFmpeg's names of them."""

    MP3 = "mp3"
    MP4 = "mp4"
    FLAC = "flac"
    OGG = "ogg"  # with Opus, Vorbis or FLAC in it
    WAV = "wav"
    AIFF = "aiff"
    AAC = "aac"


# Enough for `format_of`.
SIGNATURE_BYTES = 12


def mime_type_of(extension: str) -> str:
    return _MIME_TYPES.get(extension, ("application/octet-stream",))[0]


def extension_of_mime_type(mime_type: str) -> str | None:
    """Return the extension for a MIME type in any case and with or without parameters."""
    return _EXTENSION_OF_MIME_TYPE.get(mime_type.partition(";")[0].strip().lower())


def extension_of_format(audio_format: AudioFormat | None, current: str) -> str:
    """Return the format's extension; `current` if it fits already or the format is unknown."""
    if audio_format is None or (audio_format is AudioFormat.OGG and current == ".opus"):
        return current
    return ".m4a" if audio_format is AudioFormat.MP4 else f".{audio_format}"


def format_of(start: bytes) -> AudioFormat | None:
    """Return the format of a file that starts with these bytes, `None` if it is unknown."""
    container, kind = start[:4], start[8:12]
    if start[:3] == b"ID3" or _is_frame(start, mask=0xE6, bits=0xE2):  # MPEG audio, layer III
        return AudioFormat.MP3
    if _is_frame(start, mask=0xF6, bits=0xF0):  # ADTS
        return AudioFormat.AAC
    if start[4:8] == b"ftyp":
        return AudioFormat.MP4
    if container == b"fLaC":
        return AudioFormat.FLAC
    if container == b"OggS":
        return AudioFormat.OGG
    if container in (b"RIFF", b"RF64") and kind == b"WAVE":
        return AudioFormat.WAV
    if container == b"FORM" and kind in (b"AIFF", b"AIFC"):
        return AudioFormat.AIFF
    return None


def _is_frame(start: bytes, *, mask: int, bits: int) -> bool:
    return len(start) > 1 and start[0] == 0xFF and start[1] & mask == bits
