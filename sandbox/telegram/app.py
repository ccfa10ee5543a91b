"""The local Telegram as a web app: the Bot API and the chat API over one state.

    telegram = Telegram(directory)
    async with run_telegram(telegram) as url:
        ...  # TELEGRAM_API_URL=url, TELEGRAM_BOT_TOKEN=telegram.token

The Bot API is `{url}/bot<token>/<method>` and `{url}/file/bot<token>/<path>`
(`sandbox.telegram.bot_api.endpoint`). The chat API, for people's actions, is `{url}/chat/…` with
`telegram.access_key` (`sandbox.telegram.chat_api`), which the page at `{url}/#<key>` uses
(`sandbox.page`); code in this process calls the methods of `Telegram`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from sandbox.bench.bench import Bench
from sandbox.environment.server import serve
from sandbox.page import routes as page
from sandbox.telegram.bot_api import endpoint
from sandbox.telegram.chat_access import ChatApi
from sandbox.telegram.errors import ApiError, PersonError, not_found
from sandbox.telegram.person_actions import Telegram
from sandbox.telegram.request_guard import RequestGuard


def create_app(
    telegram: Telegram,
    *,
    with_chat_api: bool = False,
    link: page.PageLink | None = None,
    bench: Bench | None = None,
) -> FastAPI:
    """Create the app, with `bench` also its proxies.

    Call `telegram.close()` before the server stops, since open long polls would delay that.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(RequestGuard)
    app.router.routes += endpoint.create_routes(telegram)
    if with_chat_api:
        app.mount("/chat", ChatApi(telegram, bench))
    if bench is not None:
        app.router.routes += bench.routes()
    if link is not None:
        app.router.routes += page.create_routes(link)

    @app.exception_handler(PersonError)
    async def person_error(request: Request, error: PersonError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 400)

    @app.exception_handler(RequestValidationError)
    async def malformed_request(request: Request, error: RequestValidationError) -> JSONResponse:
        found = [f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()]
        # the name of a field may contain a lone surrogate
        return JSONResponse({"error": "; ".join(found).encode(errors="backslashreplace").decode()}, 400)

    @app.exception_handler(ApiError)
    async def api_error(request: Request, error: ApiError) -> JSONResponse:
        return JSONResponse(error.body(), error.status)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 404:
            return JSONResponse(not_found().body(), 404)
        return JSONResponse({"error": error.detail}, error.status_code)

    return app


@asynccontextmanager
async def run_telegram(
    telegram: Telegram,
    port: int = 0,
    *,
    with_chat_api: bool = False,
    link: page.PageLink | None = None,
    bench: Bench | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[str]:
    """Serve the app for the duration of the block, with the page if it has a `link`; yields the base URL."""
    app = create_app(telegram, with_chat_api=with_chat_api, link=link, bench=bench)
    async with serve(app, port, host=host) as url:
        telegram.updates.start()
        try:
            yield url
        finally:
            await telegram.close()
