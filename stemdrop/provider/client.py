"""`SeparationClient`: calls the separation API.

A failed call was refused, was never sent, or may have been accepted: the exception says which.
"""

import json
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from stemdrop.domain.abilities import ALL, Abilities
from stemdrop.domain.jobs import Mode
from stemdrop.domain.results import Result
from stemdrop.errors import AnswerLost, BadContract, Refused, SeparationError, Unreachable
from stemdrop.observability.metric_definitions import (
    API_CALLS,
    API_REFUSALS,
    CREDITS_LEFT,
    CREDITS_SEEN,
    OTHER,
)
from stemdrop.provider.abilities import PATH, known_abilities, read_abilities
from stemdrop.provider.answers import (
    read_callback,
    read_credits,
    read_detail,
    read_download_url,
    read_task_id,
)
from stemdrop.provider.codes import known_code, read_code
from stemdrop.storage.counters import Counters

# A create call returns at once. A slow gateway gets time, since giving up early may cost twice.
CREATE_TIMEOUT = httpx.Timeout(60, connect=10)
ASK_TIMEOUT = httpx.Timeout(20, connect=10)
# For 20 MB over a slow uplink; the time is per write, not for the whole.
UPLOAD_TIMEOUT = httpx.Timeout(120, connect=10)
MAX_ANSWER_BYTES = 1024 * 1024

# Failures before the first byte was sent: the API cannot have accepted anything.
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


