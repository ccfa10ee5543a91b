"""`StemSplitClient`: calls the API of StemSplit."""

import hmac
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from stemdrop.domain.jobs import Mode
from stemdrop.domain.providers import STEMSPLIT
from stemdrop.domain.results import Result
from stemdrop.errors import AnswerLost, BadContract, ForgedRequest, Refused, SeparationError
from stemdrop.provider.capabilities import CAPABILITIES
from stemdrop.provider.http_calls import (
    ASK_TIMEOUT,
    CREATE_TIMEOUT,
    HttpAnswer,
    HttpCalls,
    retry_after_s,
)
from stemdrop.provider.interface import Order, Report
from stemdrop.provider.json_body import parse_json
from stemdrop.provider.stemsplit.answers import (
    find_job,
    read_balance,
    read_callback,
    read_error,
    read_job,
    read_task_id,
    read_upload,
)
from stemdrop.provider.stemsplit.codes import known_code
from stemdrop.storage.counters import Counters

_OUTPUT_TYPES = {Mode.SEPARATE_VOCAL: "BOTH", Mode.SPLIT_STEM: "SIX_STEMS"}
# The most jobs on one page of its list. A lost order is looked for within minutes, so one page is enough.
_LISTED = 100


class StemSplitClient:
    """The client of StemSplit. `api_url` has no slash at the end; it needs `webhook_secret` for callbacks."""

    name = STEMSPLIT

    def __init__(
        self,
        http: httpx.AsyncClient,
        api_url: str,
        key: str,
        counters: Counters | None = None,
        *,
        webhook_secret: str = "",
    ) -> None:
        self.capabilities = replace(CAPABILITIES[STEMSPLIT], has_callbacks=bool(webhook_secret))
        self._calls = HttpCalls(http, self.capabilities.title, counters, STEMSPLIT)
        self._api_url = api_url
        self._key = SecretStr(key)
        self._secret = SecretStr(webhook_secret)

    async def create(self, order: Order) -> str:
        """Order a split; see `Provider`.

        StemSplit does not document idempotency keys, so a call whose answer was lost is not made again: its
        job is looked for in the list of jobs, by the file name that we gave it. Raises `AnswerLost` until the
        job is found.
        """
        if order.is_repeated:
            return await self._find(order.call_id)
        source = "uploadKey" if order.is_uploaded else "sourceUrl"
        body = {
            source: order.source,
            "fileName": order.call_id + PurePosixPath(order.source).suffix,
            "outputType": _OUTPUT_TYPES[order.mode],
            "quality": "BEST",  # six stems need it; the price is the same
            "outputFormat": "MP3",
        }
        if order.callback_url and self.capabilities.has_callbacks:
            body["callbackUrl"] = order.callback_url
        url, headers = f"{self._api_url}/jobs", {"Idempotency-Key": order.call_id}
        options: dict[str, Any] = {"json": body, "headers": headers, "timeout": CREATE_TIMEOUT}
        return await self._ask("create", "POST", url, **options) or await self._find(order.call_id)

    async def fetch(self, task_id: str) -> Report:
        """Poll a task; see `Provider`."""
        url = f"{self._api_url}/jobs/{quote(task_id, safe='')}"
        return read_job(await self._ask("detail", "GET", url))

    async def read_callback(self, headers: Mapping[str, str], body: bytes) -> tuple[str, Result]:
        """Read a callback; see `Provider`.

        A repeated or late callback does no harm: it is for one job, whose result is stored once.
        """
        secret = self._secret.get_secret_value()
        expected = f"sha256={hmac.digest(secret.encode(), body, 'sha256').hex()}"
        given = headers.get("x-webhook-signature", "")
        # everyone can sign with an empty secret
        if not secret or not hmac.compare_digest(expected.encode(), given.encode(errors="surrogatepass")):
            raise ForgedRequest("the callback's signature is wrong")
        return read_callback(parse_json(body))

    async def abilities(self) -> None:
        """Return nothing: StemSplit does not report abilities, so `CAPABILITIES` holds."""

    async def balance(self) -> float:
        """Return the balance in seconds of audio."""
        seconds = read_balance(await self._ask("credits", "GET", f"{self._api_url}/balance"))
        self._calls.note_balance(seconds)
        return seconds

    async def upload(self, name: str, content: AsyncIterator[bytes], size_bytes: int) -> str:
        """Upload a source to StemSplit's storage, without our API key, and return the key of the upload."""
        answer = await self._ask("upload", "POST", f"{self._api_url}/upload", json={"filename": name})
        url, upload_key, media_type = read_upload(answer, self._api_url)
        await self._calls.put(url, content, size_bytes, media_type)
        return upload_key

    async def _find(self, call_id: str) -> str:
        """Return the id of the job of this call. Raises `AnswerLost` if it is not, or not yet, listed."""
        try:
            jobs = await self._ask("detail", "GET", f"{self._api_url}/jobs?limit={_LISTED}")
            task_id = find_job(jobs, call_id)
        except (SeparationError, BadContract) as error:
            # an unreadable list does not mean that nothing was ordered
            raise AnswerLost(f"the list of StemSplit's jobs cannot be read: {error}") from error
        if not task_id:
            raise AnswerLost("StemSplit's list of jobs does not have the job of this order")
        return task_id

    async def _ask(self, call: str, method: str, url: str, **request: Any) -> Any:
        """Return the body of an answer; for a create call the task id, empty if it must be looked for."""
        read = self._created if call == "create" else self._body
        # Cloudflare in front of the API refuses the default names of some libraries
        headers = {"Authorization": f"Bearer {self._key.get_secret_value()}", "User-Agent": "stemdrop"}
        headers |= request.pop("headers", {})
        return await self._calls.ask(
            call, read, method, url, headers=headers, **{"timeout": ASK_TIMEOUT, **request}
        )

    def _created(self, answer: HttpAnswer) -> str:
        """Return the task id; for a key that was used before (409) that of its job, empty if not named."""
        if answer.status == 409:
            try:
                return read_task_id(parse_json(answer.body))
            except BadContract:
                return ""
        return read_task_id(self._body(answer))

    def _body(self, answer: HttpAnswer) -> object:
        try:
            body = parse_json(answer.body)
        except BadContract:
            raise self._calls.of_status(answer.status, answer.headers) from None
        if answer.status < 300:
            return body
        code, message = read_error(body)
        known = known_code(answer.status, code) if code else 0
        if not known:
            raise self._calls.of_status(answer.status, answer.headers)
        # some servers repeat the request
        text = f"{code}: {message}".replace(self._key.get_secret_value(), "***")
        raise Refused(known, text, retry_after_s(answer.headers))
