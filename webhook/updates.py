"""`POST /telegram`: stores updates from Telegram (`TELEGRAM_UPDATES=webhook`) for the bots."""

import hmac

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from stemdrop.errors import BadContract, ForgedRequest
from stemdrop.http.signed_links import SignedLinks
from stemdrop.services.undo_taps import undo_at_once
from stemdrop.storage.dead_letters import DeadLetters
from stemdrop.storage.job_store import JobStore
from stemdrop.tasks.engine import Engine
from stemdrop.tasks.incoming_updates import store_update
from webhook.json_body import BODY_TIMEOUT_S, read_json

_SECRET = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - a header


def updates_route(
    store: JobStore,
    engine: Engine,
    dead_letters: DeadLetters,
    links: SignedLinks,
    body_timeout_s: float = BODY_TIMEOUT_S,
) -> Route:
    """Build the route. It answers 200 when the update is in Redis; until then Telegram sends it again.

    A malformed update is answered 200 too: Telegram would send it for ever, and delay all later ones.
    """

    async def receive(request: Request) -> JSONResponse:
        secret = request.headers.get(_SECRET, "")
        if not hmac.compare_digest(secret.encode(), links.updates_secret.encode()):
            raise ForgedRequest("the update does not carry our secret token")
        try:
            update = await read_json(request, body_timeout_s)
        except BadContract:  # the body is not JSON
            update = None
        await undo_at_once(store, update)
        await store_update(engine, dead_letters, update)
        return JSONResponse({"status": "received"})

    return Route("/telegram", receive, methods=["POST"])