class SeparationClient:
    """Makes the calls create, detail, credits, abilities and upload. The URLs have no slash at the end."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        api_url: str,
        upload_url: str,
        key: str,
        counters: Counters | None = None,
    ) -> None:
        self._http = http
        self._api_url = api_url
        self._upload_url = upload_url
        self._key = SecretStr(key)
        self._counters = counters or Counters(None)

    async def create(
        self,
        audio_url: str,
        mode: Mode,
        instrument: str,
        callback_url: str,
        file_format: str = "",
        max_file_bytes: int = 0,
    ) -> str:
        """Order a split and return the task id. An accepted call is charged.

        Our own separator makes stems of this format, and MP3 of those that would be larger.

        Raises `Refused` (not accepted), `Unreachable` (not sent) or `AnswerLost` (perhaps accepted).
        """
        body: dict[str, object] = {"audioUrl": audio_url, "type": mode.value, "callBackUrl": callback_url}
        if mode is Mode.SPLIT_STEM_ADVANCED:
            body["stemName"] = instrument
        if file_format and not known_abilities(self._api_url):
            body["format"] = file_format
            body["maxFileBytes"] = max_file_bytes
        url = f"{self._api_url}/api/v1/vocal-removal/generate"
        task_id = read_task_id(await self._ask("create", "POST", url, json=body, timeout=CREATE_TIMEOUT))
        if not task_id:
            raise AnswerLost("the separation API accepted the job but named no task")
        return task_id

    async def detail(self, task_id: str) -> Result | None:
        """Return the result of a task, or `None` while there is none.

        Raises `Refused`, `Unreachable`, `AnswerLost` (harmless: the call is free) or `BadContract`.
        """
        url = f"{self._api_url}/api/v1/vocal-removal/record-info?taskId={quote(task_id, safe='')}"
        return read_detail(await self._ask("detail", "GET", url, timeout=ASK_TIMEOUT), self._api_url)

    def callback(self, body: object) -> tuple[str, Result]:
        """Return the task id and the result in the body of a callback. Raises `BadContract`."""
        return read_callback(body, self._api_url)

    async def abilities(self) -> Abilities:
        """Return what the host can do: everything, where it is asked and does not know the question.

        Raises the same as `detail`. The call is not counted, since most hosts do not know it.
        """
        if known := known_abilities(self._api_url):
            return known
        try:
            return read_abilities(await self._answer("GET", self._api_url + PATH, timeout=ASK_TIMEOUT))
        except Refused as error:
            if error.code == 404:
                return ALL
            raise

    async def credits(self) -> float:
        """Return the credits that are left. Raises the same as `detail`."""
        url = f"{self._api_url}/api/v1/generate/credit"
        credits = read_credits(await self._ask("credits", "GET", url, timeout=ASK_TIMEOUT))
        self._counters.set_gauge(CREDITS_LEFT, credits)
        self._counters.set_gauge(CREDITS_SEEN, time.time())
        return credits

    async def upload(self, name: str, content: AsyncIterator[bytes], size_bytes: int) -> str:
        """Upload a source as a stream and return its URL for `create`. Free of charge.

        Raises `Refused`, `Unreachable` or `AnswerLost` (harmless: upload again).
        """
        body, content_type, length = _multipart(name, content, size_bytes)
        data = await self._ask(
            "upload",
            "POST",
            f"{self._upload_url}/api/file-stream-upload",
            content=body,
            headers={"Content-Type": content_type, "Content-Length": str(length)},
            timeout=UPLOAD_TIMEOUT,
        )
        url = read_download_url(data)
        if not url:
            raise AnswerLost("the upload host named no downloadUrl")
        return url

    async def _ask(self, call: str, method: str, url: str, **request: Any) -> Any:
        """Return `data` of an answer with code 200; count the call, and raise its failure."""
        try:
            data = await self._answer(method, url, **request)
        except SeparationError as error:
            self._counters.add(API_CALLS, call, _OUTCOMES.get(type(error), OTHER))
            self._counters.note_try("api", is_reached=isinstance(error, Refused))
            if isinstance(error, Refused):
                self._counters.add(API_REFUSALS, str(error.code))
            raise
        self._counters.add(API_CALLS, call, "ok")
        self._counters.note_try("api", is_reached=True)
        return data

    async def _answer(self, method: str, url: str, **request: Any) -> Any:
        key = self._key.get_secret_value()
        headers = {"Authorization": f"Bearer {key}", **request.pop("headers", {})}
        try:
            async with self._http.stream(method, url, headers=headers, **request) as response:
                body = await _read(response)
        except _NOT_SENT as error:
            raise Unreachable(f"no connection to the separation API ({type(error).__name__})") from error
        except httpx.HTTPError as error:
            raise AnswerLost(f"the separation API's answer was lost ({type(error).__name__})") from error
        return self._data(response.status_code, body)

    def _data(self, status: int, body: bytes) -> Any:
        """The body's code decides; without one, a 4xx is a refusal and a 5xx may mean anything."""
        try:
            answer = json.loads(body)
            code = read_code(answer["code"])
        except (ValueError, KeyError, TypeError, RecursionError, BadContract):
            raise _of_status(status) from None
        if code != 200:
            message = answer.get("msg")
            # some servers repeat the request
            text = message.replace(self._key.get_secret_value(), "***") if isinstance(message, str) else ""
            known = known_code(self._api_url, code, message)
            raise Refused(known, text if known == code else f"{text[:150]} (its code {code})")
        if status >= 300:
            raise _of_status(status)
        return answer.get("data")


async def _read(response: httpx.Response) -> bytes:
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise AnswerLost("the separation API's answer is too long")
    return body


def _of_status(status: int) -> SeparationError:
    if 400 <= status < 500 and status != 408:
        return Refused(status, "no explanation")
    return AnswerLost(f"the separation API answered HTTP {status} without its contract")


def _multipart(
    name: str, content: AsyncIterator[bytes], size_bytes: int
) -> tuple[AsyncIterator[bytes], str, int]:
    """Build a streamed multipart body; httpx builds them only from files and bytes."""
    # The boundary is random, so that no file can contain it; the name is quoted as browsers quote it.
    boundary = f"stemdrop-{secrets.token_hex(16)}"
    name = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    fields = {"uploadPath": "stemdrop", "fileName": name}
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in fields.items()
    )
    head += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    tail = f"\r\n--{boundary}--\r\n"

    async def body() -> AsyncIterator[bytes]:
        yield head.encode()
        sent = 0
        async for chunk in content:
            sent += len(chunk)
            if sent > size_bytes:
                break
            yield chunk
        if sent != size_bytes:  # otherwise the HTTP library raises an unspecific exception
            raise AnswerLost("the source is not as long as it was said to be")
        yield tail.encode()

    length = len(head.encode()) + size_bytes + len(tail.encode())
    return body(), f"multipart/form-data; boundary={boundary}", length
