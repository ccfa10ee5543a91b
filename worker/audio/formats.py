"""Which form of audio a file is, by its content: what strangers' servers call it need not be true."""

from enum import StrEnum
from pathlib import Path

import av
import av.error


class Form(StrEnum):
    """The values are FFmpeg's names of the containers."""

    MP3 = "mp3"
    MP4 = "mp4"
    FLAC = "flac"
    OGG = "ogg"  # with Opus, Vorbis or FLAC in it
    WAV = "wav"
    AIFF = "aiff"
    AAC = "aac"


# What files of a form are called; the first where the name at hand is none of them.
_EXTENSIONS = {
    Form.MP3: (".mp3",),
    Form.MP4: (".m4a",),
    Form.FLAC: (".flac",),
    Form.OGG: (".ogg", ".opus"),
    Form.WAV: (".wav",),
    Form.AIFF: (".aiff",),
    Form.AAC: (".aac",),
}
# FFmpeg's readers of further forms, and of those above with something before their beginning. None of them
# follows names of other files or addresses, as its readers of playlists do.
_SELF_CONTAINED = "aac,ac3,aiff,amr,ape,asf,au,avi,caf,flac,matroska,mov,mp3,mpeg,mpegts,ogg,tta,w64,wav,wv"


def form_of(path: Path) -> Form | None:
    """The form of the file, or `None` for one that is not known here."""
    with path.open("rb") as file:
        start = file.read(12)
    container, kind = start[:4], start[8:12]
    if start[:3] == b"ID3" or _is_frame(start, mask=0xE6, bits=0xE2):  # MPEG audio, layer III
        return Form.MP3
    if _is_frame(start, mask=0xF6, bits=0xF0):  # ADTS
        return Form.AAC
    if start[4:8] == b"ftyp":
        return Form.MP4
    if container == b"fLaC":
        return Form.FLAC
    if container == b"OggS":
        return Form.OGG
    if container in (b"RIFF", b"RF64") and kind == b"WAVE":
        return Form.WAV
    if container == b"FORM" and kind in (b"AIFF", b"AIFC"):
        return Form.AIFF
    return None


def is_audio(path: Path) -> bool:
    """Whether there is sound in a file whose form is not known here: error pages come in place of stems too.

    Blocking.
    """
    try:
        with av.open(str(path), options={"format_whitelist": _SELF_CONTAINED}) as container:
            return any(True for _ in container.decode(audio=0))
    except (av.error.FFmpegError, ValueError, IndexError):
        return False


def extension_of(form: Form | None, named: str) -> str:
    """The extension that fits the form; `named` where it does, or where the form is not known."""
    fitting = _EXTENSIONS[form] if form else (named,)
    return named if named in fitting else fitting[0]


def _is_frame(start: bytes, *, mask: int, bits: int) -> bool:
    return len(start) > 1 and start[0] == 0xFF and start[1] & mask == bits
