"""The contents of people's messages: files as Telegram classifies them, photos, stickers and the like."""

import random
from io import BytesIO
from pathlib import Path
from typing import Any

from sandbox.telegram import media
from sandbox.telegram.chats import User
from sandbox.telegram.errors import PersonError
from sandbox.telegram.files import Content, FileStore

# A WebP of one pixel.
_STICKER = (
    b"RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\x00\x00\x00\x10\x07\x10\x11\x11\x88\x88\xfe\x07\x00"
)


def natural_kind(found: media.Probe, file_name: str) -> str:
    """Return the kind as which a client sends a file; an MP3 named .txt is a document."""
    suffix = Path(file_name).suffix.lower()
    if found.is_music and suffix in (".mp3", ".m4a"):
        return "audio"
    if found.form == "mp4" and suffix in (".mp4", ".mov"):
        return "video"
    return "document"


def file_content(
    files: FileStore, content: Content, file_name: str, kind: str | None, mime_type: str | None
) -> dict[str, Any]:
    """Return the media field of a message with this file, as `kind` or as its natural kind."""
    kind = kind or natural_kind(content.probe, file_name)
    if kind == "photo":
        return {"photo": [files.add_picture("photo", content)]}
    if kind not in ("audio", "voice", "video", "video_note", "document"):
        raise PersonError(f"no client sends a file as {kind}")
    default = "audio/ogg" if kind == "voice" else media.mime_type(file_name)
    return {kind: files.add_media(kind, content, file_name, mime_type=mime_type or default).to_dict()}


def other_content(files: FileStore, kind: str, person: User) -> dict[str, Any]:
    """Return the content of a photo, sticker, location, contact or dice. Raises `PersonError`."""
    if kind == "photo":
        return {"photo": [files.add_jpeg(media.jpeg_from_colour(side, side), "photo") for side in (90, 320)]}
    if kind == "sticker":
        return {"sticker": _sticker(files)}
    simple: dict[str, Any] = {
        "location": {"latitude": 48.137, "longitude": 11.575},
        "contact": {"phone_number": "+4915550100", "first_name": person.first_name, "user_id": person.id},
        "dice": {"emoji": "🎲", "value": random.randint(1, 6)},  # noqa: S311 - a die
    }
    if kind not in simple:
        raise PersonError(f"the sandbox cannot send a {kind}")
    return {kind: simple[kind]}


def _sticker(files: FileStore) -> dict[str, Any]:
    looks: dict[str, Any] = {"width": 512, "height": 512, "is_animated": False, "is_video": False}
    looks |= {"type": "regular", "emoji": "🎵"}
    return files.add("sticker", files.read(BytesIO(_STICKER)), "sticker.webp", looks).to_dict()
