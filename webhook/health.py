"""`GET /healthz` (alive) and `GET /readyz` (Redis answers; 503 with the reason if not)."""

from fastapi import APIRouter

from stemdrop.storage.job_store import JobStore
from webhook.errors import refusals


def health_router(store: JobStore) -> APIRouter:
    """Both routes."""
    router = APIRouter()

    @router.get("/healthz")
    async def alive() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz", responses=refusals(503))
    async def ready() -> dict[str, str]:
        await store.ping()
        return {"status": "ready"}

    return router
