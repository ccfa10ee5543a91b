"""`POST /callback/{token}` and `/callback/{provider}/{token}`: stores a result before it answers."""

import logging
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from stemdrop.domain.outcomes import Receipt
from stemdrop.errors import (
    BadContract,
    ExpiredLink,
    ForgedRequest,
    SeparationError,
    StemdropError,
    StoreUnavailable,
)
from stemdrop.http.signed_links import SignedLinks
from stemdrop.log_context import bind_job
from stemdrop.observability.metric_definitions import CALLBACKS, OTHER
from stemdrop.provider.registry import Providers
from stemdrop.storage.counters import Counters
from stemdrop.storage.job_store import JobStore
from webhook.errors import BodyIncomplete, BodyTooLarge, BodyTooSlow
from webhook.json_body import BODY_TIMEOUT_S, read_body

log = logging.getLogger(__name__)


_RECEIVED = JSONResponse({"status": "received"})


class _WrongTask(ForgedRequest):
    """The link, the task and the chat of a callback do not belong together."""

    def __init__(self, job_id: str, receipt: Receipt) -> None:
        super().__init__(f"the callback's task does not belong to job {job_id}")
        self.receipt = receipt


# Metric label per error type; subclasses come before their base.
_OUTCOMES: dict[type[StemdropError], str] = {
    ExpiredLink: "expired",
    ForgedRequest: "forged",
    BadContract: "bad_contract",
    BodyTooLarge: "too_large",
    BodyTooSlow: "too_slow",
    BodyIncomplete: "broken_off",
    StoreUnavailable: "unavailable",
    SeparationError: "unavailable",
}


@dataclass(frozen=True, slots=True)
class _Callbacks:
    """The ASGI application behind the routes. The error handlers of `webhook.app` answer its errors."""

    store: JobStore
    providers: Providers
    links: SignedLinks
    counters: Counters
    body_timeout_s: float

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            receipt = await self._store_result(Request(scope, receive))
        except StemdropError as error:
            self.counters.add(CALLBACKS, _outcome(error))
            raise
        self.counters.add(CALLBACKS, receipt)
        await _RECEIVED(scope, receive, send)

    async def _store_result(self, request: Request) -> Receipt:
        path = request.path_params.get("provider", "")
        provider = self.providers.named_by(path)
        if provider is None:
            raise ForgedRequest("the callback's path names no provider")
        link = self.links.read_callback(request.path_params["token"], path)
        bind_job(link.job_id)
        body = await read_body(request, self.body_timeout_s)
        task_id, result = await self.providers.read_callback(provider, request.headers, body)
        receipt = await self.store.receive(
            link.job_id, link.chat_id, task_id, result, provider, adds_delivery=True
        )
        if receipt in (Receipt.FOREIGN, Receipt.UNKNOWN):
            raise _WrongTask(link.job_id, receipt)
        bind_job(link.job_id, task_id)
        log.info(
            "job %s: callback, code %d, %d stems (%s)", link.job_id, result.code, len(result.stems), receipt
        )
        return receipt


def callback_routes(
    store: JobStore,
    providers: Providers,
    links: SignedLinks,
    counters: Counters,
    body_timeout_s: float = BODY_TIMEOUT_S,
) -> list[Route]:
    """Build the routes. Each provider has its own path, tokens and verification."""
    callbacks = _Callbacks(store, providers, links, counters, body_timeout_s)
    paths = ["/callback/{token}", "/callback/{provider}/{token}"]
    return [Route(path, callbacks, methods=["POST"]) for path in paths]


def _outcome(error: StemdropError) -> str:
    if isinstance(error, _WrongTask):
        return error.receipt
    return next((name for kind, name in _OUTCOMES.items() if isinstance(error, kind)), OTHER)
