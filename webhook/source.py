"""`GET`/`HEAD /source/{token}/{name}`: the user's audio for the provider, streamed from Telegram.

The file's URL at Telegram holds the bot's token; it never shows here.
"""

import logging
import re
from collections.abc import Mapping

import httpx
from fastapi import APIRouter, Request, Response
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from stemdrop.errors import SourceGone
from stemdrop.jobs import ACTIVE
from stemdrop.links import Links
from stemdrop.store import JobStore
from stemdrop.telegram import TelegramFile, TelegramFiles

log = logging.getLogger(__name__)

_TYPES = {
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".m4b": "audio/mp4",
    ".aac": "audio/aac",
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".oga": "audio/ogg",
    ".opus": "audio/ogg",
    ".aiff": "audio/aiff",
    ".aif": "audio/aiff",
    ".wma": "audio/x-ms-wma",
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
}
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def source_router(store: JobStore, links: Links, files: TelegramFiles) -> APIRouter:
    """The route; a link serves one job's audio and dies with that job."""
    router = APIRouter()

    @router.api_route("/source/{token}/{name}", methods=["GET", "HEAD"])
    async def serve(token: str, name: str, request: Request) -> Response:
        job = await store.get(links.read_source(token))
        if job is None or job.state not in ACTIVE or name != f"audio{job.source.extension}":
            raise SourceGone("this source is no longer served")
        file = await files.find(job.source.file_id)
        size = file.size_bytes or job.source.size_bytes
        media_type = _TYPES.get(job.source.extension, "application/octet-stream")
        return _respond(request, files, file, size, {"Content-Type": media_type})

    return router


def _respond(
    request: Request, files: TelegramFiles, file: TelegramFile, size: int, headers: dict[str, str]
) -> Response:
    headers |= {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    start, end, status = 0, size, 200
    if size:
        headers["Accept-Ranges"] = "bytes"
        wanted = byte_range(request.headers.get("range", ""), size)
        if wanted == (0, 0):
            return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
        if wanted:
            start, end = wanted
            status = 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        headers["Content-Length"] = str(end - start)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    return _SourceResponse(files, file, start, end if status == 206 else None, status, headers)


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """A `Range` header → (first byte, byte after the last); `None` for the whole; (0, 0) if unsatisfiable.

    Several ranges at once, and what is no range, are answered with the whole, as RFC 9110 allows.
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


class _SourceResponse(Response):
    """Opens Telegram's file when it is sent, so that whoever hangs up also closes it."""

    def __init__(
        self,
        files: TelegramFiles,
        file: TelegramFile,
        start: int,
        end: int | None,
        status: int,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__()
        self._files, self._file, self._start, self._end = files, file, start, end
        self._code, self._extra = status, dict(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def begin(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            async with self._files.open(self._file, self._start, self._end) as chunks:
                await StreamingResponse(chunks, self._code, self._extra)(scope, receive, begin)
        except SourceGone:
            await PlainTextResponse("gone", 404)(scope, receive, send)
        except httpx.HTTPError as error:
            log.warning("a source broke off at Telegram: %s", type(error).__name__)
            if not has_begun:
                await PlainTextResponse("Telegram does not give the file now", 502)(scope, receive, send)
