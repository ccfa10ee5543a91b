"""`GET /mixer/` and `/mixer/static/…`: the page's own files, which hold no secret."""

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_FOLDER = Path(__file__).parent / "page"
_INDEX = "index.html"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def page_routes() -> list[Route]:
    """Build the routes; only the files that are there now are served."""
    files = {path.name: path.read_bytes() for path in _FOLDER.iterdir() if path.suffix in _TYPES}
    index = files.pop(_INDEX)
    return [
        Route("/", _sender({_INDEX: index}, _INDEX)),
        Route("/static/{name}", _sender(files)),
    ]


def _sender(files: dict[str, bytes], fixed: str = "") -> Callable[[Request], Awaitable[Response]]:
    tags = {name: f'"{hashlib.sha256(content).hexdigest()[:16]}"' for name, content in files.items()}

    async def send(request: Request) -> Response:
        name = fixed or request.path_params["name"]
        if name not in files:
            raise HTTPException(404)
        headers = {"ETag": tags[name], "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tags[name]:
            return Response(status_code=304, headers=headers)
        return Response(files[name], media_type=_TYPES[Path(name).suffix], headers=headers)

    return send
