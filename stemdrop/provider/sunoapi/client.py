"""`SeparationClient`: calls the separation API.

A failed call was refused, was never sent, or may have been accepted: the exception says which.
"""

import json
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from stemdrop.domain.abilities import ALL, Abilities
from stemdrop.domain.jobs import Mode
from stemdrop.domain.results import Result
from stemdrop.errors import AnswerLost, BadContract, Refused
from stemdrop.provider.capabilities import CAPABILITIES, sunoapi_name
from stemdrop.provider.http_calls import (
    ASK_TIMEOUT,
    CREATE_TIMEOUT,
    UPLOAD_TIMEOUT,
    HttpAnswer,
    HttpCalls,
    of_length,
    retry_after_s,
)
from stemdrop.provider.interface import Order, Report
from stemdrop.provider.json_body import parse_json
from stemdrop.provider.sunoapi.abilities import PATH, known_abilities, read_abilities
from stemdrop.provider.sunoapi.answers import (
    read_callback,
    read_credits,
    read_detail,
    read_download_url,
    read_task_id,
)
from stemdrop.provider.sunoapi.codes import known_code, read_code
from stemdrop.provider.sunoapi.signatures import check_signature
from stemdrop.storage.counters import Counters

# The API requires a callback URL. Without a public URL we give it a name that never resolves (RFC 2606), so
# that the result is sent to no other host, and poll the job.
NO_CALLBACK_URL = "https://callback.invalid/none"


class SeparationClient:
    """The client of both paid hosts and of our own separator. The URLs have no slash at the end.

    `hmac_key` is the operator's key for signatures of callbacks; without one these are not checked.
    `is_first`: it is the API at SEPARATION_API_URL.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        api_url: str,
        upload_url: str,
        key: str,
        counters: Counters | None = None,
        *,
        hmac_key: str = "",
        name: str = "",
        is_first: bool = True,
    ) -> None:
        self.name = name or sunoapi_name(api_url)
        self.capabilities = CAPABILITIES[self.name]
        self._calls = HttpCalls(http, "the separation API", counters, "" if is_first else self.name)
        self._api_url = api_url
        self._upload_url = upload_url
        self._key = SecretStr(key)
        self._hmac_key = SecretStr(hmac_key)

    async def create(self, order: Order) -> str:
        """Order a split and return the task id. Raises as `Provider`.

        Our own separator makes stems in the wanted format, and MP3 of those that would be too large in it.
        """
        callback_url = order.callback_url or NO_CALLBACK_URL
        body: dict[str, object] = {
            "audioUrl": order.source,
            "type": order.mode.value,
            "callBackUrl": callback_url,
        }
        if order.mode is Mode.SPLIT_STEM_ADVANCED:
            body["stemName"] = order.instrument
        if order.file_format and not known_abilities(self._api_url):
            body["format"] = order.file_format
            body["maxFileBytes"] = order.max_file_bytes
        url = f"{self._api_url}/api/v1/vocal-removal/generate"
        task_id = read_task_id(await self._ask("create", "POST", url, json=body, timeout=CREATE_TIMEOUT))
        if not task_id:
            raise AnswerLost("the separation API accepted the job but named no task")
        return task_id

    async def fetch(self, task_id: str) -> Report:
        """Poll a task. Raises as `Provider`; a lost answer is harmless, since the call is free."""
        url = f"{self._api_url}/api/v1/vocal-removal/record-info?taskId={quote(task_id, safe='')}"
        return Report(read_detail(await self._ask("detail", "GET", url, timeout=ASK_TIMEOUT), self._api_url))

    async def read_callback(self, headers: Mapping[str, str], body: bytes) -> tuple[str, Result]:
        """Read a callback; see `Provider`. The contract signs the task id and the time, not the body."""
        task_id, result = read_callback(parse_json(body), self._api_url)
        if key := self._hmac_key.get_secret_value():
            timestamp, signature = (
                headers.get(f"x-webhook-{name}", "") for name in ("timestamp", "signature")
            )
            check_signature(key, task_id, timestamp, signature)
        return task_id, result

    async def abilities(self) -> Abilities:
        """Return what the host can do; everything, if the host does not know this call (404).

        Raises as `Provider`. The call is not counted, since most hosts do not know it.
        """
        if known := known_abilities(self._api_url):
            return known
        try:
            url, headers = self._api_url + PATH, self._headers()
            answer = await self._calls.send("GET", url, headers=headers, timeout=ASK_TIMEOUT)
            return read_abilities(self._data(answer))
        except Refused as error:
            if error.code == 404:
                return ALL
            raise

    async def balance(self) -> float:
        """Return the credits that are left. Raises as `Provider`."""
        url = f"{self._api_url}/api/v1/generate/credit"
        credits = read_credits(await self._ask("credits", "GET", url, timeout=ASK_TIMEOUT))
        self._calls.note_balance(credits)
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
        """Return `data` of an answer with code 200."""
        headers = self._headers() | request.pop("headers", {})
        return await self._calls.ask(call, self._data, method, url, headers=headers, **request)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key.get_secret_value()}"}

    def _data(self, answer: HttpAnswer) -> Any:
        """Return `data` if the body's code is 200. Without a code, 4xx is a refusal, 5xx unknown."""
        try:
            read = json.loads(answer.body)
            code = read_code(read["code"])
        except (ValueError, KeyError, TypeError, RecursionError, BadContract):
            raise self._calls.of_status(answer.status, answer.headers) from None
        if code != 200:
            message = read.get("msg")
            # some servers repeat the request
            text = message.replace(self._key.get_secret_value(), "***") if isinstance(message, str) else ""
            known = known_code(self._api_url, code, message)
            why = text if known == code else f"{text[:150]} (its code {code})"
            raise Refused(known, why, retry_after_s(answer.headers))
        if answer.status >= 300:
            raise self._calls.of_status(answer.status)
        return read.get("data")


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
        async for chunk in of_length(content, size_bytes):
            yield chunk
        yield tail.encode()

    length = len(head.encode()) + size_bytes + len(tail.encode())
    return body(), f"multipart/form-data; boundary={boundary}", length
