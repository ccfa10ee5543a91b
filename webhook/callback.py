"""`POST /callback/{token}`: the provider's result is stored, its delivery ordered, and only then answered."""

import logging

from fastapi import APIRouter, Request

from stemdrop.engine import Engine, Task
from stemdrop.errors import ForgedRequest
from stemdrop.jobs import JobState
from stemdrop.links import Links, check_signature
from stemdrop.results import parse_callback
from stemdrop.store import JobStore, Receipt
from webhook.body import read_json

log = logging.getLogger(__name__)


def callback_router(store: JobStore, engine: Engine, links: Links, hmac_key: str) -> APIRouter:
    """The route. With an `hmac_key` a callback without a valid, fresh signature is refused."""
    router = APIRouter()

    @router.post("/callback/{token}")
    async def receive(token: str, request: Request) -> dict[str, str]:
        link = links.read_callback(token)
        task_id, result = parse_callback(await read_json(request))
        if hmac_key:
            headers = request.headers
            timestamp, signature = headers.get("x-webhook-timestamp"), headers.get("x-webhook-signature")
            check_signature(hmac_key, task_id, timestamp or "", signature or "")
        receipt = await store.receive(link.job_id, link.chat_id, task_id, result)
        if receipt in (Receipt.FOREIGN, Receipt.UNKNOWN):
            raise ForgedRequest(f"the callback's task does not belong to job {link.job_id}")
        log.info(
            "job %s: callback, code %d, %d stems (%s)", link.job_id, result.code, len(result.stems), receipt
        )
        if receipt is Receipt.STORED or await _waits_for_delivery(link.job_id):
            await engine.add(Task.DELIVER, link.job_id, link.job_id)
        return {"status": "received"}

    async def _waits_for_delivery(job_id: str) -> bool:
        """A process may have died between storing a result and ordering its delivery."""
        job = await store.get(job_id)
        return job is not None and job.state is JobState.DELIVERING

    return router
