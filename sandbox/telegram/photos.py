"""The sizes of a picture that is sent as a photo, as Telegram's servers make them."""

from pathlib import Path

import av
import av.error

from sandbox.telegram.errors import bad_request
from sandbox.telegram.media import to_jpeg

# Bot API, sendPhoto.
_LIMIT_BYTES = 10_000_000
_LIMIT_PIXELS = 10_000
_LIMIT_RATIO = 20
# The longest sides of the sizes (core.telegram.org/api/files, "Image thumbnail types" m, x and y).
_SIDES = (320, 800, 1280)


def photo_sizes(path: Path) -> list[bytes]:
    """Return a picture as JPEGs, the smallest first. Raises 400 for an invalid photo. Blocking."""
    if path.stat().st_size > _LIMIT_BYTES:
        raise bad_request("file is too big")
    try:
        with av.open(str(path)) as container:
            frame = next(iter(container.decode(video=0)))
    except (av.error.FFmpegError, ValueError, IndexError, StopIteration):
        raise bad_request("IMAGE_PROCESS_FAILED") from None
    longer, shorter = max(frame.width, frame.height), min(frame.width, frame.height)
    if longer + shorter > _LIMIT_PIXELS or longer > _LIMIT_RATIO * shorter:
        raise bad_request("PHOTO_INVALID_DIMENSIONS")
    jpegs = []
    for side in _SIDES:
        scale = min(1.0, side / longer)
        width, height = (max(2, int(length * scale) // 2 * 2) for length in (frame.width, frame.height))
        jpegs.append(to_jpeg(frame.reformat(width, height, "yuvj420p")))
        if longer <= side:
            break
    return jpegs
