"""A webhook of fal at `POST /callback/fal/{token}`."""

import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from nacl.signing import SigningKey
from product import open_product
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.environment.server import serve
from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import Message
from sandbox.telegram.person_actions import Telegram
from stemdrop.domain.jobs import JobState
from webhook.app import create_app

SIGNER = SigningKey(b"k" * 32)


class Fal:
    """Publishes its keys, when it does."""

    is_away = True

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/.well-known/jwks.json", self._keys)])

    async def _keys(self, request: Request) -> Response:
        x = base64.urlsafe_b64encode(SIGNER.verify_key.encode()).decode()
        keys = {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]}
        return Response(status_code=500) if self.is_away else JSONResponse(keys)


def signed(body: bytes) -> dict[str, str]:
    named = {"request-id": "id-1", "user-id": "user", "timestamp": str(int(time.time()))}
    message = "\n".join((*named.values(), hashlib.sha256(body).hexdigest())).encode()
    named["signature"] = SIGNER.sign(message).signature.hex()
    return {f"X-Fal-Webhook-{name}": value for name, value in named.items()}


@pytest.fixture
async def fal() -> AsyncIterator[tuple[Fal, str]]:
    fal = Fal()
    async with serve(fal.app()) as url:
        yield fal, url


async def test_a_webhook_is_refused_until_it_can_be_verified(
    redis_url: str, telegram: Telegram, fal: tuple[Fal, str], sent: Message
) -> None:
    """fal repeats what was answered with 503, not what it cannot have signed."""
    server, url = fal
    settings: dict[str, Any] = {"PROVIDERS": "sunoapi,fal", "FAL_API_KEY": "a-key-of-fal", "FAL_API_URL": url}
    async with (
        run_telegram(telegram) as telegram_url,
        open_product(redis_url, telegram, telegram_url, **settings) as product,
        serve(create_app(product)) as webhook_url,
        httpx.AsyncClient(base_url=webhook_url, trust_env=False) as client,
    ):
        job = await product.at(JobState.SEPARATING, sent, provider="fal", task_id="fal:id-1")
        path = urlsplit(product.links.callback_url(job.id, job.chat_id, "fal")).path
        output = {"vocals": {"url": "https://v3.fal.media/files/a/v.mp3"}}
        body = json.dumps({"request_id": "id-1", "status": "OK", "payload": output}).encode()
        away = await client.post(path, content=body, headers=signed(body))
        server.is_away = False
        forged = await client.post(path, content=body, headers=signed(b"{}"))
        assert (away.status_code, forged.status_code) == (503, 403)
        assert (await product.job(job.id)).state is JobState.SEPARATING
        taken = await client.post(path, content=body, headers=signed(body))
        assert taken.status_code == 200
        assert (await product.job(job.id)).state is JobState.DELIVERING
