"""The least that could store a callback: a route of Starlette that reads JSON and adds it to a stream."""

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


def main() -> None:
    """Serve it on the socket and with the Redis that the command line names; h11 is what uvicorn brings."""
    redis = Redis.from_url(sys.argv[2])

    async def receive(request: Request) -> JSONResponse:
        body = await request.json()
        await redis.xadd("bench:floor", {"task": body["data"]["task_id"]})
        return JSONResponse({"status": "received"})

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await redis.aclose()

    app = Starlette(routes=[Route("/callback/{token}", receive, methods=["POST"])], lifespan=lifespan)
    config = uvicorn.Config(app, http="h11", ws="none", access_log=False, log_level="warning")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()
