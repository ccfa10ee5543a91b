"""Writes ID3v2.3 tags into MP3, WAV and AIFF files."""

import os
import struct
from collections.abc import Mapping
from typing import IO

from worker.cancellable_thread import copy_stream

HEADER_BYTES = 10
_HAS_FOOTER = 0x10
V1_BYTES = 128
_LATIN1, _UTF16 = b"\x00", b"\x01"
_FRONT_COVER = b"\x03"


def build_id3(texts: Mapping[str, str], cover: bytes | None) -> bytes:
    """Return a tag with a JPEG cover and texts in UTF-16, by their ID3v2.3 names or `TXXX:<description>`."""
    frames = []
    for name, text in texts.items():
        frame, _, description = name.partition(":")
        value = _utf16(text)
        if description:
            value = _utf16(description) + b"\0\0" + value
        frames.append(_frame(frame, _UTF16 + value))
    if cover:
        frames.append(_frame("APIC", _LATIN1 + b"image/jpeg\0" + _FRONT_COVER + b"\0" + cover))
    body = b"".join(frames)
    size = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))  # seven bits in each byte
    return b"ID3\x03\x00\x00" + size + body


def write_mp3(source: IO[bytes], target: IO[bytes], tag: bytes) -> None:
    """Copy an MP3 with this tag in place of its ID3 tags of versions 1 and 2."""
    end = source.seek(0, os.SEEK_END)
    source.seek(max(end - V1_BYTES, 0))
    if source.read(3) == b"TAG":
        end -= V1_BYTES
    source.seek(0)
    start = tag_length(source.read(HEADER_BYTES))
    source.seek(start)
    target.write(tag)
    copy_stream(source, target, max(end - start, 0))


def write_chunk(source: IO[bytes], target: IO[bytes], tag: bytes) -> None:
    """Copy a WAV or AIFF file with this tag at its end. Raises `ValueError` for a broken file or RF64."""
    head = source.read(12)
    is_wav = head[:4] == b"RIFF"
    if not is_wav and head[:4] != b"FORM":
        raise ValueError("the file has no chunks with 32-bit sizes")
    chunk = struct.Struct("<4sI" if is_wav else ">4sI")
    target.write(head)
    while len(start := source.read(chunk.size)) == chunk.size:
        kind, size = chunk.unpack(start)
        if kind.upper() == b"ID3 ":
            source.seek(size + size % 2, os.SEEK_CUR)
            continue
        target.write(start)
        if copy_stream(source, target, size) != size:
            raise ValueError("the file ends within a chunk")
        if size % 2:  # each chunk begins at an even position
            source.seek(1, os.SEEK_CUR)
            target.write(b"\0")
    target.write(chunk.pack(b"id3 " if is_wav else b"ID3 ", len(tag)) + tag + b"\0" * (len(tag) % 2))
    length = target.tell()
    target.seek(0)
    target.write(chunk.pack(head[:4], length - chunk.size))


def _frame(name: str, content: bytes) -> bytes:
    return name.encode() + struct.pack(">I2x", len(content)) + content


def _utf16(text: str) -> bytes:
    return text.encode("utf-16", errors="replace")  # with a byte order mark


def tag_length(head: bytes) -> int:
    """Return the length of the version 2 tag that begins with these bytes; 0 if it is none."""
    if len(head) < HEADER_BYTES or head[:3] != b"ID3":
        return 0
    size = 0
    for byte in head[6:]:
        size = size << 7 | byte & 0x7F
    return HEADER_BYTES * (2 if head[5] & _HAS_FOOTER else 1) + size
