"""`POST /telegram`: updates from Telegram (`TELEGRAM_UPDATES=webhook`), stored for the bots."""

import hmac
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request

from stemdrop.errors import BadContract, ForgedRequest
from stemdrop.http.signed_links import SignedLinks
from stemdrop.tasks.engine import Engine
from stemdrop.tasks.incoming_updates import keep
from webhook.errors import refusals
from webhook.json_body import BODY_TIMEOUT_S, read_json

_UPDATE: dict[str, Any] = {
    "type": "object",
    "required": ["update_id"],
    "properties": {"update_id": {"type": "integer"}},
}
_DESCRIPTION: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": _UPDATE}}}
}
_Secret = Annotated[
    str, Header(alias="X-Telegram-Bot-Api-Secret-Token", description="Known to Telegram alone")
]


def updates_router(engine: Engine, links: SignedLinks, body_timeout_s: float = BODY_TIMEOUT_S) -> APIRouter:
    """The route; Telegram repeats an update until it is answered 200, which is when it is in Redis."""
    router = APIRouter()

    @router.post("/telegram", responses=refusals(403, 408, 413, 422, 503), openapi_extra=_DESCRIPTION)
    async def receive(request: Request, secret: _Secret = "") -> dict[str, str]:
        if not hmac.compare_digest(secret.encode(), links.updates_secret.encode()):
            raise ForgedRequest("the update does not carry our secret token")
        update = await read_json(request, body_timeout_s)
        if not isinstance(update, dict) or type(update.get("update_id")) is not int:
            raise BadContract("the body is no update")
        await keep(engine, update)
        return {"status": "received"}

    return router
