"""`LalalClient`: the client of LALAL.AI, whose API v1 is polled and takes uploaded songs only."""

import hashlib
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NoReturn
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from stemdrop.domain.jobs import Mode
from stemdrop.domain.providers import LALAL
from stemdrop.errors import AnswerLost, BadContract, ForgedRequest, Refused, TaskNotTold
from stemdrop.provider.capabilities import CAPABILITIES
from stemdrop.provider.http_calls import (
    ASK_TIMEOUT,
    CREATE_TIMEOUT,
    UPLOAD_TIMEOUT,
    HttpAnswer,
    HttpCalls,
    of_length,
)
from stemdrop.provider.interface import Order, Report
from stemdrop.provider.json_body import parse_json
from stemdrop.provider.lalal.answers import (
    STEMS,
    read_error,
    read_id,
    read_minutes,
    read_report,
    read_tasks,
)
from stemdrop.provider.lalal.checks import Checks
from stemdrop.provider.lalal.codes import INTERNAL_ERROR, KEY_USED, refusal_code
from stemdrop.storage.counters import Counters

# The stems that a request for all stems asks for, in our order of delivery.
ALL_STEMS = ("vocals", "drum", "bass", "piano", "electric_guitar", "acoustic_guitar")
_LABELS = {name: label for label, (_, name) in STEMS.items() if name}
# Without it the stems have the song's format, which Telegram may not play.
_FORMAT = "mp3"


class LalalClient:
    """The client of one license key. `api_url` has no slash at the end."""

    def __init__(
        self, http: httpx.AsyncClient, api_url: str, key: str, counters: Counters | None = None
    ) -> None:
        self.name = LALAL
        self.capabilities = CAPABILITIES[LALAL]
        self._calls = HttpCalls(http, self.capabilities.title, counters, self.name)
        self._api_url = api_url
        self._key = SecretStr(key)
        self._checks = Checks(self._check)

    async def upload(self, name: str, content: AsyncIterator[bytes], size_bytes: int) -> str:
        """Upload a song and return its id at LALAL.AI, which is valid for a day. Raises as `Provider`."""
        headers = {
            "Content-Disposition": content_disposition(name),
            "Content-Type": "application/octet-stream",
            "Content-Length": str(size_bytes),
        }
        body = of_length(content, size_bytes)
        data = await self._ask("upload", "upload", content=body, headers=headers, timeout=UPLOAD_TIMEOUT)
        return read_id(data, "id")

    async def create(self, order: Order) -> str:
        """Order a split and return the task id. Raises `TaskNotTold` for an order accepted before."""
        presets: dict[str, object] = {"encoder_format": _FORMAT}
        if order.mode is Mode.SPLIT_STEM:
            path, presets["stem_list"] = "split/multistem", list(ALL_STEMS)
        else:
            is_vocals = order.mode is Mode.SEPARATE_VOCAL
            path = "split/stem_separator"
            presets["stem"] = "vocals" if is_vocals else _LABELS.get(order.instrument, order.instrument)
        body = {
            "source_id": order.source,
            "presets": presets,
            "idempotency_key": idempotency_key(order.call_id),
        }
        data = await self._ask("create", path, json=body, timeout=CREATE_TIMEOUT)
        return read_id(data, "task_id")

    async def fetch(self, task_id: str) -> Report:
        """Poll a task, together with others. Raises as `Provider`."""
        return read_report(await self._checks.entry(task_id))

    async def read_callback(self, headers: Mapping[str, str], body: bytes) -> NoReturn:
        """Refuse every callback, since LALAL.AI sends none."""
        raise ForgedRequest("LALAL.AI sends no callbacks")

    async def balance(self) -> float:
        """Return the balance in minutes of audio. Raises as `Provider`."""
        minutes = read_minutes(await self._ask("credits", "limits/minutes_left", timeout=ASK_TIMEOUT))
        self._calls.note_balance(minutes)
        return minutes

    async def abilities(self) -> None:
        """Return nothing: LALAL.AI does not report abilities, so `CAPABILITIES` holds."""

    async def _check(self, task_ids: Sequence[str]) -> dict[str, object]:
        body = {"task_ids": list(task_ids)}
        return read_tasks(await self._ask("detail", "check", json=body, timeout=ASK_TIMEOUT))

    async def _ask(self, call: str, path: str, **request: Any) -> object:
        headers = {"X-License-Key": self._key.get_secret_value()} | request.pop("headers", {})
        url = f"{self._api_url}/{path}/"
        return await self._calls.ask(call, self._data, "POST", url, headers=headers, **request)

    def _data(self, answer: HttpAnswer) -> object:
        """Return the JSON of a successful answer; an error's code decides whether it is a refusal."""
        failure = self._calls.of_status(answer.status, answer.headers)
        try:
            data = parse_json(answer.body)
        except BadContract:
            raise failure from None
        if answer.status == 200:
            return data
        code, text = read_error(data)
        if code == KEY_USED:
            raise TaskNotTold("LALAL.AI has accepted the order before and does not name its task")
        if code == INTERNAL_ERROR:
            raise AnswerLost(f"LALAL.AI answered {code}")
        if not isinstance(failure, Refused):
            raise failure
        # a server may repeat the request in its explanation
        text = text.replace(self._key.get_secret_value(), "***") or "no explanation"
        raise Refused(refusal_code(answer.status, code, text), text, failure.retry_after_s)


def idempotency_key(call_id: str) -> str:
    """Return the version-4 UUID of a create call, the same for the same call."""
    digest = hashlib.sha256(f"lalal:{call_id}".encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def content_disposition(name: str) -> str:
    """Return the header that names a file (RFC 6266), for names of any characters."""
    plain = "".join(it if it.isascii() and it.isprintable() and it not in '"\\%' else "_" for it in name)
    # half a surrogate pair has no UTF-8
    encoded = quote(name.encode(errors="replace"), safe="")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"
