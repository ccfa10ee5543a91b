"""StemSplit as the provider: an order whose answer was lost, and its callbacks."""

import hashlib
import hmac
import json
from typing import Any

import httpx
import pytest
from contract_server import ContractServer
from product import NOBODY, open_product

from sandbox.environment.server import serve
from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import Message
from sandbox.telegram.person_actions import Telegram
from stemdrop.domain.jobs import JobState
from stemdrop.errors import TryLater
from webhook.app import create_app

SECRET = "whsec_for-these-tests"


async def test_an_order_whose_answer_was_lost_is_found_and_paid_once(
    redis_url: str, telegram: Telegram, sent: Message, tone: bytes
) -> None:
    async with ContractServer("stemsplit", tone).run() as server, run_telegram(telegram) as url:
        server.answers_by_itself = server.honours_keys = False
        server.fault("create", "lost")
        async with open_product(
            *(redis_url, telegram, url),
            PROVIDERS="stemsplit",
            STEMSPLIT_API_KEY=server.key,
            STEMSPLIT_API_URL=server.url,
        ) as product:
            job = await product.at(JobState.SUBMITTING, sent)
            with pytest.raises(TryLater):
                await product.submission(has_callbacks=False).run(job.id)
            server.fault("list", "busy")
            with pytest.raises(TryLater):
                await product.submission(has_callbacks=False).run(job.id)
            await product.submission(has_callbacks=False).run(job.id)
            now = await product.job(job.id)
    assert (now.state, now.task_id) == (JobState.SEPARATING, f"stemsplit:{server.task_id()}")
    assert len(server.creates) == 1


async def test_only_signed_callbacks_of_the_own_task_are_taken(
    redis_url: str, telegram: Telegram, sent: Message
) -> None:
    def callback(task_id: str, secret: str = SECRET) -> dict[str, Any]:
        outputs = {"vocals": {"url": "https://cdn.example/v.mp3", "expiresAt": "2026-11-29T12:00:00Z"}}
        data = {"jobId": task_id, "status": "COMPLETED", "outputs": outputs}
        body = json.dumps({"event": "job.completed", "data": data}).encode()
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        return {"content": body, "headers": {"X-Webhook-Signature": f"sha256={signature}"}}

    async with (
        run_telegram(telegram) as url,
        open_product(
            *(redis_url, telegram, url),
            PROVIDERS="stemsplit",
            STEMSPLIT_API_KEY="key",
            STEMSPLIT_API_URL=NOBODY,
            STEMSPLIT_WEBHOOK_SECRET=SECRET,
        ) as product,
        serve(create_app(product)) as webhook,
        httpx.AsyncClient(trust_env=False, verify=False) as http,
    ):
        job = await product.at(JobState.SEPARATING, sent, task_id="stemsplit:job-1")
        path = httpx.URL(product.links.callback_url(job.id, job.chat_id, "stemsplit")).path
        answers = [
            await http.post(f"{webhook}{path}", **made)
            for made in (callback("job-1", "wrong"), callback("job-2"), callback("job-1"), callback("job-1"))
        ]
        now, ordered = await product.job(job.id), await product.ordered()
    assert [answer.status_code for answer in answers] == [403, 403, 200, 200]
    assert (now.state, ordered) == (JobState.DELIVERING, [("deliver", job.id)])
