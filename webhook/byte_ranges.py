"""The `Range` header of HTTP (RFC 9110, section 14)."""

import re

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """Return the first byte of the range and the byte after its last one; `size` is that of the file.

    (0, 0) if no byte of the file is in the range; `None` if the whole file is to be sent: without a valid
    range, and for several ranges, which a server may ignore (RFC 9110, section 14.2).
    """
    match = _RANGE.fullmatch(header.replace(" ", ""))
    if not match or match.group(1) == match.group(2) == "":
        return None
    first, last = match.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1 if last else size)
        if last and int(last) < start:
            return None
    return (start, end) if start < end else (0, 0)
