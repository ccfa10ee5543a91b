"""`POST /telegram`: updates from Telegram (`TELEGRAM_UPDATES=webhook`), stored for the bots."""

import hmac
import json

from fastapi import APIRouter, Request

from stemdrop.engine import Engine, Task
from stemdrop.errors import BadContract, ForgedRequest
from stemdrop.links import Links
from webhook.body import read_json


def updates_router(engine: Engine, links: Links) -> APIRouter:
    """The route; Telegram repeats an update until it is answered 200, which is when it is in Redis."""
    router = APIRouter()

    @router.post("/telegram")
    async def receive(request: Request) -> dict[str, str]:
        secret = request.headers.get("x-telegram-bot-api-secret-token", "")
        if not hmac.compare_digest(secret.encode(), links.updates_secret.encode()):
            raise ForgedRequest("the update does not carry our secret token")
        update = await read_json(request)
        if not isinstance(update, dict) or not isinstance(update.get("update_id"), int):
            raise BadContract("the body is no update")
        await engine.add(Task.UPDATE, str(update["update_id"]), json.dumps(update))
        return {"status": "received"}

    return router
