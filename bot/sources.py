"""Recognizes songs in Telegram messages, by type and by name. No I/O."""

from telegram import Audio, Document, ExternalReplyInfo, Message, PhotoSize, Video, VideoNote, Voice

from stemdrop.domain.audio_types import UNKNOWN_EXTENSION, extension_of, may_be_audio, split_extension
from stemdrop.domain.jobs import Source, SourceKind
from stemdrop.errors import SourceUnusable

# Longer recordings are sets, not songs; the separation API gives up on them (its code 408).
MAX_DURATION_S = 3600

_EXTENSION_OF_KIND = {
    SourceKind.AUDIO: ".mp3",
    SourceKind.VOICE: ".ogg",
    SourceKind.VIDEO: ".mp4",
    SourceKind.VIDEO_NOTE: ".mp4",
    SourceKind.DOCUMENT: UNKNOWN_EXTENSION,
}


def replied_song(message: Message) -> Message | ExternalReplyInfo | None:
    """Return the message with a song to which this one replies, in any chat; `None` if there is none."""
    replied = message.reply_to_message or message.external_reply
    return replied if replied and source_of(replied) else None


def source_of(message: Message | ExternalReplyInfo) -> Source | None:
    """Return the song in a message; None if it has none (another document, a text, …).

    Only the content of a document with `UNKNOWN_EXTENSION` tells whether it is a song.
    """
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
        case Document() if may_be_audio(media.mime_type or "", media.file_name or ""):
            return _source(SourceKind.DOCUMENT, media)
    return None


def name_of(message: Message) -> str:
    """Return the name of a message's document; empty without one."""
    return (message.document and message.document.file_name) or ""


def check_size(source: Source, max_bytes: int) -> None:
    """Raise `SourceUnusable` if the file has more than `max_bytes`."""
    if source.size_bytes > max_bytes:
        raise SourceUnusable("too_big", size_bytes=source.size_bytes, limit_bytes=max_bytes)


def check_duration(source: Source) -> None:
    """Raise `SourceUnusable` if the song is too long; `source.duration_s` must have been measured."""
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
        # from the JSON, since the library's settings decide whether the attribute is an int or a timedelta
        duration_s=int(media.to_dict().get("duration", 0)),
        title=title.strip() or _title_of(name),
        performer=performer.strip(),
        thumbnail_file_id=thumbnail.file_id if thumbnail and kind is SourceKind.AUDIO else "",
    )


def _extension(kind: SourceKind, name: str, mime_type: str) -> str:
    default = UNKNOWN_EXTENSION if mime_type else _EXTENSION_OF_KIND[kind]
    return extension_of(mime_type, name) or default


def _title_of(name: str) -> str:
    stem, _ = split_extension(name.replace("\\", "/").rpartition("/")[2])
    return " ".join(stem.replace("_", " ").split())
