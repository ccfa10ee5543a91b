"""`POST /telegram`: stores updates from Telegram (`TELEGRAM_UPDATES=webhook`) for the bots."""

import hmac
from typing import Annotated

from fastapi import APIRouter, Header, Request

from stemdrop.errors import BadContract, ForgedRequest
from stemdrop.http.signed_links import SignedLinks
from stemdrop.tasks.engine import Engine
from stemdrop.tasks.incoming_updates import keep
from webhook.json_body import BODY_TIMEOUT_S, read_json

_Secret = Annotated[str, Header(alias="X-Telegram-Bot-Api-Secret-Token")]


def updates_router(engine: Engine, links: SignedLinks, body_timeout_s: float = BODY_TIMEOUT_S) -> APIRouter:
    """Build the route. It answers 200 when the update is in Redis; until then Telegram sends it again."""
    router = APIRouter()

    @router.post("/telegram")
    async def receive(request: Request, secret: _Secret = "") -> dict[str, str]:
        if not hmac.compare_digest(secret.encode(), links.updates_secret.encode()):
            raise ForgedRequest("the update does not carry our secret token")
        update = await read_json(request, body_timeout_s)
        if not isinstance(update, dict) or type(update.get("update_id")) is not int:
            raise BadContract("the body is no update")
        await keep(engine, update)
        return {"status": "received"}

    return router
