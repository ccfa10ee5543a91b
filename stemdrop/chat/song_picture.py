"""Draws a picture of a song: one lane for each stem shows when the stem plays. Pure functions; no I/O."""

import struct
import zlib
from collections.abc import Sequence

from stemdrop.domain.peaks import FLOOR_DB, PEAKS

# The colours of the squares that name the lanes in the caption, as red, green and blue.
SQUARES = {
    "🟥": (221, 46, 68),
    "🟧": (244, 144, 12),
    "🟨": (253, 203, 88),
    "🟩": (120, 177, 89),
    "🟦": (85, 172, 238),
    "🟪": (170, 142, 214),
    "🟫": (193, 105, 79),
    "⬜": (230, 231, 232),
}
_BACKGROUND = (24, 28, 36)
# In pixels.
_MARGIN = 24
_LANE = 64
_GAP = 12
# Half of the lane's height for each peak: the root of the amplitude makes quiet parts visible.
_HEIGHTS = [round(_LANE / 2 * 10 ** ((peak - FLOOR_DB) / 40)) if peak else 0 for peak in range(FLOOR_DB + 1)]


def square_of(number: int) -> str:
    """Return the square that has the colour of a lane, counted from 0."""
    return list(SQUARES)[number % len(SQUARES)]


def draw_lanes(lanes: Sequence[bytes]) -> bytes:
    """Draw one lane for each stem's peaks (`stemdrop.domain.peaks`), from top to bottom, as a PNG."""
    width = PEAKS + 2 * _MARGIN
    empty = bytes(width)
    rows = [empty] * _MARGIN
    for number, peaks in enumerate(lanes):
        colour = 1 + number % len(SQUARES)
        rows += [empty] * _GAP if number else []
        half = [_row(peaks, colour, distance) for distance in range(_LANE // 2)]
        rows += [*reversed(half), *half]
    rows += [empty] * _MARGIN
    palette = bytes(part for colour in (_BACKGROUND, *SQUARES.values()) for part in colour)
    # each pixel has 8 bits, a number in the palette (W3C, PNG 11.2)
    header = struct.pack(">IIBBBBB", width, len(rows), 8, 3, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = ((b"IHDR", header), (b"PLTE", palette), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in chunks)


def _row(peaks: bytes, colour: int, distance: int) -> bytes:
    """Return one row of a lane, at a distance in pixels from the middle of the lane."""
    table = bytes(colour if height > distance else 0 for height in _HEIGHTS).ljust(256, b"\0")
    return bytes(_MARGIN) + peaks.translate(table) + bytes(_MARGIN)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
