"""`GET`/`HEAD /source/{token}/{name}`: the user's audio for the provider, streamed from Telegram.

The file's URL at Telegram holds the bot's token; it never shows here.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

import httpx
from fastapi import APIRouter, Header, Response
from starlette.responses import JSONResponse, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from stemdrop.chat.telegram_bot import TelegramFile, TelegramFiles
from stemdrop.domain.audio_types import mime_type_of
from stemdrop.domain.jobs import NEED_SOURCE, Job
from stemdrop.errors import SourceGone, StoreUnavailable, TooOften
from stemdrop.http.signed_links import SignedLinks
from stemdrop.log_context import bind_job
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.source_quota import SourceQuota
from stemdrop.tasks.owner_limits import OwnerLimits
from webhook.byte_ranges import byte_range

log = logging.getLogger(__name__)

# Downloads of one job at once, in this process: as many as the greediest downloader opens. Each holds one of
# our connections to Telegram for as long as its reader likes.
AT_ONCE = 16
# For one download: 20 MB at 12 kB/s. By then its job is given up, unless the operator has more patience.
DOWNLOAD_TIMEOUT_S = 1800.0
# A download whose job ends is broken off within this time, or with the next bytes that its reader takes.
LOOK_EVERY_S = 5.0
# A smaller range of a bigger file is a look at it, not a fetch.
FETCH_BYTES = 256 * 1024

_Range = Annotated[str, Header(alias="Range")]


def source_router(
    store: JobStore,
    source_quota: SourceQuota,
    links: SignedLinks,
    files: TelegramFiles,
    download_timeout_s: float = DOWNLOAD_TIMEOUT_S,
) -> APIRouter:
    """The routes; a link serves one job's audio and dies with that job.

    Fetched too often, or by too many at once, it answers 429. Fetched as often as it ever may be
    (`stemdrop.storage.source_quota`) it is as dead as one that has expired: 403.
    """
    router = APIRouter()
    downloads = OwnerLimits[str](AT_ONCE, _too_many)

    @router.get("/source/{token}/{name}")
    async def serve(token: str, name: str, wanted: _Range = "") -> Response:
        part = await find(token, name, wanted, is_download=True)
        if part.status == 416:
            return part.head()
        return _Download(files, part, downloads, is_served, note_fetch, download_timeout_s)

    @router.head("/source/{token}/{name}")
    async def describe(token: str, name: str, wanted: _Range = "") -> Response:
        return (await find(token, name, wanted, is_download=False)).head()

    async def find(token: str, name: str, wanted: str, *, is_download: bool) -> _Part:
        job_id = links.read_source(token)
        bind_job(job_id)
        job = await store.get(job_id)
        if job is None or not _is_served(job) or name != f"audio{job.source.extension}":
            raise SourceGone("this source is no longer served")
        known = job.source.size_bytes
        start, end = byte_range(wanted, known) or (0, known)
        await source_quota.count(job.id, end - start if is_download else 0, known)
        file = await files.find(job.source.file_id)
        media_type = mime_type_of(job.source.extension)
        return _part(job.id, file, file.size_bytes or known, wanted, media_type)

    async def is_served(job_id: str) -> bool:
        try:
            job = await store.get(job_id)
        except StoreUnavailable:  # a download that has begun needs no Redis
            return True
        return job is not None and _is_served(job)

    async def note_fetch(job_id: str) -> bool:
        try:
            await store.note_source_fetched(job_id)
        except StoreUnavailable:  # noted with the next bytes
            return False
        return True

    return router


def _too_many() -> TooOften:
    return TooOften(1, "this source is being fetched by too many at once")


def _is_served(job: Job) -> bool:
    return job.state in NEED_SOURCE


@dataclass(frozen=True, slots=True)
class _Part:
    """What a request gets. `length` is `None` where the size is not known; `end` where it is the file's.

    `fetch_bytes`: a request that was sent so many has fetched the song.
    """

    job_id: str
    file: TelegramFile
    status: int
    headers: dict[str, str]
    start: int = 0
    end: int | None = None
    length: int | None = None
    fetch_bytes: float = FETCH_BYTES

    def head(self) -> Response:
        """The answer without its body."""
        return Response(status_code=self.status, headers=self.headers)


def _part(job_id: str, file: TelegramFile, size: int, wanted: str, media_type: str) -> _Part:
    headers = {
        "Content-Type": media_type,
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    if not size:
        return _Part(job_id, file, 200, headers)
    headers["Accept-Ranges"] = "bytes"
    chosen = byte_range(wanted, size)
    if chosen is None:
        return _Part(job_id, file, 200, headers | {"Content-Length": str(size)}, 0, None, size, size / 2)
    start, end = chosen
    if start == end:
        return _Part(job_id, file, 416, {"Content-Range": f"bytes */{size}"})
    headers |= {"Content-Range": f"bytes {start}-{end - 1}/{size}", "Content-Length": str(end - start)}
    length = end - start
    fetch_bytes = min(length, size / 2) if length >= min(size, FETCH_BYTES) else math.inf
    return _Part(job_id, file, 206, headers, start, end, length, fetch_bytes)


class _Download(Response):
    """Opens Telegram's file when it is sent, so that whoever hangs up also closes it. Ends with its job."""

    def __init__(
        self,
        files: TelegramFiles,
        part: _Part,
        downloads: OwnerLimits[str],
        is_served: Callable[[str], Awaitable[bool]],
        note_fetch: Callable[[str], Awaitable[bool]],
        timeout_s: float,
    ) -> None:
        super().__init__()
        self._files, self._part, self._downloads = files, part, downloads
        self._is_served, self._note_fetch, self._timeout_s = is_served, note_fetch, timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def begin(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        part = self._part
        with self._downloads.of(part.job_id):
            try:
                async with (
                    asyncio.timeout(self._timeout_s),
                    self._files.open(part.file, part.start, part.end) as chunks,
                ):
                    whole = self._noted(_whole(self._while_served(chunks), part.length))
                    await StreamingResponse(whole, part.status, part.headers)(scope, receive, begin)
            except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
                log.warning("job %s: its source broke off on its way: %s", part.job_id, type(error).__name__)
                if not has_begun:
                    answer = JSONResponse({"detail": "Telegram does not give the file now"}, 502)
                    await answer(scope, receive, send)

    async def _noted(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Note the fetch when enough has been sent: it proves that the provider accepted the order."""
        sent, is_noted = 0, False
        async for chunk in chunks:
            yield chunk
            sent += len(chunk)
            if not is_noted and sent >= self._part.fetch_bytes:
                is_noted = await self._note_fetch(self._part.job_id)

    async def _while_served(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Raises `ConnectionAbortedError` when nobody is to have the rest any more."""
        loop = asyncio.get_running_loop()
        look_at = loop.time() + LOOK_EVERY_S
        async for chunk in chunks:
            if loop.time() > look_at:
                if not await self._is_served(self._part.job_id):
                    raise ConnectionAbortedError("its job has ended")
                look_at = loop.time() + LOOK_EVERY_S
            yield chunk


async def _whole(chunks: AsyncIterator[bytes], length: int | None) -> AsyncIterator[bytes]:
    """As many bytes as were promised. Raises when there are fewer: the client must see that it lacks some."""
    left = length
    async for chunk in chunks:
        yield chunk if left is None else chunk[:left]
        if left is not None:
            left -= len(chunk)
            if left < 0:
                return
    if left:
        raise httpx.RemoteProtocolError("the file is shorter than it is said to be")
