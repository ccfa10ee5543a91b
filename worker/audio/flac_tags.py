"""Writes tags and covers into FLAC files (RFC 9639, section 8)."""

import os
import struct
from collections.abc import Mapping
from typing import IO

from worker.cancellable_thread import copy_stream

_SIGNATURE = b"fLaC"
_PADDING, _COMMENTS, _PICTURE = 1, 4, 6
_LAST, _TYPE = 0x80, 0x7F
# Seek tables and cue sheets of songs have some kilobytes.
_MAX_KEPT_BYTES = 2**20
_FRONT_COVER = 3


def build_picture(cover: bytes) -> bytes:
    """Return a picture block for a JPEG, which leaves its description, size and colours empty."""
    mime_type = b"image/jpeg"
    return (
        struct.pack(">II", _FRONT_COVER, len(mime_type))
        + mime_type
        + bytes(20)
        + struct.pack(">I", len(cover))
        + cover
    )


def write_flac(
    source: IO[bytes], target: IO[bytes], comments: Mapping[str, str], cover: bytes | None
) -> None:
    """Copy a FLAC file with these comments and this cover in place of its own.

    Raises `ValueError` for a broken file, and for a file with more metadata than a song needs.
    """
    if source.read(len(_SIGNATURE)) != _SIGNATURE:
        raise ValueError("the file is not FLAC")
    blocks = [*_kept_blocks(source), (_COMMENTS, _build_comments(comments))]
    if cover:
        blocks.append((_PICTURE, build_picture(cover)))
    target.write(_SIGNATURE)
    for number, (kind, content) in enumerate(blocks, 1):
        head = kind | (_LAST if number == len(blocks) else 0)
        target.write(bytes([head]) + len(content).to_bytes(3) + content)
    copy_stream(source, target)


def _kept_blocks(source: IO[bytes]) -> list[tuple[int, bytes]]:
    """Read the metadata and return the type and content of each block that is to stay."""
    blocks, is_last, size = [], False, 0
    while not is_last:
        head = source.read(4)
        kind, length = head[0] & _TYPE if head else 0, int.from_bytes(head[1:])
        is_last = bool(head and head[0] & _LAST)
        if kind in (_PADDING, _COMMENTS, _PICTURE):
            source.seek(length, os.SEEK_CUR)
            continue
        content = source.read(length)
        size += length
        if len(head) != 4 or len(content) != length or size > _MAX_KEPT_BYTES:
            raise ValueError("the metadata is cut off or too long")
        blocks.append((kind, content))
    return blocks


def _build_comments(comments: Mapping[str, str]) -> bytes:
    texts = [b"stemdrop", *(f"{name}={text}".encode(errors="replace") for name, text in comments.items())]
    sized = [struct.pack("<I", len(text)) + text for text in texts]
    return sized[0] + struct.pack("<I", len(comments)) + b"".join(sized[1:])
