"""`POST /callback/{token}` and `/callback/{provider}/{token}`: stores a result before it answers."""

import logging

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from stemdrop.domain.jobs import JobState
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
from stemdrop.tasks.engine import Engine, Task
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


def callback_routes(
    store: JobStore,
    engine: Engine,
    providers: Providers,
    links: SignedLinks,
    counters: Counters,
    body_timeout_s: float = BODY_TIMEOUT_S,
) -> list[Route]:
    """Build the routes. Each provider has its own path, tokens and verification."""

    async def answer(request: Request) -> JSONResponse:
        try:
            receipt = await store_result(request)
        except StemdropError as error:
            counters.add(CALLBACKS, _outcome(error))
            raise
        counters.add(CALLBACKS, receipt)
        return _RECEIVED

    async def store_result(request: Request) -> Receipt:
        path = request.path_params.get("provider", "")
        provider = providers.named_by(path)
        if provider is None:
            raise ForgedRequest("the callback's path names no provider")
        link = links.read_callback(request.path_params["token"], path)
        bind_job(link.job_id)
        body = await read_body(request, body_timeout_s)
        task_id, result = await providers.read_callback(provider, request.headers, body)
        receipt = await store.receive(link.job_id, link.chat_id, task_id, result, provider)
        if receipt in (Receipt.FOREIGN, Receipt.UNKNOWN):
            raise _WrongTask(link.job_id, receipt)
        bind_job(link.job_id, task_id)
        log.info(
            "job %s: callback, code %d, %d stems (%s)", link.job_id, result.code, len(result.stems), receipt
        )
        if receipt is Receipt.STORED or await _is_delivering(store, link.job_id):
            await engine.add(Task.DELIVER, link.job_id, link.job_id)
        return receipt

    return [
        Route("/callback/{token}", answer, methods=["POST"]),
        Route("/callback/{provider}/{token}", answer, methods=["POST"]),
    ]


async def _is_delivering(store: JobStore, job_id: str) -> bool:
    # a process may have been killed between storing the result and adding the delivery task
    job = await store.get(job_id)
    return job is not None and job.state is JobState.DELIVERING


def _outcome(error: StemdropError) -> str:
    if isinstance(error, _WrongTask):
        return error.receipt
    return next((name for kind, name in _OUTCOMES.items() if isinstance(error, kind)), OTHER)
