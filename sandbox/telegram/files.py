"""Telegram's files: stored in one directory and known to the bot by `file_id`.

A `file_id` is random, so another bot's is invalid here. `file_unique_id` is a hash of the content: the same
song sent twice has the same one, and is stored once.
"""

import base64
import hashlib
import re
import secrets
import shutil
from collections.abc import Mapping, Set
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from sandbox.telegram import media

_FOLDERS = {
    "audio": "music",
    "voice": "voice",
    "video": "videos",
    "video_note": "video_notes",
    "photo": "photos",
    "thumbnail": "thumbnails",
    "sticker": "stickers",
}
_COPY_BYTES = 1024 * 1024
# The names that this module gives to files; `keep_only` removes no others.
_OUR_NAMES = re.compile(r"[0-9a-f]{16}|[\w-]{16}|file_\d+(\.\w{1,16})?", re.ASCII)


@dataclass(frozen=True)
class Content:
    """One stored sequence of bytes; equal contents are stored once."""

    unique_id: str
    path: Path
    size_bytes: int
    probe: media.Probe


@dataclass(frozen=True)
class StoredFile:
    """A content as one kind of media, under a `file_id`. `attributes` are its other JSON fields."""

    file_id: str
    kind: str  # audio, voice, video, video_note, document, photo, sticker, thumbnail
    content: Content
    file_path: str  # relative to the directory, as getFile returns it
    attributes: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return {
            "file_id": self.file_id,
            "file_unique_id": self.content.unique_id,
            "file_size": self.content.size_bytes,
            **self.attributes,
        }


class FileStore:
    """Stores and probes files and issues file ids. Only `keep_only` removes files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self._contents: dict[str, Content] = {}
        self._files: dict[str, StoredFile] = {}
        self._paths: dict[str, StoredFile] = {}
        self.last_number = -1  # of the names on disk

    @property
    def files(self) -> Mapping[str, StoredFile]:
        """The files by `file_id`, in the order in which they were added."""
        return self._files

    def read(self, source: BinaryIO) -> Content:
        """Copy a stream to disk and probe it. Blocking: call it in a thread for large files."""
        incoming = self.directory / "incoming"
        incoming.mkdir(parents=True, exist_ok=True)
        target = incoming / secrets.token_hex(8)
        digest = hashlib.sha256()
        try:
            with target.open("wb") as file:
                while chunk := source.read(_COPY_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
        except OSError:  # the disk is full
            target.unlink(missing_ok=True)
            raise
        unique_id = base64.urlsafe_b64encode(digest.digest()[:12]).decode()
        if unique_id in self._contents:
            target.unlink()
            return self._contents[unique_id]
        content = self.content(unique_id, target.stat().st_size, media.probe(target))
        content.path.parent.mkdir(exist_ok=True)
        target.replace(content.path)
        return self._contents.setdefault(unique_id, content)

    def content(self, unique_id: str, size_bytes: int, probe: media.Probe) -> Content:
        return Content(unique_id, self.directory / "contents" / unique_id, size_bytes, probe)

    def read_path(self, path: Path) -> Content:
        """Copy a local file and probe it. Blocking."""
        with path.open("rb") as source:
            return self.read(source)

    def add(self, kind: str, content: Content, file_name: str, attributes: dict[str, Any]) -> StoredFile:
        """Issue a `file_id` for a content as this kind of media; leaves out attributes that are None."""
        suffix = Path(file_name).suffix
        suffix = suffix if re.fullmatch(r"\.\w{1,16}", suffix, re.ASCII) else ""
        self.last_number += 1
        file_path = f"{_FOLDERS.get(kind, 'documents')}/file_{self.last_number}{suffix}"
        # The file has that name on disk too: in local mode the bot gets its absolute path.
        target = self.directory / file_path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)  # a killed process can leave a file whose number it had not saved yet
        try:
            target.hardlink_to(content.path)
        except OSError:
            shutil.copyfile(content.path, target)
        known = {key: value for key, value in attributes.items() if value is not None}
        stored = StoredFile(f"{kind[:2].upper()}{secrets.token_urlsafe(36)}", kind, content, file_path, known)
        self.restore(stored)
        return stored

    def restore(self, stored: StoredFile) -> None:
        """Register a file that is on disk already."""
        self._contents.setdefault(stored.content.unique_id, stored.content)
        self._files[stored.file_id] = self._paths[stored.file_path] = stored

    def keep_only(self, file_ids: Set[str]) -> None:
        """Make all other ids invalid, and remove the files on disk that then have no id. Blocking."""
        kept = [stored for stored in self._files.values() if stored.file_id in file_ids]
        self._files, self._paths, self._contents = {}, {}, {}
        for stored in kept:
            self.restore(stored)
        used = {stored.content.path for stored in kept} | {self.path_of(stored) for stored in kept}
        for folder in {"incoming", "contents", "documents", *_FOLDERS.values()}:
            for path in (self.directory / folder).glob("*"):
                if path not in used and _OUR_NAMES.fullmatch(path.name):
                    path.unlink()

    def get(self, file_id: str) -> StoredFile | None:
        return self._files.get(file_id)

    def forget(self, file_id: str) -> None:
        """Make the id invalid, as happens when Telegram moves a bot's files; the bytes stay."""
        self._files.pop(file_id, None)

    def by_path(self, file_path: str) -> StoredFile | None:
        return self._paths.get(file_path)

    def path_of(self, stored: StoredFile) -> Path:
        return self.directory / stored.file_path

    def add_jpeg(self, jpeg: bytes, kind: str = "thumbnail") -> dict[str, Any]:
        content = self.read(BytesIO(jpeg))
        return self.add_picture(kind, content)

    def add_picture(self, kind: str, content: Content) -> dict[str, Any]:
        size = {"width": content.probe.width, "height": content.probe.height}
        return self.add(kind, content, "picture.jpg", size).to_dict()

    def add_media(
        self,
        kind: str,
        content: Content,
        file_name: str,
        *,
        mime_type: str | None = None,
        title: str | None = None,
        performer: str | None = None,
        duration_s: int | None = None,
        thumbnail: dict[str, Any] | None = None,
    ) -> StoredFile:
        """Store a content as this kind of media; fields that are not given come from the file."""
        found = content.probe
        duration_s = found.duration_s if duration_s is None else duration_s
        mime_type = mime_type or media.mime_type(file_name)
        if thumbnail is None and found.cover and kind != "voice":
            thumbnail = self.add_jpeg(found.cover)
        if kind == "audio":
            fields = {
                "duration": duration_s,
                "title": title or found.title,
                "performer": performer or found.performer,
                "file_name": file_name,
                "mime_type": mime_type,
                "thumbnail": thumbnail,
            }
        elif kind == "voice":
            fields = {"duration": duration_s, "mime_type": mime_type}
        elif kind == "video":
            size = {"width": found.width, "height": found.height}
            fields = {**size, "duration": duration_s, "file_name": file_name, "mime_type": mime_type}
        elif kind == "video_note":
            fields = {"length": min(found.width, found.height) or 240, "duration": duration_s}
        else:
            fields = {"file_name": file_name, "mime_type": mime_type, "thumbnail": thumbnail}
        return self.add(kind, content, file_name, fields)
