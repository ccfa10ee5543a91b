"""The endpoints for uploading a source and for downloading stems and uploads."""

import mimetypes
import shutil
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from separator.envelope import Refusal, key_check
from separator.file_store import ExpiringFiles, safe_name
from separator.settings import SeparatorSettings

_FORM_OVERHEAD_BYTES = 64 * 1024  # what a request may contain besides the file


def download_routes(path: str, files: ExpiringFiles) -> APIRouter:
    """Return the routes `GET` and `HEAD {path}/{id}/{name}`, which need no key: the URL itself is secret."""
    router = APIRouter()

    @router.api_route(path + "/{folder_id}/{name}", methods=["GET", "HEAD"])
    async def download(folder_id: str, name: str) -> FileResponse:
        file = files.find(folder_id, name)
        if file is None:
            raise HTTPException(404, "there is no such file, or it has expired")
        return FileResponse(file, headers={"X-Content-Type-Options": "nosniff"})

    return router


def upload_routes(settings: SeparatorSettings, uploads: ExpiringFiles) -> APIRouter:
    """Return the upload endpoint, for clients without a public address."""
    router = APIRouter(dependencies=[key_check(settings.api_key)])

    @router.post("/api/file-stream-upload")
    async def upload(request: Request) -> JSONResponse:
        async with _form(request, settings.max_source_bytes) as form:
            sent = form.get("file")
            if not isinstance(sent, UploadFile):
                raise Refusal(422, "file is missing")
            name = safe_name(_text(form, "fileName") or sent.filename or "audio")
            file = uploads.add() / name
            try:
                await anyio.to_thread.run_sync(_copy, sent, file)
            except BaseException:  # a part would fill the disk for days
                shutil.rmtree(file.parent, ignore_errors=True)
                raise
            size = file.stat().st_size
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        folder = "/".join(safe_name(part) for part in _text(form, "uploadPath").split("/") if part.strip("."))
        data = {
            "fileName": name,
            "filePath": f"{folder}/{name}" if folder else name,  # a label only
            "downloadUrl": uploads.url(file),
            "fileSize": size,
            "mimeType": kind,
        }
        return JSONResponse({"success": True, "code": 200, "msg": "File uploaded successfully", "data": data})

    return router


@asynccontextmanager
async def _form(request: Request, max_bytes: int) -> AsyncIterator[FormData]:
    """Parse a multipart form; removes its temporary files after the block."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Refusal(400, "the request must be multipart/form-data")

    async def limited() -> AsyncGenerator[bytes, None]:
        received = 0
        async for chunk in request.stream():
            received += len(chunk)
            if received > max_bytes + _FORM_OVERHEAD_BYTES:
                raise Refusal(413, f"the file is larger than {max_bytes / 1e6:g} MB")
            yield chunk

    try:
        form = await MultiPartParser(request.headers, limited(), max_files=1, max_fields=16).parse()
    except MultiPartException as error:
        raise Refusal(400, f"the form cannot be read: {error.message}") from error
    try:
        yield form
    finally:
        await form.close()


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value if isinstance(value, str) else ""


def _copy(sent: UploadFile, file: Path) -> None:
    with file.open("wb") as out:
        shutil.copyfileobj(sent.file, out, 1024**2)
