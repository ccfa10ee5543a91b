"""Writes iTunes metadata into MP4 (M4A) files."""

import os
import struct
from collections.abc import Iterator
from typing import IO

from worker.stems.temp_folders import pour

_Box = tuple[bytes, bytes]  # its type and content

_BINARY, _UTF8, _JPEG = 0, 1, 13  # types of values
# The index of two hours of audio has 3 MB.
_MAX_INDEX_BYTES = 32 * 1024 * 1024
_HAS_CHUNK_OFFSETS = {b"trak", b"mdia", b"minf", b"stbl"}
_OFFSET_TABLES = {b"stco": "I", b"co64": "Q"}


def write_mp4(source: IO[bytes], target: IO[bytes], items: list[_Box]) -> None:
    """Copy an MP4 file with these metadata items in place of its own.

    Raises `ValueError` for a broken or fragmented file.
    """
    places = dict(_places(source))
    if b"moov" not in places or b"moof" in places:
        raise ValueError("the file has no index, or is fragmented")
    start, end = places[b"moov"]
    if end - start > _MAX_INDEX_BYTES:
        raise ValueError("the index is too large")
    source.seek(start)
    index = source.read(end - start)
    children = list(_boxes(index[8:]))
    items = [*items, *_gapless_items(children)]
    children = [child for child in children if child[0] not in (b"udta", b"meta")]
    children.append((b"udta", _user_data(items)))
    moved = 8 + sum(8 + len(content) for _, content in children) - len(index)
    # audio behind the index moves by the difference
    shift = moved if places.get(b"mdat", (0, 0))[0] > start else 0
    source.seek(0)
    pour(source, target, start)
    target.write(_box(b"moov", _shifted(children, shift)))
    source.seek(end)
    pour(source, target)


def text_item(name: bytes, text: str) -> _Box:
    """Return the item of this name, four bytes."""
    return name, _value(_UTF8, text.encode(errors="replace"))


def custom_item(name: str, text: str) -> _Box:
    """Return an item of a name that iTunes does not know."""
    named = _box(b"mean", bytes(4) + b"com.apple.iTunes") + _box(b"name", bytes(4) + name.encode())
    return b"----", named + _value(_UTF8, text.encode(errors="replace"))


def track_item(number: int, count: int) -> _Box:
    """Return the item with a track's number."""
    return b"trkn", _value(_BINARY, struct.pack(">4H", 0, number, count, 0))


def cover_item(jpeg: bytes) -> _Box:
    """Return the item with the cover."""
    return b"covr", _value(_JPEG, jpeg)


def _value(kind: int, content: bytes) -> bytes:
    return _box(b"data", struct.pack(">II", kind, 0) + content)


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _places(source: IO[bytes]) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Yield each outermost box's type, start and end."""
    length = source.seek(0, os.SEEK_END)
    start = 0
    while start < length:
        source.seek(start)
        size, kind, large = struct.unpack(">I4sQ", source.read(16).ljust(16, b"\0"))
        size = {0: length - start, 1: large}.get(size, size)
        if size < 8 or start + size > length:
            raise ValueError("the file ends within a box")
        yield kind, (start, start + size)
        start += size


def _boxes(content: bytes) -> Iterator[_Box]:
    start = 0
    while start + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, start)
        if size < 8 or start + size > len(content):
            raise ValueError("a box ends within another")
        yield kind, content[start + 8 : start + size]
        start += size


def _shifted(boxes: list[_Box], shift: int) -> bytes:
    """Return the boxes with `shift` added to all offsets of audio in the file."""
    return b"".join(_box(kind, _shifted_content(kind, content, shift)) for kind, content in boxes)


def _shifted_content(kind: bytes, content: bytes, shift: int) -> bytes:
    if kind in _HAS_CHUNK_OFFSETS:
        return _shifted(list(_boxes(content)), shift)
    if kind in _OFFSET_TABLES:
        (count,) = struct.unpack_from(">I", content, 4)
        table = struct.Struct(f">{count}{_OFFSET_TABLES[kind]}")
        offsets = table.unpack_from(content, 8)
        return content[:8] + table.pack(*(offset + shift for offset in offsets))
    return content


def _user_data(items: list[_Box]) -> bytes:
    handler = bytes(8) + b"mdirappl" + bytes(9)
    metadata = _box(b"hdlr", handler) + _box(b"ilst", b"".join(_box(*item) for item in items))
    return _box(b"meta", bytes(4) + metadata)


def _gapless_items(children: list[_Box]) -> list[_Box]:
    """Return the items in which iTunes keeps how much silence the encoder has added."""
    boxes = children
    for name, skipped in ((b"udta", 0), (b"meta", 4), (b"ilst", 0)):
        content = dict(boxes).get(name, b"")
        boxes = list(_boxes(content[skipped:]))
    return [item for item in boxes if item[0] == b"----" and b"iTunSMPB" in item[1]]
