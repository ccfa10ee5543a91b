"""`SegmentResponse`: the answer that holds a segment of a stem."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

_CACHE_AGE_S = 24 * 3600
_CHUNK_BYTES = 64 * 1024


class SegmentResponse(StreamingResponse):
    """Sends a FLAC file, which is opened at once, since it may be removed before it is sent."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raises `FileNotFoundError`."""
        self._file = path.open("rb")
        headers = {
            "Content-Length": str(os.fstat(self._file.fileno()).st_size),
            "Cache-Control": f"private, max-age={_CACHE_AGE_S}, immutable",
        }
        super().__init__(self._chunks(), media_type="audio/flac", headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file and close it, also when the client has left."""
        with self._file:
            await super().__call__(scope, receive, send)

    async def _chunks(self) -> AsyncIterator[bytes]:
        while chunk := await anyio.to_thread.run_sync(self._file.read, _CHUNK_BYTES):
            yield chunk
