"""Writes Vorbis comments, the tags of FLAC and of Ogg with Opus, Vorbis or FLAC in it."""

import base64
import os
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import IO, Self

from worker.stems.temp_folders import go_on, pour

_LAST_BLOCK = 0x80
_COMMENT_BLOCK, _PICTURE_BLOCK = 4, 6
_KEPT_BLOCKS = (0, 3, 5)  # stream info, seek table, cue sheet
_PAGE_HEADER = struct.Struct("<4sBBqIIIB")
_CHECKSUM = slice(22, 26)
_CONTINUED = 0x01
# The bits of each byte in reverse order.
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def build_comments(comments: Mapping[str, str]) -> bytes:
    """Return the comments in their binary form, without the header that each container puts before it."""
    entries = [f"{name}={text}".encode(errors="replace") for name, text in comments.items()]
    vendor = b"stemdrop"
    return _sized(vendor) + struct.pack("<I", len(entries)) + b"".join(map(_sized, entries))


def build_picture(jpeg: bytes) -> bytes:
    """Return a front cover as FLAC's picture block; zeros stand for its size and colours."""
    mime_type = b"image/jpeg"
    head = struct.pack(">II", 3, len(mime_type)) + mime_type
    return head + struct.pack(">6I", 0, 0, 0, 0, 0, len(jpeg)) + jpeg


def write_flac(
    source: IO[bytes], target: IO[bytes], comments: Mapping[str, str], cover: bytes | None
) -> None:
    """Copy a FLAC file with these comments and this cover in place of its own.

    Raises `ValueError` for a file that ends within its metadata.
    """
    target.write(source.read(4))
    is_last = False
    while not is_last:
        head = source.read(4)
        if len(head) < 4:
            raise ValueError("the file ends within its metadata")
        is_last, kind = bool(head[0] & _LAST_BLOCK), head[0] & ~_LAST_BLOCK
        size = int.from_bytes(head[1:], "big")
        if kind not in _KEPT_BLOCKS:
            source.seek(size, os.SEEK_CUR)
            continue
        target.write(bytes([kind]) + head[1:])
        if pour(source, target, size) != size:
            raise ValueError("the file ends within its metadata")
    if cover:
        picture = build_picture(cover)
        target.write(bytes([_PICTURE_BLOCK]) + len(picture).to_bytes(3, "big") + picture)
    block = build_comments(comments)
    target.write(bytes([_COMMENT_BLOCK | _LAST_BLOCK]) + len(block).to_bytes(3, "big") + block)
    pour(source, target)


def write_ogg(source: IO[bytes], target: IO[bytes], comments: Mapping[str, str], cover: bytes | None) -> None:
    """Copy an Ogg file with these comments in place of its own; they hold the cover, too.

    FFmpeg's muxer is no alternative: it changes the end of short Vorbis files. Raises `ValueError` for a file
    that is not one whole stream of Opus, Vorbis or FLAC.
    """
    if cover:
        picture = base64.b64encode(build_picture(cover)).decode()
        comments = {**comments, "METADATA_BLOCK_PICTURE": picture}
    first = _Page.read(source)
    headers = [_Page.read(source)]
    # in Vorbis the comments and the codec's set-up, which share a page, come before the audio
    wanted = 2 if first.body.startswith(b"\x01vorbis") else 1
    while sum(size < 255 for page in headers for size in page.lacing) < wanted or headers[-1].is_open:
        headers.append(_Page.read(source))
    if any(page.serial != first.serial or page.granule > 0 for page in headers):
        raise ValueError("the file has several streams, or audio before the end of its header")
    packets = _packets(headers)
    packets[0] = _comment_packet(packets[0], build_comments(comments))
    written = _paged(packets, headers[0])
    for page in (first, *written):
        target.write(page.pack())
    shift = len(written) - len(headers)
    start = source.tell()
    length = source.seek(0, os.SEEK_END)
    source.seek(start)
    while source.tell() < length:
        go_on()
        page = _Page.read(source)
        if page.serial == first.serial:
            page = replace(page, sequence=page.sequence + shift)
        target.write(page.pack())


@dataclass(frozen=True, slots=True)
class _Page:
    """A page of an Ogg stream; `lacing` holds the sizes of the packets' segments (RFC 3533)."""

    flags: int
    granule: int
    serial: int
    sequence: int
    lacing: bytes
    body: bytes

    @classmethod
    def read(cls, source: IO[bytes]) -> Self:
        """Read the next page. Raises `ValueError` if there is none."""
        head = source.read(_PAGE_HEADER.size)
        if len(head) < _PAGE_HEADER.size or not head.startswith(b"OggS"):
            raise ValueError("the file has no Ogg page where one should be")
        _, _, flags, granule, serial, sequence, _, segments = _PAGE_HEADER.unpack(head)
        lacing = source.read(segments)
        body = source.read(sum(lacing))
        if len(lacing) < segments or len(body) < sum(lacing):
            raise ValueError("the file ends within an Ogg page")
        return cls(flags, granule, serial, sequence, lacing, body)

    @property
    def is_open(self) -> bool:
        """Whether its last packet goes on in the next page."""
        return self.lacing[-1:] == b"\xff"

    def pack(self) -> bytes:
        """Return the page with its checksum."""
        fields = (b"OggS", 0, self.flags, self.granule, self.serial, self.sequence, 0, len(self.lacing))
        page = bytearray(_PAGE_HEADER.pack(*fields) + self.lacing + self.body)
        # Ogg's CRC-32 is that of zlib with all bits in reverse order and without inversions
        checksum = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
        page[_CHECKSUM] = checksum.to_bytes(4, "big").translate(_REVERSED)
        return bytes(page)


def _packets(pages: Iterable[_Page]) -> list[bytes]:
    packets, packet = [], bytearray()
    for page in pages:
        start = 0
        for size in page.lacing:
            packet += page.body[start : start + size]
            start += size
            if size < 255:
                packets.append(bytes(packet))
                packet.clear()
    return packets


def _paged(packets: Iterable[bytes], first: _Page) -> list[_Page]:
    """Return the packets in as few pages as possible, of which the first has the place of `first`."""
    body = b"".join(packets)
    lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
    pages: list[_Page] = []
    for index, start in enumerate(range(0, len(lacing), 255)):
        part = lacing[start : start + 255]
        granule = -1 if set(part) == {255} else 0  # -1: no packet ends in this page
        flags = _CONTINUED if pages and pages[-1].is_open else 0
        content, body = body[: sum(part)], body[sum(part) :]
        pages.append(_Page(flags, granule, first.serial, first.sequence + index, part, content))
    return pages


def _comment_packet(old: bytes, comments: bytes) -> bytes:
    if old.startswith(b"OpusTags"):
        return b"OpusTags" + comments
    if old.startswith(b"\x03vorbis"):
        return b"\x03vorbis" + comments + b"\x01"
    if old[0] & ~_LAST_BLOCK == _COMMENT_BLOCK:
        return old[:1] + len(comments).to_bytes(3, "big") + comments
    raise ValueError("the file has no comments where they should be")


def _sized(content: bytes) -> bytes:
    return struct.pack("<I", len(content)) + content
