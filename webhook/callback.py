"""`POST /callback/{token}`: the provider's result is stored, its delivery ordered, and only then answered."""

import logging
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from stemdrop.domain.jobs import JobState
from stemdrop.domain.outcomes import Receipt
from stemdrop.domain.results import MAX_TASK_ID, parse_callback
from stemdrop.errors import (
    BadContract,
    ExpiredLink,
    ForgedRequest,
    StemdropError,
    StoreUnavailable,
)
from stemdrop.http.signed_links import SignedLinks, check_signature
from stemdrop.log_context import bind_job
from stemdrop.observability.metric_definitions import CALLBACKS, OTHER
from stemdrop.storage.counters import Counters
from stemdrop.storage.job_store import JobStore
from stemdrop.tasks.engine import Engine, Task
from webhook.errors import BodyTooLarge, BodyTooSlow, BrokenOff, refusals
from webhook.json_body import BODY_TIMEOUT_S, read_json

log = logging.getLogger(__name__)

# What is taken, and nothing that need not be there: fields come and go (`stemdrop.domain.results`).
_CONTRACT: dict[str, Any] = {
    "type": "object",
    "required": ["code", "data"],
    "properties": {
        "code": {"type": "integer", "minimum": 0, "maximum": 9999},
        "msg": {},
        "data": {
            "type": "object",
            "required": ["task_id"],
            "properties": {
                "task_id": {"type": "string", "minLength": 1, "maxLength": MAX_TASK_ID},
                "vocal_removal_info": {"type": ["object", "null"]},
                "vocal_separation_info": {"type": ["object", "null"]},
            },
        },
    },
}
_DESCRIPTION: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": _CONTRACT}}},
    "parameters": [
        {
            "name": name,
            "in": "header",
            "required": False,
            "description": f"{what}; with `CALLBACK_HMAC_KEY` both are required",
            "schema": {"type": "string"},
        }
        for name, what in (
            ("X-Webhook-Timestamp", "Unix seconds, at most five minutes off in either direction"),
            ("X-Webhook-Signature", "base64(HMAC-SHA256(task_id + '.' + timestamp, key))"),
        )
    ],
}


class _NotItsTask(ForgedRequest):
    """What the link, the task and the chat say does not belong together."""

    def __init__(self, job_id: str, receipt: Receipt) -> None:
        super().__init__(f"the callback's task does not belong to job {job_id}")
        self.receipt = receipt


# As what a refusal is counted.
_OUTCOMES: dict[type, str] = {
    ForgedRequest: "forged",
    ExpiredLink: "expired",
    BadContract: "bad_contract",
    BodyTooLarge: "too_large",
    BodyTooSlow: "too_slow",
    BrokenOff: "broken_off",
    StoreUnavailable: "unavailable",
}


def callback_router(
    store: JobStore,
    engine: Engine,
    links: SignedLinks,
    counters: Counters,
    hmac_key: str,
    body_timeout_s: float = BODY_TIMEOUT_S,
) -> APIRouter:
    """The route. With an `hmac_key` a callback without a valid, fresh signature is refused."""
    router = APIRouter()

    @router.post("/callback/{token}", responses=refusals(403, 408, 413, 422, 503), openapi_extra=_DESCRIPTION)
    async def receive(
        token: Annotated[str, Path(description="Signed: the job and its chat")], request: Request
    ) -> dict[str, str]:
        try:
            receipt = await take(token, request)
        except _NotItsTask as error:
            counters.add(CALLBACKS, error.receipt)
            raise
        except StemdropError as error:
            outcomes = [_OUTCOMES[kind] for kind in type(error).__mro__ if kind in _OUTCOMES]
            counters.add(CALLBACKS, outcomes[0] if outcomes else OTHER)
            raise
        counters.add(CALLBACKS, receipt)
        return {"status": "received"}

    async def take(token: str, request: Request) -> Receipt:
        link = links.read_callback(token)
        bind_job(link.job_id)
        task_id, result = parse_callback(await read_json(request, body_timeout_s))
        if hmac_key:
            headers = request.headers
            timestamp, signature = headers.get("x-webhook-timestamp"), headers.get("x-webhook-signature")
            check_signature(hmac_key, task_id, timestamp or "", signature or "")
        receipt = await store.receive(link.job_id, link.chat_id, task_id, result)
        if receipt in (Receipt.FOREIGN, Receipt.UNKNOWN):
            raise _NotItsTask(link.job_id, receipt)
        bind_job(link.job_id, task_id)
        log.info(
            "job %s: callback, code %d, %d stems (%s)", link.job_id, result.code, len(result.stems), receipt
        )
        if receipt is Receipt.STORED or await _waits_for_delivery(link.job_id):
            await engine.add(Task.DELIVER, link.job_id, link.job_id)
        return receipt

    async def _waits_for_delivery(job_id: str) -> bool:
        """A process may have died between storing a result and ordering its delivery."""
        job = await store.get(job_id)
        return job is not None and job.state is JobState.DELIVERING

    return router
