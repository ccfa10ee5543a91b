"""Recognizes songs in Telegram messages, by type and by name. No I/O."""

from pathlib import PurePosixPath

from telegram import Audio, Document, ExternalReplyInfo, Message, PhotoSize, Video, VideoNote, Voice

from stemdrop.domain.audio_types import EXTENSIONS, extension_of_mime_type
from stemdrop.domain.jobs import Source, SourceKind
from stemdrop.errors import SourceUnusable

# Longer recordings are sets, not songs; the separation API gives up on them (its code 408).
MAX_DURATION_S = 3600

_EXTENSION_OF_KIND = {
    SourceKind.AUDIO: ".mp3",
    SourceKind.VOICE: ".ogg",
    SourceKind.VIDEO: ".mp4",
    SourceKind.VIDEO_NOTE: ".mp4",
    SourceKind.DOCUMENT: ".bin",
}


def replied_song(message: Message) -> Message | ExternalReplyInfo | None:
    """Return the song that a message replies to, in this or another chat; None if it does not."""
    replied = message.reply_to_message or message.external_reply
    return replied if replied and source_of(replied) else None


def source_of(message: Message | ExternalReplyInfo) -> Source | None:
    """Return the song in a message; None if it has none (another document, a text, …)."""
    if message.animation:  # comes with a `document` too, and has no sound
        return None
    media = message.audio or message.voice or message.video or message.video_note or message.document
    match media:
        case Audio():
            return _source(SourceKind.AUDIO, media, media.title or "", media.performer or "")
        case Voice():
            return _source(SourceKind.VOICE, media)
        case Video():
            return _source(SourceKind.VIDEO, media)
        case VideoNote():
            return _source(SourceKind.VIDEO_NOTE, media)
        case Document() if _is_audio_like(media):
            return _source(SourceKind.DOCUMENT, media)
    return None


def check(source: Source, max_bytes: int) -> None:
    """Check size and duration as Telegram gives them. Raises `SourceUnusable`."""
    if source.size_bytes > max_bytes:
        raise SourceUnusable("too_big", size_bytes=source.size_bytes, limit_bytes=max_bytes)
    if source.duration_s > MAX_DURATION_S:
        raise SourceUnusable("too_long", duration_s=source.duration_s, limit_s=MAX_DURATION_S)


def _source(
    kind: SourceKind,
    media: Audio | Voice | Video | VideoNote | Document,
    title: str = "",
    performer: str = "",
) -> Source:
    name = getattr(media, "file_name", None) or ""
    thumbnail: PhotoSize | None = getattr(media, "thumbnail", None)
    return Source(
        kind=kind,
        file_id=media.file_id,
        file_unique_id=media.file_unique_id,
        extension=_extension(kind, name, getattr(media, "mime_type", None) or ""),
        size_bytes=media.file_size or 0,
        # as JSON, since the attribute is an int or a timedelta by the library's settings
        duration_s=int(media.to_dict().get("duration", 0)),
        title=title.strip() or _stem_of(name),
        performer=performer.strip(),
        thumbnail_file_id=thumbnail.file_id if thumbnail and kind is SourceKind.AUDIO else "",
    )


def _is_audio_like(document: Document) -> bool:
    mime = (document.mime_type or "").lower()
    return (
        mime.startswith(("audio/", "video/"))
        or extension_of_mime_type(mime) is not None
        or _suffix(document.file_name or "") in EXTENSIONS
    )


def _extension(kind: SourceKind, name: str, mime: str) -> str:
    suffix = _suffix(name)
    if suffix in EXTENSIONS:
        return suffix
    return extension_of_mime_type(mime) or _EXTENSION_OF_KIND[kind]


def _suffix(name: str) -> str:
    return PurePosixPath(name.strip()).suffix.lower()


def _stem_of(name: str) -> str:
    path = PurePosixPath(name.replace("\\", "/"))
    stem = path.stem if path.suffix.lower() in EXTENSIONS else path.name
    return " ".join(stem.replace("_", " ").split())
