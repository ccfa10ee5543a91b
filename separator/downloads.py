"""Serving what lies on the shelves, byte ranges included."""

from fastapi import APIRouter
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

from separator.files import Shelf


def download_routes(path: str, shelf: Shelf) -> APIRouter:
    """`GET` and `HEAD {path}/{id}/{name}`. No key: whoever has the address may have the file, until it
    expires.
    """
    router = APIRouter()

    @router.api_route(path + "/{folder_id}/{name}", methods=["GET", "HEAD"])
    async def download(folder_id: str, name: str) -> FileResponse:
        file = shelf.find(folder_id, name)
        if file is None:
            raise HTTPException(404, "there is no such file, or its time is over")
        return FileResponse(file, headers={"X-Content-Type-Options": "nosniff"})

    return router
