"""`GET`/`HEAD /source/{token}/{name}`: the user's audio for the provider, streamed from Telegram.

The file's URL at Telegram holds the bot's token, so the provider never gets that URL.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import anyio
import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from stemdrop.chat.telegram_files import TelegramFile, TelegramFiles
from stemdrop.domain.audio_types import mime_type_of
from stemdrop.errors import SourceGone, SourceUnavailable, StoreUnavailable, TooOften
from stemdrop.http.signed_links import SignedLinks
from stemdrop.log_context import bind_job
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.source_quota import SourceQuota
from stemdrop.tasks.owner_limits import OwnerLimits
from webhook.byte_ranges import byte_range
from webhook.errors import RETRY_AFTER_S

log = logging.getLogger(__name__)

# Concurrent downloads of one job in this process: as many as the greediest download tool opens. Each holds a
# connection to Telegram until its client has read everything.
MAX_DOWNLOADS_PER_JOB = 16
# The longest download: 20 MB at 12 kB/s. By then the job has timed out, unless JOB_TIMEOUT_S is longer.
SOURCE_TIMEOUT_S = 1800.0
# A download whose job has ended is cut off with the first bytes after this time.
CHECK_INTERVAL_S = 5.0
# Once so many bytes are sent to a request, or half of a file of less than twice the size, the song counts as
# fetched: it must not be ordered again during a slow download. Smaller ranges of a larger file do not count.
FETCH_BYTES = 256 * 1024


def source_routes(
    store: JobStore,
    source_quota: SourceQuota,
    links: SignedLinks,
    files: TelegramFiles,
    download_timeout_s: float = SOURCE_TIMEOUT_S,
) -> list[Route]:
    """Build the routes. A link serves the audio of one job until the job no longer needs it.

    Requests that come too often, or too many at once, are answered 429; requests with a link whose quota is
    used up (`stemdrop.storage.source_quota`) 403.
    """
    downloads = OwnerLimits[str](MAX_DOWNLOADS_PER_JOB, _too_many)

    async def serve(request: Request) -> Response:
        job_id, file, part = await find(request, is_download=True)
        if part.status == 416:
            return part.head()
        chunks = files.open(file, part.start, part.end)
        return _Download(store, downloads, job_id, chunks, part, download_timeout_s)

    async def describe(request: Request) -> Response:
        _, _, part = await find(request, is_download=False)
        return part.head()

    async def find(request: Request, *, is_download: bool) -> tuple[str, TelegramFile, "_Part"]:
        name, wanted = request.path_params["name"], request.headers.get("range", "")
        job_id = links.read_source(request.path_params["token"])
        bind_job(job_id)
        job = await store.source_job(job_id)
        if job is None or not job.needs_source or name != f"audio{job.source.extension}":
            raise SourceGone("this source is no longer served")
        known_size = job.source.size_bytes
        start, end = byte_range(wanted, known_size) or (0, known_size)
        await source_quota.count(job.id, end - start if is_download else 0, known_size)
        file = await files.find(job.source.file_id)
        media_type = mime_type_of(job.source.extension)
        return job_id, file, _part(file.size_bytes or known_size, wanted, media_type)

    path = "/source/{token}/{name}"
    # the first route that matches serves a request, and a route for GET matches HEAD, too
    return [Route(path, describe, methods=["HEAD"]), Route(path, serve)]


def _too_many() -> TooOften:
    return TooOften(1, "this source is being fetched by too many at once")


@dataclass(frozen=True, slots=True)
class _Part:
    """The part of a file that a request gets; the song counts as fetched once `fetch_bytes` are sent."""

    status: int
    headers: dict[str, str]
    start: int = 0
    end: int | None = None
    length: int | None = None
    fetch_bytes: float = FETCH_BYTES

    def head(self) -> Response:
        return Response(status_code=self.status, headers=self.headers)


def _part(size: int, wanted: str, media_type: str) -> _Part:
    headers = {
        "Content-Type": media_type,
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    if not size:
        return _Part(200, headers)
    chosen = byte_range(wanted, size)
    start, end = chosen or (0, size)
    if start == end:
        return _Part(416, {"Content-Range": f"bytes */{size}"})
    length = end - start
    headers |= {"Accept-Ranges": "bytes", "Content-Length": str(length)}
    fetch_bytes = min(size / 2, FETCH_BYTES) if length >= min(size, FETCH_BYTES) else math.inf
    if chosen is None:
        return _Part(200, headers, length=length, fetch_bytes=fetch_bytes)
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return _Part(206, headers, start, end, length, fetch_bytes)


class _Download(Response):
    """Opens Telegram's file only while it is sent, so that a client that disconnects also closes it."""

    def __init__(
        self,
        store: JobStore,
        downloads: OwnerLimits[str],
        job_id: str,
        file: AbstractAsyncContextManager[AsyncIterator[bytes]],
        part: _Part,
        timeout_s: float,
    ) -> None:
        super().__init__()
        self._store, self._downloads, self._job_id = store, downloads, job_id
        self._file, self._part, self._timeout_s = file, part, timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_started = False

        async def send_on(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        with self._downloads.of(self._job_id):
            try:
                async with asyncio.timeout(self._timeout_s), self._file as chunks:
                    body = self._checked(chunks)
                    response = StreamingResponse(body, self._part.status, self._part.headers)
                    await response(scope, receive, send_on)
            except (httpx.HTTPError, httpx.InvalidURL, OSError, SourceUnavailable) as error:
                log.warning(
                    "job %s: the download of its source failed: %s", self._job_id, type(error).__name__
                )
                if not has_started:
                    detail, again = "Telegram does not give the file now", str(RETRY_AFTER_S)
                    answer = JSONResponse({"detail": detail}, 503, {"Retry-After": again})
                    await answer(scope, receive, send)

    async def _checked(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the promised bytes, and note the fetch, which proves that the provider accepted the order.

        Raises `ConnectionAbortedError` when the job ends meanwhile and `RemoteProtocolError` when the file is
        too short, so that the client notices the missing rest.
        """
        loop, length = asyncio.get_running_loop(), self._part.length
        sent, is_noted, check_at = 0, False, loop.time() + CHECK_INTERVAL_S
        async for chunk in chunks:
            if loop.time() > check_at:
                if not await self._is_served():
                    raise ConnectionAbortedError("its job has ended")
                check_at = loop.time() + CHECK_INTERVAL_S
            wanted = chunk if length is None else chunk[: length - sent]
            yield wanted
            sent += len(wanted)
            if not is_noted and sent >= self._part.fetch_bytes:
                with anyio.CancelScope(shield=True):  # a client may disconnect after the last byte
                    is_noted = await self._note_fetch()
            if len(wanted) < len(chunk):
                return
        if length is not None and sent < length:
            raise httpx.RemoteProtocolError("the file is shorter than announced")

    async def _is_served(self) -> bool:
        try:
            job = await self._store.source_job(self._job_id)
        except StoreUnavailable:  # a download that has started needs no Redis
            return True
        return job is not None and job.needs_source

    async def _note_fetch(self) -> bool:
        try:
            # if the job was deleted, the fetch is noted for the job that has its task now
            if not await self._store.note_source_fetched(self._job_id) and (
                job := await self._store.source_job(self._job_id)
            ):
                await self._store.note_source_fetched(job.id)
        except StoreUnavailable:  # noted with the next chunk
            return False
        return True
