"""`GET /healthz` (alive) and `GET /readyz` (Redis answers; 503 with the reason if not)."""

from fastapi import APIRouter

from stemdrop.storage.job_store import JobStore


def health_router(store: JobStore) -> APIRouter:
    router = APIRouter()

    @router.get("/healthz")
    async def alive() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz")
    async def ready() -> dict[str, str]:
        await store.ping()
        return {"status": "ready"}

    return router
