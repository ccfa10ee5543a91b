"""Reads the length of an MP3 from the number of frames that most encoders write into the first frame."""

import os
import struct
from pathlib import Path

from worker.audio.id3 import HEADER_BYTES, V1_BYTES, tag_length

# ISO 11172-3 and 13818-3, by the version's two bits in the header: sample rates in hertz, samples per frame,
# and the bytes of side information for stereo and mono. The counts ("Xing", or "Info" at a constant bit rate)
# come after these bytes.
_VERSIONS = {
    3: ((44_100, 48_000, 32_000), 1152, (32, 17)),
    2: ((22_050, 24_000, 16_000), 576, (17, 9)),
    0: ((11_025, 12_000, 8_000), 576, (17, 9)),
}
_LAYER_III, _MONO = 1, 3
_COUNTS = struct.Struct(">4sIII")
_HAS_FRAMES_AND_BYTES = 3
# Of Layer III, in bits a second.
_BIT_RATES = (8_000, 320_000)


def counted_length(path: Path) -> float | None:
    """Return the seconds of an MP3 that states its number of frames; `None` if it does not. Blocking.

    The number is believed only if the stated number of bytes is that of the file, which is then whole, and if
    the resulting bit rate is possible.
    """
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(0)
        start = tag_length(file.read(HEADER_BYTES))
        file.seek(max(end - V1_BYTES, 0))
        end -= V1_BYTES if file.read(3) == b"TAG" else 0
        file.seek(start)
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF or head[1] >> 5 != 7 or head[1] >> 1 & 3 != _LAYER_III:
            return None
        hertz, samples, sides = _VERSIONS.get(head[1] >> 3 & 3, ((), 0, (0, 0)))
        rate = head[2] >> 2 & 3
        file.seek(sides[head[3] >> 6 == _MONO], os.SEEK_CUR)
        counts = file.read(_COUNTS.size)
    if rate >= len(hertz) or len(counts) < _COUNTS.size:
        return None
    name, flags, frames, size = _COUNTS.unpack(counts)
    if (
        name not in (b"Xing", b"Info")
        or flags & 3 != _HAS_FRAMES_AND_BYTES
        or size != end - start
        or not frames
    ):
        return None
    seconds = frames * samples / hertz[rate]
    return seconds if _BIT_RATES[0] <= size * 8 / seconds <= _BIT_RATES[1] * 1.1 else None
