"""`Contract`, a row of the table of contracts, and the types that its functions share with the server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

if TYPE_CHECKING:
    from contract_server import ContractServer

QUEUED, RUNNING, DONE, FAILED, CANCELLED, EXPIRED = (
    *("queued", "running", "done"),
    *("failed", "cancelled", "expired"),
)

# Why a task fails. `INVALID` and `NO_SOURCE` are the order's fault, a test commands the others.
CHARGED, REFUNDED, NO_SOURCE, INVALID = "fails_charged", "fails_refunded", "no_source", "invalid"


@dataclass(frozen=True)
class Reply:
    """An answer of the API: JSON, or a file."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        if isinstance(self.body, bytes):
            return Response(self.body, self.status, dict(self.headers))
        return JSONResponse(self.body, self.status, dict(self.headers))


class Refusal(Exception):
    """Raised by a handler to refuse the call with this reply."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.body)
        self.reply = reply


def refuse(status: int, body: Any) -> NoReturn:
    """Refuse the call."""
    raise Refusal(Reply(status, body))


@dataclass
class Job:
    """One accepted job. `labels` are the provider's names of its stems, `key` the idempotency key.

    `seconds` is the length of the source, 0 until it has been read. `polls` counts the status calls. Stems'
    links carry the number `links`, and those up to `expired_links` are no longer served.
    """

    id: str
    order: dict[str, Any]
    labels: tuple[str, ...]
    source: bytes = b""
    source_url: str = ""
    callback_url: str = ""
    key: str = ""
    state: str = QUEUED
    failure: str = ""
    details: Any = None  # of the failure
    never_ends: bool = False
    seconds: float = 0
    polls: int = 0
    links: int = 1
    expired_links: int = 0

    @property
    def progress(self) -> int:
        """The progress in percent: 0 in the queue, 30 more with each later poll, and 100 only at the end."""
        if self.state == DONE:
            return 100
        return min(90, 30 * (self.polls - 1)) if self.state == RUNNING else 0


Handler = Callable[["ContractServer", Request], Awaitable[Reply]]


def _unsigned(_server: ContractServer, _job: Job, _body: bytes, _wrong: bool) -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Call:
    """One call of a contract; `name` is its name in faults."""

    method: str
    path: str
    name: str
    answer: Handler
    needs_key: bool = True


@dataclass(frozen=True)
class Contract:
    """How one provider's API works.

    `base` is the path of the API below the server's address. `refusals` are its answers by the kind of fault;
    `no_key` and `wrong_key` are those to a call without the right key. `cost` returns a job's price in the
    account's unit. `expired_status` is the HTTP status of an expired link to a stem. `callback` builds a
    callback's body, `sign` its headers; the flag asks for a wrong signature.
    """

    base: str
    key: str
    header: str
    scheme: str
    calls: tuple[Call, ...]
    refusals: Mapping[str, Reply]
    cost: Callable[[Job], float]
    expired_status: int = 403
    callback: Callable[[ContractServer, Job], Any] | None = None
    sign: Callable[[ContractServer, Job, bytes, bool], dict[str, str]] = _unsigned


async def read_json(request: Request) -> dict[str, Any] | None:
    """Return the JSON object in a request's body, or `None`."""
    try:
        body = await request.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def iso(timestamp: float) -> str:
    """Return a time (Unix seconds) as the APIs write it."""
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
