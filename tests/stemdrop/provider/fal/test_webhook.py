"""fal's webhooks: verified by real ED25519 signatures, and read."""

import base64
import hashlib
import json
import time
from typing import Any

import httpx
import pytest
from nacl.signing import SigningKey

from stemdrop.domain.results import Result, Stem
from stemdrop.errors import AnswerLost, BadContract, ForgedRequest, SeparationError
from stemdrop.provider.fal.client import FalClient
from stemdrop.provider.fal.signatures import KEEP_S, RENEW_S, SIGNATURE_WINDOW_S, WebhookKeys
from stemdrop.provider.http_calls import HttpCalls

API = "http://127.0.0.1:9999"
BASS = "https://v3.fal.media/files/a/b.mp3"
OLD, NEW, STRANGER = (SigningKey(bytes([number]) * 32) for number in (1, 2, 3))


def webhook(status: str, **fields: Any) -> bytes:
    return json.dumps(
        {"request_id": "id-1", "gateway_request_id": "id-2", "status": status, **fields}
    ).encode()


BODY = webhook("OK", payload={"bass": {"url": BASS}})


def jwk(key: SigningKey, **changes: Any) -> dict[str, Any]:
    x = base64.urlsafe_b64encode(key.verify_key.encode()).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": x, **changes}


def signed(body: bytes = BODY, key: SigningKey = OLD, timestamp: str = "", **changes: str) -> dict[str, str]:
    """Return fal's headers for a body; `changes` are made after the signature."""
    named = {"request-id": "id-1", "user-id": "user", "timestamp": timestamp or str(int(time.time()))}
    message = "\n".join((*named.values(), hashlib.sha256(body).hexdigest())).encode()
    named["signature"] = key.sign(message).signature.hex()
    return {f"x-fal-webhook-{name}": value for name, value in (named | changes).items()}


class Fal:
    """The server of the keys, at the address of the queue, and of one result."""

    def __init__(self) -> None:
        self.answer = httpx.Response(200, json={"keys": [jwk(OLD)]})
        self.result = httpx.Response(404, json={"detail": "Request not found"})
        self.asked: list[str] = []
        http = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        self.client = FalClient(http, API, "a-key-of-fal")
        self.now = time.time()
        self.keys = WebhookKeys(HttpCalls(http, "fal"), f"{API}/.well-known/jwks.json", lambda: self.now)

    def publishes(self, *keys: dict[str, Any]) -> None:
        self.answer = httpx.Response(200, json={"keys": keys})

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        if request.url.path == "/.well-known/jwks.json":
            assert "Authorization" not in request.headers
            return self.answer
        is_status = request.url.path.endswith("/status")
        return httpx.Response(200, json={"status": "COMPLETED"}) if is_status else self.result


@pytest.fixture
def fal() -> Fal:
    return Fal()


async def test_a_signed_webhook_is_read(fal: Fal) -> None:
    for _ in range(2):
        assert await fal.client.read_callback(signed(), BODY) == ("id-1", Result(200, (Stem("bass", BASS),)))
    assert fal.asked == [f"{API}/.well-known/jwks.json"]


def at(seconds: float) -> str:
    return str(int(time.time() + seconds))


FORGERIES: dict[str, dict[str, Any]] = {
    "another body": {"body": b"{}"},
    "unknown key": {"key": STRANGER},
    "too old": {"timestamp": -SIGNATURE_WINDOW_S - 5},
    "too new": {"timestamp": SIGNATURE_WINDOW_S + 100},
    "no time": {"timestamp": "soon"},
    "long time": {"timestamp": "9" * 13},
    "another user": {"user-id": "another"},
    "another request": {"request-id": "another"},
    "unsigned": {"signature": ""},
    "no hex": {"signature": "no hex"},
    "zeros": {"signature": "00" * 64},
    "short": {"signature": "00" * 63},
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forged_webhook_is_refused(fal: Fal, forgery: str) -> None:
    changes = dict(FORGERIES[forgery])
    if isinstance(changes.get("timestamp"), int):
        changes["timestamp"] = at(changes["timestamp"])
    with pytest.raises(ForgedRequest):
        await fal.client.read_callback(signed(**changes), BODY)
    with pytest.raises(ForgedRequest):
        await fal.client.read_callback({}, BODY)


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (404, {"keys": [jwk(OLD)]}),
        (500, {"keys": [jwk(OLD)]}),
        (200, []),
        (200, {"keys": [jwk(OLD, crv="X25519")]}),
        (200, {"keys": [jwk(OLD, x="no key"), {"kty": "OKP"}, None]}),
    ],
)
async def test_without_readable_keys_nothing_is_accepted(fal: Fal, status: int, content: object) -> None:
    fal.answer = httpx.Response(status, json=content)
    with pytest.raises(AnswerLost):
        await fal.client.read_callback(signed(), BODY)


async def test_keys_are_fetched_anew_after_a_day_and_for_an_unknown_one(fal: Fal) -> None:
    def headers(key: SigningKey) -> dict[str, str]:
        return signed(key=key, timestamp=str(int(fal.now)))

    await fal.keys.check(headers(OLD), BODY)
    fal.publishes(jwk(STRANGER, kty="EC"), jwk(OLD), jwk(NEW))
    with pytest.raises(ForgedRequest):  # just fetched
        await fal.keys.check(headers(NEW), BODY)
    fal.now += RENEW_S
    await fal.keys.check(headers(NEW), BODY)
    assert len(fal.asked) == 2
    fal.publishes(jwk(NEW))
    fal.now += KEEP_S - 1
    await fal.keys.check(headers(OLD), BODY)
    fal.now += 1
    with pytest.raises(ForgedRequest):
        await fal.keys.check(headers(OLD), BODY)
    assert len(fal.asked) == 3


DETAIL = {"detail": [{"loc": ["body"], "msg": "no", "type": "file_download_error"}]}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (webhook("ERROR", error="Invalid status code: 422", payload=DETAIL), 451),
        (webhook("ERROR", error="Invalid status code: 422", payload=None), 422),
        (webhook("ERROR", error="Invalid status code: 500", payload={"detail": "no"}), 531),
        # the queue is asked
        (webhook("OK", payload=None, payload_error="not serializable"), 200),
        (webhook("ERROR", error="lost", payload=None), 200),
    ],
)
async def test_results_of_webhooks(fal: Fal, body: bytes, code: int) -> None:
    fal.result = httpx.Response(200, json={"bass": {"url": BASS}})
    assert (await fal.client.read_callback(signed(body), body))[1].code == code
    assert len(fal.asked) == (3 if code == 200 else 1)


async def test_a_webhook_whose_result_cannot_be_had_is_not_accepted(fal: Fal) -> None:
    body = webhook("OK", payload=None)
    with pytest.raises(SeparationError):
        await fal.client.read_callback(signed(body), body)


@pytest.mark.parametrize("body", [b"no json", b"[]", webhook("LATER"), b'{"status": "OK", "payload": {}}'])
async def test_an_unreadable_webhook(fal: Fal, body: bytes) -> None:
    with pytest.raises(BadContract):
        await fal.client.read_callback(signed(body), body)
