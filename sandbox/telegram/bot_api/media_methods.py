"""Bot API methods for files: sendAudio, sendVoice, sendDocument, sendPhoto, sendMediaGroup and getFile."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sandbox.telegram.bot_api.destination import destination, writable_chat
from sandbox.telegram.bot_api.message_methods import caption_content, post_content
from sandbox.telegram.bot_api.parameters import (
    Call,
    Kind,
    Upload,
    boolean,
    integer,
    json_array,
    refuse_unknown_keys,
    string,
    typed,
)
from sandbox.telegram.errors import bad_request, too_large
from sandbox.telegram.files import Content, StoredFile
from sandbox.telegram.media import THUMBNAIL_LIMIT_BYTES, THUMBNAIL_LIMIT_PIXELS, jpeg_size
from sandbox.telegram.photos import photo_sizes
from sandbox.telegram.state import TelegramState

_WRONG_FILE = "wrong file identifier/HTTP URL specified"
_ITEM_KEYS: dict[str, dict[str, Kind]] = {
    "audio": {"duration": integer, "performer": string, "title": string},
    "document": {"disable_content_type_detection": boolean},
}
_COMMON_ITEM_KEYS: dict[str, Kind] = {
    **dict.fromkeys(("type", "media", "caption", "parse_mode", "thumbnail"), string),
    "caption_entities": json_array,
}


async def send_audio(telegram: TelegramState, call: Call) -> dict[str, Any]:
    return await _send_one(telegram, call, "audio")


async def send_voice(telegram: TelegramState, call: Call) -> dict[str, Any]:
    if writable_chat(telegram, call).forbids_voice:
        raise bad_request("VOICE_MESSAGES_FORBIDDEN")
    return await _send_one(telegram, call, "voice")


async def send_document(telegram: TelegramState, call: Call) -> dict[str, Any]:
    return await _send_one(telegram, call, "document")


async def send_photo(telegram: TelegramState, call: Call) -> dict[str, Any]:
    place = destination(telegram, call, "can_send_photos")
    caption = caption_content(call.arguments)
    found, _ = await _resolve(telegram, call, call.arguments["photo"])
    if isinstance(found, StoredFile):
        if found.kind != "photo":
            raise bad_request(f"can't use file of type {_type_name(found.kind)} as Photo")
        return post_content(telegram, call, place, {"photo": [found.to_dict()], **caption})
    jpegs = await asyncio.to_thread(photo_sizes, found.path)
    sizes = [telegram.files.add_jpeg(jpeg, "photo") for jpeg in jpegs]
    return post_content(telegram, call, place, {"photo": sizes, **caption})


_RIGHTS = {
    "audio": "can_send_audios",
    "document": "can_send_documents",
    "voice": "can_send_voice_notes",
}


async def send_media_group(telegram: TelegramState, call: Call) -> list[dict[str, Any]]:
    items = call.arguments["media"]
    kinds = [_item_kind(item) for item in items]
    if not items:
        raise bad_request("there are no messages to send")
    if len(items) > 10:
        raise bad_request("too many messages to send as an album")
    if len(items) < 2:  # stricter: Telegram documents 2-10, but sends one without an album
        raise bad_request("the local Telegram sends albums of 2-10 items only")
    if len(set(kinds)) > 1:
        raise bad_request(f"{kinds[0]} can't be mixed with other media types")
    place = destination(telegram, call, _RIGHTS[kinds[0]])
    contents = []
    for kind, item in zip(kinds, items, strict=True):
        # Telegram never changes the kind of an album's item.
        fields = {**item, "disable_content_type_detection": True}
        contents.append(await _content(telegram, call, kind, item["media"], fields))
    call.refuse_unused_uploads()
    telegram.flood.take(place.chat.id, len(contents))
    first_id = place.chat.last_message_id + 1
    return [
        telegram.post(
            place.chat,
            telegram.bot,
            content,
            thread_id=place.thread_id,
            reply_to=place.reply_to,
            media_group_id=f"{abs(place.chat.id)}{first_id:06d}",
        ).to_dict()
        for content in contents
    ]


async def get_file(telegram: TelegramState, call: Call) -> dict[str, Any]:
    stored = telegram.files.get(call.arguments["file_id"])
    if stored is None:
        raise bad_request("invalid file_id")
    limit = telegram.limits.download_bytes
    if limit is not None and stored.content.size_bytes > limit:
        raise bad_request("file is too big")
    path = str(telegram.files.path_of(stored)) if telegram.local else stored.file_path
    return {
        "file_id": stored.file_id,
        "file_unique_id": stored.content.unique_id,
        "file_size": stored.content.size_bytes,
        "file_path": path,
    }


async def _send_one(telegram: TelegramState, call: Call, kind: str) -> dict[str, Any]:
    place = destination(telegram, call, _RIGHTS[kind])
    content = await _content(telegram, call, kind, call.arguments[kind], call.arguments)
    return post_content(telegram, call, place, content)


def _item_kind(item: Any) -> str:
    if not isinstance(item, dict) or not isinstance(item.get("media"), str):
        raise bad_request("can't parse InputMedia: media not found")
    kind = item.get("type")
    if kind in ("photo", "video"):
        raise bad_request(f"the local Telegram has no albums of type {kind}, only of audio and document")
    if not isinstance(kind, str) or kind not in _ITEM_KEYS:
        raise bad_request(f'can\'t parse InputMedia: type "{kind}" is unsupported')
    kinds = _COMMON_ITEM_KEYS | _ITEM_KEYS[kind]
    refuse_unknown_keys(item, set(kinds), f"InputMedia of type {kind}")
    for name, value in item.items():
        typed(name, kinds[name], value)
    return kind


async def _content(
    telegram: TelegramState, call: Call, kind: str, source: str | Upload, fields: dict[str, Any]
) -> dict[str, Any]:
    """Return media and caption of one message; `fields` are a method's parameters or an album's item."""
    caption = caption_content(fields)
    thumbnail = await _thumbnail(telegram, call, fields.get("thumbnail"))
    found, file_name = await _resolve(telegram, call, source)
    if isinstance(found, StoredFile):
        if found.kind != kind:
            raise bad_request(f"can't use file of type {_type_name(found.kind)} as {_type_name(kind)}")
        return {kind: found.to_dict(), **caption}
    if found.size_bytes == 0:
        raise bad_request("file must be non-empty")
    if kind == "audio" and not found.probe.is_music:
        raise bad_request(f"{call.method} takes MP3 or M4A, and this is neither")
    if kind == "voice" and found.probe.form not in ("ogg", "mp3", "m4a"):
        raise bad_request("sendVoice takes OGG with Opus, MP3 or M4A, and this is none of them")
    if kind == "document" and found.probe.is_music and not fields.get("disable_content_type_detection"):
        kind = "audio"  # as Telegram's servers do
    stored = telegram.files.add_media(
        kind,
        found,
        file_name,
        mime_type="audio/ogg" if kind == "voice" and found.probe.form == "ogg" else None,
        title=fields.get("title"),
        performer=fields.get("performer"),
        duration_s=fields.get("duration"),
        thumbnail=telegram.files.add_jpeg(thumbnail) if thumbnail else None,
    )
    return {kind: stored.to_dict(), **caption}


def _type_name(kind: str) -> str:
    return "VoiceNote" if kind == "voice" else kind.title().replace("_", "")


async def _resolve(
    telegram: TelegramState, call: Call, source: str | Upload
) -> tuple[Content | StoredFile, str]:
    """Return the file that a parameter names, and its file name (empty for a known `file_id`)."""
    if isinstance(source, Upload):
        call.upload(source.name)
        return await _read_upload(telegram, source)
    scheme = source.partition("://")[0] if "://" in source else ""
    if scheme == "attach":
        name = source.removeprefix("attach://")
        upload = call.upload(name)
        if upload is None:
            raise bad_request(f'{_WRONG_FILE}: no uploaded part "{name}"')
        return await _read_upload(telegram, upload)
    if scheme == "file" and telegram.local:
        path = Path(unquote(source.removeprefix("file://")))
        return await asyncio.to_thread(_read_local_file, telegram, path), path.name
    if scheme in ("http", "https"):
        raise bad_request("failed to get HTTP URL content")  # the local Telegram has no internet access
    stored = telegram.files.get(source)
    if stored is None:
        raise bad_request(_WRONG_FILE)
    return stored, ""


def _read_local_file(telegram: TelegramState, path: Path) -> Content:
    try:
        is_file, size_bytes = path.is_file(), path.stat().st_size
    except (OSError, ValueError):  # missing, or not a valid path: too long, or with a null byte
        is_file, size_bytes = False, 0
    if not is_file:
        raise bad_request(f"{_WRONG_FILE}: there is no local file {path}")
    if size_bytes > telegram.limits.upload_bytes:
        raise too_large()
    return telegram.files.read_path(path)


async def _read_upload(telegram: TelegramState, upload: Upload) -> tuple[Content, str]:
    if upload.size_bytes > telegram.limits.upload_bytes:
        raise too_large()
    upload.file.seek(0)
    return await asyncio.to_thread(telegram.files.read, upload.file), upload.file_name


async def _thumbnail(telegram: TelegramState, call: Call, source: str | Upload | None) -> bytes | None:
    """Return a thumbnail's bytes. Raises 400 for an invalid one, which Telegram would ignore."""
    if source is None:
        return None
    found, _ = await _resolve(telegram, call, source)
    if isinstance(found, StoredFile):
        raise bad_request("a thumbnail can't be reused, only uploaded")
    if found.size_bytes > THUMBNAIL_LIMIT_BYTES:
        raise bad_request("thumbnail is larger than 200 kB")
    jpeg = found.path.read_bytes()
    size = jpeg_size(jpeg)
    if size is None:
        raise bad_request("thumbnail is not a JPEG")
    if max(size) > THUMBNAIL_LIMIT_PIXELS:
        raise bad_request("thumbnail is larger than 320×320")
    return jpeg
