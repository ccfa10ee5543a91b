"""`FalClient`: calls fal's queue with its model demucs (six stems)."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import PurePath
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from stemdrop.domain.audio_types import mime_type_of
from stemdrop.domain.providers import FAL
from stemdrop.domain.results import Result
from stemdrop.errors import AnswerLost, BadContract, Refused, SeparationError
from stemdrop.provider.capabilities import CAPABILITIES
from stemdrop.provider.fal.answers import (
    STEMS,
    QueueStatus,
    read_failure,
    read_output,
    read_request_id,
    read_status,
    read_upload,
    read_webhook,
)
from stemdrop.provider.fal.codes import error_types, refusal
from stemdrop.provider.fal.signatures import WebhookKeys
from stemdrop.provider.http_calls import (
    ASK_TIMEOUT,
    CREATE_TIMEOUT,
    HttpAnswer,
    HttpCalls,
    retry_after_s,
)
from stemdrop.provider.interface import Order, Report
from stemdrop.provider.json_body import parse_json
from stemdrop.storage.counters import Counters

# The host of uploads and of the keys of webhooks. A queue at another address has both at that address.
REST_URL = "https://rest.fal.ai"
_MODEL = "htdemucs_6s"
# An uploaded song has a public URL, so fal is asked to delete it after a day.
_LIFECYCLE = json.dumps({"expiration_duration_seconds": 24 * 3600})
_T = TypeVar("_T")


class FalClient:
    """The client of fal. It asks for results at the configured address, not at one that an answer names."""

    name = FAL
    capabilities = CAPABILITIES[FAL]

    def __init__(
        self, http: httpx.AsyncClient, api_url: str, key: str, counters: Counters | None = None
    ) -> None:
        self._calls = HttpCalls(http, "fal", counters, FAL)
        self._url = f"{api_url}/fal-ai/demucs"
        self._rest_url = REST_URL if api_url == self.capabilities.api_url else api_url
        self._key = SecretStr(key)
        self._keys = WebhookKeys(self._calls, f"{self._rest_url}/.well-known/jwks.json")

    async def upload(self, name: str, content: AsyncIterator[bytes], size_bytes: int) -> str:
        """Upload a song, as fal's client libraries do; see `Provider`."""
        kind = mime_type_of(PurePath(name).suffix)
        to, url = await self._ask(
            "upload",
            partial(read_upload, api_url=self._rest_url),
            "POST",
            f"{self._rest_url}/storage/upload/initiate?storage_type=fal-cdn-v3",
            json={"file_name": name, "content_type": kind},
            headers={"X-Fal-Object-Lifecycle": _LIFECYCLE},
            timeout=ASK_TIMEOUT,
        )
        # the URL is signed: the key is not sent there
        await self._calls.put(to, content, size_bytes, kind)
        return url

    async def create(self, order: Order) -> str:
        """Order a split and return the id of the request. Raises as `Provider`."""
        return await self._ask(
            "create",
            read_request_id,
            "POST",
            self._url,
            params={"fal_webhook": order.callback_url} if order.callback_url else {},
            json={"audio_url": order.source, "model": _MODEL, "stems": STEMS, "output_format": "mp3"},
            timeout=CREATE_TIMEOUT,
        )

    async def fetch(self, task_id: str) -> Report:
        """Poll a request, and get its result when it is completed. Raises as `Provider`."""
        url = f"{self._url}/requests/{quote(task_id, safe='')}"
        status: QueueStatus = await self._ask(
            "detail", read_status, "GET", f"{url}/status", timeout=ASK_TIMEOUT
        )
        if not status.is_completed:
            return Report()
        read = partial(self._result, has_failed=status.has_failed)
        return Report(await self._send("detail", read, "GET", url, timeout=ASK_TIMEOUT))

    async def read_callback(self, headers: Mapping[str, str], body: bytes) -> tuple[str, Result]:
        """Verify and read a webhook; see `Provider`.

        Raises also `SeparationError` if fal must be asked for its keys, or for a result that the webhook
        could not hold, and does not answer.
        """
        await self._keys.check(headers, body)
        task_id, result = read_webhook(parse_json(body))
        if result is None and (result := (await self.fetch(task_id)).result) is None:
            raise BadContract("the webhook has no result, nor has the queue")
        return task_id, result

    async def balance(self) -> float | None:
        """Return nothing: fal tells the balance only to a key with admin rights."""
        return None

    async def abilities(self) -> None:
        """Return nothing: fal does not report abilities, so `CAPABILITIES` holds."""

    async def _ask(
        self, call: str, read: Callable[[object], _T], method: str, url: str, **request: Any
    ) -> _T:
        """Return what `read` makes of the body of an accepted call."""
        return await self._send(call, partial(self._accepted, read), method, url, **request)

    async def _send(
        self, call: str, read: Callable[[HttpAnswer], _T], method: str, url: str, **request: Any
    ) -> _T:
        headers = {"Authorization": f"Key {self._key.get_secret_value()}"} | request.pop("headers", {})
        return await self._calls.ask(call, read, method, url, headers=headers, **request)

    def _accepted(self, read: Callable[[object], _T], answer: HttpAnswer) -> _T:
        if answer.status >= 300:
            raise self._failure(answer)
        try:
            return read(parse_json(answer.body))
        except BadContract as error:
            raise AnswerLost(f"an answer of fal is not what it documents: {error}") from error

    def _result(self, answer: HttpAnswer, *, has_failed: bool) -> Result:
        if answer.status < 300:
            return self._accepted(read_output, answer)
        failed = read_failure(answer.status, _body(answer), has_failed=has_failed)
        if failed is None:
            raise self._failure(answer)
        return failed

    def _failure(self, answer: HttpAnswer) -> SeparationError:
        """Return the exception for a refused or failed call."""
        body = _body(answer)
        if not isinstance(body, dict) or (code := refusal(answer.status, body)) is None:
            return self._calls.of_status(answer.status, answer.headers)
        detail = body.get("detail")
        # a list of errors repeats the request; their types say enough
        why = detail if isinstance(detail, str) else ", ".join(error_types(body))
        why = why.replace(self._key.get_secret_value(), "***")
        return Refused(code, why or "no explanation", retry_after_s(answer.headers))


def _body(answer: HttpAnswer) -> object:
    try:
        return parse_json(answer.body)
    except BadContract:
        return None
