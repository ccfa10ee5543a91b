"""A plain handler after the sample on the provider's page: a thread reads the JSON, prints it and answers."""

import socket
import sys
from typing import Any

import uvicorn
from fastapi import FastAPI


def main() -> None:
    """Serve it on the socket that the command line names. Nothing is stored."""
    app = FastAPI()

    @app.post("/callback/{token}")
    def receive(token: str, body: dict[str, Any]) -> dict[str, str]:
        data = body.get("data") or {}
        found = data.get("vocal_removal_info") or {}
        print(f"callback: {data.get('task_id')}, code {body.get('code')}, {body.get('msg')}")  # noqa: T201
        for name in ("origin_url", "instrumental_url", "vocal_url"):
            print(f"  {name}: {found.get(name)}")  # noqa: T201
        return {"status": "received"}

    config = uvicorn.Config(app, http="h11", ws="none", lifespan="off", access_log=False, log_level="warning")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()
