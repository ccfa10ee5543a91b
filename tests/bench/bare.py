"""The least that an endpoint of this kind can do: take JSON, answer 200. What callbacks are compared with."""

import socket
import sys
from typing import Any

import uvicorn
from fastapi import FastAPI


def main() -> None:
    """Serve it on the socket that was handed over as this file descriptor."""
    app = FastAPI()

    @app.post("/callback/{token}")
    async def receive(token: str, body: dict[str, Any]) -> dict[str, str]:
        return {"status": "received"}

    config = uvicorn.Config(app, http="h11", ws="none", lifespan="off", access_log=False, log_level="warning")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()
