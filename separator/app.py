"""The separator's web app and the objects of its lifespan."""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator
from typing import TypedDict

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from separator.engines import known_stems
from separator.envelope import Refusal, refuse
from separator.file_routes import download_routes, upload_routes
from separator.file_store import ExpiringFiles
from separator.routes import contract_routes
from separator.settings import SeparatorSettings
from separator.task_runner import TaskRunner
from separator.task_table import TASKS_FILE, TaskTable
from stemdrop.http.clients import client_options

_log = logging.getLogger(__name__)


class _State(TypedDict):
    table: TaskTable
    runner: TaskRunner


def create_app(settings: SeparatorSettings) -> FastAPI:
    """Create the separation API, whose lifespan opens the files. Raises ValueError for an unknown engine."""
    known_stems(settings.engine)
    origin = settings.origin.rstrip("/")
    results = ExpiringFiles(settings.data / "results", settings.keep_results_s, f"{origin}/files")
    uploads = ExpiringFiles(settings.data / "uploads", settings.keep_uploads_s, f"{origin}/uploads")

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[_State]:
        settings.data.mkdir(parents=True, exist_ok=True)
        results.open()
        uploads.open()
        async with contextlib.AsyncExitStack() as stack:
            table = TaskTable(settings.data / TASKS_FILE)
            stack.callback(table.close)
            client = await stack.enter_async_context(_client(settings))
            runner = TaskRunner(settings, table, results, uploads, client)
            stack.push_async_callback(runner.close)
            runner.open()
            cleaner = asyncio.create_task(_remove_expired(settings, table, results, uploads))
            stack.callback(cleaner.cancel)
            yield {"table": table, "runner": runner}

    app = FastAPI(
        title="stemdrop separator", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    app.add_exception_handler(Refusal, refuse)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _server_error)
    app.include_router(contract_routes(settings))
    app.include_router(upload_routes(settings, uploads))
    app.include_router(download_routes("/files", results))
    app.include_router(download_routes("/uploads", uploads))

    @app.get("/healthz")
    async def health() -> PlainTextResponse:
        return PlainTextResponse("ok")

    return app


def _client(settings: SeparatorSettings) -> httpx.AsyncClient:
    # Requests are rare: a connection kept alive would often be closed before the next one.
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncClient(
        timeout=httpx.Timeout(30, connect=10), **client_options(settings.proxies, limits=limits)
    )


async def _remove_expired(settings: SeparatorSettings, table: TaskTable, *stores: ExpiringFiles) -> None:
    while True:
        try:
            for store in stores:
                await asyncio.to_thread(store.remove_expired)
            table.remove_finished(settings.keep_results_s)
        except (
            OSError,
            sqlite3.Error,
        ) as error:  # the disk is full or away; tried again later
            _log.warning("expired files cannot be removed: %s: %s", type(error).__name__, error)
        await asyncio.sleep(settings.clean_up_every_s)


async def _http_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type only
    body = {"code": error.status_code, "msg": error.detail, "data": None}
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)


async def _server_error(_request: Request, _error: Exception) -> JSONResponse:
    return JSONResponse(
        {"code": 500, "msg": "the server failed; try again later", "data": None}, status_code=500
    )
