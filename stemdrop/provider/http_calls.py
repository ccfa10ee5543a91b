"""`HttpCalls`: sends one provider's HTTP requests, with limits, and counts them.

The exception of a failed request says whether the provider may have accepted it.
"""

import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx

from stemdrop.errors import AnswerLost, Refused, SeparationError, Unreachable
from stemdrop.observability.metric_definitions import (
    API_CALLS,
    API_REFUSALS,
    CREDITS_LEFT,
    CREDITS_SEEN,
    FIRST_API,
    OTHER,
)
from stemdrop.storage.counters import Counters

# Timeouts in seconds. A create call returns at once, but giving up on a slow gateway may cost twice.
CREATE_TIMEOUT = httpx.Timeout(60, connect=10)
ASK_TIMEOUT = httpx.Timeout(20, connect=10)
# For 20 MB over a slow uplink; the time is for each write, not for the whole upload.
UPLOAD_TIMEOUT = httpx.Timeout(120, connect=10)
MAX_ANSWER_BYTES = 1024 * 1024

# Failures before the first byte was sent: the provider cannot have accepted anything.
_NOT_SENT = (
    *(httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout),
    *(httpx.ProxyError, httpx.UnsupportedProtocol),
)

# The metric label of a failed call.
_OUTCOMES: dict[type[SeparationError], str] = {
    Refused: "refused",
    Unreachable: "unreachable",
    AnswerLost: "lost",
}
# More digits than any sensible pause has are not read.
_SECONDS = re.compile(r"\d{1,7}(\.\d{1,6})?", re.ASCII)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An HTTP answer: its status, its headers and its whole body."""

    status: int
    headers: httpx.Headers
    body: bytes


class HttpCalls:
    """Makes the requests of the provider that operators know as `title`.

    `provider` names it in metrics; it is empty for the API at SEPARATION_API_URL.
    """

    def __init__(
        self, http: httpx.AsyncClient, title: str, counters: Counters | None = None, provider: str = ""
    ) -> None:
        self._http = http
        self._provider = provider
        self._title = title
        self._counters = counters or Counters(None)

    async def ask(
        self, call: str, read: Callable[[HttpAnswer], _T], method: str, url: str, **request: Any
    ) -> _T:
        """Send a request and return what `read` makes of its answer; count it under the name `call`.

        `read` raises `Refused` or `AnswerLost`. Raises also `Unreachable`.
        """
        try:
            found = read(await self.send(method, url, **request))
        except SeparationError as error:
            self._count(call, _OUTCOMES.get(type(error), OTHER), is_reached=isinstance(error, Refused))
            if isinstance(error, Refused):
                self._counters.add(API_REFUSALS, str(error.code), self._provider)
            raise
        self._count(call, "ok", is_reached=True)
        return found

    def note_balance(self, credits: float) -> None:
        """Record the balance of the account, for `/metrics` and `stemdrop status`."""
        self._counters.set_gauge(CREDITS_LEFT, credits, self._provider)
        self._counters.set_gauge(CREDITS_SEEN, time.time(), self._provider)

    async def put(self, url: str, content: AsyncIterator[bytes], size_bytes: int, media_type: str) -> None:
        """Upload a song to a storage by a signed URL, which needs no key. Raises as `ask`.

        A refusal counts as a lost answer: uploads are free, so that they may be repeated.
        """

        def check(answer: HttpAnswer) -> None:
            if not 200 <= answer.status < 300:
                raise AnswerLost(f"the storage of {self._title} answered HTTP {answer.status}")

        headers = {"Content-Type": media_type, "Content-Length": str(size_bytes)}
        body = of_length(content, size_bytes)
        await self.ask("upload", check, "PUT", url, content=body, headers=headers, timeout=UPLOAD_TIMEOUT)

    async def send(self, method: str, url: str, **request: Any) -> HttpAnswer:
        """Send a request that is not counted. Raises `Unreachable` or `AnswerLost`."""
        try:
            built = self._http.build_request(method, url, **request)
        except (httpx.InvalidURL, UnicodeError) as error:  # no host can have this name
            raise self._unreachable(error) from error
        try:
            async with aclosing(await self._http.send(built, stream=True)) as response:
                return HttpAnswer(response.status_code, response.headers, await self._read(response))
        except _NOT_SENT as error:
            raise self._unreachable(error) from error
        except (httpx.HTTPError, UnicodeError) as error:  # httpx also reads where a redirect leads
            raise AnswerLost(f"the answer of {self._title} was lost ({type(error).__name__})") from error

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(f"no connection to {self._title} ({type(error).__name__})")

    def _count(self, call: str, outcome: str, *, is_reached: bool) -> None:
        self._counters.add(API_CALLS, call, outcome, self._provider)
        self._counters.note_try(self._provider or FIRST_API, is_reached=is_reached)

    async def _read(self, response: httpx.Response) -> bytes:
        body = b""
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise AnswerLost(f"the answer of {self._title} is too long")
        return body

    def of_status(self, status: int, headers: Mapping[str, str] | None = None) -> SeparationError:
        """Return the failure that an HTTP status without an explanation means."""
        if 400 <= status < 500 and status != 408:
            return Refused(status, "no explanation", retry_after_s(headers or {}))
        return AnswerLost(f"{self._title} answered HTTP {status} without its contract")


def retry_after_s(headers: Mapping[str, str], clock: Callable[[], float] = time.time) -> float | None:
    """Return the pause in seconds that `Retry-After` asks for, as a number or as a date (RFC 9110, 10.2.3).

    The names in `headers` are in lower case, or those of httpx. `None`: the header is missing or unreadable.
    """
    value = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - clock())


async def of_length(content: AsyncIterator[bytes], size_bytes: int) -> AsyncIterator[bytes]:
    """Pass on the parts of an upload. Raises `AnswerLost` if their total length is not `size_bytes`.

    The HTTP library has only an unspecific exception for that.
    """
    sent = 0
    async for chunk in content:
        sent += len(chunk)
        if sent > size_bytes:
            break
        yield chunk
    if sent != size_bytes:
        raise AnswerLost("the source is not as long as it was said to be")
