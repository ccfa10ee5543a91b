"""The peaks from which a stem's waveform is drawn: one byte for each of `PEAKS` equal parts. No I/O."""

import base64
import zlib
from contextlib import suppress

PEAKS = 1000
# A byte is the peak of its part in dB above -63 dBFS.
FLOOR_DB = 63


def encode_peaks(peaks: bytes) -> str:
    """Return peaks as text: compressed by zlib, in base 85."""
    return base64.b85encode(zlib.compress(peaks, 9)).decode()


def decode_peaks(encoded: str) -> bytes | None:
    """The reverse of `encode_peaks`; `None` for anything else."""
    with suppress(ValueError, zlib.error):
        peaks = zlib.decompressobj().decompress(base64.b85decode(encoded), PEAKS)
        return peaks if len(peaks) == PEAKS and max(peaks) <= FLOOR_DB else None
    return None
