"""`POST`, `GET /probe/{nonce}`: `stemdrop doctor` asks through `PUBLIC_URL` whether that leads here."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request, Response

from stemdrop.errors import BadContract
from stemdrop.storage.probes import UNKNOWN, Probes, content, proof
from webhook.byte_ranges import byte_range
from webhook.errors import UnknownProbe, refusals
from webhook.json_body import BODY_TIMEOUT_S, read_json

# The doctor sends 4 kB, so that it sees whether a body arrives.
MAX_BODY_BYTES = 16 * 1024

_PROBE: dict[str, Any] = {
    "type": "object",
    "required": ["nonce"],
    "properties": {"nonce": {"type": "string", "description": "The same as in the path"}},
}
_DESCRIPTION: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": _PROBE}}}
}
_BYTES: dict[str, Any] = {"content": {"audio/mpeg": {"schema": {"type": "string", "format": "binary"}}}}
_PARTS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The whole", **_BYTES},
    206: {"description": "The range, as `Content-Range` says", **_BYTES},
    416: {"description": "The range lies beyond the end, which `Content-Range` names"},
    **refusals(404, 503),
}

_Nonce = Annotated[str, Path(description="Laid in Redis by who asks; serves once")]
_Range = Annotated[str, Header(alias="Range", description="One range of bytes, as for a source")]


def probe_router(probes: Probes, secret_key: str, body_timeout_s: float = BODY_TIMEOUT_S) -> APIRouter:
    """The routes. Nothing is told or signed for a nonce that is not in our Redis."""
    router = APIRouter()

    @router.post("/probe/{nonce}", responses=refusals(404, 408, 413, 422, 503), openapi_extra=_DESCRIPTION)
    async def prove(nonce: _Nonce, request: Request) -> dict[str, str]:
        """As a callback comes: is it this webhook, and does the body arrive?"""
        if not await probes.is_laid(nonce):  # a stranger's body is not even read
            raise UnknownProbe(UNKNOWN)
        body = await read_json(request, body_timeout_s, max_bytes=MAX_BODY_BYTES)
        if not isinstance(body, dict) or body.get("nonce") != nonce:
            raise BadContract("the body is not this probe's")
        await use_up(nonce)
        return {"proof": proof(secret_key, nonce)}

    @router.get("/probe/{nonce}", responses=_PARTS, response_class=Response)
    async def serve(nonce: _Nonce, wanted: _Range = "") -> Response:
        """As a source is fetched."""
        await use_up(nonce)
        whole = content(nonce)
        headers = {"Content-Type": "audio/mpeg", "Cache-Control": "no-store", "Accept-Ranges": "bytes"}
        chosen = byte_range(wanted, len(whole))
        if chosen is None:
            return Response(whole, 200, headers)
        start, end = chosen
        if start == end:
            return Response(status_code=416, headers={"Content-Range": f"bytes */{len(whole)}"})
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(whole)}"
        return Response(whole[start:end], 206, headers)

    async def use_up(nonce: str) -> None:
        if not await probes.use_up(nonce):
            raise UnknownProbe(UNKNOWN)

    return router
