"""Types of audio and video files: extensions, MIME types, signatures, and what Telegram plays. No I/O.

Decides the kind of a file: by its content first, then by its MIME type, then by its name.
"""

import re
from enum import StrEnum

from stemdrop.domain.titles import visible

# FFmpeg's demuxer → its extensions → their MIME types, of which the first is sent (`audio/x-wav` and the
# like need no entry). No demuxer here opens other files or URLs that a file names, as playlist demuxers do.
_DEMUXERS: dict[str, dict[str, tuple[str, ...]]] = {
    "mp3": {".mp3": ("audio/mpeg", "audio/mpeg3"), ".mp2": ("audio/mpeg",)},
    "mp4": {
        ".m4a": ("audio/mp4",),
        ".m4b": ("audio/mp4",),
        ".m4r": ("audio/mp4",),
        ".mp4": ("video/mp4",),
        ".m4v": ("video/mp4",),
        ".mov": ("video/quicktime", "audio/quicktime"),
        ".3gp": ("video/3gpp", "audio/3gpp"),
        ".3g2": ("video/3gpp2", "audio/3gpp2"),
    },
    "aac": {".aac": ("audio/aac", "audio/aacp")},
    "wav": {".wav": ("audio/wav", "audio/vnd.wave", "audio/wave")},
    "w64": {".w64": ("audio/x-w64",)},
    "flac": {".flac": ("audio/flac",)},
    "ogg": {
        ".ogg": ("audio/ogg", "application/ogg"),
        ".oga": ("audio/ogg",),
        ".opus": ("audio/ogg", "audio/opus"),
        ".ogv": ("video/ogg",),
    },
    "aiff": {".aiff": ("audio/aiff",), ".aif": ("audio/aiff",), ".aifc": ("audio/aiff",)},
    "asf": {".wma": ("audio/x-ms-wma",), ".wmv": ("video/x-ms-wmv",), ".asf": ("video/x-ms-asf",)},
    "amr": {".amr": ("audio/amr", "audio/amr-wb")},
    "ac3": {".ac3": ("audio/ac3",)},
    "eac3": {".eac3": ("audio/eac3",)},
    "dts": {".dts": ("audio/vnd.dts",)},
    "ape": {".ape": ("audio/x-ape",)},
    "wv": {".wv": ("audio/x-wavpack",)},
    "tta": {".tta": ("audio/x-tta",)},
    "caf": {".caf": ("audio/x-caf",)},
    "au": {".au": ("audio/basic",), ".snd": ("audio/basic",)},
    "matroska": {
        ".mka": ("audio/x-matroska",),
        ".mkv": ("video/x-matroska",),
        ".webm": ("video/webm", "audio/webm"),
    },
    "avi": {".avi": ("video/x-msvideo",)},
    "flv": {".flv": ("video/x-flv",)},
    "mpeg": {".mpg": ("video/mpeg",), ".mpeg": ("video/mpeg",)},
    "mpegts": {".ts": ("video/mp2t",), ".mts": ("video/mp2t",)},
}
SAFE_DEMUXERS = ",".join(_DEMUXERS)
_MIME_TYPES = {extension: types for family in _DEMUXERS.values() for extension, types in family.items()}
_FAMILIES = {extension: family for family in _DEMUXERS.values() for extension in family}
EXTENSIONS = frozenset(_MIME_TYPES)
# `.ogg` for `audio/ogg`: the first extension of the table that has the type.
_EXTENSION_OF_MIME_TYPE = {
    mime_type: extension
    for extension, mime_types in reversed(_MIME_TYPES.items())
    for mime_type in mime_types
}
# The extension of a file whose kind is not known before its content is read.
UNKNOWN_EXTENSION = ".bin"
# MIME types that say nothing about the content.
_UNTYPED = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/x-download"})
# Extensions that browsers and messengers append, beside the number of a copy: `song.mp3 (1)`.
_APPENDED = frozenset({UNKNOWN_EXTENSION, ".dat", ".tmp", ".part", ".download", ".crdownload"})
_LAST_EXTENSION = re.compile(r"(.*)(\.[a-z0-9]+)(?: ?\(\d+\))?[. ]*", re.IGNORECASE | re.DOTALL)
# Bot API, sendAudio: "must be in the .MP3 or .M4A format". Other files are sent as documents.
PLAYABLE_EXTENSIONS = frozenset({".mp3", ".m4a"})


class AudioFormat(StrEnum):
    """Formats that are recognised by their first bytes; the values are FFmpeg's names of them."""

    MP3 = "mp3"
    MP4 = "mp4"
    FLAC = "flac"
    OGG = "ogg"  # with Opus, Vorbis or FLAC in it
    WAV = "wav"
    AIFF = "aiff"
    AAC = "aac"


# The formats in which stems can be asked for.
FILE_FORMATS = (AudioFormat.MP3, AudioFormat.FLAC, AudioFormat.WAV)

# The first bytes of a file that `format_of` needs.
SIGNATURE_BYTES = 12


def mime_type_of(extension: str) -> str:
    return _MIME_TYPES.get(extension, ("application/octet-stream",))[0]


def may_be_audio(mime_type: str, name: str) -> bool:
    """Whether a file of this type and name can be audio; for many files only the content can tell."""
    known = _essence(mime_type)
    return known in _UNTYPED or known.startswith(("audio/", "video/")) or bool(extension_of(mime_type, name))


def extension_of(mime_type: str, name: str) -> str:
    """Return the extension of the file's name if it fits the MIME type, or that of the type; may be empty."""
    by_type, by_name = _extension_of_mime_type(mime_type), split_extension(name)[1]
    return by_name if not by_type or by_name in _FAMILIES[by_type] else by_type


def extension_of_content(demuxers: str, current: str, *, has_picture: bool = False) -> str:
    """Return the extension of a file that one of FFmpeg's `demuxers` (`matroska,webm`) reads.

    Returns `current` if it fits or the demuxers are unknown. `has_picture` tells videos from audio.
    """
    family = next((_DEMUXERS[name] for name in demuxers.split(",") if name in _DEMUXERS), None)
    if family is None:
        return current
    medium = "video/" if has_picture else "audio/"
    fitting = [name for name, types in family.items() if any(kind.startswith(medium) for kind in types)]
    fitting = fitting or list(family)
    return current if current in fitting else fitting[0]


def split_extension(name: str) -> tuple[str, str]:
    """Split a file's name at its known extensions: `song.flac.MP3 (1)` is `("song", ".mp3")`.

    The extension is empty if it is not known: `Mr. Brightside` and `Vol. 2` are whole names.
    """
    stem, extension = visible(name), ""
    while found := _LAST_EXTENSION.fullmatch(stem):
        last = found[2].lower()
        if last in EXTENSIONS:
            extension = extension or last
        elif last not in _APPENDED:
            break
        stem = found[1]
    return stem, extension


def _extension_of_mime_type(mime_type: str) -> str:
    known = _essence(mime_type)
    medium, _, kind = known.partition("/")
    plain_kind = f".{kind.removeprefix('x-')}" if medium in ("audio", "video") else ""
    return _EXTENSION_OF_MIME_TYPE.get(known) or (plain_kind if plain_kind in EXTENSIONS else "")


def _essence(mime_type: str) -> str:
    """Return the type in small letters without its parameters (`audio/ogg; codecs=opus`)."""
    return mime_type.partition(";")[0].strip().lower()


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
