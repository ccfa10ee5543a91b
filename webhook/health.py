"""`GET /healthz` (alive) and `GET /readyz` (Redis answers; 503 with the reason if not)."""

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from stemdrop.storage.job_store import JobStore


def health_routes(store: JobStore) -> list[Route]:
    async def alive(request: Request) -> JSONResponse:
        return JSONResponse({"status": "alive"})

    async def ready(request: Request) -> JSONResponse:
        await store.ping()
        return JSONResponse({"status": "ready"})

    return [Route("/healthz", alive), Route("/readyz", ready)]
