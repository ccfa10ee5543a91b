"""`POST` and `GET /probe/{nonce}`: `stemdrop doctor` checks that `PUBLIC_URL` leads to this webhook."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stemdrop.errors import BadContract
from stemdrop.storage.probes import UNKNOWN, Probes, content, proof
from webhook.byte_ranges import byte_range
from webhook.errors import UnknownProbe
from webhook.json_body import BODY_TIMEOUT_S, read_json

# The doctor sends 4 kB, to see whether a body arrives.
MAX_PROBE_BYTES = 16 * 1024


def probe_routes(probes: Probes, secret_key: str, body_timeout_s: float = BODY_TIMEOUT_S) -> list[Route]:
    """Build the routes. A nonce is answered once, and only if it is stored in our Redis."""

    async def prove(request: Request) -> JSONResponse:
        """Prove that this webhook knows the secret key and that a body such as a callback's arrives."""
        nonce = request.path_params["nonce"]
        if not await probes.is_laid(nonce):  # before a stranger's body is read
            raise UnknownProbe(UNKNOWN)
        body = await read_json(request, body_timeout_s, max_bytes=MAX_PROBE_BYTES)
        if not isinstance(body, dict) or body.get("nonce") != nonce:
            raise BadContract("the body is not this probe's")
        await use_up(nonce)
        return JSONResponse({"proof": proof(secret_key, nonce)})

    async def serve(request: Request) -> Response:
        """Serve 64 KiB that the doctor can compute, as `webhook.source` serves a song."""
        nonce = request.path_params["nonce"]
        await use_up(nonce)
        whole = content(nonce)
        headers = {"Content-Type": "audio/mpeg", "Cache-Control": "no-store", "Accept-Ranges": "bytes"}
        chosen = byte_range(request.headers.get("range", ""), len(whole))
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

    serving = Route("/probe/{nonce}", serve)
    serving.methods = {"GET"}  # a HEAD request would use the nonce up
    return [Route("/probe/{nonce}", prove, methods=["POST"]), serving]
